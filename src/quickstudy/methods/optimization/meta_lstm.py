"""Optimization as a model for few-shot learning (Ravi & Larochelle, 2017). https://openreview.net/forum?id=rJY0-Kcll"""

import math

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.distributions import Distribution

from quickstudy.contract import Examples, MetaLearner, categorical, negative_log_likelihood
from quickstudy.inner_loop import Likelihood, Weights, apply_weights
from quickstudy.tensors import forbid_running_statistics


class MetaLSTM(MetaLearner):
    """Learn initial weights and an optimizer: an LSTM whose cell state is the weights of a task's network.

    A task is remembered by the cell state after some steps. The gates of every coordinate read its gradient and the
    loss, so that a step may be large or small, and weights may be forgotten; all coordinates share the gates'
    parameters. The outer gradient takes losses and gradients for constants, as the paper does.

    Args:
        net: Any module from inputs to logits, or to means; see `MAML`. It deviates from the paper, whose layers
            normalise by running statistics when evaluating.
        inner_lr: Where the input gate begins, which is the step size (from 0.007 to 0.018 in the authors' code).
        forget_bias: Of the forget gate, which begins at its logistic function; large, so that nothing is forgotten
            (from 4 to 5 there).
        steps: Steps over the whole support set (12 there for 1 shot, fewer for 5).
        hidden: Units per coordinate of the LSTM through which the gates read (20 there); with 0 they read gradient
            and loss themselves, in a small fraction of the time and memory.
        likelihood: `categorical` or `gaussian`.

    Raises:
        ValueError: The net keeps running statistics, which no single task may change; or a step size of 1 or more.
    """

    def __init__(
        self,
        net: nn.Module,
        *,
        inner_lr: float = 0.01,
        forget_bias: float = 5.0,
        steps: int = 5,
        hidden: int = 20,
        likelihood: Likelihood = categorical,
    ):
        super().__init__()
        forbid_running_statistics(net, "MetaLSTM")
        if not 0 < inner_lr < 1:
            raise ValueError(f"inner_lr is what an input gate is open by, between 0 and 1; got {inner_lr}.")
        self.net, self.steps, self.likelihood = net, steps, likelihood
        self.lstm = nn.LSTMCell(4, hidden) if hidden else None
        self.forget, self.input = nn.Linear((hidden or 4) + 2, 1), nn.Linear((hidden or 4) + 2, 1)
        for gate, bias in ((self.forget, forget_bias), (self.input, math.log(inner_lr / (1 - inner_lr)))):
            nn.init.uniform_(gate.weight, -0.01, 0.01)  # so that it begins as gradient descent
            nn.init.constant_(gate.bias, bias)

    def adapt(self, support: Examples) -> Weights:
        initial = {name: w.expand(len(support), *w.shape) for name, w in self.net.named_parameters()}
        cell = flat(initial)  # [T, P]
        f, i, state = torch.zeros_like(cell), torch.zeros_like(cell), None
        for _ in range(self.steps):
            nats, gradient = self._measure(named(cell, initial), support)
            with torch.autocast(cell.device.type, enabled=False):  # a forget gate near 1 needs its digits
                losses = preprocess(nats)[:, None].expand(*cell.shape, 2)
                seen = torch.cat([preprocess(gradient), losses.to(cell.dtype)], -1)  # [T, P, 4]
                if self.lstm is not None:
                    state = self.lstm(seen.flatten(0, 1), state)
                    seen = state[0].unflatten(0, cell.shape)
                i = self.input(torch.cat([seen, cell[..., None], i[..., None]], -1))[..., 0].sigmoid()  # i_t
                f = self.forget(torch.cat([seen, cell[..., None], f[..., None]], -1))[..., 0].sigmoid()  # f_t
                cell = f * cell - i * gradient  # c_t
        return named(cell, initial)

    def predict(self, memory: Weights, x: Shaped[Tensor, "task query *x"]) -> Distribution:
        return self.likelihood(apply_weights(self.net, memory, x))

    def _measure(self, weights: Weights, support: Examples) -> tuple[Tensor, Tensor]:
        """The loss of each task and its gradient, as constants."""
        with torch.enable_grad():
            here = {name: w.detach().requires_grad_() for name, w in weights.items()}
            nats = negative_log_likelihood(self.predict(here, support.x), support)  # [T]
            gradients = torch.autograd.grad(nats.sum(), list(here.values()), allow_unused=True, materialize_grads=True)
        return nats.detach(), flat(dict(zip(here, gradients, strict=True)))


def preprocess(x: Float[Tensor, "*axes"], p: float = 10.0) -> Float[Tensor, "*axes 2"]:
    """A number of any size as two of moderate size: log|x| / p and its sign, or -1 and e^p x where |x| < e^-p.

    From Andrychowicz et al., 2016, appendix A. https://arxiv.org/abs/1606.04474
    """
    return torch.stack([x.abs().clamp(min=math.exp(-p)).log() / p, (x * math.exp(p)).clamp(-1, 1)], -1)


def flat(weights: Weights) -> Float[Tensor, "task coordinate"]:
    """All weights of a task one after the other."""
    return torch.cat([w.reshape(len(w), -1) for w in weights.values()], 1)


def named(coordinates: Float[Tensor, "task coordinate"], like: Weights) -> Weights:
    """The weights of which these are the coordinates."""
    parts = coordinates.split([w[0].numel() for w in like.values()], 1)
    return {name: part.view_as(w) for (name, w), part in zip(like.items(), parts, strict=True)}

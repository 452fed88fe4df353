"""MAML++, how to train your MAML (Antoniou, Edwards & Storkey, 2019). https://arxiv.org/abs/1810.09502"""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.distributions import Distribution

from quickstudy.contract import Episodes, Examples, MetaLearner, categorical, negative_log_likelihood
from quickstudy.inner_loop import (
    Likelihood,
    Objective,
    Strategy,
    Weights,
    adapt_weights,
    apply_weights,
    functional_gradient,
    plain_gradient,
)
from quickstudy.tensors import forbid_running_statistics, norm_parameters


class MAMLPlusPlus(MetaLearner):
    """MAML whose inner step sizes and per-step normalisation are learned beside the initial weights.

    A task is remembered by its weights after the last inner step. Early in training the query loss after every step
    counts, and second derivatives are left out; both end at a fraction of it. No running statistics are kept per
    step, as the paper's net does: its layers normalise by the task's batch, which is transductive, or by groups.

    Args:
        net: Any module from inputs to logits, or to means; see `MAML`.
        inner_lr: Where the step sizes begin, of which each step has one for each tensor of weights.
        inner_steps: Steps of the inner loop, in training and when evaluating.
        multi_step_until: Fraction of training after which only the loss after the last step counts; epoch 10 of 100 in
            the authors' Omniglot runs, 15 of 100 on Mini-ImageNet.
        first_order_until: Fraction of training from which on second derivatives count; the paper's epoch 50, where the
            authors' configurations count them from the first.
        per_step_norm: Learn the scales and shifts of normalisation layers for each step, in place of adapting them.
        likelihood: `categorical` or `gaussian`, from the net's outputs to a distribution.

    Raises:
        ValueError: No inner steps, or a net that keeps running statistics, which no single task may change.
    """

    def __init__(
        self,
        net: nn.Module,
        *,
        inner_lr: float = 0.1,
        inner_steps: int = 5,
        multi_step_until: float = 0.1,
        first_order_until: float = 1 / 3,
        per_step_norm: bool = True,
        likelihood: Likelihood = categorical,
    ):
        super().__init__()
        if inner_steps < 1:
            raise ValueError(f"MAMLPlusPlus learns a step size for each inner step; inner_steps is {inner_steps}.")
        forbid_running_statistics(net, "MAMLPlusPlus")
        self.net, self.inner_steps, self.likelihood = net, inner_steps, likelihood
        self.multi_step_until, self.first_order_until = multi_step_until, first_order_until
        self.norms = [name for pair in norm_parameters(net) for name in pair] if per_step_norm else []
        own = dict(net.named_parameters())
        self.rates = nn.Parameter(torch.full((inner_steps, len(own) - len(self.norms)), float(inner_lr)))
        later = [own[name].detach().expand(inner_steps - 1, *own[name].shape) for name in self.norms]
        self.later_norms = nn.ParameterList(nn.Parameter(w.clone()) for w in later if inner_steps > 1)

    def adapt(self, support: Examples) -> Weights:
        return after(self.inner_steps, self._path(support))

    def predict(self, memory: Weights, x: Shaped[Tensor, "task query *x"]) -> Distribution:
        return self.likelihood(apply_weights(self.net, memory, x))

    def loss(self, episodes: Episodes) -> Float[Tensor, ""]:
        path, query = self._path(episodes.support), episodes.query
        counted = [(step, v) for step, v in enumerate(self.importance(), 1) if v]
        nats = [v * negative_log_likelihood(self.predict(after(step, path), query.x), query) for step, v in counted]
        return torch.stack(nats).sum(0).mean()  # the multi-step loss

    def importance(self) -> list[float]:
        """How much the query loss after each step counts (v): equal at first, in the end the last alone."""
        left = max(0.0, 1 - self.progress / self.multi_step_until) if self.multi_step_until else 0.0
        share = left / self.inner_steps
        return [share] * (self.inner_steps - 1) + [1 - share * (self.inner_steps - 1)]

    def _path(self, support: Examples) -> Weights:
        return adapt_weights(self.net, dict(self.net.named_parameters()), support, self.likelihood, self._solve)

    def _solve(self, objective: Objective, initial: Weights, strategy: Strategy) -> Weights:
        """The weights after each step, their names behind the number of the step."""
        gradient = functional_gradient if strategy == "vmap" else plain_gradient
        norms = {name: initial[name] for name in self.norms}  # the net's own are those of the first step
        weights = {name: w for name, w in initial.items() if name not in norms}
        path = {}
        for step in range(self.inner_steps):
            if step:
                later = zip(self.norms, self.later_norms, strict=True)
                norms = {name: w[step - 1].expand_as(initial[name]).clone() for name, w in later}
            here = lambda w, norms=norms: objective({**w, **norms})  # noqa: E731
            gradients = gradient(here, weights, self.progress < self.first_order_until)
            rated = zip(weights.items(), self.rates[step], strict=True)
            weights = {name: w - rate * gradients[name] for (name, w), rate in rated}
            path |= {f"{step + 1}.{name}": w for name, w in {**weights, **norms}.items()}
        return path


def after(step: int, path: Weights) -> Weights:
    """The weights after a step of such a path."""
    return {name.removeprefix(f"{step}."): w for name, w in path.items() if name.startswith(f"{step}.")}

"""Proto-MAML, of Meta-Dataset (Triantafillou et al., 2020). https://arxiv.org/abs/1903.03096"""

from functools import partial

import torch
from jaxtyping import Shaped
from torch import Tensor, nn
from torch.distributions import Categorical

from quickstudy.contract import Examples, MetaLearner, categorical
from quickstudy.inner_loop import Weights, adapt_weights, apply_weights, descend
from quickstudy.tensors import (
    below_shown,
    class_means,
    forbid_running_statistics,
    per_task,
    shown_classes,
    under_blank_head,
)

FAR = 1e30
"""The squared length of the prototype of a class without examples, which no step on the others moves."""


class ProtoMAML(MetaLearner):
    """MAML that begins each task with the linear layer that a prototypical network is.

    Across tasks the initial weights of the encoder are learned. A task is remembered by the weights of encoder and
    head after some gradient steps on the support loss, of which the head's began as `2 c_k` and `-|c_k|^2`, with c_k
    the prototype of class k: up to a constant, its logits are minus the squared distances to the prototypes. Another
    such constant is left out, that of their middle, which would hide the distances in half precision. The outer
    gradient runs through that beginning too, first order or not. Any number of ways will do. The authors' best
    runs begin with a pre-trained encoder.

    Args:
        encoder: From inputs to embeddings. Normalise as for `MAML`.
        inner_lr: Step size of the inner loop (found by search in the paper: 0.005 for its ResNet on ImageNet).
        inner_steps: Steps of the inner loop while training (6 there).
        test_inner_steps: Steps when evaluating; as many as in training unless given.
        first_order: Leave the second derivatives of the steps out, as the paper's experiments do.

    Raises:
        ValueError: The encoder keeps running statistics, which no single task may change.
    """

    def __init__(
        self,
        encoder: nn.Module,
        *,
        inner_lr: float = 0.005,
        inner_steps: int = 6,
        test_inner_steps: int | None = None,
        first_order: bool = True,
    ):
        super().__init__()
        forbid_running_statistics(encoder, "ProtoMAML")
        self.encoder, self.inner_lr, self.first_order = encoder, inner_lr, first_order
        self.inner_steps = inner_steps
        self.test_inner_steps = test_inner_steps

    def adapt(self, support: Examples) -> Weights:
        c = class_means(per_task(self.encoder, support.x), support)  # [T, W, D]
        body = {f"0.{name}": w for name, w in self.encoder.named_parameters()}
        kept = next((w.dtype for w in body.values()), torch.float32)  # in which weights are, autocast or not
        c = c.to(torch.promote_types(c.dtype, kept))
        shown = shown_classes(support)
        middle = c.sum(1, keepdim=True) / shown.sum(1)[:, None, None].clamp(min=1)
        apart = c - middle
        bias = (-(apart * (c + middle)).sum(-1)).where(shown, -FAR)  # |c - m|^2 + 2 m (c - m) = |c|^2 - |m|^2
        head = {"1.weight": 2 * apart, "1.bias": bias}  # of Snell et al., 2017, eq. 8
        steps = self.inner_steps if self.training or self.test_inner_steps is None else self.test_inner_steps
        descent = partial(descend, steps=steps, lr=self.inner_lr, first_order=self.first_order)
        return adapt_weights(under_blank_head(self.encoder, c.shape[1]), body, support, categorical, descent, own=head)

    def predict(self, memory: Weights, x: Shaped[Tensor, "task query *x"]) -> Categorical:
        logits = apply_weights(under_blank_head(self.encoder, memory["1.weight"].shape[1]), memory, x)
        return categorical(below_shown(logits, memory["1.bias"] > -FAR / 2))

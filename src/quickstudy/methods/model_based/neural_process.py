"""Conditional neural processes (Garnelo et al., 2018). https://arxiv.org/abs/1807.01613"""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.distributions import Distribution

from quickstudy.contract import Examples, MetaLearner, categorical
from quickstudy.encoders.mlp import MLP
from quickstudy.tensors import (
    below_shown,
    gaussian_outputs,
    out_features,
    per_task,
    prototypes,
    require_targets,
    shown_in,
    support_mean,
)


class NeuralProcess(MetaLearner):
    """Learn to summarise a support set as one vector, and to decode any query from it.

    A task is remembered by the mean of its support examples' representations (eqs. 1-2), one mean per class in
    classification; a decoder reads the query beside it (eq. 3). It deviates from the paper in classification: one
    decoder scores each class by that class's mean, where the paper decodes all means side by side, so that the number
    of ways is free and no class is special. The decoder has three layers, where the paper's has five.

    Args:
        encoder: From inputs to embeddings.
        targets: The length of a regression target; None for classification.
        hidden: Width of the two networks, and length of the representation (128 in the paper).
        least_std: The least standard deviation that is predicted.
    """

    embedding = "encoder"

    def __init__(self, encoder: nn.Module, *, targets: int | None = None, hidden: int = 128, least_std: float = 0.1):
        super().__init__()
        d = out_features(encoder)
        self.encoder, self.targets, self.least_std = encoder, targets, least_std
        self.h = MLP(d + (targets or 0), hidden, hidden, hidden)
        self.g = MLP(d + hidden, hidden, hidden, 1 if targets is None else 2 * targets)

    def adapt(self, support: Examples) -> Float[Tensor, "task summary d"]:
        require_targets(support, self.targets)
        z = per_task(self.encoder, support.x)
        if self.targets is None:
            return prototypes(per_task(self.h, z), support)  # [T, W, R]
        r = per_task(self.h, torch.cat([z, support.y.to(z.dtype)], -1))  # eq. 1
        return support_mean(r, support)  # eq. 2: [T, 1, R]

    def predict(self, memory: Float[Tensor, "task summary d"], x: Shaped[Tensor, "task query *x"]) -> Distribution:
        means, shown = shown_in(memory)
        z = per_task(self.encoder, x)[:, :, None].expand(-1, -1, means.shape[1], -1)  # [T, Q, W, D]
        r = means[:, None].expand(-1, z.shape[1], -1, -1)
        out = per_task(self.g, torch.cat([z, r], -1).flatten(0, 1)).unflatten(0, z.shape[:2])  # eq. 3
        if self.targets is None:
            return categorical(below_shown(out[..., 0], shown))  # [T, Q, W]
        return gaussian_outputs(out[:, :, 0], self.least_std)

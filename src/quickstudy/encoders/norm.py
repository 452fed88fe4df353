"""The choice of normalisation, which decides what the examples of a batch learn of each other.

- `"running"`: batch statistics while training, their running average when evaluating (ordinary batch normalisation):
  a prediction does not depend on the other queries.
- `"batch"`: the statistics of the batch it is given, always; one task is one batch, so tasks never mix, but a query's
  prediction depends on the other queries asked with it (MAML's setting: transductive).
- `"group"`: each example by itself, in groups of channels (Wu & He, 2018). https://arxiv.org/abs/1803.08494
- `"task"`: by the support set, blended with each image's own statistics (TaskNorm-I); inside `TaskNormalized` only.
- `"none"`: no normalisation.

Padding of ragged tasks counts among the examples of a batch in `"running"`, while training, and in `"batch"`; in the
others it does not.
"""

import math
from collections.abc import Callable, Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from quickstudy.contract import single
from quickstudy.peers import SumOverPeers, alone, leads
from quickstudy.stacked import batch_norm
from quickstudy.task_norm import TaskNorm

Norm = Literal["running", "batch", "group", "task", "none"]


class BatchNorm(nn.BatchNorm2d):
    """Batch normalisation with running averages, over all peers: as if one thread held the whole batch."""

    def forward(self, input: Tensor) -> Tensor:
        if not self.training or alone():
            return super().forward(input)
        x = single(input)
        count = x.new_tensor([x.numel() / x.shape[1]])
        sums: Tensor = SumOverPeers.apply(torch.cat([x.sum((0, 2, 3)), count]))
        mean = sums[:-1] / sums[-1]
        squares: Tensor = SumOverPeers.apply((x - mean[:, None, None]).square().sum((0, 2, 3)))
        variance = squares / sums[-1]
        remember(self, mean, variance, sums[-1])
        scale = torch.rsqrt(variance + self.eps) * (self.weight if self.affine else 1)
        shift = self.bias if self.affine else 0
        return torch.addcmul((shift - mean * scale)[:, None, None], x, scale[:, None, None]).to(input.dtype)

    def stacked(self, weights: Mapping[str, Tensor], x: Tensor, tasks: int) -> Tensor:
        return batch_norm(self, weights["weight"], weights["bias"], x, tasks)


@torch.no_grad()
def remember(norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor, count: Tensor | int) -> None:
    """Moves a layer's running averages, where it keeps any, towards the statistics of a batch of so many values."""
    if not norm.track_running_stats or not leads():
        return
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert norm.momentum is not None
    assert norm.num_batches_tracked is not None
    norm.num_batches_tracked.add_(1)
    norm.running_mean.lerp_(mean, norm.momentum)
    norm.running_var.lerp_(variance * count / (count - 1), norm.momentum)  # unbiased, as PyTorch keeps it


def normalisation(norm: Norm) -> Callable[[int], nn.Module]:
    """The normalisation layer of a name, as a function of the number of channels.

    Raises:
        ValueError: No such normalisation.
    """
    layers = {
        "running": BatchNorm,
        "batch": lambda channels: nn.BatchNorm2d(channels, track_running_stats=False),
        "group": lambda channels: nn.GroupNorm(channels if channels < 8 else math.gcd(8, channels), channels),
        "task": TaskNorm,
        "none": lambda channels: nn.Identity(),
    }
    if norm not in layers:
        raise ValueError(f"norm is one of {', '.join(layers)}; not {norm!r}.")
    return layers[norm]

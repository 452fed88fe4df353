"""Covariances of Gaussian processes, for many tasks at once (Rasmussen & Williams, 2006, chapter 4)."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from quickstudy.tensors import squared_distances


def additive(a: Float[Tensor, "task a d"], b: Float[Tensor, "task b d"]) -> Float[Tensor, "task a b"]:
    """The mean over coordinates of a Laplace kernel on each: a coordinate that tells nothing spoils no other.

    Coordinates are multiplied by the root of their number, so that lengths mean the same for any number of them where
    inputs have a mean square norm of 1.
    """
    root = a.shape[-1] ** 0.5
    if torch.compiler.is_compiling():  # one graph for any number of coordinates
        return (-root * (a[:, :, None] - b[:, None]).abs()).exp().mean(-1)
    total = a.new_zeros(())
    for one, other in zip(a.unbind(-1), b.unbind(-1), strict=True):
        total = total + (-root * (one[:, :, None] - other[:, None]).abs()).exp()
    return total / a.shape[-1]


KERNELS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "rbf": lambda a, b: (-squared_distances(a, b) / 2).exp(),
    "linear": lambda a, b: a @ b.mT,
    "cosine": lambda a, b: normalize(a, dim=-1) @ normalize(b, dim=-1).mT,
    "additive": additive,
}
ITSELF: dict[str, Callable[[Tensor], Tensor]] = {
    "rbf": lambda z: torch.ones_like(z[..., :1]),
    "linear": lambda z: z.square().sum(-1, keepdim=True),
    "cosine": lambda z: torch.ones_like(z[..., :1]),
    "additive": lambda z: torch.ones_like(z[..., :1]),
}
"""The kernels between each point and itself."""
WITH_LENGTH = ("rbf", "additive")
"""Kernels that dividing their inputs changes in more than size."""


class Kernel(NamedTuple):
    """One summand of a covariance.

    Args:
        name: A name of `KERNELS`.
        variance: By which it is multiplied; a number, or [task, 1, 1] where tasks differ.
        length: By which inputs are divided; likewise.
    """

    name: str
    variance: Float[Tensor, "*#task"]
    length: Float[Tensor, "*#task"] | float = 1.0

"""Exact inference in Gaussian processes, for many tasks at once and with padding (Rasmussen & Williams, 2006).

It is written out: with a task axis and masks it is one Cholesky factor (their algorithm 2.1), for which a library of
Gaussian processes would be a dependency without gain.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor
from torch.nn.functional import normalize

from quickstudy.tensors import squared_distances

KERNELS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "rbf": lambda a, b: (-squared_distances(a, b) / 2).exp(),
    "linear": lambda a, b: a @ b.mT,
    "cosine": lambda a, b: normalize(a, dim=-1) @ normalize(b, dim=-1).mT,
}
ITSELF: dict[str, Callable[[Tensor], Tensor]] = {
    "rbf": lambda z: torch.ones_like(z[..., :1]),
    "linear": lambda z: z.square().sum(-1, keepdim=True),
    "cosine": lambda z: torch.ones_like(z[..., :1]),
}
"""The kernels between each point and itself."""


class Process(NamedTuple):
    """A Gaussian process with mean zero.

    Args:
        kernel: A name of `KERNELS`.
        variance: Of the process; a number, or [task, 1, 1] where tasks differ.
        noise: The variance of the noise on every target; likewise.
        length: By which inputs are divided; likewise.
    """

    kernel: str
    variance: Float[Tensor, "*#task"]
    noise: Float[Tensor, "*#task"]
    length: Float[Tensor, "*#task"] | float = 1.0

    def covariance(self, a: Float[Tensor, "task a d"], b: Float[Tensor, "task b d"]) -> Float[Tensor, "task a b"]:
        return self.variance * KERNELS[self.kernel](a / self.length, b / self.length)

    def observe(
        self, z: Float[Tensor, "task example d"], y: Shaped[Tensor, "task example target"], exists: Bool[Tensor, "..."]
    ) -> tuple[dict[str, Tensor], Float[Tensor, " task"]]:
        """What predictions need of some examples, and minus the log marginal likelihood of their targets, in nats.

        Padding counts for a target of 0 that has variance 1 and tells of nothing.
        """
        y = y.to(z.dtype) * exists[..., None]
        covariance = self.covariance(z, z) * (exists[:, None] & exists[..., None])
        noise = torch.where(exists[..., None], self.noise, 1.0)[..., 0].diag_embed()
        cholesky = torch.linalg.cholesky(covariance + noise)
        weights = torch.cholesky_solve(y, cholesky)
        volume = cholesky.diagonal(dim1=1, dim2=2).log().sum(1) + exists.sum(1).to(z.dtype) * math.log(2 * math.pi) / 2
        nats = (y * weights).sum((1, 2)) / 2 + y.shape[-1] * volume
        return {"z": z, "exists": exists, "cholesky": cholesky, "weights": weights}, nats

    def predict(
        self, memory: dict[str, Tensor], z: Float[Tensor, "task query d"]
    ) -> tuple[Float[Tensor, "task query target"], Float[Tensor, "task query 1"]]:
        """The mean and the variance of every query's targets, each by itself."""
        between = self.covariance(z, memory["z"]) * memory["exists"][:, None]  # [T, Q, S]
        known = torch.linalg.solve_triangular(memory["cholesky"], between.mT, upper=False).square().sum(1)
        own = self.variance * ITSELF[self.kernel](z / self.length)  # [T, Q, 1]
        return between @ memory["weights"], (own - known[..., None]).clamp(min=0) + self.noise

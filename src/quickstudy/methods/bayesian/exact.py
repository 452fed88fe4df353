"""Exact inference in Gaussian processes, for many tasks at once and with padding (Rasmussen & Williams, 2006).

It is written out: with a task axis and masks it is one Cholesky factor (their algorithm 2.1), for which a library of
Gaussian processes would be a dependency without gain.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from quickstudy.methods.bayesian.kernels import ITSELF, KERNELS, Kernel


class Process(NamedTuple):
    """A Gaussian process with mean zero.

    Args:
        kernels: Whose sum is its covariance.
        noise: The variance of the noise on every target; a number, or [task, 1, 1] where tasks differ.
    """

    kernels: Sequence[Kernel]
    noise: Float[Tensor, "*#task"]

    def covariance(self, a: Float[Tensor, "task a d"], b: Float[Tensor, "task b d"]) -> Float[Tensor, "task a b"]:
        each = [k.variance * KERNELS[k.name](a / k.length, b / k.length) for k in self.kernels]
        return torch.stack(each).sum(0)

    def observe(
        self, z: Float[Tensor, "task example d"], y: Shaped[Tensor, "task example target"], exists: Bool[Tensor, "..."]
    ) -> tuple[dict[str, Tensor], Float[Tensor, " task"]]:
        """What predictions need of some examples, and minus the log marginal likelihood of their targets, in nats.

        Padding counts for a target of 0 that has variance 1 and tells of nothing; it lies in the middle of the others,
        so that inputs far from the origin keep their distances' digits. It is computed in double precision: of points
        that lie close together, or of large covariances, single precision finds no Cholesky factor.
        """
        shown = exists[..., None]
        z = z.where(shown, (z * shown).sum(1, keepdim=True) / shown.sum(1, keepdim=True).clamp(min=1))
        y = y.double() * shown
        covariance = self.covariance(z.double(), z.double()) * (exists[:, None] & shown)
        noise = torch.where(shown, self.noise, 1.0)[..., 0].diag_embed()
        cholesky = torch.linalg.cholesky(covariance + noise)
        weights = torch.cholesky_solve(y, cholesky)
        volume = cholesky.diagonal(dim1=1, dim2=2).log().sum(1) + exists.sum(1).double() * math.log(2 * math.pi) / 2
        nats = (y * weights).sum((1, 2)) / 2 + y.shape[-1] * volume
        memory = {"z": z, "exists": exists, "cholesky": cholesky.to(z.dtype), "weights": weights.to(z.dtype)}
        return memory, nats.to(z.dtype)

    @staticmethod
    def left_out(
        memory: dict[str, Tensor],
    ) -> tuple[Float[Tensor, "task example target"], Float[Tensor, "task example 1"], Float[Tensor, "task example"]]:
        """The mean and the variance of every observed target, given all the others, and minus its log-likelihood.

        In closed form from the inverse covariance (Rasmussen & Williams, 2006, eqs. 5.10 to 5.12).
        """
        cholesky, weights = memory["cholesky"], memory["weights"]
        variance = 1 / torch.cholesky_inverse(cholesky).diagonal(dim1=1, dim2=2)[..., None]  # [T, S, 1]
        away = weights * variance
        nats = (away.square() / variance + (2 * math.pi * variance).log()).sum(-1) / 2
        return cholesky @ (cholesky.mT @ weights) - away, variance, nats

    def predict(
        self, memory: dict[str, Tensor], z: Float[Tensor, "task query d"]
    ) -> tuple[Float[Tensor, "task query target"], Float[Tensor, "task query 1"]]:
        """The mean and the variance of every query's targets, each by itself."""
        between = self.covariance(z, memory["z"]) * memory["exists"][:, None]  # [T, Q, S]
        known = torch.linalg.solve_triangular(memory["cholesky"], between.mT, upper=False).square().sum(1)
        own = torch.stack([k.variance * ITSELF[k.name](z / k.length) for k in self.kernels]).sum(0)  # [T, Q, 1]
        return between @ memory["weights"], (own - known[..., None]).clamp(min=0) + self.noise

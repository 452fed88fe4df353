"""Curves drawn from Gaussian processes, the benchmark of neural processes (Kim et al., 2019; Lee et al., 2020).

https://arxiv.org/abs/1901.05761, https://arxiv.org/abs/2008.02956
"""

import math
from collections.abc import Callable
from typing import Literal, NamedTuple, get_args

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution

from quickstudy.contract import Episodes, Examples, gaussian

Kernel = Literal["rbf", "matern52", "periodic"]
FEWEST = 3
"""Support points, and query points, of a task at least."""


class Hyperparameters(NamedTuple):
    """Of the process that each task's curve was drawn from; only the periodic kernel has a period."""

    lengthscale: Float[Tensor, "task 1 1"]
    scale: Float[Tensor, "task 1 1"]
    period: Float[Tensor, "task 1 1"]


class GPCurves:
    """Regression tasks: curves of Gaussian processes of unknown hyper-parameters, at points uniform in [-2, 2].

    Lengthscales are uniform in [0.1, 0.6], scales in [0.1, 1], periods in [0.1, 0.5]. Each batch has its own number of
    support points, uniform from 3 to `points` - 4, and of query points, uniform from 3 to what is left of `points` - 1.

    Args:
        kernel: "rbf", "matern52" or "periodic".
        points: One more than a task has points at most.
        noise: The standard deviation of the noise on every target.

    Raises:
        ValueError: An unknown kernel, too few points, or no noise.
    """

    def __init__(self, kernel: Kernel = "rbf", *, points: int = 50, noise: float = 0.02):
        if kernel not in get_args(Kernel):
            raise ValueError(f"a kernel is one of {', '.join(get_args(Kernel))}; not {kernel!r}.")
        if points < 2 * FEWEST + 1 or noise <= 0:
            raise ValueError(f"points is at least {2 * FEWEST + 1} and noise above 0; got {points} and {noise}.")
        self.kernel, self.points, self.noise = kernel, points, noise

    def sample(self, tasks: int, generator: torch.Generator) -> Episodes:
        """A batch of tasks, a function of the generator's state alone; all with as many points."""
        return self.draw(tasks, generator)[0]

    def draw(self, tasks: int, generator: torch.Generator) -> tuple[Episodes, Hyperparameters]:
        """A batch of tasks, and the hyper-parameters behind them, which no learner is told."""
        support = int(torch.randint(FEWEST, self.points - FEWEST, (), generator=generator))
        query = int(torch.randint(FEWEST, self.points - support, (), generator=generator))
        uniform = torch.rand(3, tasks, 1, 1, generator=generator).double()
        hyper = Hyperparameters(0.1 + 0.5 * uniform[0], 0.1 + 0.9 * uniform[1], 0.1 + 0.4 * uniform[2])
        x = 4 * torch.rand(tasks, support + query, 1, generator=generator) - 2
        root = torch.linalg.cholesky(self._noisy(x.double(), hyper))
        y = (root @ torch.randn(x.shape, generator=generator).double()).float()
        return Episodes(Examples(x[:, :support], y[:, :support]), Examples(x[:, support:], y[:, support:])), hyper

    def posterior(self, episodes: Episodes, hyper: Hyperparameters) -> Distribution:
        """The exact predictive distribution of each query's target by itself, given the support set.

        In double precision. No learner, which must infer the hyper-parameters, has a higher mean log-likelihood: by
        default about 1.53 nats per query for the RBF kernel, 1.12 for Matern-5/2 and 1.18 for the periodic one.
        """
        support, query = episodes.support, episodes.query
        x, targets = support.x.double(), query.x.double()
        root = torch.linalg.cholesky(self._noisy(x, hyper))
        cross = torch.linalg.solve_triangular(root, self.covariance(x, targets, hyper), upper=False)  # [T, S, Q]
        white = torch.linalg.solve_triangular(root, support.y.double(), upper=False)  # [T, S, 1]
        variance = hyper.scale.square() + self.noise**2 - cross.square().sum(1)[..., None]
        return gaussian(cross.mT @ white, variance.sqrt())

    def covariance(
        self, a: Float[Tensor, "task a 1"], b: Float[Tensor, "task b 1"], hyper: Hyperparameters
    ) -> Float[Tensor, "task a b"]:
        """The prior covariance of the curves at two sets of points, without the noise."""
        return hyper.scale.square() * CORRELATIONS[self.kernel]((a - b.mT).abs(), hyper)

    def _noisy(self, x: Tensor, hyper: Hyperparameters) -> Tensor:
        return self.covariance(x, x, hyper) + self.noise**2 * torch.eye(x.shape[1], dtype=x.dtype)


def matern52(distance: Tensor, hyper: Hyperparameters) -> Tensor:
    d = math.sqrt(5) * distance / hyper.lengthscale
    return (1 + d + d.square() / 3) * (-d).exp()


CORRELATIONS: dict[str, Callable[[Tensor, Hyperparameters], Tensor]] = {
    "rbf": lambda distance, hyper: (-0.5 * (distance / hyper.lengthscale).square()).exp(),
    "matern52": matern52,
    "periodic": lambda distance, hyper: (
        -2 * ((math.pi * distance / hyper.period).sin() / hyper.lengthscale).square()
    ).exp(),
}
"""The correlation of two points' values, as a function of their distance."""

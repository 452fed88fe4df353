"""What a learner's answers are worth, as other tasks tell it, for any number of classes and of examples of each."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import minimize_scalar
from torch import Tensor

from quickstudy.confidence import nats

SPREAD = 0.35
"""Standard deviation of the logarithm of tasks' temperatures, as far as one task's own are believed."""
GRID = np.linspace(0, 1, 51)


class Calibration(NamedTuple):
    """What other tasks tell of a learner's answers, for some number of classes and of examples of each.

    Args:
        temperature: By which its logits are divided, if a task's own examples tell nothing.
        left_out: The temperature of its answers about examples, each left out: with one example less of a class these
            are worth less, or with the same confidence more.
        right: Quantiles, from the least to the most in equal steps, of the probabilities of right classes.
        levels: Likewise of the conformity of right classes; see `conformal.share_below`.
        unlike: Likewise of how unlike all classes queries are; see `none_of_these.unlike`.
    """

    temperature: float
    left_out: float
    right: Sequence[float]
    levels: Sequence[float]
    unlike: Sequence[float]

    def level(self, missed: float) -> float:
        """The conformity that all right classes exceed but this share of them."""
        return float(np.interp(missed, GRID, self.levels))

    def warmth(self, log: Float[Tensor, "example way"], y: Int[Tensor, " example"]) -> float:
        """How many times other tasks' temperature is one task's likeliest.

        Its own examples count by their likelihood, other tasks by a Gaussian prior over its logarithm.

        Args:
            log: Log-probabilities of the task's examples, each left out; perhaps of none.
            y: Their classes.
        """
        if not len(y):
            return 1.0

        def energy(shift: float) -> float:
            own = len(y) * nats([(log, y)], self.left_out * math.exp(shift))
            return own + shift**2 / (2 * SPREAD**2)

        found = minimize_scalar(energy, bounds=(-4 * SPREAD, 4 * SPREAD), method="bounded")
        return math.exp(found.x)  # pyright: ignore[reportAttributeAccessIssue]


def between(measured: Mapping[int, Calibration], number: float | int) -> Calibration | None:
    """For any number of classes or examples: along lines between those known, in logarithms; None where none is."""
    if not measured:
        return None
    numbers = sorted(measured)
    above = next((known for known in numbers if known >= number), numbers[-1])
    below = max((known for known in numbers if known <= number), default=numbers[0])
    low, high = measured[below], measured[above]
    if above == below:
        return low
    share = math.log(number / below) / math.log(above / below)

    def line(low: Sequence[float], high: Sequence[float]) -> list[float]:
        return ((1 - share) * np.asarray(low) + share * np.asarray(high)).tolist()

    temperatures = np.exp(line(np.log(low[:2]).tolist(), np.log(high[:2]).tolist())).tolist()
    return Calibration(*temperatures, *(line(*both) for both in zip(low[2:], high[2:], strict=True)))

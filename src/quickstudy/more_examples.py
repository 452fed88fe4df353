"""How many more examples would help: accuracy against their number, estimated on the examples that there are."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int, Shaped
from scipy.stats import binomtest
from torch import Tensor

from quickstudy.contract import Examples, MetaLearner
from quickstudy.left_out import of_embeddings
from quickstudy.seeds import seeded
from quickstudy.tensors import known, widest

DRAWS, LEAST_ERROR = 30, 1e-3


class Curve(NamedTuple):
    """Accuracy against the number of examples of each class.

    Args:
        accuracy: As it was measured, for 1 up to one less than the smallest class has.
        low, high: Its 95% interval, as if each example had been asked for once.
        twice: What to expect with twice as many as now; None where two measurements are not there to draw a line by.
    """

    accuracy: dict[int, float]
    low: dict[int, float]
    high: dict[int, float]
    twice: tuple[int, float] | None


@torch.no_grad()
def more_examples(
    learner: MetaLearner, x: Shaped[Tensor, "example *x"], y: Int[Tensor, " example"], ways: int, *, seed: int = 0
) -> Curve:
    """What accuracy a learner reaches on these classes with fewer examples than there are, and so perhaps with more.

    For each number, tasks are drawn from the examples: so many of each class to learn from, and one more to ask for.
    The error is taken to fall as a power of the number (Cortes et al., 1994), a line in logarithms, which is drawn
    through what was measured and on to twice as many as now. https://papers.nips.cc/paper/803

    Args:
        learner: Of classes; in evaluation mode.
        x: All examples, encoded.
        y: Their labels, in [0, ways).
        ways: The number of classes.
        seed: Of the draws.

    Raises:
        ValueError: A class with one example, of which none can be asked for.
    """
    counts = torch.bincount(y, minlength=ways)
    fewest = int(counts.min())
    if fewest < 2:
        raise ValueError(
            f"accuracy is told by examples that are left out, and class {int(counts.argmin())} has {fewest}; needed 2."
        )
    shown, rows = of_embeddings(learner, x)
    wide, accuracy, low, high = widest(learner, x[:1], ways), {}, {}, {}
    for shots in range(1, fewest):
        generator = seeded(seed, "more examples", shots)
        drawn = torch.stack([draw(y, ways, shots + 1, generator) for _ in range(DRAWS)])  # [T, W, K + 1]
        support, asked = drawn[:, :, 1:].flatten(1), drawn[:, :, 0]
        memory = shown.adapt(Examples(rows[support], y[support], wide))
        answers = known(shown.predict(memory, rows[asked]), ways).argmax(-1)
        accuracy[shots] = (answers == y[asked]).double().mean().item()
        low[shots], high[shots] = wilson(round(accuracy[shots] * len(y)), len(y))
    return Curve(accuracy, low, high, extrapolated(accuracy, 2 * fewest))


def wilson(right: int, asked: int) -> tuple[float, float]:
    """The 95% interval of Wilson (1927) of an accuracy, as if examples were drawn independently."""
    found = binomtest(right, asked).proportion_ci(method="wilson")
    return float(found.low), float(found.high)


def draw(y: Int[Tensor, " example"], ways: int, count: int, generator: torch.Generator) -> Int[Tensor, "way count"]:
    """So many different examples of each class."""
    places = [(y == way).nonzero()[:, 0] for way in range(ways)]
    return torch.stack([some[torch.randperm(len(some), generator=generator)[:count]] for some in places])


def extrapolated(accuracy: dict[int, float], shots: int) -> tuple[int, float] | None:
    """The accuracy at a number of examples, along a line through the logarithms of errors; never below the last."""
    if len(accuracy) < 2:
        return None
    numbers, errors = np.log(list(accuracy)), np.log([max(1 - one, LEAST_ERROR) for one in accuracy.values()])
    slope, at_one = np.polyfit(numbers, errors, 1)
    return shots, max(1 - float(np.exp(at_one + slope * np.log(shots))), accuracy[max(accuracy)])

"""Labels that a learner doubts when it is shown the other examples only, and how often it is right then."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from quickstudy.left_out import left_out
from quickstudy.more_examples import more_examples, wilson
from quickstudy.ready import Ready

ENOUGH = 0.9
"""The probability of another class from which on a label is in doubt, whatever is usual of that class."""


@dataclass(frozen=True)
class LeftOut:
    """What a learner said of each example, shown the others.

    Args:
        items: The examples, those aside that are the only one of their class.
        labels: Theirs.
        classes: All classes.
        probabilities: Of each example's class.
        twice: The accuracy to expect with twice as many of each class, and that number; None where too few are there.
    """

    items: Sequence[str]
    labels: Sequence[str]
    classes: Sequence[str]
    probabilities: Float[np.ndarray, "example way"]
    twice: tuple[int, float] | None = None

    @property
    def answers(self) -> list[str]:
        """The likeliest class of each example."""
        return [self.classes[int(likeliest)] for likeliest in self.probabilities.argmax(1)]

    @property
    def right(self) -> int:
        """How many of them agree with the label."""
        return sum(answer == label for answer, label in zip(self.answers, self.labels, strict=True))

    @property
    def interval(self) -> tuple[float, float]:
        """The 95% interval of Wilson (1927) of the accuracy, as if examples were drawn independently."""
        return wilson(self.right, len(self.labels))


def of_others(ready: Ready, x: Any, items: Sequence[str], labels: Sequence[str]) -> LeftOut:
    """What a learner says of each example, shown the others.

    How examples are encoded is taken from all of them, as nothing of it depends on labels.

    Args:
        ready: The learner.
        x: The examples.
        items: What they are called.
        labels: Their classes, two at least.

    Raises:
        ValueError: More classes than the learner was built for.
    """
    classes, numbers = np.unique(labels, return_inverse=True)
    encoded, y = ready.inputs.fit(x)(x), torch.as_tensor(numbers)
    log = left_out(ready.learner, encoded, y, len(classes))
    told = ~log.isnan().any(1).numpy()
    others = ready.calibration(len(classes), len(labels) / len(classes))
    temperature = others.left_out * others.warmth(log[told].double(), y[told]) if others else 1.0
    probabilities = (log / temperature).softmax(-1).double().numpy()
    kept = np.flatnonzero(told).tolist()
    single = int(torch.bincount(y).min()) < 2
    twice = None if single else more_examples(ready.learner, encoded, y, len(classes)).twice
    return LeftOut([items[i] for i in kept], [labels[i] for i in kept], classes.tolist(), probabilities[kept], twice)


def doubtful(found: LeftOut) -> list[tuple[int, str]]:
    """The examples whose label is probably another, and which, the surest first.

    By the rule of confident learning (Northcutt, Jiang & Chuang, 2021, eq. 1): an example counts for the likeliest of
    the classes whose probability is at least what is usual of that class, its mean over the examples labelled so. If
    that is another class than its label, the label is in doubt. https://arxiv.org/abs/1911.00068

    Other than there, 90% is enough whatever is usual: where classes lie far apart, half of all examples are a little
    below their class's mean.
    """
    probabilities, labels = found.probabilities, np.searchsorted(found.classes, found.labels)
    rows, ways = np.arange(len(labels)), range(len(found.classes))
    usual = np.array([probabilities[labels == c, c].mean() if (labels == c).any() else np.inf for c in ways])
    confident = np.where(probabilities >= np.minimum(usual, ENOUGH), probabilities, -np.inf)  # eq. 1
    likeliest = confident.argmax(1)
    margin = probabilities[rows, likeliest] - probabilities[rows, labels]
    chosen = np.flatnonzero(np.isfinite(confident.max(1)) & (likeliest != labels) & (margin > 0))
    ordered = chosen[np.argsort(-margin[chosen], kind="stable")].tolist()
    return [(i, found.classes[int(likeliest[i])]) for i in ordered]

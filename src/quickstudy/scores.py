"""What answers are worth: scores per task, intervals over tasks, calibration."""

import math
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.special import stdtrit
from torch import Tensor
from torch.distributions import Categorical, Distribution

from quickstudy.contract import Examples, categorical, log_likelihoods, mean_over, valid
from quickstudy.tensors import known

BINS = 15
"""Bins of equal width over confidence, for the calibration error and the reliability diagram."""

Metric: TypeAlias = Callable[[Distribution, Examples], Float[Tensor, " task"]]
"""A score of each task, from what was predicted of its queries and the queries themselves."""


class Interval(NamedTuple):
    """A mean and the half-width of its 95% interval."""

    mean: float
    half_width: float

    def __str__(self) -> str:
        return f"{self.mean:.2%} ± {self.half_width:.2%}"

    def plain(self, digits: int = 3) -> str:
        """For scores that are no fractions, such as nats."""
        return f"{self.mean:.{digits}f} ± {self.half_width:.{digits}f}"


def interval(scores: Float[Tensor, " task"], draws: Int[Tensor, " task"] | None = None) -> Interval:
    """Mean score over tasks, with the 95% interval that few-shot papers print after the ± sign.

    The half-width is 1.96 s / sqrt(T), with s the unbiased standard deviation *across tasks*: the task is the unit
    that was sampled, not the query example. The difference of two learners on the same episodes is such a score too.

    Where tasks were drawn several at a time and share what was drawn, such as their number of shots, the draw is the
    unit: deviations are summed up draw by draw, and Student's t takes the place of 1.96 (Cameron & Miller, 2015,
    section II). A single draw tells nothing of the spread: its half-width is infinite.
    https://doi.org/10.3368/jhr.50.2.317

    Args:
        scores: One score per task, e.g. accuracies in [0, 1].
        draws: Of which draw each task is, counted from zero; None where tasks are drawn one by one.

    Raises:
        ValueError: Fewer than two tasks, from which no spread can be told.

    Example:
        >>> print(interval(torch.tensor([0.4, 0.6, 0.5, 0.5])))
        50.00% ± 8.00%
    """
    if len(scores) < 2:
        raise ValueError(f"an interval needs at least 2 episodes, not {len(scores)}.")
    scores = scores.double()
    mean = scores.mean().item()
    if draws is None:
        return Interval(mean, 1.96 * scores.std().item() / len(scores) ** 0.5)
    count = int(draws.max()) + 1
    if count == 1:
        return Interval(mean, math.inf)
    sums = scores.new_zeros(count).index_add(0, draws, scores - mean)
    spread = (sums.square().sum().item() * count / (count - 1)) ** 0.5
    return Interval(mean, float(stdtrit(count - 1, 0.975)) * spread / len(scores))


def calibration_error(bins: Float[Tensor, "bin 3"]) -> float:
    return ((bins[:, 1] - bins[:, 2]).abs().sum() / bins[:, 0].sum()).item()


def tempered(predicted: Distribution, temperature: float) -> Distribution:
    """A distribution over classes with its logits divided by a temperature: surer below 1, less sure above.

    Raises:
        TypeError: A distribution over numbers.
    """
    if not isinstance(predicted, Categorical):
        raise TypeError(f"a temperature divides the logits of classes; {type(predicted).__name__} has none.")
    return categorical(predicted.logits / temperature)


def sets(predicted: Distribution, threshold: float, query: Examples) -> dict[str, Tensor]:
    """Scores per episode of the sets of classes that have this probability: whether right, and how large.

    Raises:
        TypeError: A distribution over numbers.
    """
    if not isinstance(predicted, Categorical):
        raise TypeError(f"a prediction set is of classes; {type(predicted).__name__} has none.")
    within = predicted.probs >= threshold  # [T, Q, W]
    right = within.gather(-1, query.y[..., None])[..., 0]
    return {"covered": mean_over(query, right.float()), "set_size": mean_over(query, within.sum(-1).float())}


def score(predicted: Distribution, query: Examples) -> tuple[dict[str, Tensor], Tensor | None]:
    """Scores per episode, and for classification the reliability bins; an answer that is no number (NaN) is wrong."""
    exists = valid(query)
    scores = {"log_likelihood": mean_over(query, log_likelihoods(predicted, query))}
    if query.ways is None:
        return {"squared_error": mean_over(query, (predicted.mean - query.y).square().sum(-1)), **scores}, None
    confidence, answer = predicted.probs.max(-1)  # pyright: ignore[reportAttributeAccessIssue]
    correct = ((answer == query.y) & ~confidence.isnan()).to(confidence.dtype)
    return {"accuracy": mean_over(query, correct), **scores}, reliability(confidence[exists], correct[exists])


def reliability(confidence: Float[Tensor, " query"], correct: Float[Tensor, " query"]) -> Float[Tensor, "bin 3"]:
    """Rows of (queries, sum of confidences, number correct), one per bin of equal width over (0, 1]; of NaN, none."""
    confidence, correct = confidence.double().cpu().nan_to_num(0), correct.double().cpu()
    which = (confidence * BINS).ceil().long().clamp(1, BINS) - 1
    values = torch.stack([torch.ones_like(confidence), confidence, correct], -1)  # [Q, 3]
    return torch.zeros(BINS, 3, dtype=torch.float64).index_add_(0, which, values)


def roc_auc(predicted: Distribution, query: Examples) -> Float[Tensor, " task"]:
    """The area under the ROC curve of each task: of class 1 with two classes, else the mean over classes of each
    against the others.

    A task has none whose queries lack one of its classes, or are all of one, or where an answer is no number: NaN.

    Raises:
        TypeError: A distribution over numbers.
    """
    from sklearn.metrics import roc_auc_score

    return of_each_class(predicted, query, lambda right, probability: float(roc_auc_score(right, probability)))


def delta_auprc(predicted: Distribution, query: Examples) -> Float[Tensor, " task"]:
    """The average precision of each task, minus the share of its positives: what guessing would have.

    Of class 1 with two classes, else the mean over classes (Stanley et al., 2021, FS-Mol).
    https://openreview.net/forum?id=701FtuyLlAd

    Raises:
        TypeError: A distribution over numbers.
    """
    from sklearn.metrics import average_precision_score

    return of_each_class(
        predicted, query, lambda right, probability: float(average_precision_score(right, probability) - right.mean())
    )


def log_odds(logits: Float[Tensor, "*query way"]) -> Float[Tensor, "*query way"]:
    """The logarithm of how likely each class is, over how likely all others are together."""
    others = torch.eye(logits.shape[-1], dtype=torch.bool, device=logits.device)
    return logits - logits[..., None, :].masked_fill(others, -torch.inf).logsumexp(-1)


def of_each_class(
    predicted: Distribution, query: Examples, score: Callable[[np.ndarray, np.ndarray], float]
) -> Float[Tensor, " task"]:
    """The mean over the classes of each task of a score of that class; of class 1 alone where there are two.

    Queries are ranked by log-odds: of probabilities near 1, single precision makes ties.
    """
    if not isinstance(predicted, Categorical):
        raise TypeError(f"classes are ranked by their probabilities; {type(predicted).__name__} has none.")
    found = []
    shown = known(predicted, query.ways or predicted.logits.shape[-1])
    for logits, y, exists in zip(shown, query.y, valid(query), strict=True):
        told, right = log_odds(logits[exists].double()).cpu().numpy(), y[exists].cpu().numpy()
        ways = (1,) if told.shape[-1] == 2 else range(told.shape[-1])
        both = all(0 < (right == way).sum() < len(right) for way in ways) and not np.isnan(told).any()
        each = [score(right == way, told[:, way]) for way in ways] if both else [float("nan")]
        found.append(sum(each) / len(each))
    return torch.tensor(found, dtype=torch.float64)

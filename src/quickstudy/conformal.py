"""Prediction sets for one small task, which learn from its own examples what is unlikely and from other tasks how much.

An example's own examples, each left out, say how likely a right class is found in this task; with few of them that is
coarse, so queries of other tasks lend a little weight. As leaving one out leaves a class with one example less, right
classes are found less likely so than later, when all are there: other tasks also say which share this hides.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from quickstudy.confidence import fit_confidence
from quickstudy.contract import Episodes, Examples, MetaLearner
from quickstudy.evaluation import episode_list
from quickstudy.left_out import left_out
from quickstudy.none_of_these import embeddings, sees_embeddings, unlike
from quickstudy.tasks import Tasks
from quickstudy.tensors import class_means, known

LENT = 5.0
"""Examples that the queries of other tasks count for."""
GRID = np.linspace(0, 1, 51)


class Calibration(NamedTuple):
    """What other tasks tell of a learner's answers, for some number of examples of a class.

    Args:
        temperature: By which its logits are divided.
        right: Quantiles, from the least to the most in equal steps, of the probabilities of right classes.
        levels: Likewise of the conformity of right classes; see `share_below`.
        unlike: Likewise of how unlike all classes queries are; see `none_of_these.unlike`.
    """

    temperature: float
    right: Sequence[float]
    levels: Sequence[float]
    unlike: Sequence[float]

    def level(self, missed: float) -> float:
        """The conformity that all right classes exceed but this share of them."""
        return float(np.interp(missed, GRID, self.levels))


class Own(NamedTuple):
    """What a task's own examples tell of those to come, each left out of the support set; perhaps none can be.

    Args:
        right: The probability of its right class, tempered.
        unlike: How unlike all classes it is.
        centres: The mean embedding of each class; None where a method sees more than embeddings.
    """

    right: Float[np.ndarray, " example"]
    unlike: Float[np.ndarray, " example"]
    centres: Float[Tensor, "way d"] | None


def share_below(
    values: Float[np.ndarray, "*axes"], own: Float[np.ndarray, " example"], others: Sequence[float] | None
) -> Float[np.ndarray, "*axes"]:
    """The share of examples that have no more than these values.

    Args:
        values: Any number.
        own: Of this task's examples; perhaps none.
        others: Quantiles of those of other tasks' queries, which count for a few more. Where nothing is known of other
            tasks it is None, and the one that is asked for counts as another (Vovk et al., 2005): a task without
            examples of its own can exclude nothing.
    """
    below = np.searchsorted(np.sort(own), values, side="right")
    if others is None:
        return (below + 1) / (len(own) + 1)
    return (below + LENT * np.interp(values, others, GRID)) / (len(own) + LENT)


def sets(
    probabilities: Float[np.ndarray, "query way"], own: Own, told: Calibration | None, missed: float
) -> Bool[np.ndarray, "query way"]:
    """The classes of each query's prediction set, of tempered probabilities."""
    shares = share_below(probabilities, own.right, told and told.right)
    return shares > (told.level(missed) if told else missed)


def share_less_unlike(
    scores: Float[np.ndarray, " query"], own: Own, told: Calibration | None
) -> Float[np.ndarray, " query"]:
    """The share of examples of a task's classes that are less unlike these than each query is; see `unlike_of`."""
    return 1 - share_below(-scores, -own.unlike, told and [-value for value in reversed(told.unlike)])


@torch.no_grad()
def of_own(
    learner: MetaLearner, x: Shaped[Tensor, "example *x"], y: Int[Tensor, " example"], ways: int, temperature: float
) -> Own:
    """What some examples tell; those apart that are the only ones of their class."""
    p = (left_out(learner, x, y, ways).double() / temperature).softmax(-1)
    told = ~p[:, 0].isnan()
    right, surest = p.gather(-1, y[:, None])[told, 0].numpy(), p.max(-1).values
    if not sees_embeddings(learner):
        return Own(right, (1 - surest)[told].numpy(), None)
    z = embeddings(learner, x[None])
    centres = class_means(z, Examples(x[None], y[None], ways))  # [1, W, D]
    count = torch.bincount(y, minlength=ways)[y][:, None]
    without = centres[0].expand(len(y), -1, -1).clone()  # [S, W, D]
    without[torch.arange(len(y)), y] = (count * centres[0, y] - z[0]) / (count - 1).clamp(min=1)
    scores = unlike(surest[:, None], z[0, :, None].double(), without.double())[:, 0]
    return Own(right, scores[told].numpy(), centres[0])


def unlike_of(
    learner: MetaLearner, own: Own, x: Shaped[Tensor, "query *x"], probabilities: Float[np.ndarray, "query way"]
) -> Float[np.ndarray, " query"]:
    """How unlike all classes queries are, which have these probabilities, tempered."""
    with torch.no_grad():
        return unlike_seen(own, None if own.centres is None else embeddings(learner, x[None])[0], probabilities)


def unlike_seen(
    own: Own, z: Float[Tensor, "query d"] | None, probabilities: Float[np.ndarray, "query way"]
) -> Float[np.ndarray, " query"]:
    """`unlike_of` queries whose embeddings are known already, or are None where a method sees more than these."""
    surest = torch.from_numpy(probabilities).max(-1).values
    if own.centres is None or z is None:
        return (1 - surest).numpy()
    return unlike(surest[None], z[None].double(), own.centres[None].double())[0].numpy()


@torch.no_grad()
def calibrate(learner: MetaLearner, tasks: Tasks, *, episodes: int = 200, seed: int = 0) -> Calibration:
    """What some tasks, all with about as many examples of a class, tell of a learner's answers.

    Args:
        learner: Of classes; in evaluation mode.
        tasks: Meta-validation tasks: neither those it was trained on nor those it will be tested on.
        episodes, seed: See `evaluate`.
    """
    temperature = fit_confidence(learner, tasks, episodes=episodes, seed=seed).temperature
    found = [
        answered(learner, episode, temperature) for batch in episode_list(tasks, episodes, seed) for episode in batch
    ]
    rights = [np.take_along_axis(p, y[:, None], 1)[:, 0] for p, y, _, _ in found]
    right = np.quantile(np.concatenate(rights), GRID)
    shares = [share_below(p, own.right, right.tolist()) for p, (_, _, own, _) in zip(rights, found, strict=True)]
    levels = np.quantile(np.concatenate(shares), GRID, method="lower")
    strange = np.quantile(np.concatenate([scores for *_, scores in found]), GRID)
    return Calibration(temperature, right.tolist(), levels.tolist(), strange.tolist())


def answered(
    learner: MetaLearner, episode: Episodes, temperature: float
) -> tuple[Float[np.ndarray, "query way"], Int[np.ndarray, " query"], Own, Float[np.ndarray, " query"]]:
    """Of one task: the tempered probabilities of its queries, their classes, what its examples tell, and `unlike`."""
    support, query = episode.support, episode.query
    own = of_own(learner, support.x[0], support.y[0], support.ways or 0, temperature)
    predicted = known(learner.predict(learner.adapt(support), query.x), support.ways or 0)[0]
    p = (predicted.double() / temperature).softmax(-1).numpy()
    return p, query.y[0].numpy(), own, unlike_of(learner, own, query.x[0], p)


def between(measured: Mapping[int, Calibration], shots: float | int) -> Calibration | None:
    """For any number of examples of a class: along lines between those known, in logarithms; None where none is."""
    if not measured:
        return None
    numbers = sorted(measured)
    above = next((number for number in numbers if number >= shots), numbers[-1])
    below = max((number for number in numbers if number <= shots), default=numbers[0])
    share = 0.0 if above == below else math.log(shots / below) / math.log(above / below)

    def line(low: Sequence[float], high: Sequence[float]) -> list[float]:
        return ((1 - share) * np.asarray(low) + share * np.asarray(high)).tolist()

    low, high = measured[below], measured[above]
    temperature = math.exp(line([math.log(low.temperature)], [math.log(high.temperature)])[0])
    return Calibration(temperature, *(line(*both) for both in zip(low[1:], high[1:], strict=True)))

"""Prediction sets for one small task, which learn from its own examples what is unlikely and from other tasks how much.

An example's own examples, each left out, say how likely a right class is found in this task; with few of them that is
coarse, so queries of other tasks lend a little weight. As leaving one out leaves a class with one example less, right
classes are found less likely so than later, when all are there: other tasks also say which share this hides.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor
from torch.nn.functional import one_hot

from quickstudy.calibration import GRID, Calibration
from quickstudy.confidence import Answers, likeliest_temperature
from quickstudy.contract import Episodes, Examples, MetaLearner, valid
from quickstudy.evaluation import VALIDATION, episode_list
from quickstudy.left_out import left_out
from quickstudy.none_of_these import embeddings, sees_embeddings, unlike
from quickstudy.tasks import Tasks
from quickstudy.tensors import class_means, known

LENT = 5.0
"""Examples that the queries of other tasks count for."""
MOST = 100
"""Examples that are left out, at most."""


class LeftOut(NamedTuple):
    """Log-probabilities of some examples' classes, by a learner that was shown all others; see `left_out`.

    Args:
        which: The examples.
        log: Of each, at no temperature.
    """

    which: Int[Tensor, " some"]
    log: Float[Tensor, "some way"]


class Own(NamedTuple):
    """What a task's own examples tell of those to come, each left out of the support set; perhaps none can be.

    Args:
        temperature: By which this task's logits are divided.
        right: The probability of its right class, tempered.
        unlike: How unlike all classes it is.
        centres: The mean embedding of each class; None where a method sees more than embeddings.
    """

    temperature: float
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
    learner: MetaLearner,
    x: Shaped[Tensor, "example *x"],
    y: Int[Tensor, " example"],
    ways: int,
    told: Calibration | None,
) -> Own:
    """What some examples tell; those apart that are the only ones of their class, and of very many, some alone."""
    return judged(learner, x, y, ways, answers_left_out(learner, x, y, ways), told)


def answers_left_out(
    learner: MetaLearner, x: Shaped[Tensor, "example *x"], y: Int[Tensor, " example"], ways: int
) -> LeftOut:
    """What the learner says of examples, each left out, as many of one class as of another."""
    nth = one_hot(y, ways).cumsum(0)[torch.arange(len(y)), y]
    which = nth.argsort(stable=True)[:MOST].sort().values
    log = left_out(learner, x, y, ways, which).double()
    told = ~log[:, 0].isnan()
    return LeftOut(which[told], log[told])


def judged(
    learner: MetaLearner,
    x: Shaped[Tensor, "example *x"],
    y: Int[Tensor, " example"],
    ways: int,
    found: LeftOut,
    told: Calibration | None,
) -> Own:
    """What examples tell, of which the learner's answers are known already."""
    which, log = found
    temperature = told.temperature * told.warmth(log, y[which]) if told else 1.0
    p = (log / temperature).softmax(-1)
    right, surest = p.gather(-1, y[which, None])[:, 0].numpy(), p.max(-1).values
    if not sees_embeddings(learner):
        return Own(temperature, right, (1 - surest).numpy(), None)
    z = embeddings(learner, x[None])
    centres = class_means(z, Examples(x[None], y[None], ways))  # [1, W, D]
    label, count = y[which], torch.bincount(y, minlength=ways)[y[which], None]
    without = centres[0].expand(len(which), -1, -1).clone()  # [S, W, D]
    without[torch.arange(len(which)), label] = (count * centres[0, label] - z[0, which]) / (count - 1)
    scores = unlike(surest[:, None], z[0, which, None].double(), without.double())[:, 0]
    return Own(temperature, right, scores.numpy(), centres[0])


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
def calibrate(*parts: tuple[MetaLearner, Tasks], episodes: int = 200, seed: int = 0) -> Calibration:
    """What some tasks, all with as many classes and about as many examples of each, tell of a learner's answers.

    Args:
        parts: A learner of classes, in evaluation mode, and meta-validation tasks: neither those that it was trained on
            nor those it will be tested on. In cross-validation several, of learners of one making.
        episodes, seed: See `evaluate`; so many of each part.
    """
    drawn = [
        (learner, Episodes(unpadded(episode.support), unpadded(episode.query)))
        for learner, tasks in parts
        for batch in episode_list(tasks, episodes, seed, VALIDATION)
        for episode in batch
    ]
    shown = [(learner, e.support.x[0], e.support.y[0], e.support.ways or 0) for learner, e in drawn]
    answers = [(asked(learner, episode), episode.query.y[0]) for learner, episode in drawn]
    kept = [answers_left_out(*some) for some in shown]
    logs = [(one.log, y[one.which]) for one, (_, _, y, _) in zip(kept, shown, strict=True) if len(one.which)]
    temperature = likeliest_temperature(with_one_wrong(answers))
    left = likeliest_temperature(with_one_wrong(logs)) if logs else temperature
    told = Calibration(temperature, left, (), (), ())
    owns = [judged(*some, one, told) for some, one in zip(shown, kept, strict=True)]
    ps = [tempered_by(own, logits) for own, (logits, _) in zip(owns, answers, strict=True)]
    rights = [np.take_along_axis(p, y.numpy()[:, None], 1)[:, 0] for p, (_, y) in zip(ps, answers, strict=True)]
    right = np.quantile(np.concatenate(rights), GRID)
    shares = [share_below(p, own.right, right.tolist()) for p, own in zip(rights, owns, strict=True)]
    levels = np.quantile(np.concatenate(shares), GRID, method="lower")
    strange = [unlike_of(one, own, e.query.x[0], p) for own, (one, e), p in zip(owns, drawn, ps, strict=True)]
    unlike = np.quantile(np.concatenate(strange), GRID)
    return told._replace(right=right.tolist(), levels=levels.tolist(), unlike=unlike.tolist())


def unpadded(one: Examples) -> Examples:
    """The examples of a single task that exist."""
    exists = valid(one)[0]
    return Examples(one.x[:, exists], one.y[:, exists], one.ways)


def with_one_wrong(answers: Sequence[Answers]) -> list[Answers]:
    """One query more, of middling certainty, whose right class is the second likeliest: who never erred yet may err."""
    logits = torch.cat([some for some, _ in answers])
    best = logits.topk(2)
    middling = (best.values[:, 0] - best.values[:, 1]).median(0).indices
    return [*answers, (logits[middling, None], best.indices[middling, 1:])]


def asked(learner: MetaLearner, episode: Episodes) -> Float[Tensor, "query way"]:
    """Log-probabilities of one task's queries, at no temperature."""
    support = episode.support
    return known(learner.predict(learner.adapt(support), episode.query.x), support.ways or 0)[0].double()


def tempered_by(own: Own, logits: Float[Tensor, "query way"]) -> Float[np.ndarray, "query way"]:
    """Probabilities at a task's own temperature."""
    return (logits / own.temperature).softmax(-1).numpy()

"""How well a learner learns new tasks: its scores on the same episodes as every other's."""

import hashlib
import math
import statistics
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import NamedTuple, TypeVar

import torch
from jaxtyping import Float, Int
from lightning_fabric import Fabric
from torch import Tensor

from quickstudy.contract import Episodes, MetaLearner
from quickstudy.data.labelled import refuse_data
from quickstudy.embedded import embedded
from quickstudy.engine import Engine, channels_last, now, probe
from quickstudy.scores import Interval, Metric, calibration_error, interval, score, sets, tempered
from quickstudy.seeds import seeded
from quickstudy.tasks import Tasks

Result = TypeVar("Result")

CHUNK = 20
"""Episodes drawn from one seed; part of what defines an episode list, whatever the machine."""
TEST, VALIDATION = "episodes", "validation"
"""What a seed's streams of episodes are called: those that learners are tested on, and those that choose and fit."""


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` found.

    Args:
        scores: One score per episode: "accuracy" (a fraction) or "squared_error", and "log_likelihood" (nats per
            query, higher is better). With a threshold also "covered", the share of queries whose set holds the right
            class, and "set_size", the classes of a set. And those that were asked for by `metrics`.
        bins: Classification only, rows of (queries, sum of confidences, number correct) per bin of confidence.
        adapt_seconds: Median time to learn one task from its examples.
        episodes_hash: SHA-256 over the episodes themselves: equal hashes, equal tests.
        ways: The most classes of a task; None for regression.
        chance: The accuracy of guessing, averaged over episodes; None for regression.
        transductive: Whether queries could see each other.
        engine: How it was computed.
        temperature: By which logits were divided for what is called tempered; None where none was asked for.
        tempered_bins: Like `bins`, at that temperature.
        draws: Where tasks that were drawn together are alike, as in their number of shots, of which draw each episode
            is: intervals are over draws then. None where each was drawn by itself.
    """

    scores: dict[str, Float[Tensor, " episode"]]
    bins: Float[Tensor, "bin 3"] | None
    adapt_seconds: float
    episodes_hash: str
    ways: int | None
    chance: float | None
    transductive: bool
    engine: Engine
    temperature: float | None = None
    tempered_bins: Float[Tensor, "bin 3"] | None = None
    draws: Int[Tensor, " episode"] | None = None

    @property
    def main(self) -> str:
        """The name of the score that learners are compared by."""
        return "squared_error" if self.ways is None else "accuracy"

    @property
    def result(self) -> Interval:
        """The main score, with its 95% interval over episodes."""
        return self.interval(self.main)

    def interval(self, score: str) -> Interval:
        """One of the scores with its 95% interval, over episodes or, where those drawn together are alike, draws."""
        return interval(self.scores[score], self.draws)

    @property
    def goodness(self) -> float:
        """The main score, turned so that more is better; answers that are no numbers (NaN) are worse than any."""
        mean = self.result.mean
        if math.isnan(mean):
            return -math.inf
        return mean if self.ways else -mean

    @property
    def calibration_error(self) -> float | None:
        """Expected calibration error: `|accuracy - confidence|` over 15 bins of equal width, weighted by their queries.

        Over all queries of all episodes; confidence is the highest predicted probability (Guo et al., 2017, eq. 3).
        https://arxiv.org/abs/1706.04599
        """
        return None if self.bins is None else calibration_error(self.bins)

    @property
    def selective(self) -> list[tuple[float, float]]:
        """Selective prediction: (coverage, accuracy) if only the surest queries are answered, from few to all.

        Coverage is the share of queries that are answered; a pair for each bin of confidence that holds any. Classes
        only (El-Yaniv & Wiener, 2010). https://jmlr.org/papers/v11/el-yaniv10a.html
        """
        bins = self.bins if self.tempered_bins is None else self.tempered_bins
        if bins is None:
            return []
        count, _, correct = bins[bins[:, 0] > 0].flip(0).cumsum(0).T
        return list(zip((count / count[-1]).tolist(), (correct / count).tolist(), strict=True))

    @property
    def tempered_calibration_error(self) -> float | None:
        """The calibration error with logits divided by the temperature."""
        return None if self.tempered_bins is None else calibration_error(self.tempered_bins)

    def results(self) -> dict:
        """What was found, as JSON can hold it, every per-episode score included."""
        return {
            **self.result._asdict(),
            "expected_calibration_error": self.calibration_error,
            "temperature": self.temperature,
            "tempered_expected_calibration_error": self.tempered_calibration_error,
            "adapt_ms": self.adapt_seconds * 1000,
            "transductive": self.transductive,
            "engine": str(self.engine),
            "scores": {name: values.tolist() for name, values in self.scores.items()},
        }

    def __str__(self) -> str:
        return str(self.result) if self.ways else self.result.plain()


def episode_list(tasks: Tasks, episodes: int, seed: int = 0, stream: str = TEST) -> Iterator[Episodes]:
    """The fixed episodes of a seed, in chunks; a shorter list is the beginning of a longer one.

    Args:
        tasks, episodes, seed: See `evaluate`.
        stream: Those of tests, or those of validation: of one distribution, not the same tasks.

    Raises:
        TypeError: Labelled data in place of tasks.
        ValueError: The tasks give more or fewer than they are asked for.
    """
    refuse_data(tasks)
    for chunk, start in enumerate(range(0, episodes, CHUNK)):
        batch = tasks.sample(CHUNK, seeded(seed, stream, chunk))
        if len(batch) != CHUNK:
            raise ValueError(
                f"{type(tasks).__name__}.sample was asked for {CHUNK} tasks and gave {len(batch)}; its first argument "
                f"says how many to draw."
            )
        yield batch[: episodes - start]


@torch.no_grad()
def evaluate(
    learner: MetaLearner,
    tasks: Tasks | Sequence[Episodes],
    *,
    episodes: int = 1000,
    seed: int = 0,
    stream: str = TEST,
    temperature: float | None = None,
    threshold: float | None = None,
    metrics: Mapping[str, Metric] = MappingProxyType({}),
    engine: Engine | None = None,
    fabric: Fabric | None = None,
) -> Evaluation:
    """Scores a learner on the fixed test episodes of a seed.

    A learner that sees of an example only its embedding embeds each once, however often it is drawn.

    Args:
        learner: Evaluated as it is, in evaluation mode, on fabric's device; it is left in the mode it was in.
        tasks: Where the episodes come from; or the episodes themselves, a list of batches, all of which are evaluated.
        episodes: How many are drawn from tasks, at least 2.
        seed: Which list of episodes is drawn.
        stream: Of that seed; `tune`, `train` and `fit_confidence` draw from another one, "validation", so that what is
            chosen is not tested on the tasks that chose it where both are of one distribution.
        temperature: Classification only, such as `fit_temperature` finds: what confidences are worth is told for logits
            divided by it too.
        threshold: Classification only, such as `fit_confidence` finds: a query's prediction set is the classes that
            have this probability, tempered where there is a temperature.
        metrics: Further scores by name, such as `{"auc": qs.roc_auc}`; of answers as they are, not tempered.
        engine: How to compute it; found by a short probe unless given.
        fabric: Launched; with several processes each evaluates its share, and all return the whole.

    Warns:
        RuntimeWarning: Answers that are no numbers (NaN), as of a learner whose gradient steps diverge; they are wrong.

    Raises:
        TypeError: Labelled data in place of tasks.
        ValueError: Fewer than 2 episodes, or one without a query.
    """
    refuse_data(tasks)
    count = episodes if isinstance(tasks, Tasks) else sum(len(batch) for batch in tasks)
    if count < 2:
        raise ValueError(f"an interval needs at least 2 episodes, not {count}.")
    results, told = {}, Told()
    asked = Asked(temperature, threshold, metrics)
    drawn = episode_list(tasks, episodes, seed, stream) if isinstance(tasks, Tasks) else tasks
    with judged(learner, fabric):
        light = embedded(learner, tasks, fabric.device if fabric else None)
        for chunk, batch in own_share(map(told.of, drawn), fabric):
            engine = engine or probe(learner, batch, partial(evaluate_batch, learner, asked))
            if light and results:  # the first is evaluated from its examples, and tells how long that takes
                embeddings = light.sample(CHUNK, seeded(seed, stream, chunk), engine)[: len(batch)]
                results[chunk] = (*evaluate_batch(light.learner, asked, engine, embeddings)[:2], None)
            else:
                results[chunk] = evaluate_batch(learner, asked, engine, batch)
    ordered = gathered(results, fabric)
    bins = None if None in told.ways else torch.stack([result[1] for result in ordered]).sum(0)
    scores = {name: torch.cat([result[0][name] for result in ordered]) for name in ordered[0][0]}
    if lost := int(scores["log_likelihood"].isnan().sum()):
        warnings.warn(
            f"in {lost} of {count} tasks the learner gives answers that are no numbers (NaN), which count as wrong; "
            f"where it takes gradient steps, lower their size or their number.",
            RuntimeWarning,
            stacklevel=2,
        )
    return Evaluation(
        scores=scores,
        bins=None if bins is None else bins[0],
        adapt_seconds=statistics.median(result[2] for result in ordered if result[2] is not None),
        episodes_hash=told.digest.hexdigest(),
        ways=None if None in told.ways else max(told.ways),
        chance=None if None in told.ways else sum(1 / w for w in told.ways) / len(told.ways),
        transductive=learner.transductive,
        engine=engine or Engine(),
        temperature=temperature,
        tempered_bins=None if bins is None or temperature is None else bins[1],
        draws=torch.tensor(told.draws) if isinstance(tasks, Tasks) and len(told.sizes) > 1 else None,
    )


class Told:
    """What is told of an episode list beside scores: a digest of its episodes, their ways, draws and sizes.

    Tasks of a batch have one size where nothing is masked. If it differs from batch to batch it was drawn for a batch
    as a whole, and with it perhaps other things that its tasks share.
    """

    def __init__(self):
        self.digest, self.ways, self.draws, self.sizes = hashlib.sha256(), [], [], set()

    def of(self, batch: Episodes) -> Episodes:
        """Takes note of a batch, and passes it on.

        Raises:
            ValueError: A task without a query.
        """
        if batch.query.mask is not None and not batch.query.mask.any(1).all():
            raise ValueError("a task has no query: its mask is false for all of them. Leave such tasks out.")
        for tensor in (batch.support.x, batch.support.y, batch.query.x, batch.query.y):
            self.digest.update(tensor.cpu().contiguous().view(torch.uint8).numpy().tobytes())
        self.ways += [batch.support.ways] * len(batch)
        self.draws += [self.draws[-1] + 1 if self.draws else 0] * len(batch)
        whole = (part.x.shape[1:] for part in (batch.support, batch.query) if part.mask is None)
        self.sizes.add((batch.support.ways, *whole))
        return batch


@contextmanager
def judged(learner: MetaLearner, fabric: Fabric | None = None) -> Iterator[None]:
    """A learner on fabric's device and in evaluation mode, laid out for speed; then in the mode that it was in."""
    if fabric:
        fabric.to_device(learner)
    channels_last(learner)
    training = learner.training
    learner.eval()
    try:
        yield
    finally:
        learner.train(training)


def own_share(batches: Iterable[Episodes], fabric: Fabric | None) -> Iterator[tuple[int, Episodes]]:
    """The batches that this process computes, by their numbers, on its device."""
    rank, world = (fabric.global_rank, fabric.world_size) if fabric else (0, 1)
    for number, batch in enumerate(batches):
        if number % world == rank:
            yield number, fabric.to_device(batch) if fabric else batch


def gathered(results: dict[int, Result], fabric: Fabric | None) -> list[Result]:
    """What all processes found, in the order of its numbers."""
    world = fabric.world_size if fabric else 1
    shares: list = [results] * world
    if world > 1:
        torch.distributed.all_gather_object(shares, results)
    every = {number: result for share in shares for number, result in share.items()}
    return [every[number] for number in sorted(every)]


class Asked(NamedTuple):
    """What is asked for beside the scores of every evaluation; see `evaluate`."""

    temperature: float | None
    threshold: float | None
    metrics: Mapping[str, Metric]


Scores = tuple[dict[str, Tensor], Tensor | None, float]
"""Scores per episode, reliability bins [as they are and perhaps tempered, bin, 3], seconds of adaptation per task."""


def evaluate_batch(learner: MetaLearner, asked: Asked, engine: Engine, batch: Episodes) -> Scores:
    """What is found of a batch, whose tasks the engine spreads over chunks and threads."""
    found = engine.each(learner, partial(evaluate_chunk, asked), engine.split(batch))
    scores = {name: torch.cat([chunk[0][name] for chunk in found]) for name in found[0][0]}
    bins = [chunk[1] for chunk in found if chunk[1] is not None]
    return scores, torch.stack(bins).sum(0) if bins else None, statistics.median(chunk[2] for chunk in found)


def evaluate_chunk(asked: Asked, learner: MetaLearner, batch: Episodes) -> Scores:
    start = now(batch)
    memory = learner.adapt(batch.support)
    seconds = (now(batch) - start) / len(batch)
    predicted = learner.predict(memory, batch.query.x)
    scores, bins = score(predicted, batch.query)
    scores |= {name: metric(predicted, batch.query) for name, metric in asked.metrics.items()}
    every = [bins]
    if asked.temperature is not None:
        predicted = tempered(predicted, asked.temperature)
        then, bins = score(predicted, batch.query)
        scores["tempered_log_likelihood"] = then["log_likelihood"]
        every.append(bins)
    if asked.threshold is not None:
        scores |= sets(predicted, asked.threshold, batch.query)
    known = [bins for bins in every if bins is not None]
    return {name: values.cpu() for name, values in scores.items()}, torch.stack(known) if known else None, seconds

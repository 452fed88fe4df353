"""The main job: several learners with the same training tasks and budget, on the same test episodes."""

import platform
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

from quickstudy.confidence import Confidence, fit_confidence
from quickstudy.contract import Episodes, MetaLearner
from quickstudy.engine import Engine
from quickstudy.evaluation import CHUNK, VALIDATION, Evaluation, episode_list, evaluate, judged
from quickstudy.none_of_these import has_strangers, strangers
from quickstudy.scores import Interval, interval
from quickstudy.tasks import FewShot, Tasks
from quickstudy.training import Progress, Validation, adam, train
from quickstudy.tuning import tune

Watch = Callable[[str, Iterator[Progress]], Iterator[Progress]]


@dataclass
class Entry:
    """One learner of a comparison.

    Args:
        parameters: How many it has.
        train_seconds: Time to meta-train it, validation included; zero where there was nothing to train.
        tuned: Those of its settings that were chosen on validation tasks; see `tune`.
        curve: Rows of (step, mean loss since the row before, validation score or None).
        tests: What was found on each test.
        by_shots: On each test, the interval of the main score for each number of shots.
        strip: On each test, probabilities [task, query, way] for the episodes that the report shows.
        strangers: On each test, how well queries of a class outside the support set are told, by each score for it.
        confidence: Fitted on validation tasks of classes; None where there were none.
    """

    parameters: int
    train_seconds: float = 0.0
    tuned: dict[str, Any] = field(default_factory=dict)
    curve: list[list] = field(default_factory=list)
    tests: dict[str, Evaluation] = field(default_factory=dict)
    by_shots: dict[str, dict[int, Interval]] = field(default_factory=dict)
    strip: dict[str, Tensor] = field(default_factory=dict)
    strangers: dict[str, dict[str, Interval]] = field(default_factory=dict)
    confidence: Confidence | None = None

    @property
    def temperature(self) -> float | None:
        return self.confidence and self.confidence.temperature


@dataclass
class Comparison:
    """What `compare` found.

    Args:
        settings: What was asked for: steps, batch, seed, episodes and whatever the caller added.
        entries: The learners, by name.
        strip: On each test, a few of its real episodes, for the report to show.
    """

    settings: dict
    entries: dict[str, Entry]
    strip: dict[str, Episodes]

    def best(self, test: str) -> str:
        """The name of the learner with the best mean score on a test."""
        return max(self.entries, key=lambda name: self.entries[name].tests[test].goodness)

    def difference(self, name: str, other: str, test: str) -> Interval:
        """The paired difference of two learners' main scores over the same episodes, with its 95% interval."""
        mine, theirs = (self.entries[who].tests[test] for who in (name, other))
        return interval(mine.scores[mine.main].double() - theirs.scores[theirs.main].double(), mine.draws)

    def results(self) -> dict:
        """Everything found, as JSON can hold it: versions, settings, episode hashes, every per-episode score."""
        tests = next(iter(self.entries.values())).tests
        return {
            "versions": {name: version(name) for name in ("quickstudy", "torch", "numpy")}
            | {"python": platform.python_version()},
            "machine": {"processor": platform.machine(), "system": sys.platform, "threads": torch.get_num_threads()},
            "settings": self.settings,
            "tests": {
                name: {"episodes_hash": e.episodes_hash, "ways": e.ways, "chance": e.chance}
                for name, e in tests.items()
            },
            "learners": {name: self._learner(name, entry) for name, entry in self.entries.items()},
        }

    def _learner(self, name: str, entry: Entry) -> dict:
        return {
            "parameters": entry.parameters,
            "train_seconds": round(entry.train_seconds, 2),
            "tuned": entry.tuned,
            "temperature": entry.temperature,
            "threshold": entry.confidence and entry.confidence.threshold,
            "curve": entry.curve,
            "tests": {
                test: {
                    **found.results(),
                    "difference_from_best": self.difference(name, self.best(test), test)._asdict(),
                    "log_likelihood": found.interval("log_likelihood")._asdict(),
                    "selective": found.selective,
                    "strangers": {score: i._asdict() for score, i in entry.strangers.get(test, {}).items()},
                    "by_shots": {shots: i._asdict() for shots, i in entry.by_shots.get(test, {}).items()},
                    "bins": None if found.bins is None else found.bins.tolist(),
                    "tempered_bins": None if found.tempered_bins is None else found.tempered_bins.tolist(),
                }
                for test, found in entry.tests.items()
            },
        }


def compare(
    learners: Mapping[str, MetaLearner],
    tasks: Tasks,
    tests: Mapping[str, Tasks],
    *,
    steps: int,
    batch: int = 16,
    validate: Tasks | Validation | None = None,
    episodes: int = 1000,
    shots: Mapping[str, Mapping[int, Tasks]] | None = None,
    shot_episodes: int = 200,
    lr: float = 1e-3,
    seed: int = 0,
    out: str | Path | None = None,
    resume: bool = False,
    settings: dict | None = None,
    watch: Watch = lambda name, progress: progress,
    engine: Engine | None = None,
    fabric: Fabric | None = None,
) -> Comparison:
    """Meta-trains learners on one stream of tasks with one budget, and tests them on the same episodes.

    Args:
        learners: By the name they shall have in tables.
        tasks: Meta-training tasks; every learner sees the same batch at the same step.
        tests: Meta-test tasks by name, such as unseen classes of the same data, or of other data.
        steps, batch, seed, out, resume, engine, fabric: See `train`; each learner has a folder of its own in `out`.
        validate: See `train`. On these tasks a learner's settings are tuned; and if they are of classes, each learner's
            confidence is fitted.
        episodes: Test episodes of each test.
        shots: Further tests by number of shots, for the curve of accuracy against shots.
        shot_episodes: Test episodes of each of those, and of the test for strangers; see `strangers`.
        lr: Step size of Adam at the first step; it falls to zero along a cosine.
        settings: Whatever else the results should say was asked for.
        watch: Is given each learner's name and training progress, and passes the progress on: for a progress bar.

    Raises:
        ValueError: Fewer than 2 test episodes; and see `train`.
    """
    if min(episodes, shot_episodes) < 2:
        raise ValueError(f"an interval needs at least 2 episodes; got {episodes}, and by shots {shot_episodes}.")
    entries = {}
    strip = {test: next(episode_list(test_tasks, 3, seed)) for test, test_tasks in tests.items()}
    for name, learner in learners.items():
        entry = entries[name] = Entry(sum(p.numel() for p in learner.parameters()))
        optimizer, scheduler = adam(learner, lr, steps)
        progress = train(
            learner,
            tasks,
            steps=steps,
            batch=batch,
            optimizer=optimizer,
            scheduler=scheduler,
            validate=validate,
            seed=seed,
            out=None if out is None else Path(out) / name,
            resume=resume,
            engine=engine,
            fabric=fabric,
        )
        for p in watch(name, progress):
            entry.train_seconds, entry.curve = p.seconds, p.curve
        if validate is not None:
            judge = validate if isinstance(validate, Validation) else Validation(validate)
            entry.tuned = tune(learner, judge.tasks, episodes=judge.episodes, engine=engine, fabric=fabric)
            entry.confidence = _confidence(learner, judge, engine, fabric)
        for test, test_tasks in tests.items():
            found = evaluate(
                learner,
                test_tasks,
                episodes=episodes,
                seed=seed,
                temperature=entry.temperature,
                threshold=entry.confidence and entry.confidence.threshold,
                engine=engine,
                fabric=fabric,
            )
            entry.tests[test] = found
            entry.strip[test] = _answers(learner, strip[test], fabric)
            if isinstance(test_tasks, FewShot) and has_strangers(test_tasks):
                areas = strangers(
                    learner, test_tasks, episodes=shot_episodes, seed=seed, engine=found.engine, fabric=fabric
                )
                draws = None if found.draws is None else torch.arange(shot_episodes) // CHUNK
                entry.strangers[test] = {score: interval(values, draws) for score, values in areas.items()}
            entry.by_shots[test] = {
                k: evaluate(learner, more, episodes=shot_episodes, seed=seed, engine=found.engine, fabric=fabric).result
                for k, more in (shots or {}).get(test, {}).items()
            }
    asked = {"steps": steps, "batch": batch, "lr": lr, "episodes": episodes, "seed": seed, **(settings or {})}
    return Comparison(asked, entries, strip)


def _confidence(
    learner: MetaLearner, judge: Validation, engine: Engine | None, fabric: Fabric | None
) -> Confidence | None:
    """Fitted on the episodes that chose the learner's weights, if these are of classes."""
    if next(episode_list(judge.tasks, 1, stream=VALIDATION)).support.ways is None:
        return None
    return fit_confidence(learner, judge.tasks, episodes=judge.episodes, engine=engine, fabric=fabric)


@torch.no_grad()
def _answers(learner: MetaLearner, episodes: Episodes, fabric: Fabric | None) -> Tensor:
    """The probabilities, or the means, of every query."""
    episodes = fabric.to_device(episodes) if fabric else episodes
    with judged(learner, fabric):
        predicted = learner.predict(learner.adapt(episodes.support), episodes.query.x)
    answers = predicted.probs if episodes.support.ways else predicted.mean  # pyright: ignore[reportAttributeAccessIssue]
    return answers.cpu()

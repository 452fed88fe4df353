"""How a trained learner best adapts: its settings, chosen on meta-validation tasks."""

import itertools
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from lightning_fabric import Fabric

from quickstudy.contract import Episodes, MetaLearner
from quickstudy.engine import Engine
from quickstudy.evaluation import VALIDATION, evaluate
from quickstudy.task_norm import TaskNormalized
from quickstudy.tasks import Tasks


def tune(
    learner: MetaLearner,
    tasks: Tasks | Sequence[Episodes],
    choices: Mapping[str, Sequence] | None = None,
    *,
    episodes: int = 100,
    seed: int = 0,
    engine: Engine | None = None,
    fabric: Fabric | None = None,
) -> dict[str, Any]:
    """Gives a learner those settings with which it does best on meta-validation tasks.

    For what is no weight and so is not learned, such as the size of a step: the best depends on how long an encoder
    was trained. Every combination is scored on the same episodes, and of equally good ones the first is taken.

    Args:
        learner: Trained. Its settings are replaced.
        tasks: Neither those it was trained on nor those it will be tested on.
        choices: What to try for each setting, such as `{"lr": (0.1, 0.01)}`; else those that the method names itself.
        episodes, seed, engine, fabric: See `evaluate`.

    Returns:
        The settings chosen; none for a method that names no choices.

    Raises:
        ValueError: A setting that the learner has not, or nothing to try for it, or one that changes no answer.
    """
    choices, owner = learner.choices if choices is None else choices, _owner(learner)
    for name, values in choices.items():
        if not hasattr(owner, name):
            raise ValueError(f"{type(owner).__name__} has no setting {name!r} whose values could be chosen among.")
        if not values:
            raise ValueError(f"there is no value to choose for {name!r}; name some, as in {{{name!r}: (0.1, 0.01)}}.")
    before = {name: getattr(owner, name) for name in choices}
    best, most, every = before, None, []
    try:
        for values in itertools.product(*choices.values()) if choices else ():
            give(learner, now := dict(zip(choices, values, strict=True)))
            with warnings.catch_warnings():  # steps that are too large diverge, and are not chosen
                warnings.simplefilter("ignore", RuntimeWarning)
                found = evaluate(
                    learner, tasks, episodes=episodes, seed=seed, stream=VALIDATION, engine=engine, fabric=fabric
                )
            engine = engine or found.engine
            every.append(found.scores["log_likelihood"])
            if most is None or found.goodness > most:
                best, most = now, found.goodness
        if choices is not learner.choices and len(every) > 1 and all(torch.equal(one, every[0]) for one in every):
            best = before
            raise ValueError(
                f"this {type(owner).__name__} answers alike whatever its {' and '.join(choices)}: it evaluates with "
                f"another setting, such as test_{next(iter(choices))}; choose among values of that."
            )
    finally:
        give(learner, best)
    return best


@contextmanager
def at_its_best(learner: MetaLearner, tasks: Tasks | Sequence[Episodes], **options: Any) -> Iterator[None]:
    """Gives a learner the settings that `tune` chooses, for as long as the context lasts; then those from before."""
    before = {name: getattr(_owner(learner), name) for name in learner.choices}
    try:
        tune(learner, tasks, **options)
        yield
    finally:
        give(learner, before)


def give(learner: MetaLearner, settings: Mapping[str, Any]) -> None:
    """Replaces settings of a learner."""
    for name, value in settings.items():
        setattr(_owner(learner), name, value)


def _owner(learner: MetaLearner) -> MetaLearner:
    """The learner that has the settings: the one within, where one only shows it the support set."""
    return learner.learner if isinstance(learner, TaskNormalized) else learner

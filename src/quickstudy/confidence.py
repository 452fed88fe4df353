"""How far a confidence can be trusted: a temperature that makes it worth what it says, and sets that keep a promise."""

import math
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from lightning_fabric import Fabric
from scipy.optimize import minimize_scalar
from torch import Tensor
from torch.distributions import Categorical
from torch.nn.functional import cross_entropy

from quickstudy.contract import Episodes, MetaLearner, valid
from quickstudy.engine import Engine, probe
from quickstudy.evaluation import VALIDATION, episode_list, gathered, judged, own_share
from quickstudy.tasks import Tasks
from quickstudy.tensors import ABSENT

COLDEST, HOTTEST = 0.02, 50.0
"""Between which a temperature is sought: answers that are all right would have it at zero."""

Answers = tuple[Float[Tensor, "_query _way"], Int[Tensor, "_query"]]
"""Logits, and the classes that are right."""


MISSED = 0.1
"""The share of queries whose right class a prediction set may lack."""


class Confidence(NamedTuple):
    """What a learner's probabilities are worth, as far as other tasks tell.

    Args:
        temperature: By which logits are divided. Above 1 where the learner is too sure, below where it is too modest.
        threshold: The probability, so tempered, that a class needs to be in a prediction set.
    """

    temperature: float
    threshold: float


@torch.no_grad()
def fit_confidence(
    learner: MetaLearner,
    tasks: Tasks,
    *,
    missed: float = MISSED,
    episodes: int = 200,
    seed: int = 0,
    engine: Engine | None = None,
    fabric: Fabric | None = None,
) -> Confidence:
    """What makes a learner's answers to these tasks likeliest, and its sets lack the right class no oftener than said.

    The temperature is one number for all tasks, which moves no answer and only its confidence (Guo et al., 2017,
    section 4.2). https://arxiv.org/abs/1706.04599

    The threshold is split conformal prediction's with one minus the probability as score (Sadinle et al., 2019), over
    queries of these tasks: what it promises, it promises on average over tasks that are alike (Fisch et al., 2021), and
    not of every single one. https://arxiv.org/abs/1609.00451, https://arxiv.org/abs/2102.08898

    Args:
        learner: Of classes; it is left in the mode it was in.
        tasks: Meta-validation tasks: neither those it was trained on nor those it will be tested on.
        missed: The share of queries whose right class a set may lack; between 0 and 1.
        episodes, seed, engine, fabric: See `evaluate`.

    Returns:
        The temperature lies within 0.02 and 50.

    Raises:
        TypeError: Tasks of regression, whose answers have no logits.
        ValueError: A share that is none.
    """
    check_share(missed)
    found: dict[int, list[Answers]] = {}
    with judged(learner, fabric):
        for chunk, batch in own_share(map(of_classes, episode_list(tasks, episodes, seed, VALIDATION)), fabric):
            engine = engine or probe(learner, batch, partial(_answers, learner))
            found[chunk] = _answers(learner, engine, batch)
    answers = [some for chunk in gathered(found, fabric) for some in chunk]
    temperature = likeliest_temperature(answers)
    right = torch.cat([(logits / temperature).softmax(-1).gather(-1, y[:, None])[:, 0] for logits, y in answers])
    return Confidence(temperature, least_of_most(right.nan_to_num(0), missed))


def fit_temperature(
    learner: MetaLearner,
    tasks: Tasks,
    *,
    episodes: int = 200,
    seed: int = 0,
    engine: Engine | None = None,
    fabric: Fabric | None = None,
) -> float:
    """The temperature alone; see `fit_confidence`."""
    return fit_confidence(learner, tasks, episodes=episodes, seed=seed, engine=engine, fabric=fabric).temperature


def check_share(missed: float) -> None:
    """Checks a share of right classes that sets may lack.

    Raises:
        ValueError: It is none.
    """
    if not 0 < missed < 1:
        raise ValueError(f"the share of right classes that a set may lack lies between 0 and 1; got {missed}.")


def of_classes(batch: Episodes) -> Episodes:
    """The batch, whose tasks have classes.

    Raises:
        TypeError: They have numbers.
    """
    if batch.support.ways is None:
        raise TypeError("a temperature divides the logits of classes, but these tasks have numbers for targets.")
    return batch


def least_of_most(right: Float[Tensor, " query"], missed: float) -> float:
    """What all of these probabilities reach but the given share, counting the next one to come as the least.

    Zero where they are too few to promise anything but every class.
    """
    place = math.floor((len(right) + 1) * missed)
    return right.sort().values[place - 1].item() if place else 0.0


def likeliest_temperature(answers: Sequence[Answers]) -> float:
    """The temperature at which the right classes are likeliest."""
    best = minimize_scalar(
        lambda log: nats(answers, math.exp(log)), bounds=(math.log(COLDEST), math.log(HOTTEST)), method="bounded"
    )
    return math.exp(best.x)  # pyright: ignore[reportAttributeAccessIssue]


def nats(answers: Sequence[Answers], temperature: float) -> float:
    """Minus the mean log-likelihood of the right classes, in nats per query, of logits divided by a temperature.

    Logits that are no numbers (NaN), and right classes that were called impossible, or of which no example was shown
    (`below_shown`), add nothing, at any temperature.
    """
    total = 0.0
    for logits, y in answers:
        told = logits.amax(-1) - logits.gather(-1, y[:, None])[:, 0] < ABSENT / 2
        total += cross_entropy(logits[told] / temperature, y[told], reduction="sum").item()
    return total / sum(len(y) for _, y in answers)


def _answers(learner: MetaLearner, engine: Engine, batch: Episodes) -> list[Answers]:
    return engine.each(learner, _answers_of_chunk, engine.split(batch))


def _answers_of_chunk(learner: MetaLearner, batch: Episodes) -> Answers:
    predicted = learner.predict(learner.adapt(batch.support), batch.query.x)
    assert isinstance(predicted, Categorical)
    exists = valid(batch.query)
    return predicted.logits[exists].double().cpu(), batch.query.y[exists].cpu()

""" "None of these": whether a learner can tell queries of a class that its support set lacks."""

from functools import partial

import torch
from jaxtyping import Bool, Float, Shaped
from lightning_fabric import Fabric
from torch import Tensor
from torch.distributions import Categorical, Distribution

from quickstudy.contract import Episodes, Examples, Memory, MetaLearner
from quickstudy.engine import Engine, probe, without_encoder
from quickstudy.evaluation import episode_list, gathered, judged, own_share
from quickstudy.scores import log_odds
from quickstudy.tasks import FewShot
from quickstudy.tensors import class_means, per_task

SOFTMAX, UNLIKE = "softmax", "unlike"
STRANGE = 0.95
"""How unlike its examples a query is that is called none of these: more than this share of such examples."""


@torch.no_grad()
def strangers(
    learner: MetaLearner,
    tasks: FewShot,
    *,
    episodes: int = 200,
    seed: int = 0,
    engine: Engine | None = None,
    fabric: Fabric | None = None,
) -> dict[str, Float[Tensor, " episode"]]:
    """How well a learner tells queries of a class that is not in the support set from those of classes that are.

    Every task is drawn with one class more, of which no example is shown.

    Args:
        learner: Of classes; it is left in the mode it was in.
        tasks: Where tasks come from; their number of ways is that of the support set.
        episodes, seed, engine, fabric: See `evaluate`.

    Returns:
        For each episode the area under the ROC curve: the chance that a stranger scores higher than another query. Of
        "softmax", one minus the highest probability (Hendrycks & Gimpel, 2017), which is ranked by its log-odds; and,
        where a method sees of an example its embedding alone, of "unlike"; see `unlike`.
        https://arxiv.org/abs/1610.02136

    Raises:
        ValueError: No class is left to be the stranger.
    """
    low, high = tasks.ways
    wider = FewShot(
        tasks.data,
        (low + 1, high + 1),
        tasks.shots,
        tasks.queries,
        within_groups=tasks.within_groups,
        apart=tasks.apart,
    )
    found: dict[int, dict[str, Tensor]] = {}
    with judged(learner, fabric):
        for chunk, batch in own_share(episode_list(wider, episodes, seed), fabric):
            engine = engine or probe(learner, without_strangers(batch), partial(_scores, learner))
            found[chunk] = _areas_of(learner, engine, batch)
    areas = gathered(found, fabric)
    return {name: torch.cat([some[name] for some in areas]) for name in areas[0]}


def has_strangers(tasks: FewShot) -> bool:
    """Whether some task could be drawn with one class more; of tasks within groups, from its own group."""
    return max(map(len, tasks.pools)) > tasks.ways[1]


def without_last(episodes: Episodes) -> tuple[Examples, Tensor, Bool[Tensor, "task query"]]:
    """The support set without its last class, all queries, and which of them are of that class."""
    support, last = episodes.support, (episodes.support.ways or 0) - 1
    kept = support.y < last
    x, y = (part[kept].unflatten(0, (len(support), -1)) for part in (support.x, support.y))
    return Examples(x, y, last), episodes.query.x, episodes.query.y == last


def without_strangers(episodes: Episodes) -> Episodes:
    """The episodes as they would be without the last class."""
    support, _, strange = without_last(episodes)
    x, y = (part[~strange].unflatten(0, (len(support), -1)) for part in (episodes.query.x, episodes.query.y))
    return Episodes(support, Examples(x, y, support.ways))


def unfamiliarity(learner: MetaLearner, support: Examples, x: Tensor) -> dict[str, Float[Tensor, "task query"]]:
    """Scores of queries, higher for those that look like no class of the support set."""
    predicted = learner.predict(learner.adapt(support), x)
    assert isinstance(predicted, Categorical)
    surest = predicted.probs.max(-1).values
    scores = {SOFTMAX: -log_odds(predicted.logits.double()).max(-1).values}
    if sees_embeddings(learner):
        z, queries = (embeddings(learner, part) for part in (support.x, x))
        scores[UNLIKE] = unlike(surest, queries, class_means(z, support))
    return scores


def sees_embeddings(learner: MetaLearner) -> bool:
    """Whether a method sees of each example its embedding alone, and of no other example's."""
    return bool(learner.embedding) and not learner.transductive


def embeddings(learner: MetaLearner, x: Shaped[Tensor, "task example *x"]) -> Float[Tensor, "task example d"]:
    return per_task(getattr(learner, learner.embedding or ""), x).flatten(2)


def predicted_and_seen(
    learner: MetaLearner, memory: Memory, x: Shaped[Tensor, "task query *x"]
) -> tuple[Distribution, Float[Tensor, "task query d"] | None]:
    """What a learner predicts of queries, and their embeddings from the same pass; None where it sees more than these.

    The prediction is that of `learner.predict`, to the bit.
    """
    if not sees_embeddings(learner):
        return learner.predict(memory, x), None
    name = learner.embedding or ""
    z = per_task(getattr(learner, name), x)
    return without_encoder(learner, name).predict(memory, z), z.flatten(2)


def unlike(
    surest: Float[Tensor, "task query"], z: Float[Tensor, "task query d"], centres: Float[Tensor, "task way d"]
) -> Float[Tensor, "task query"]:
    """One minus the highest probability, plus the distance to the nearest class mean.

    Distances are in units of the mean distance between two class means, so that tasks can be compared. A query between
    two classes is unsure; one that is far from all is not, and the distance tells.
    """
    ways = centres.shape[1]
    apart = torch.cdist(centres, centres).sum((1, 2)) / (ways * (ways - 1))
    return 1 - surest + torch.cdist(z, centres).min(-1).values / apart.clamp(min=1e-12)[:, None]


def area(scores: Float[Tensor, "task query"], strange: Bool[Tensor, "task query"]) -> Float[Tensor, " task"]:
    """Of each task, the share of pairs in which the stranger scores higher; pairs that are level count half."""
    higher = scores[:, :, None] > scores[:, None]  # [T, Q, Q]
    level = scores[:, :, None] == scores[:, None]
    pairs = strange[:, :, None] & ~strange[:, None]
    return ((higher + level / 2) * pairs).sum((1, 2)) / pairs.sum((1, 2))


def _scores(learner: MetaLearner, engine: Engine, batch: Episodes) -> list[dict[str, Tensor]]:
    return engine.each(learner, lambda one, some: unfamiliarity(one, some.support, some.query.x), engine.split(batch))


def _areas_of(learner: MetaLearner, engine: Engine, batch: Episodes) -> dict[str, Tensor]:
    found = engine.each(learner, _areas, engine.split(batch))
    return {name: torch.cat([some[name] for some in found]).cpu() for name in found[0]}


def _areas(learner: MetaLearner, batch: Episodes) -> dict[str, Tensor]:
    support, x, strange = without_last(batch)
    return {name: area(scores, strange) for name, scores in unfamiliarity(learner, support, x).items()}

"""Evaluation that embeds every example once: test episodes draw the same few thousand examples again and again."""

import copy
from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from quickstudy.contract import Episodes, MetaLearner
from quickstudy.engine import Engine, without_encoder
from quickstudy.tasks import FewShot, Tasks

MOST = 2**29
"""Bytes of embeddings that are kept; of a data set that needs more, none are."""
AT_A_TIME = 100
"""Examples that a thread embeds at a time."""


class Embedded:
    """Tasks of embeddings, and a learner of such: the same predictions, up to rounding, as of examples themselves.

    Args:
        learner: In evaluation mode, with an `embedding`, and not transductive: an embedding is of one example alone.
        tasks: Where its tasks come from.
        table: Room for the embedding of every row of the data set.
    """

    def __init__(self, learner: MetaLearner, tasks: FewShot, table: Float[Tensor, "row *z"]):
        assert learner.embedding
        self.whole, self.name, self.tasks, self.table = learner, learner.embedding, tasks, table
        self.learner: MetaLearner = without_encoder(learner, self.name)
        self.known = torch.zeros(len(table), dtype=torch.bool)
        self.of_embeddings = copy.copy(tasks)
        self.of_embeddings.data = replace(tasks.data, x=table)

    def sample(self, tasks: int, generator: torch.Generator, engine: Engine) -> Episodes:
        """A batch of tasks, a function of the generator's state alone; the engine embeds what is new in it."""
        classes, rows = self.tasks.draw(tasks, generator)
        new = rows[~self.known[rows]].unique()
        if len(new):
            engine.each(self.whole, self._embed, new.split(AT_A_TIME))
            self.known[new] = True
        return self.of_embeddings.episodes(classes, rows)

    def _embed(self, learner: MetaLearner, rows: Int[Tensor, " example"]) -> None:
        x = self.tasks.data.examples(rows).to(self.table.device)
        self.table[rows.to(self.table.device)] = getattr(learner, self.name)(x)


def embedded(learner: MetaLearner, tasks: Tasks | Sequence[Episodes], device: torch.device | None) -> Embedded | None:
    """Such tasks; None where a method sees more of its examples, or tasks change them, or there are too many.

    Embeddings lie on the device; where the examples lie, if none is given.
    """
    if not isinstance(tasks, FewShot) or type(tasks).sample is not FewShot.sample:
        return None
    if not learner.embedding or learner.transductive:
        return None
    first, rows = tasks.data.examples(torch.zeros(1, dtype=torch.long)), len(tasks.data)
    one = getattr(learner, learner.embedding)(first.to(device or first.device))
    return Embedded(learner, tasks, one.new_empty(rows, *one.shape[1:])) if one.nbytes * rows <= MOST else None

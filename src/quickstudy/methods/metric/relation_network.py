"""Relation networks (Sung et al., 2018). https://arxiv.org/abs/1711.06025"""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.distributions import Categorical
from torch.nn.functional import logsigmoid, one_hot

from quickstudy.contract import Episodes, Examples, MetaLearner, categorical, mean_over
from quickstudy.encoders.mlp import MLP
from quickstudy.tensors import (
    below_shown,
    full_precision,
    number_of_ways,
    out_features,
    per_task,
    prototypes,
    shown_in,
)


class RelationNetwork(MetaLearner):
    """Learn how to compare, beside what to compare.

    Across tasks an encoder and a relation module are learned, which scores from 0 to 1 how a query is related to a
    class; a task is remembered by the mean embedding of each class. Scores are trained by their squared error from 1
    for the query's class and 0 for the others. What makes that smallest is each class's probability, so `predict`
    takes the scores for probabilities, divided by their sum.

    The paper adds the embeddings of a class up, where this takes their mean, so that shots may differ; and it compares
    feature maps by convolutions, where the default here compares vectors by an MLP, whose first layer begins with
    differences of embeddings.

    Args:
        encoder: From inputs to embeddings: vectors, or feature maps for a relation module of your own.
        relation: From a class's and a query's embedding, concatenated along their first axis, to one number, whose
            sigmoid is the score. An MLP unless given.
        hidden: Width of that MLP's two hidden layers.
    """

    embedding = "encoder"

    def __init__(self, encoder: nn.Module, *, relation: nn.Module | None = None, hidden: int = 128):
        super().__init__()
        self.encoder = encoder
        self.relation = comparison(out_features(encoder), hidden) if relation is None else relation

    def adapt(self, support: Examples) -> Float[Tensor, "task way *d"]:
        z = per_task(self.encoder, support.x)  # [T, S, *D]
        return prototypes(z.flatten(2), support).unflatten(2, z.shape[2:])

    def predict(self, memory: Float[Tensor, "task way *d"], x: Shaped[Tensor, "task query *x"]) -> Categorical:
        return categorical(below_shown(logsigmoid(self._relations(memory, x)), shown_in(memory)[1]))

    def loss(self, episodes: Episodes) -> Float[Tensor, ""]:
        """The mean squared error of the relation scores."""
        query = episodes.query
        with full_precision(self._relations(self.adapt(episodes.support), query.x)) as relations:
            scores = relations.sigmoid()
        errors = (scores - one_hot(query.y, number_of_ways(query))).square().mean(-1)  # [T, Q]
        return mean_over(query, errors).mean()

    def _relations(
        self, memory: Float[Tensor, "task way *d"], x: Shaped[Tensor, "task query *x"]
    ) -> Float[Tensor, "task query way"]:
        z = per_task(self.encoder, x)  # [T, Q, *D]
        means, _ = shown_in(memory)
        pairs = torch.cat(torch.broadcast_tensors(means[:, None], z[:, :, None]), 3)  # [T, Q, W, 2 D, ...]
        return per_task(self.relation, pairs.flatten(1, 2)).view(pairs.shape[:3])  # before the sigmoid


def comparison(d: int, hidden: int) -> MLP:
    """A relation module of vectors."""
    mlp = MLP(2 * d, hidden, hidden, 1)
    weight = next(mlp.parameters())
    with torch.no_grad():  # begin with differences: without it training may stay at the mean score for long
        weight[:, d:] = -weight[:, :d]
    return mlp

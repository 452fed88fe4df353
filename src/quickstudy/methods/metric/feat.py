"""FEAT, few-shot embedding adaptation with a transformer (Ye et al., 2020). https://arxiv.org/abs/1812.03664"""

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn
from torch.distributions import Categorical
from torch.nn.functional import scaled_dot_product_attention

from quickstudy.contract import Episodes, Examples, MetaLearner, categorical, negative_log_likelihood, valid
from quickstudy.tensors import (
    below_shown,
    class_means,
    only_shown,
    out_features,
    per_task,
    shown_classes,
    shown_in,
    squared_distances,
    support_and_query,
)


class SetToSet(nn.Module):
    """A set of embeddings, each adapted to the others by self-attention with one head; their order is of no account."""

    def __init__(self, d: int, dropout: float):
        super().__init__()
        self.qkv, self.out = nn.Linear(d, 3 * d, bias=False), nn.Linear(d, d)
        self.dropout, self.norm = nn.Dropout(dropout), nn.LayerNorm(d)

    def forward(
        self, z: Float[Tensor, "task item d"], sees: Bool[Tensor, "task item item"] | None = None
    ) -> Float[Tensor, "task item d"]:
        q, k, v = self.qkv(z)[:, None].chunk(3, -1)  # [T, 1, item, D]
        read = scaled_dot_product_attention(q, k, v, attn_mask=None if sees is None else sees[:, None])[:, 0]
        return self.norm(z + self.dropout(self.out(read)))


class FEAT(MetaLearner):
    """Move the prototypes of a task apart from each other before queries are compared with them.

    Across tasks an embedding is learned, and a transformer from a set of prototypes to a set of prototypes; a task is
    remembered by its adapted prototypes. A query takes the softmax over minus its squared distances to them, divided
    by a temperature. The contrastive term of the loss adapts the examples of each class, support and query together,
    and asks of every example's embedding to lie nearest to the centre of its own class so adapted. It deviates from
    the authors' code, which begins with a pre-trained encoder, and drops attention weights too, at a rate of 0.1.

    Args:
        encoder: From inputs to embeddings.
        temperature: Of both softmaxes; the authors' code has one for each, of 16 to 64.
        contrast: Weight of the contrastive term, from 0.01 to 1 in the authors' scripts; 0 leaves it out.
        dropout: Of what the transformer adds to a prototype, while training; a rate above 0 keeps a batch of tasks
            from being computed in parts.
    """

    embedding = "encoder"

    def __init__(self, encoder: nn.Module, *, temperature: float = 64.0, contrast: float = 0.1, dropout: float = 0.5):
        super().__init__()
        self.encoder, self.temperature, self.contrast = encoder, temperature, contrast
        self.transform = SetToSet(out_features(encoder), dropout)

    def adapt(self, support: Examples) -> Float[Tensor, "task way d"]:
        return self._prototypes(per_task(self.encoder, support.x), support)

    def predict(self, memory: Float[Tensor, "task way d"], x: Shaped[Tensor, "task query *x"]) -> Categorical:
        return self._nearest(per_task(self.encoder, x), memory)

    def loss(self, episodes: Episodes) -> Float[Tensor, ""]:
        support, query = (self._embedded(examples) for examples in (episodes.support, episodes.query))
        nats = negative_log_likelihood(self._nearest(query.x, self._prototypes(support.x, support)), query).mean()
        return nats + self.contrast * self._contrast(support, query) if self.contrast else nats

    def _embedded(self, examples: Examples) -> Examples:
        return Examples(per_task(self.encoder, examples.x), examples.y, examples.ways, mask=valid(examples))

    def _prototypes(self, z: Tensor, support: Examples) -> Tensor:
        adapted = self.transform(class_means(z, support), _and_itself(shown_classes(support)[:, None]))
        return only_shown(adapted, support)

    def _nearest(self, z: Tensor, prototypes: Tensor) -> Categorical:
        prototypes, shown = shown_in(prototypes)
        return categorical(below_shown(-squared_distances(z, prototypes) / self.temperature, shown))

    def _contrast(self, support: Examples, query: Examples) -> Float[Tensor, ""]:
        both = support_and_query(Episodes(support, query))
        sees = _and_itself((both.y[:, :, None] == both.y[:, None]) & valid(both)[:, None])
        centres = only_shown(class_means(self.transform(both.x, sees), both), both)
        return negative_log_likelihood(self._nearest(both.x, centres), both).mean()


def _and_itself(sees: Bool[Tensor, "task #item item"]) -> Bool[Tensor, "task item item"]:
    """What each item sees, itself too, so that one which nobody else sees has something to see."""
    return sees | torch.eye(sees.shape[-1], dtype=torch.bool, device=sees.device)

"""Fast weights written by the delta rule (Schlag, Irie & Schmidhuber, 2021), after those of Ba et al. (2016).

https://arxiv.org/abs/2102.11174, https://arxiv.org/abs/1610.06258
"""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.distributions import Categorical
from torch.nn.functional import normalize, one_hot

from quickstudy.contract import Examples, MetaLearner, categorical, single, valid
from quickstudy.tensors import full_precision, number_of_ways, out_features, per_task


class FastWeights(MetaLearner):
    """Write keys and labels into a matrix, one pair after the other; answer a query by multiplying with it.

    Across tasks, keys are learned, and how strongly each pair is written; a task is remembered by the matrix, in which
    a pair first finds what its key already reads, and corrects it (section 4.2). It deviates from the paper: keys have
    unit length instead of a positive feature map, so that a pair written at full strength is read back exactly; the
    values are the labels themselves, so that the number of ways is free; queries begin as the keys they look for. Of an
    example's place only what it corrects of those before is known, and so none need be shuffled while training.

    Args:
        encoder: From inputs to embeddings.
        d: Length of a key.
    """

    embedding = "encoder"

    def __init__(self, encoder: nn.Module, *, d: int = 64):
        super().__init__()
        features = out_features(encoder)
        self.encoder = encoder
        self.key, self.query = nn.Linear(features, d, bias=False), nn.Linear(features, d, bias=False)
        self.query.load_state_dict(self.key.state_dict())
        self.rate = nn.Linear(features, 1)
        self.scale = nn.Parameter(torch.tensor(10.0))  # of the logits: what is read lies about between 0 and 1

    def adapt(self, support: Examples) -> Float[Tensor, "task way d"]:
        z = per_task(self.encoder, support.x)  # [T, S, D]
        labels = one_hot(support.y, number_of_ways(support))
        rates = self.rate(z).sigmoid() * valid(support)[..., None]
        return write(normalize(self.key(z), dim=-1), labels, rates)

    def predict(self, memory: Float[Tensor, "task way d"], x: Shaped[Tensor, "task query *x"]) -> Categorical:
        with full_precision(self.query(per_task(self.encoder, x))) as queries:  # [T, Q, d]
            return categorical(self.scale * normalize(queries, dim=-1) @ memory.mT)


def write(
    keys: Float[Tensor, "task support d"],
    values: Shaped[Tensor, "task support v"],
    rates: Float[Tensor, "task support 1"],
) -> Float[Tensor, "task v d"]:
    """The matrix M after M <- M + rate (value - M key) key^T for each pair in turn, from zero.

    Pair i adds u_i key_i^T, where u_i = rate_i (value_i - sum over j < i of (key_j . key_i) u_j): triangular in u, so
    that one solve stands for all turns.
    """
    with torch.autocast(keys.device.type, enabled=False):
        keys, rates = single(keys), single(rates)
        overlaps = (rates * keys @ keys.mT).tril(-1)
        u = torch.linalg.solve_triangular(overlaps, rates * values, upper=False, unitriangular=True)  # [T, S, v]
        return u.mT @ keys

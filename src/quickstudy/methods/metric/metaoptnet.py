"""MetaOptNet (Lee, Maji, Ravichandran & Soatto, 2019). https://arxiv.org/abs/1904.03758"""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.distributions import Categorical

from quickstudy.contract import Examples, MetaLearner, categorical, valid
from quickstudy.svm import machine
from quickstudy.tensors import full_precision, number_of_ways, per_task


class MetaOptNet(MetaLearner):
    """Learn embeddings on which a linear support vector machine generalises from a few examples.

    A task is remembered by the weights of its machine, that of many classes at once (Crammer & Singer, 2001), without
    a bias. Its dual, a quadratic programme of one number per example and class, is solved in double precision by an
    interior-point method (Mehrotra, 1992), and training runs through the conditions of its optimum. As in the authors'
    code, 1 is added to the diagonal of the dual's matrix, which is then positive definite whatever the embeddings.
    Learned across tasks beside the encoder: the scale of the logits (gamma). The paper smooths the labels of queries in
    its loss, by 0.1; here they are as they are.

    Args:
        encoder: From inputs to embeddings.
        cost: Of an example on the wrong side of its margin (C; 0.1 in the authors' code).
        scale: The first gamma.

    Raises:
        ValueError: A cost that is not positive.
    """

    embedding = "encoder"

    def __init__(self, encoder: nn.Module, *, cost: float = 0.1, scale: float = 1.0):
        super().__init__()
        if cost <= 0:
            raise ValueError(f"the cost of a support vector machine must be positive; it is {cost}.")
        self.encoder, self.cost = encoder, cost
        self.scale = nn.Parameter(torch.tensor(float(scale)))

    def adapt(self, support: Examples) -> Float[Tensor, "task d way"]:
        with full_precision(per_task(self.encoder, support.x)) as z:  # [T, S, D]
            return machine(z, support.y, number_of_ways(support), self.cost, valid(support))

    def predict(self, memory: Float[Tensor, "task d way"], x: Shaped[Tensor, "task query *x"]) -> Categorical:
        with full_precision(per_task(self.encoder, x)) as z:
            return categorical(self.scale * (z @ memory))

"""MetaOptNet (Lee, Maji, Ravichandran & Soatto, 2019). https://arxiv.org/abs/1904.03758"""

from functools import partial

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn
from torch.distributions import Categorical
from torch.nn.functional import one_hot

from quickstudy.contract import Examples, MetaLearner, categorical, valid
from quickstudy.tensors import full_precision, number_of_ways, per_task

FREE = 1e20
"""What the solver takes for no bound at all."""


class MetaOptNet(MetaLearner):
    """Learn embeddings on which a linear support vector machine generalises from a few examples.

    A task is remembered by the weights of its machine, that of many classes at once (Crammer & Singer, 2001), without
    a bias. Its dual, a quadratic programme of one number per example and class, is solved by ProxQP in double
    precision, and training runs through the conditions of its optimum. As in the authors' code, 1 is added to the
    diagonal of the dual's matrix, which is then positive definite whatever the embeddings; the programme of 20 classes
    with 5 examples each has 2,000 numbers, and takes long. Learned across tasks beside the encoder: the scale of the
    logits (gamma). The paper smooths the labels of queries in its loss, by 0.1; here they are as they are.

    Args:
        encoder: From inputs to embeddings.
        cost: Of an example on the wrong side of its margin (C; 0.1 in the authors' code).
        scale: The first gamma.

    Raises:
        ValueError: A cost that is not positive.
        ImportError: ProxQP is not installed.
    """

    embedding = "encoder"

    def __init__(self, encoder: nn.Module, *, cost: float = 0.1, scale: float = 1.0):
        super().__init__()
        if cost <= 0:
            raise ValueError(f"the cost of a support vector machine must be positive; it is {cost}.")
        solver()
        self.encoder, self.cost = encoder, cost
        self.scale = nn.Parameter(torch.tensor(float(scale)))

    def adapt(self, support: Examples) -> Float[Tensor, "task d way"]:
        with full_precision(per_task(self.encoder, support.x)) as z:  # [T, S, D]
            return machine(z, support.y, number_of_ways(support), self.cost, valid(support))

    def predict(self, memory: Float[Tensor, "task d way"], x: Shaped[Tensor, "task query *x"]) -> Categorical:
        return categorical(self.scale * (per_task(self.encoder, x) @ memory))


def machine(
    z: Float[Tensor, "task support d"],
    y: Int[Tensor, "task support"],
    ways: int,
    cost: float,
    exists: Bool[Tensor, "task support"],
) -> Float[Tensor, "task d way"]:
    """The weights w_k = sum_n a_nk z_n, where a minimises half of sum_k |w_k|^2 + |a|^2, minus sum_n a_ny.

    A number a_nk is at most the cost where k is the label of n, and at most 0 elsewhere; those of an example sum to 0.
    """
    tasks, support = y.shape
    numbers, eye = support * ways, partial(torch.eye, dtype=torch.float64)
    z64, exists = z.double().cpu(), exists.cpu()[..., None]  # [T, S, D], [T, S, 1]
    label = (one_hot(y.cpu(), ways) * exists).double().flatten(1)  # [T, S W]
    kernel = torch.einsum("tij,kl->tikjl", z64 @ z64.mT, eye(ways)).reshape(tasks, numbers, numbers)
    found, _, _ = solver()(
        kernel + eye(numbers),
        -label,
        torch.kron(eye(support), torch.ones(1, ways, dtype=torch.float64)).expand(tasks, -1, -1),
        torch.zeros(tasks, support, dtype=torch.float64),
        eye(numbers).expand(tasks, -1, -1),
        (-FREE * exists).expand(-1, -1, ways).flatten(1).double(),  # padding stays at 0
        cost * label,
    )
    return z.mT @ found.view(tasks, support, ways).to(z)


def solver():
    """From the parts of quadratic programmes, differentiably, to their solutions."""
    try:
        from proxsuite.torch.qplayer import QPFunction  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ImportError(f"MetaOptNet needs ProxQP ({error}): pip install 'quickstudy[svm]'.") from None
    return QPFunction(eps=1e-10, eps_backward=1e-12, rho_backward=1e-10, mu_backward=1e-10)

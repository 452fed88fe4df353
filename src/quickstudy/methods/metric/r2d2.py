"""R2-D2, ridge regression differentiable discriminator (Bertinetto et al., 2019). https://arxiv.org/abs/1805.08136"""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn.functional import one_hot

from quickstudy.contract import Examples, MetaLearner, categorical, valid
from quickstudy.inner_loop import Likelihood
from quickstudy.tensors import full_precision, per_task


class R2D2(MetaLearner):
    """Learn embeddings on which ridge regression generalises from a few examples.

    A task is remembered by the weights of its ridge regression from embeddings to one-hot labels, in closed form, so
    that training runs through the solution. Learned across tasks beside the encoder: how much to regularise (lambda),
    and the scale (alpha) and the shift (beta) from regression outputs to logits. In regression the targets are the
    tasks' own. The authors' code also appends 1 to every embedding, and divides embeddings and labels by the square
    root of their number, which is left to lambda here. There lambda is 50, and learned only if asked for, and alpha
    begins at 0.0001, or 10 on Omniglot.

    Args:
        encoder: From inputs to embeddings.
        penalty: The first lambda; its logarithm is learned, which keeps it positive.
        alpha: The first scale.
        beta: The first shift, which is of no account in classification, as it is the same for all classes.
        likelihood: `categorical` or `gaussian`, from outputs to a distribution.

    Raises:
        ValueError: A penalty that is not positive.
    """

    embedding = "encoder"

    def __init__(
        self,
        encoder: nn.Module,
        *,
        penalty: float = 1.0,
        alpha: float = 1.0,
        beta: float = 0.0,
        likelihood: Likelihood = categorical,
    ):
        super().__init__()
        if penalty <= 0:
            raise ValueError(f"the penalty of a ridge regression must be positive; it is {penalty}.")
        self.encoder, self.likelihood = encoder, likelihood
        self.log_penalty = nn.Parameter(torch.tensor(float(penalty)).log())
        self.alpha, self.beta = (nn.Parameter(torch.tensor(float(first))) for first in (alpha, beta))

    def adapt(self, support: Examples) -> Float[Tensor, "task d outputs"]:
        y = support.y if support.ways is None else one_hot(support.y, support.ways)  # [T, S, outputs]
        with full_precision(per_task(self.encoder, support.x)) as z:  # [T, S, D]
            return ridge(z * valid(support)[..., None], y.to(z.dtype), self.log_penalty.exp())

    def predict(self, memory: Float[Tensor, "task d outputs"], x: Shaped[Tensor, "task query *x"]) -> Distribution:
        with full_precision(per_task(self.encoder, x)) as z:
            return self.likelihood(self.alpha * (z @ memory) + self.beta)  # [T, Q, outputs]


def ridge(
    x: Float[Tensor, "task support d"], y: Float[Tensor, "task support outputs"], penalty: Float[Tensor, ""]
) -> Float[Tensor, "task d outputs"]:
    """The weights W that minimise |X W - Y|^2 + penalty |W|^2, from the smaller of two linear systems.

    With fewer examples than features, by Woodbury's identity, that is one of the size of the support set. In double
    precision: of long features that lie close together, single precision finds no solution.
    """
    kept, x, y = x.dtype, x.double(), y.double()
    if torch.compiler.is_compiling() or x.shape[1] < x.shape[2]:  # one graph is for any number of examples
        return (x.mT @ solve(x @ x.mT, y, penalty)).to(kept)  # X' (X X' + lambda I)^-1 Y
    return solve(x.mT @ x, x.mT @ y, penalty).to(kept)  # (X' X + lambda I)^-1 X' Y


def solve(gram: Float[Tensor, "task n n"], right: Float[Tensor, "task n outputs"], penalty: Tensor) -> Tensor:
    identity = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    return torch.cholesky_solve(right, torch.linalg.cholesky(gram + penalty * identity))

"""The classifier of Simple CNAPS (Bateni et al., 2020). https://arxiv.org/abs/1912.03432"""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.distributions import Categorical
from torch.nn.functional import one_hot

from quickstudy.contract import Examples, MetaLearner, categorical, valid
from quickstudy.tensors import below_shown, full_precision, number_of_ways, only_shown, per_task, shown_in


class Mahalanobis(MetaLearner):
    """Classify by the nearest class mean, where a class's own covariance says what is near.

    Across tasks an embedding is learned; a task is remembered by the mean of each class and the Cholesky factor of its
    regularised covariance, so memory grows with the square of the embedding's length. The paper's encoder, which
    another network adapts to each task, is left out: this is its classifier, on any encoder. Logits are minus half
    the squared distances, as of Gaussians; the authors' code leaves the half out.

    Args:
        encoder: From inputs to embeddings.
        beta: Weight of the identity in every covariance; 1 in the authors' code.

    Raises:
        ValueError: A beta that is not positive, with which a covariance may have no inverse.
    """

    embedding = "encoder"

    def __init__(self, encoder: nn.Module, *, beta: float = 1.0):
        super().__init__()
        if beta <= 0:
            raise ValueError(f"beta must be positive, or a covariance of few examples has no inverse; it is {beta}.")
        self.encoder, self.beta = encoder, beta

    def adapt(self, support: Examples) -> dict[str, Tensor]:
        with full_precision(per_task(self.encoder, support.x)) as z:  # [T, S, D]
            exists = valid(support)[:, None].to(z.dtype)  # [T, 1, S]
            member = one_hot(support.y, number_of_ways(support)).mT * exists  # [T, W, S]
            mean, own = moments(z, member)
            _, whole = moments(z, exists)
            n = member.sum(-1)[..., None, None]
            share = n / (n + 1)  # lambda_k, the weight of a class's own covariance
            identity = torch.eye(z.shape[-1], dtype=z.dtype, device=z.device)
            q = share * own + (1 - share) * whole + self.beta * identity  # Q_k: [T, W, D, D]
            return {"mean": only_shown(mean, support), "factor": torch.linalg.cholesky(q)}

    def predict(self, memory: dict[str, Tensor], x: Shaped[Tensor, "task query *x"]) -> Categorical:
        with full_precision(per_task(self.encoder, x)) as z:  # [T, Q, D]
            mean, shown = shown_in(memory["mean"])
            difference = z[:, None] - mean[:, :, None]  # [T, W, Q, D]
            white = torch.linalg.solve_triangular(memory["factor"], difference.mT, upper=False)  # [T, W, D, Q]
            return categorical(below_shown(-0.5 * white.square().sum(2).mT, shown))  # half squared distances under Q_k


def moments(
    z: Float[Tensor, "task support d"], member: Float[Tensor, "task group support"]
) -> tuple[Float[Tensor, "task group d"], Float[Tensor, "task group d d"]]:
    """The mean of each group of examples, and their unbiased covariance: zero of a single example, or of none."""
    count = member.sum(-1)[..., None]  # [T, G, 1]
    mean = member @ z / count.clamp(min=1)
    centred = (z[:, None] - mean[:, :, None]) * member[..., None]  # [T, G, S, D]
    return mean, centred.mT @ centred / (count - 1).clamp(min=1)[..., None]

"""ALPaCA, Bayesian regression on meta-learned features (Harrison, Sharma & Pavone, 2018).

https://arxiv.org/abs/1807.08912
"""

import math

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.distributions import Distribution

from quickstudy.contract import Examples, MetaLearner, categorical, gaussian, valid
from quickstudy.methods.bayesian.targets import regressed
from quickstudy.tensors import full_precision, out_features, per_task


class ALPaCA(MetaLearner):
    """Bayesian linear regression in closed form, on features and from a prior that were learned across tasks.

    Across tasks the encoder, the prior over the last layer's weights and the noise are learned; a task is remembered
    by the posterior over those weights: its mean, and the Cholesky factor of its precision (eqs. 5-6).

    It deviates from the paper in its noise, which is learned, one variance per target, and in classification, which
    the paper has not. There one column per class regresses on labels in {-1, 1}, all from a prior of mean zero, so
    that no class is special and the number of ways is free. The logits f = scale * mean have the posterior variance
    v = scale^2 noise phi' precision^-1 phi, the same for every class; the expected softmax is taken for the softmax
    of f / sqrt(1 + pi v / 8), as MacKay (1992) does for two classes and Lu, Ie & Sha (2020) for more.
    https://doi.org/10.1162/neco.1992.4.5.720, https://arxiv.org/abs/2006.07584

    Args:
        encoder: From inputs to embeddings, which are the features (phi).
        targets: The length of a regression target; None for classification.
    """

    embedding = "encoder"

    def __init__(self, encoder: nn.Module, *, targets: int | None = None):
        super().__init__()
        d = out_features(encoder)
        self.encoder, self.targets = encoder, targets
        self.mean = nn.Parameter(torch.zeros(d, targets)) if targets else None  # K0
        self.factor = nn.Parameter(torch.zeros(d, d))  # of Lambda0: the lower half, the diagonal as its logarithm
        self.log_std = nn.Parameter(torch.full((targets or 1,), math.log(0.1)))
        self.log_scale = None if targets else nn.Parameter(torch.full((), math.log(4)))

    def adapt(self, support: Examples) -> dict[str, Tensor]:
        with full_precision(per_task(self.encoder, support.x)) as z:
            exists, tasks = valid(support)[..., None], len(z)
            y = regressed(support, self.targets).to(z.dtype) * exists
            factor = self.factor.to(z.dtype)
            cholesky = factor.tril(-1) + factor.diagonal().exp().diag()
            mean = z.new_zeros(z.shape[-1], y.shape[-1]) if self.mean is None else self.mean.to(z.dtype)
            mean, cholesky = update(mean.expand(tasks, -1, -1), cholesky.expand(tasks, -1, -1), z * exists, y)
            return {"mean": mean, "cholesky": cholesky}

    def predict(self, memory: dict[str, Tensor], x: Shaped[Tensor, "task query *x"]) -> Distribution:
        with full_precision(per_task(self.encoder, x)) as z:
            mean, variance = z @ memory["mean"], (2 * self.log_std).exp()  # [T, Q, targets or W]
            whitened = torch.linalg.solve_triangular(memory["cholesky"], z.mT, upper=False)
            spread = whitened.square().sum(1)[..., None]  # phi' precision^-1 phi: [T, Q, 1]
            if self.log_scale is None:
                return gaussian(mean, (variance * (1 + spread)).sqrt())  # eqs. 7-8
            scale = self.log_scale.exp()
            return categorical(scale * mean / (1 + math.pi / 8 * scale**2 * variance * spread).sqrt())


def update(
    mean: Float[Tensor, "task d target"],
    cholesky: Float[Tensor, "task d d"],
    phi: Float[Tensor, "task support d"],
    y: Float[Tensor, "task support target"],
) -> tuple[Float[Tensor, "task d target"], Float[Tensor, "task d d"]]:
    """The posterior over the weights, from a prior that may be the posterior given earlier examples (eqs. 5-6).

    Args:
        mean: Of the prior.
        cholesky: Of the prior's precision, in units of the noise's.
        phi: Features; zeros where there is no example.
        y: Targets.

    Returns:
        The posterior's mean, and the Cholesky factor of its precision.
    """
    posterior = torch.linalg.cholesky(cholesky @ cholesky.mT + phi.mT @ phi)
    return mean + torch.cholesky_solve(phi.mT @ (y - phi @ mean), posterior), posterior

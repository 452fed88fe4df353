"""ALPaCA, Bayesian regression on meta-learned features (Harrison, Sharma & Pavone, 2018).

https://arxiv.org/abs/1807.08912
"""

import math

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.distributions import Distribution

from quickstudy.contract import Examples, MetaLearner, categorical, gaussian, single, valid
from quickstudy.methods.bayesian.targets import regressed
from quickstudy.tensors import full_precision, out_features, per_task


class ALPaCA(MetaLearner):
    """Bayesian linear regression in closed form, on features and from a prior that were learned across tasks.

    Across tasks the encoder, the prior over the last layer's weights and the noise are learned; a task is remembered
    by the posterior over those weights (eqs. 5-6), in coordinates in which the prior's precision is the identity: its
    mean, and the Cholesky factor of its precision, which adds up what examples tell. Fewer examples than features are
    remembered by their features, with the Cholesky factor of I + phi phi', as the same posterior (Woodbury).

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

    def root(self) -> Float[Tensor, "d d"]:
        """The Cholesky factor of Lambda0, in double precision: of features in the thousands, single finds no other."""
        factor = self.factor.double()
        return factor.tril(-1) + factor.diagonal().exp().diag()

    def features(self, x: Shaped[Tensor, "task example *x"]) -> Float[Tensor, "task example d"]:
        """What the encoder makes of examples, in the posterior's coordinates; as doubles, which autocast leaves."""
        with full_precision(per_task(self.encoder, x)) as z:
            columns = z.double().flatten(0, 1).T  # one system for all tasks: as a batch, root would be copied
            return torch.linalg.solve_triangular(self.root(), columns, upper=False).T.unflatten(0, z.shape[:2])

    def adapt(self, support: Examples) -> dict[str, Tensor]:
        y, exists = regressed(support, self.targets), valid(support)[..., None]
        phi = self.features(support.x) * exists
        prior = phi.new_zeros(phi.shape[-1], 1) if self.mean is None else self.root().mT @ self.mean.double()  # K0
        memory = posterior(phi, (y - phi @ prior) * exists)
        return {**memory, "mean": prior + memory["mean"]}

    def predict(self, memory: dict[str, Tensor], x: Shaped[Tensor, "task query *x"]) -> Distribution:
        phi, variance = self.features(x), single(2 * self.log_std).exp()
        mean, spread = (of.to(variance.dtype) for of in (phi @ memory["mean"], remaining(memory, phi)[..., None]))
        if self.log_scale is None:
            return gaussian(mean, (variance * (1 + spread)).sqrt())  # eqs. 7-8
        scale = self.log_scale.exp()
        return categorical(scale * mean / (1 + math.pi / 8 * scale**2 * variance * spread).sqrt())


def posterior(
    phi: Float[Tensor, "task support d"], y: Float[Tensor, "task support target"]
) -> dict[str, Float[Tensor, "task ..."]]:
    """What is kept of examples under a prior with mean zero and, in units of the noise's, precision I (eqs. 5-6).

    Args:
        phi: Features; zeros where there is no example.
        y: Targets.
    """
    few = torch.compiler.is_compiling() or phi.shape[1] < phi.shape[2]  # one graph is for any number of examples
    gram = phi @ phi.mT if few else phi.mT @ phi
    cholesky = torch.linalg.cholesky(gram + torch.eye(gram.shape[-1]).to(gram))
    if few:
        return {"mean": phi.mT @ torch.cholesky_solve(y, cholesky), "cholesky": cholesky, "phi": phi}
    return {"mean": torch.cholesky_solve(phi.mT @ y, cholesky), "cholesky": cholesky}


def remaining(memory: dict[str, Tensor], phi: Float[Tensor, "task query d"]) -> Float[Tensor, "task query"]:
    """The variance phi' precision^-1 phi that the examples leave to each query, in units of the noise's."""
    if "phi" not in memory:
        return torch.linalg.solve_triangular(memory["cholesky"], phi.mT, upper=False).square().sum(1)
    known = torch.linalg.solve_triangular(memory["cholesky"], memory["phi"] @ phi.mT, upper=False).square().sum(1)
    return (phi.square().sum(-1) - known).clamp(min=0)

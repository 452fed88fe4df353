"""Deep kernel transfer (Patacchiola, Turner, Crowley, O'Boyle & Storkey, 2020). https://arxiv.org/abs/1910.05199"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn.functional import normalize

from quickstudy.contract import Episodes, Examples, MetaLearner, categorical, gaussian
from quickstudy.methods.bayesian.targets import regressed
from quickstudy.tensors import full_precision, per_task, squared_distances, support_and_query, valid

KERNELS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "rbf": lambda a, b: (-squared_distances(a, b) / 2).exp(),
    "linear": lambda a, b: a @ b.mT,
    "cosine": lambda a, b: normalize(a, dim=-1) @ normalize(b, dim=-1).mT,
}
LEAST_NOISE = 1e-4
"""A variance below which float32 may find no Cholesky factor."""


class DeepKernelTransfer(MetaLearner):
    """A Gaussian process whose kernel is learned across tasks: features, and hyper-parameters that all tasks share.

    A task is remembered by what the exact posterior needs: its embeddings, the Cholesky factor of their covariance,
    and the weights of its labels. It learns by the marginal likelihood of support and query set together.

    Classification is a regression for each class, on labels in {-1, 1} (section 3.2). A label of mean m and variance v
    is 1 rather than -1 with probability sigmoid(2 m / v), and given that it is 1 for one class alone, the classes have
    the softmax of 2 m / v. The paper takes the largest sigmoid(m), which is the same class, as v is of all classes the
    same; but with means near 1 at most, no sigmoid of them alone is ever sure.

    The process is written out: with a task axis and masks, exact inference is one Cholesky factor, for which a
    library of Gaussian processes would be a dependency without gain.

    Args:
        encoder: From inputs to embeddings.
        kernel: On embeddings. The paper's choice is "cosine" or "linear" for classes and "rbf" for numbers; its
            BNCosSim is "cosine" after an encoder that ends in batch normalisation.
        targets: The length of a regression target; None for classification.
        objective: "marginal" likelihood, as in the paper, or "predictive" likelihood of the query set.
    """

    embedding = "encoder"

    def __init__(
        self,
        encoder: nn.Module,
        *,
        kernel: str = "cosine",
        targets: int | None = None,
        objective: str = "marginal",
    ):
        super().__init__()
        if kernel not in KERNELS or objective not in ("marginal", "predictive"):
            raise ValueError(
                f"the kernel is one of {', '.join(KERNELS)}, and the objective 'marginal' or 'predictive'; "
                f"not {kernel!r} and {objective!r}."
            )
        self.encoder, self.kernel, self.targets, self.objective = encoder, kernel, targets, objective
        self.log_variance = nn.Parameter(torch.zeros(()))
        self.log_noise = nn.Parameter(torch.full((), math.log(0.1)))
        self.log_length = nn.Parameter(torch.zeros(())) if kernel == "rbf" else None

    def adapt(self, support: Examples) -> dict[str, Tensor]:
        with full_precision(per_task(self.encoder, support.x)) as z:
            cholesky, y = self._observed(z, support)
            weights = torch.cholesky_solve(y, cholesky)
            return {"z": z, "exists": valid(support), "cholesky": cholesky, "weights": weights}

    def predict(self, memory: dict[str, Tensor], x: Shaped[Tensor, "task query *x"]) -> Distribution:
        with full_precision(per_task(self.encoder, x)) as z:
            between = self._covariance(z, memory["z"]) * memory["exists"][:, None]  # [T, Q, S]
            mean = between @ memory["weights"]  # [T, Q, targets or W]
            known = torch.linalg.solve_triangular(memory["cholesky"], between.mT, upper=False).square().sum(1)
            own = self._covariance(z.flatten(0, 1)[:, None], z.flatten(0, 1)[:, None]).view_as(known)
            variance = ((own - known).clamp(min=0) + self._noise())[..., None]  # [T, Q, 1]
            if self.targets is None:
                return categorical(2 * mean / variance)
            return gaussian(mean, variance.sqrt().expand_as(mean))

    def loss(self, episodes: Episodes) -> Float[Tensor, ""]:
        """Minus the log marginal likelihood of support and query set together, in nats per example."""
        if self.objective == "predictive":
            return super().loss(episodes)
        task = support_and_query(episodes)
        with full_precision(per_task(self.encoder, task.x)) as z:
            cholesky, y = self._observed(z, task)
            fit = torch.linalg.solve_triangular(cholesky, y, upper=False).square().sum((1, 2)) / 2
            examples = valid(task).sum(1).to(z.dtype)
            volume = cholesky.diagonal(dim1=1, dim2=2).log().sum(1) + examples * math.log(2 * math.pi) / 2
            return ((fit + y.shape[-1] * volume) / examples).mean()

    def _observed(self, z: Float[Tensor, "task example d"], examples: Examples) -> tuple[Tensor, Tensor]:
        """The Cholesky factor of the covariance of what is observed, and what is; padding is 0, with variance 1."""
        exists = valid(examples)
        covariance = self._covariance(z, z) * (exists[:, None] & exists[..., None])
        noise = torch.where(exists, self._noise(), 1.0).diag_embed()
        y = regressed(examples, self.targets).to(z.dtype) * exists[..., None]
        return torch.linalg.cholesky(covariance + noise), y

    def _covariance(self, a: Float[Tensor, "task a d"], b: Float[Tensor, "task b d"]) -> Float[Tensor, "task a b"]:
        length = 1.0 if self.log_length is None else self.log_length.exp()
        return self.log_variance.exp() * KERNELS[self.kernel](a / length, b / length)

    def _noise(self) -> Float[Tensor, ""]:
        return LEAST_NOISE + self.log_noise.exp()

"""Deep kernel transfer (Patacchiola, Turner, Crowley, O'Boyle & Storkey, 2020). https://arxiv.org/abs/1910.05199"""

import math

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.distributions import Distribution

from quickstudy.contract import Episodes, Examples, MetaLearner, categorical, gaussian, valid
from quickstudy.methods.bayesian.exact import Process
from quickstudy.methods.bayesian.kernels import KERNELS, Kernel
from quickstudy.methods.bayesian.targets import regressed
from quickstudy.tensors import full_precision, per_task, support_and_query

LEAST_NOISE = 1e-4
"""Added to the variance of noise: points that lie together have no covariance without it."""


class DeepKernelTransfer(MetaLearner):
    """A Gaussian process whose kernel is learned across tasks: features, and hyper-parameters that all tasks share.

    A task is remembered by what the exact posterior needs: its embeddings, the Cholesky factor of their covariance,
    and the weights of its labels. It learns by the marginal likelihood of support and query set together.

    Classification is a regression for each class, on labels in {-1, 1}, as in the paper. A label of mean m and
    variance v is 1 rather than -1 with probability sigmoid(2 m / v), and given that it is 1 for one class alone, the
    classes have the softmax of 2 m / v. The paper takes the largest sigmoid(m), which is the same class, as v is of
    all classes the same; but with means near 1 at most, no sigmoid of them alone is ever sure. In the authors' code
    each class number has a kernel size and a constant mean of its own, and noise is fixed at 0.1; here classes share
    one kernel, the mean is 0, and noise, which begins at 0.1, is learned.

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
            return self.process().observe(z, regressed(support, self.targets), valid(support))[0]

    def predict(self, memory: dict[str, Tensor], x: Shaped[Tensor, "task query *x"]) -> Distribution:
        with full_precision(per_task(self.encoder, x)) as z:
            return self._told(*self.process().predict(memory, z))

    def left_out(self, memory: dict[str, Tensor]) -> Distribution:
        return self._told(*Process.left_out(memory)[:2])

    def _told(self, mean: Tensor, variance: Tensor) -> Distribution:
        if self.targets is None:
            return categorical(2 * mean / variance)
        return gaussian(mean, variance.sqrt().expand_as(mean))

    def loss(self, episodes: Episodes) -> Float[Tensor, ""]:
        """Minus the log marginal likelihood of support and query set together, in nats per example."""
        if self.objective == "predictive":
            return super().loss(episodes)
        task = support_and_query(episodes)
        exists = valid(task)
        with full_precision(per_task(self.encoder, task.x)) as z:
            nats = self.process().observe(z, regressed(task, self.targets), exists)[1]
            return (nats / exists.sum(1)).mean()

    def process(self) -> Process:
        """The Gaussian process with its present hyper-parameters."""
        length = 1.0 if self.log_length is None else self.log_length.exp()
        return Process([Kernel(self.kernel, self.log_variance.exp(), length)], LEAST_NOISE + self.log_noise.exp())

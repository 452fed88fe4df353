"""A mixture of deep kernels: deep kernel transfer (Patacchiola et al., 2020) with a prior over hyper-parameters.

https://arxiv.org/abs/1910.05199; Rasmussen & Williams (2006), chapter 5, for a prior over hyper-parameters.
"""

import math
from collections.abc import Sequence
from itertools import count

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution, MixtureSameFamily

from quickstudy.contract import Examples, MetaLearner, categorical, gaussian, valid
from quickstudy.methods.bayesian.deep_kernel_transfer import LEAST_NOISE
from quickstudy.methods.bayesian.exact import Process
from quickstudy.methods.bayesian.kernels import KERNELS, WITH_LENGTH, Kernel
from quickstudy.methods.bayesian.targets import regressed
from quickstudy.tensors import full_precision, per_task


class DeepKernelMixture(MetaLearner):
    """Several Gaussian processes on the same learned features, of which each task's examples say which suits it.

    Deep kernel transfer shares one kernel's hyper-parameters over all tasks, and so answers with their average where
    tasks differ in smoothness or scale. Here a prior over a few kernels is learned, as are the kernels; a task is
    remembered by what each of their posteriors needs, and by the posterior over kernels: the prior times each kernel's
    marginal likelihood of the support set. Predictions are averaged by it, and it learns by their likelihood.

    Args:
        encoder: From inputs to embeddings.
        kernels: Their number.
        kernel: Their form, "rbf", "linear", "cosine" or "additive"; of several, each kernel is a sum.
        targets: The length of a regression target; None for classification.

    Raises:
        ValueError: No kernels, or an unknown one.
    """

    embedding = "encoder"

    def __init__(
        self,
        encoder: nn.Module,
        *,
        kernels: int = 16,
        kernel: str | Sequence[str] = "rbf",
        targets: int | None = None,
    ):
        super().__init__()
        forms = (kernel,) if isinstance(kernel, str) else tuple(kernel)
        if kernels < 1 or not forms or any(form not in KERNELS for form in forms):
            raise ValueError(
                f"kernels is at least 1 and kernel one of {', '.join(KERNELS)}, or some; not {kernels}, {kernel!r}."
            )
        self.encoder, self.kernels, self.forms, self.targets = encoder, kernels, forms, targets
        self.log_variance = nn.Parameter(torch.stack([spread(kernels, 2 * i) for i in range(len(forms))], 1))
        lengths = [spread(kernels, 2 * i + 1) for i in range(sum(form in WITH_LENGTH for form in forms))]
        self.log_length = nn.Parameter(torch.stack(lengths, 1)) if lengths else None
        self.log_noise = nn.Parameter(torch.full((kernels,), math.log(0.1)))
        self.log_prior = nn.Parameter(torch.zeros(kernels))

    def adapt(self, support: Examples) -> dict[str, Tensor]:
        with full_precision(per_task(self.encoder, support.x)) as z:
            y, exists = regressed(support, self.targets), valid(support)
            memory, nats = self._process(len(z)).observe(*(self._each(t) for t in (z, y, exists)))
            apart = {name: tensor.unflatten(0, (-1, self.kernels)) for name, tensor in memory.items()}  # [T, K, ...]
            return {**apart, "log_posterior": (self.log_prior - nats.view(-1, self.kernels)).log_softmax(-1)}

    def predict(self, memory: dict[str, Tensor], x: Shaped[Tensor, "task query *x"]) -> Distribution:
        with full_precision(per_task(self.encoder, x)) as z:
            each = {name: tensor.flatten(0, 1) for name, tensor in memory.items() if name != "log_posterior"}
            mean, variance = self._process(len(z)).predict(each, self._each(z))
            return self._mixed(mean, variance, memory["log_posterior"][:, None].expand(-1, z.shape[1], -1))

    def left_out(self, memory: dict[str, Tensor]) -> Distribution:
        mean, variance, nats = Process.left_out({name: memory[name].flatten(0, 1) for name in ("cholesky", "weights")})
        less = nats.unflatten(0, (-1, self.kernels)).transpose(1, 2)  # [T, S, K]: evidence that a kernel loses
        return self._mixed(mean, variance, (memory["log_posterior"][:, None] + less).log_softmax(-1))

    def _mixed(self, mean: Tensor, variance: Tensor, which: Float[Tensor, "task example kernel"]) -> Distribution:
        """What each kernel says, by how likely it is."""
        mean, variance = (v.unflatten(0, (-1, self.kernels)).transpose(1, 2) for v in (mean, variance))  # [T, Q, K]
        if self.targets is None:
            return categorical(((2 * mean / variance).log_softmax(-1) + which[..., None]).logsumexp(2))
        each = gaussian(mean, variance.sqrt().expand_as(mean))
        return MixtureSameFamily(Categorical(logits=which, validate_args=False), each, validate_args=False)

    def _each(self, tensor: Shaped[Tensor, "task *x"]) -> Shaped[Tensor, "task_kernel *x"]:
        return tensor.repeat_interleave(self.kernels, 0)

    def _process(self, tasks: int) -> Process:
        """The kernels one after the other, for each of so many tasks."""
        lengths = iter([] if self.log_length is None else self.log_length.exp().T)
        kernels = [
            Kernel(form, for_each(tasks, v), for_each(tasks, next(lengths)) if form in WITH_LENGTH else 1.0)
            for form, v in zip(self.forms, self.log_variance.exp().T, strict=True)
        ]
        return Process(kernels, for_each(tasks, LEAST_NOISE + self.log_noise.exp()))


def for_each(tasks: int, numbers: Float[Tensor, " kernel"]) -> Float[Tensor, "task_kernel 1 1"]:
    return numbers.repeat(tasks)[:, None, None]


def spread(kernels: int, which: int) -> Float[Tensor, " kernel"]:
    """Logarithms from -log 3 to log 3, in another order for each parameter: or the kernels would stay alike."""
    step = next(n for n in count(2 * which + 3 if which else 1) if math.gcd(n, kernels) == 1)
    return torch.linspace(-math.log(3), math.log(3), kernels)[torch.arange(kernels) * step % kernels]

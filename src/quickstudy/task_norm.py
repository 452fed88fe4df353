"""TaskNorm, normalisation by the support set (Bronskill, Gordon et al., 2020). https://arxiv.org/abs/2003.03284"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn
from torch.distributions import Distribution

from quickstudy.contract import Episodes, Examples, MetaLearner, memory_of, parts_of, single, valid


class Support(NamedTuple):
    """The inputs of support sets, and which of them exist."""

    x: Shaped[Tensor, "task support *x"]
    exists: Bool[Tensor, "task support"]


_support: ContextVar[Support | None] = ContextVar("support", default=None)
_measured: ContextVar[Tensor | None] = ContextVar("measured", default=None)


@contextmanager
def _set(variable: ContextVar, value) -> Iterator[None]:
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)


def measured_on(rows: Bool[Tensor, "support"] | Bool[Tensor, "task support"]):
    """Layers below take their statistics from these of a batch's first rows: one task's, or those of stacked tasks."""
    return _set(_measured, rows)


def looks_at_support(net: nn.Module) -> bool:
    """Whether a layer of the network normalises by the support set, and so must be shown it beside the queries."""
    return any(isinstance(module, TaskNorm) for module in net.modules())


def support_in_force() -> Support:
    """The support sets in whose light queries are normalised.

    Raises:
        RuntimeError: Nobody has told.
    """
    support = _support.get()
    if support is None:
        raise RuntimeError(
            "a layer normalises queries by their support set (norm='task'), but which that is nobody has told it: "
            "wrap the learner, as in qs.TaskNormalized(qs.PrototypicalNetwork(qs.Conv4(norm='task')))."
        )
    return support


class Moments(torch.autograd.Function):
    """The mean and the variance of each channel of each image, along a new first axis.

    PyTorch's own operations give the same, and write out several images' worth of numbers in each derivative. Squares
    are of what is left without the mean, or a channel far from zero would lose its digits.
    """

    @staticmethod
    def forward(ctx, x: Float[Tensor, "*channel height width"]) -> Float[Tensor, "2 *channel"]:
        pixels = x.flatten(-2)
        mean = pixels.mean(-1, keepdim=True)
        squares = (pixels - mean).square_().sum(-1)  # in place: memory of this size is dear to ask for
        moments = torch.stack([mean[..., 0], squares / pixels.shape[-1]])
        ctx.save_for_backward(x, moments)
        return moments

    @staticmethod
    def backward(ctx, gradient: Tensor):  # pyright: ignore[reportIncompatibleMethodOverride]
        x, moments = ctx.saved_tensors
        of_mean, of_variance = gradient[..., None, None] / (x.shape[-2] * x.shape[-1])
        of_square = 2 * of_variance
        return torch.addcmul(of_mean - of_square * moments[0, ..., None, None], of_square, x)


class Affine(torch.autograd.Function):
    """Each channel of each image times a scale, plus a shift; its derivative writes out less than that of addcmul."""

    @staticmethod
    def forward(
        ctx,
        x: Float[Tensor, "*channel height width"],
        scale: Float[Tensor, "*channel"],
        shift: Float[Tensor, "*channel"],
    ) -> Float[Tensor, "*channel height width"]:
        ctx.save_for_backward(x, scale)
        return torch.addcmul(shift[..., None, None], x, scale[..., None, None])

    @staticmethod
    def backward(ctx, gradient: Tensor):  # pyright: ignore[reportIncompatibleMethodOverride]
        x, scale = ctx.saved_tensors
        return gradient * scale[..., None, None], (gradient * x).sum((-2, -1)), gradient.sum((-2, -1))


class TaskNorm(nn.Module):
    """Normalises by the moments of the support set, blended with those of each image by itself (TaskNorm-I).

    How much the support set counts is a logistic function of its size, learned for each layer. A query is normalised
    by the same support set, never by other queries: so predictions stay inductive, and tasks never mix.

    Args:
        channels: Of the images.
        offset: Where that function's argument begins, for a support set of any size: at 4 the support set counts
            98%. On Omniglot's validation classes MAML learns far faster so than from one half each.
        eps: Added to variances.
    """

    def __init__(self, channels: int, *, offset: float = 4.0, eps: float = 1e-5):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.slope, self.offset = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.full((1,), float(offset)))
        self.eps = eps

    def forward(self, input: Float[Tensor, "example channel height width"]) -> Tensor:
        return self.stacked(dict(self.named_parameters()), input, 1)

    def stacked(self, weights: Mapping[str, Tensor], x: Tensor, tasks: int) -> Tensor:
        """For every task under weights of its own, images together in the channel axis."""
        rows = _measured.get()
        if rows is None:
            support_in_force()
            raise RuntimeError("norm='task' needs the methods' own ways to a network: per_task, or apply_weights.")
        own = single(x).unflatten(1, (tasks, -1))  # [N, T, C, H, W]
        share = rows.view(tasks, -1).T.to(own.dtype)[..., None]
        count = share.sum(0)  # [T, 1]
        own_mean, own_variance = Moments.apply(own)  # of each image: [N, T, C]
        share, shown = share / count, share.shape[0]
        of_support = (share * own_mean[:shown]).sum(0)  # [T, C]
        apart = (own_mean - of_support).square()
        variance_of_support = (share * (own_variance[:shown] + apart[:shown])).sum(0)
        alpha = torch.addcmul(weights["offset"].view(-1, 1), weights["slope"].view(-1, 1), count).sigmoid()
        mean = own_mean.lerp(of_support, alpha)  # of the mixture of both, alpha : 1 - alpha
        variance = torch.addcmul(own_variance.lerp(variance_of_support, alpha), alpha * (1 - alpha), apart)
        scale = weights["weight"].view(-1, mean.shape[-1]) * torch.rsqrt(variance + self.eps)
        shift = torch.addcmul(weights["bias"].view(-1, mean.shape[-1]), mean, scale, value=-1)
        return Affine.apply(own, scale, shift).flatten(1, 2).to(x.dtype)


class TaskNormalized(MetaLearner):
    """A learner whose networks normalise by the support set: any learner, over layers made by `norm="task"`.

    A task is remembered by what the learner remembers, and by its support set, whose moments every layer takes anew,
    under the task's own weights, when queries are asked.

    Args:
        learner: Of any method.

    Raises:
        ValueError: A learner without such a layer.
    """

    def __init__(self, learner: MetaLearner):
        super().__init__()
        if not looks_at_support(learner):
            raise ValueError(
                f"no layer of this {type(learner).__name__} normalises by the support set; build its network with "
                f"norm='task', or leave TaskNormalized out."
            )
        self.learner = learner

    @property
    def choices(self) -> Mapping[str, Sequence]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.learner.choices

    @property
    def ways(self) -> int | None:
        """The number of classes that the learner was built for; None for one that takes any."""
        return getattr(self.learner, "ways", None)

    @property
    def targets(self) -> int | None:
        """The length of the numbers that the learner was built to tell; None for one of classes."""
        return getattr(self.learner, "targets", None)

    @property
    def progress(self) -> float:
        return self.learner.progress

    @progress.setter
    def progress(self, done: float) -> None:
        self.learner.progress = done

    @property
    def transductive(self) -> bool:
        return self.learner.transductive

    def adapt(self, support: Examples) -> dict[str, Tensor]:
        shown = Support(support.x, valid(support))
        with _set(_support, shown):
            kind, parts = parts_of(self.learner.adapt(support))
        return {**shown._asdict(), **{f"{kind}.{name}": tensor for name, tensor in parts.items()}}

    def predict(self, memory: dict[str, Tensor], x: Shaped[Tensor, "task query *x"]) -> Distribution:
        learned = {name: tensor for name, tensor in memory.items() if name not in Support._fields}
        kind = next(iter(learned)).partition(".")[0]
        parts = {name.removeprefix(f"{kind}."): tensor for name, tensor in learned.items()}
        with _set(_support, Support(memory["x"], memory["exists"])):
            return self.learner.predict(memory_of(kind, parts), x)

    def loss(self, episodes: Episodes) -> Float[Tensor, ""]:
        with _set(_support, Support(episodes.support.x, valid(episodes.support))):
            return self.learner.loss(episodes)

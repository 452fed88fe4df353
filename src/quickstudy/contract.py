"""The one contract of every method: what it remembers of a support set, and how that memory answers a query.

Axes, everywhere in quickstudy: `task` (T), `support` (S), `query` (Q), `way` (W), `shot` (K), `d` (D, an embedding),
`example` (support or query), and `*x`, an example's own axes, such as channel, height, width.
"""

import abc
from collections import namedtuple
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TypeAlias

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution, Independent, Normal

Memory: TypeAlias = Tensor | tuple[Tensor, ...] | Mapping[str, Tensor]
"""What a learner keeps of T tasks: a tensor, a NamedTuple or a dict of tensors, each with a leading task axis."""


def parts_of(memory: Memory) -> tuple[str, dict[str, Tensor]]:
    """What kind of memory this is, and its tensors by name."""
    if isinstance(memory, Tensor):
        return "tensor", {"0": memory}
    if isinstance(memory, Mapping):
        return "dict", dict(memory)
    if fields := getattr(memory, "_fields", None):
        return f"named {','.join(fields)}", dict(zip(fields, memory, strict=True))
    return "tuple", {str(i): tensor for i, tensor in enumerate(memory)}


def memory_of(kind: str, parts: Mapping[str, Tensor]) -> Memory:
    """The memory of this kind that has these parts; a NamedTuple has its fields again, and not its class.

    Raises:
        KeyError: No such kind.
    """
    if kind.startswith("named "):
        return namedtuple("Named", fields := kind.removeprefix("named ").split(","))(*map(parts.__getitem__, fields))
    kinds = {"tensor": lambda: parts["0"], "dict": lambda: parts}
    kinds["tuple"] = lambda: tuple(parts[str(i)] for i in range(len(parts)))
    return kinds[kind]()


def require_tensors(what: str, **parts: object) -> None:
    """Checks that the parts of something are tensors, or None.

    Raises:
        TypeError: One that is not, named.
    """
    for name, part in parts.items():
        if not (part is None or isinstance(part, Tensor)):
            raise TypeError(
                f"{name} of {what} is a tensor, and here a {type(part).__name__}; pass torch.as_tensor({name})."
            )


def whole(labels: Tensor) -> Tensor:
    """Labels of any integer type as int64, which PyTorch indexes by; others as they are."""
    return labels if labels.is_floating_point() or labels.is_complex() else labels.long()


@dataclass(frozen=True)
class Examples:
    """Labelled examples of T tasks: their support sets, or their query sets.

    Args:
        x: The inputs.
        y: For classification, integer labels in [0, ways); for regression, targets with one axis of their own.
        ways: The number of classes of each task; None for regression. Methods that compare a query with what they
            remember of each class give next to no probability to one of which a support set has no example.
        classes: The true class ids of the examples, in the data set that they were drawn from, where known. A
            transfer baseline is trained on them; no other method may look.
        mask: True where an example exists; None where all do. Ragged tasks are padded, and say so here.

    Raises:
        TypeError: Something else than tensors; labels that are not whole numbers in classification, or not floats in
            regression; or class ids or a mask of floats.
        ValueError: Shapes that do not belong together, or labels outside [0, ways).

    Example:
        >>> support = Examples(torch.zeros(8, 5, 1, 28, 28), torch.arange(5).expand(8, 5), ways=5)
        >>> len(support), support.x.shape[1]
        (8, 5)
    """

    x: Shaped[Tensor, "task example *x"]
    y: Int[Tensor, "task example"] | Float[Tensor, "task example *y"]
    ways: int | None = None
    classes: Int[Tensor, "task example"] | None = None
    mask: Bool[Tensor, "task example"] | None = None

    def __post_init__(self):
        require_tensors("Examples", x=self.x, y=self.y, classes=self.classes, mask=self.mask)
        if self.ways is not None:
            object.__setattr__(self, "y", whole(self.y))
        if self.classes is not None:
            object.__setattr__(self, "classes", whole(self.classes))
        for name, tensor in (("classes", self.classes), ("mask", self.mask)):
            if tensor is not None and tensor.is_floating_point():
                raise TypeError(f"{name} is {tensor.dtype}; class ids are whole numbers, and a mask true or false.")
        for name, tensor in (("y", self.y), ("classes", self.classes), ("mask", self.mask)):
            if tensor is not None and tensor.shape[:2] != self.x.shape[:2]:
                raise ValueError(
                    f"{name} has shape {list(tensor.shape)}, but x has {list(self.x.shape)}: both begin with "
                    f"[tasks, examples]. For one task, add a leading axis with x[None], y[None]."
                )
        if self.mask is not None:
            object.__setattr__(self, "mask", self.mask.bool())
            if self.ways is not None and self.y.ndim == 2:  # what is no example may have any label
                object.__setattr__(self, "y", self.y.where(self.mask, 0))
        if self.ways is None:
            if not self.y.is_floating_point() or self.y.ndim < 3:
                raise TypeError(
                    f"without ways the targets are numbers, floats of shape [tasks, examples, d]; y is "
                    f"{self.y.dtype} of shape {list(self.y.shape)}. Pass ways= for classification."
                )
        elif self.y.is_floating_point() or self.y.ndim != 2:
            raise TypeError(
                f"with ways={self.ways} the labels are whole numbers of shape [tasks, examples]; y is {self.y.dtype} "
                f"of shape {list(self.y.shape)}. Leave ways out for regression."
            )
        elif self._readable() and not 0 <= self.y.min() <= self.y.max() < self.ways:
            raise ValueError(
                f"labels must lie in [0, {self.ways}); found {int(self.y.min())} to {int(self.y.max())}. "
                f"Renumber each task's classes from 0, or raise ways."
            )

    def _readable(self) -> bool:
        """Whether the labels are numbers that can be read, and not symbols in a graph that is being compiled."""
        return self.y.device.type == "cpu" and self.y.numel() > 0 and not torch.compiler.is_compiling()

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, tasks: slice) -> "Examples":
        """The tasks of a slice."""
        return self._map(lambda tensor: tensor[tasks])

    def to(self, device) -> "Examples":
        """The same examples on another device."""
        return self._map(lambda tensor: tensor.to(device))

    def shuffled(self) -> "Examples":
        """The same examples, those of each task in a random order of their own."""
        order = torch.rand(self.y.shape[:2], device=self.y.device).argsort(1)
        return self._map(lambda tensor: tensor[torch.arange(len(order), device=order.device)[:, None], order])

    def _map(self, f) -> "Examples":
        tensors = {name: getattr(self, name) for name in ("x", "y", "classes", "mask")}
        return replace(self, **{name: f(tensor) for name, tensor in tensors.items() if tensor is not None})


@dataclass(frozen=True)
class Episodes:
    """T tasks, each with a support set to learn from and a query set to be judged on."""

    support: Examples
    query: Examples

    def __post_init__(self):
        if len(self.support) != len(self.query) or self.support.ways != self.query.ways:
            raise ValueError(
                f"support has {len(self.support)} tasks of {self.support.ways} ways, query {len(self.query)} of "
                f"{self.query.ways}: each task needs both, over the same classes."
            )

    def __len__(self) -> int:
        return len(self.support)

    def __getitem__(self, tasks: slice) -> "Episodes":
        """The episodes of a slice."""
        return Episodes(self.support[tasks], self.query[tasks])

    def __iter__(self) -> Iterator["Episodes"]:
        """The episodes one by one, each with its task axis of length 1."""
        return (self[t : t + 1] for t in range(len(self)))

    def to(self, device) -> "Episodes":
        """The same episodes on another device."""
        return Episodes(self.support.to(device), self.query.to(device))


class MetaLearner(nn.Module, abc.ABC):
    """A learner of tasks: `adapt` learns T tasks from their support sets, `predict` answers their queries.

    A subclass is final and holds nothing of a task: all that it learned of one is in the memory it returns.
    """

    embedding: str | None = None
    """The name of the module that turns each example into an embedding, where that is all the method sees of it."""

    choices: Mapping[str, Sequence] = MappingProxyType({})
    """Settings of its adaptation that fit no two trainings alike, and what `tune` tries for each of them."""

    sequential: bool = False
    """Whether it reads a support set as a sequence. These are shown in random order while training: where they lie
    class by class, as they are drawn, the place of an example would tell its label."""

    stochastic: bool = False
    """Whether its loss draws random numbers, which one thread then draws in one order."""

    progress: float = 0.0
    """The fraction of meta-training that is done, which `train` sets; for a method whose loss changes on the way."""

    @property
    def transductive(self) -> bool:
        """Whether a prediction depends on the other queries asked with it; every table prints it.

        True where a module normalises with the statistics of whatever batch it is given, even when evaluating.
        """
        return any(uses_batch_statistics(module) for module in self.modules())

    @abc.abstractmethod
    def adapt(self, support: Examples) -> Memory:
        """What is learned of T tasks, all at once, from nothing but their support sets."""

    @abc.abstractmethod
    def predict(self, memory: Memory, x: Shaped[Tensor, "task query *x"]) -> Distribution:
        """The predictive distribution over the queries' targets, of batch shape [task, query]."""

    def left_out(self, memory: Memory) -> Distribution | None:
        """What it would say of each support example if it had been shown only the others: batch shape [task, support].

        For a method that has a closed form for it. Without one it is None, and examples are left out one by one.
        """
        return None

    def loss(self, episodes: Episodes) -> Float[Tensor, ""]:
        """Minus the mean log-likelihood of the query set given the support set, in nats per query.

        A method that trains otherwise overrides this, with the mean of something over the tasks: so a batch may be
        computed in parts.
        """
        support = episodes.support.shuffled() if self.sequential and self.training else episodes.support
        return negative_log_likelihood(self.predict(self.adapt(support), episodes.query.x), episodes.query).mean()


def valid(examples: Examples) -> Bool[Tensor, "task example"]:
    """The mask of examples that exist, all of them where no mask was given."""
    if examples.mask is not None:
        return examples.mask
    return torch.ones(examples.y.shape[:2], dtype=torch.bool, device=examples.y.device)


def mean_over(examples: Examples, values: Float[Tensor, "task example"]) -> Float[Tensor, " task"]:
    """The mean over the examples of each task that exist."""
    if examples.mask is None:
        return values.mean(1)
    return values.where(examples.mask, 0).sum(1) / examples.mask.sum(1)


def log_likelihoods(predicted: Distribution, examples: Examples) -> Float[Tensor, "task example"]:
    """The log-likelihood of each target, in nats.

    Raises:
        ValueError: A distribution of another batch shape than [task, example], or over something else than the targets.
    """
    shape = tuple(examples.y.shape[:2])
    if tuple(predicted.batch_shape) != shape:
        raise ValueError(
            f"of {shape[0]} tasks with {shape[1]} queries a {type(predicted).__name__} of batch shape "
            f"{list(predicted.batch_shape)} was predicted; needed is one distribution for each target, of batch shape "
            f"[task, query]: for numbers, qs.gaussian(mean, std)."
        )
    require_outputs(predicted, examples)
    return predicted.log_prob(examples.y)


def require_outputs(predicted: Distribution, examples: Examples) -> None:
    """Checks that what is predicted fits the targets: a probability of every class, perhaps of more; or every number.

    Raises:
        ValueError: It does not; of numbers, PyTorch would compare one with each of several.
    """
    if examples.ways is None:
        if predicted.event_shape != examples.y.shape[2:]:
            raise ValueError(
                f"a {type(predicted).__name__} over numbers of shape {list(predicted.event_shape)} was predicted for "
                f"targets of shape {list(examples.y.shape[2:])}; build the network with an output for each target, and "
                f"take qs.gaussian for its likelihood."
            )
    elif not isinstance(predicted, Categorical):
        raise ValueError(
            f"a {type(predicted).__name__} over numbers was predicted, and the tasks have classes; take qs.categorical "
            f"for the likelihood, or leave ways out of the examples."
        )
    elif predicted.logits.shape[-1] < examples.ways:
        raise ValueError(
            f"this network was built for {predicted.logits.shape[-1]} classes, and there are {examples.ways}; train "
            f"one for more, with {examples.ways} outputs, or draw tasks of fewer ways."
        )


def negative_log_likelihood(predicted: Distribution, examples: Examples) -> Float[Tensor, " task"]:
    """Minus the mean log-likelihood of each task's targets, in nats per example; padding does not count."""
    return mean_over(examples, -log_likelihoods(predicted, examples))


def single(numbers: Float[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
    """The same numbers, in single precision at least."""
    return numbers.float() if numbers.dtype in (torch.bfloat16, torch.float16) else numbers


def categorical(logits: Float[Tensor, "*batch way"]) -> Categorical:
    """The likelihood of classification: a network's outputs are logits."""
    return Categorical(logits=single(logits), validate_args=False)  # validation looks at values, which vmap cannot


def gaussian(mean: Float[Tensor, "*batch d"], std: Float[Tensor, "*batch d"] | None = None) -> Independent:
    """The likelihood of regression: a network's outputs are means, and standard deviations where it gives them.

    By itself a mean has variance 1/2, at which minus the log-likelihood is the squared error, plus a constant.
    """
    mean = single(mean)
    std = torch.full_like(mean, 0.5**0.5) if std is None else std
    return Independent(Normal(mean, std, validate_args=False), 1, validate_args=False)


def uses_batch_statistics(module: nn.Module) -> bool:
    """Whether this layer normalises by the batch it is given even when evaluating, and so lets examples mix."""
    return not getattr(module, "track_running_stats", True) and isinstance(module, nn.modules.batchnorm._BatchNorm)

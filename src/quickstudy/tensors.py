"""Tools for tensors with a leading task axis: encode, average, measure."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution, Independent
from torch.nn.functional import one_hot, softplus

from quickstudy.contract import Episodes, Examples, MetaLearner, gaussian, single, uses_batch_statistics, valid
from quickstudy.task_norm import TaskNorm, looks_at_support, measured_on, support_in_force

ABSENT = 1e4
"""Nats by which a class without support examples lies below the least likely of the others."""


def per_task(encoder: nn.Module, x: Shaped[Tensor, "task example *x"]) -> Float[Tensor, "task example *d"]:
    """The encoder's outputs for every example of every task.

    Tasks are flattened into one batch, unless the encoder normalises by the batch it is given (`norm="batch"`):
    then each task is a batch of its own, so that tasks do not see each other. One that normalises by the support set
    (`norm="task"`) is shown that too.
    """
    if any(uses_batch_statistics(module) for module in encoder.modules()):
        return torch.stack([encoder(task) for task in x])
    if looks_at_support(encoder):
        batch, rows = behind_support(encoder, x)
        return torch.stack([z[-x.shape[1] :] for z in map(partial(_measured, encoder), batch, rows)])
    return encoder(x.flatten(0, 1)).unflatten(0, x.shape[:2])


def _measured(encoder: nn.Module, x: Tensor, rows: Tensor) -> Tensor:
    with measured_on(rows):
        return encoder(x)


def behind_support(
    net: nn.Module, x: Shaped[Tensor, "task example *x"]
) -> tuple[Shaped[Tensor, "task both *x"], Bool[Tensor, "task support"]]:
    """What the network is shown: where a layer normalises by the support set, examples lie behind it in their batch.

    Returns:
        The batch, and which of its first rows count in those layers' statistics, if there are any.

    Raises:
        RuntimeError: Nobody has told which the support set is.
    """
    if not looks_at_support(net):
        return x, torch.ones(len(x), 0, dtype=torch.bool, device=x.device)
    support = support_in_force()
    return x if x is support.x else torch.cat([support.x, x], 1), support.exists


def support_and_query(episodes: Episodes) -> Examples:
    """All examples of each task, those of its support set first."""
    support, query = episodes.support, episodes.query
    x, y, mask = (torch.cat(parts, 1) for parts in zip(*((e.x, e.y, valid(e)) for e in (support, query)), strict=True))
    return Examples(x, y, support.ways, mask=mask)


@contextmanager
def full_precision(z: Float[Tensor, "*axes"]) -> Iterator[Float[Tensor, "*axes"]]:
    """The tensor in float32 at least, while autocast is off: linear systems are not solved in half precision."""
    with torch.autocast(z.device.type, enabled=False):
        yield single(z)


def number_of_ways(support: Examples) -> int:
    """The number of classes of each task.

    Raises:
        TypeError: Tasks of regression, which have none.
    """
    if support.ways is None:
        raise TypeError("this method classifies, but the tasks have numbers for targets; pass Examples(ways=...).")
    return support.ways


def require_targets(examples: Examples, targets: int | None) -> None:
    """Checks that tasks have what a method was built for.

    Args:
        examples: Of the tasks.
        targets: The length of a regression target; None for classification.

    Raises:
        TypeError: Classes where numbers are due, or numbers where classes are, or numbers of another length.
    """
    if targets != (None if examples.ways is not None else examples.y.shape[-1]):
        built = "classes" if targets is None else f"{targets} targets"
        found = "classes" if examples.ways is not None else f"targets of shape {list(examples.y.shape)}"
        raise TypeError(f"this method was built for {built}, but the tasks have {found}; pass targets= to suit them.")


def require_heads(width: int, heads: int) -> None:
    """Checks that the heads of attention can share out a width.

    Raises:
        ValueError: They cannot.
    """
    if width % heads:
        raise ValueError(f"{heads} heads share a width of {width} numbers, which {heads} does not divide; change one.")


def known(predicted: Distribution, classes: int) -> Float[Tensor, "task query class"]:
    """Log-probabilities of the first classes alone: a learner may have been built for more."""
    assert isinstance(predicted, Categorical)
    return predicted.logits[..., :classes].log_softmax(-1)


@torch.no_grad()
def widest(learner: MetaLearner, x: Shaped[Tensor, "1 *x"], classes: int) -> int:
    """The number of ways to adapt with: that of the classes, or more if the learner was built for more.

    Args:
        learner: Any.
        x: An example, without its task axis.
        classes: To be told apart.

    Raises:
        ValueError: The learner was built for fewer classes, or for numbers.
    """
    ways, numbers = getattr(learner, "ways", None), getattr(learner, "targets", None) is not None
    if ways is None and not numbers:  # it may show in what it answers
        two = Examples(torch.stack([x, x], 1), torch.tensor([[0, 1]]), classes)
        predicted = learner.predict(learner.adapt(two), x[None])
        ways = predicted.logits.shape[-1] if isinstance(predicted, Categorical) else None
    if ways is None:
        raise ValueError(
            f"this {type(learner).__name__} tells numbers, and here are classes to be told apart; take a learner of "
            f"classes, such as 'table', or FewShotRegressor for numbers."
        )
    if ways < classes:
        raise ValueError(
            f"this {type(learner).__name__} was built for {ways} classes, and there are {classes}; train one for more, "
            f"or take a method for any number, such as PrototypicalNetwork."
        )
    return ways


def class_means(z: Float[Tensor, "task support d"], support: Examples) -> Float[Tensor, "task way d"]:
    """The mean of each class's embeddings; zero for a class without examples."""
    member = (one_hot(support.y, number_of_ways(support)) * valid(support)[..., None]).to(z.dtype)  # [T, S, W]
    return member.mT @ z / member.sum(1).clamp(min=1)[..., None]


def shown_classes(support: Examples) -> Bool[Tensor, "task way"]:
    """Which classes have examples."""
    return (one_hot(support.y, number_of_ways(support)) * valid(support)[..., None]).sum(1) > 0


def only_shown(remembered: Float[Tensor, "task way *d"], support: Examples) -> Float[Tensor, "task way *d"]:
    """What is remembered of each class; infinity of a class without examples, which lies as far as can be."""
    return remembered.masked_fill(~_wide(shown_classes(support), remembered), torch.inf)


def prototypes(z: Float[Tensor, "task support d"], support: Examples) -> Float[Tensor, "task way d"]:
    """The mean of each class's embeddings, as `only_shown` has it."""
    return only_shown(class_means(z, support), support)


def shown_in(remembered: Float[Tensor, "task way *d"]) -> tuple[Float[Tensor, "task way *d"], Bool[Tensor, "task way"]]:
    """What `only_shown` made, with zero for infinity; and which classes had examples."""
    missing = (remembered == torch.inf).flatten(2).all(-1)  # [T, W]
    return remembered.masked_fill(_wide(missing, remembered), 0), ~missing


def _wide(of_classes: Bool[Tensor, "task way"], like: Float[Tensor, "task way *d"]) -> Bool[Tensor, "task way *#d"]:
    return of_classes[(..., *[None] * (like.ndim - 2))]


def below_shown(logits: Float[Tensor, "task query way"], shown: Bool[Tensor, "task way"]) -> Tensor:
    """The logits, with classes that had no examples far below the others: nothing speaks for them.

    They are finite, so that gradients are, too, where such a class is asked for.
    """
    shown = shown[:, None]
    lowest = logits.where(shown, logits.amax(-1, keepdim=True)).amin(-1, keepdim=True)
    return logits.where(shown, lowest.detach() - ABSENT)


def support_mean(z: Float[Tensor, "task support d"], support: Examples) -> Float[Tensor, "task 1 d"]:
    """The mean of what was made of each example, over the support set."""
    exists = valid(support)[..., None]
    return (z * exists).sum(1, keepdim=True) / exists.sum(1, keepdim=True)


def squared_distances(
    a: Float[Tensor, "task query d"], b: Float[Tensor, "task way d"]
) -> Float[Tensor, "task query way"]:
    """The squared Euclidean distance of every pair, as |a|^2 - 2 a.b + |b|^2; in full precision always.

    Both are seen from the middle of b: far from the origin, these squares would hide the distances.
    """
    with torch.autocast(a.device.type, enabled=False):
        a, b = single(a), single(b)
        middle = b.mean(1, keepdim=True)
        a, b = a - middle, b - middle
        return a.square().sum(-1)[:, :, None] - 2 * a @ b.mT + b.square().sum(-1)[:, None]


def gaussian_outputs(outputs: Float[Tensor, "*batch both"], least_std: float) -> Independent:
    """The Gaussian whose means are the first half of a network's outputs; from the second come standard deviations.

    They are least_std + (1 - least_std) softplus(output): a floor, without which the likelihood of targets that can be
    predicted exactly has no bound.
    """
    mean, spread = single(outputs).chunk(2, -1)
    return gaussian(mean, least_std + (1 - least_std) * softplus(spread))


def out_features(encoder: nn.Module) -> int:
    """The length of an encoder's embeddings, which it tells in its attribute `out_features`.

    Raises:
        TypeError: The encoder does not tell.
    """
    features = getattr(encoder, "out_features", None)
    if not isinstance(features, int):
        raise TypeError(
            f"{type(encoder).__name__} does not tell the length of its embeddings; "
            f"set encoder.out_features, e.g. encoder.out_features = 64."
        )
    return features


def under_blank_head(encoder: nn.Module, ways: int) -> nn.Sequential:
    """The encoder under a linear head without numbers of its own, whose weights come from a memory."""
    return nn.Sequential(encoder, nn.Linear(out_features(encoder), ways, device="meta"))


def forbid_running_statistics(net: nn.Module, method: str) -> None:
    """Refuses a network whose layers average statistics over everything they see, which no one task may change.

    Raises:
        ValueError: Such a layer, named.
    """
    for name, module in net.named_modules():
        if getattr(module, "running_mean", None) is not None:
            raise ValueError(
                f"{method} trains its network on one task at a time, but layer {name!r} ({type(module).__name__}) "
                f"keeps running statistics over all of them. Use Conv4(norm='batch'), which is transductive, or "
                f"norm='group'; for a layer of your own, track_running_stats=False."
            )


def dropping(net: nn.Module) -> list[str]:
    """The names of the layers that drop numbers at random while training."""
    return [name for name, m in net.named_modules() if isinstance(m, nn.modules.dropout._DropoutNd) and m.p > 0]


def forbid_dropout(net: nn.Module, method: str) -> None:
    """Refuses a network that is another one each time it is asked, where it must be asked twice for the same.

    Raises:
        ValueError: Such a layer, named.
    """
    for name in dropping(net):
        raise ValueError(
            f"{method} computes its network anew for derivatives, but layer {name!r} drops other numbers each time. "
            f"Leave dropout out, or set its p to 0."
        )


def norm_parameters(net: nn.Module) -> list[tuple[str, str]]:
    """The names of the scale and the shift of every normalisation layer that has both."""
    kinds = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm, TaskNorm)
    layers = [(name, m) for name, m in net.named_modules() if isinstance(m, kinds)]
    affine = [name for name, m in layers if m.weight is not None and m.bias is not None]
    return [(f"{name}.weight".lstrip("."), f"{name}.bias".lstrip(".")) for name in affine]

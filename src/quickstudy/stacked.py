"""Tasks side by side: a network applied under T sets of weights at once, with one call of each layer.

Images lie in the channels of one grouped convolution, vectors in one batched product, and statistics are per channel:
so tasks do not mix, and every derivative is that of an ordinary layer.
"""

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (its usual name)

from quickstudy.contract import uses_batch_statistics

ELEMENTWISE = (nn.ReLU, nn.Tanh, nn.GELU, nn.SiLU, nn.Sigmoid, nn.ELU, nn.LeakyReLU, nn.Softplus, nn.Identity)
POOLING = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)


class Unsuited(ValueError):
    """A network that cannot be run by the strategy asked for."""


def hooked(module: nn.Module) -> bool:
    """Whether something is to be called whenever this layer is."""
    return bool(module._forward_hooks or module._forward_pre_hooks)


def stacked_call(
    net: nn.Module, weights: Mapping[str, Tensor], x: Shaped[Tensor, "task example *x"]
) -> Float[Tensor, "task example *d"]:
    """The network's outputs for every task, each under its own weights.

    Args:
        net: An `nn.Sequential` of layers known here, or of such; or a module with a method `stacked` of its own,
            from weights by name, a tensor and the number of tasks to a tensor.
        weights: By name, with a leading task axis; those left out are the network's own, the same for every task.
        x: The inputs of each task.

    Raises:
        Unsuited: A layer that is not known, named.
    """
    tasks, first = len(x), {id(p): name for name, p in net.named_parameters()}
    every = {
        name: weights.get(first[id(p)], p.expand(tasks, *p.shape))
        for name, p in net.named_parameters(remove_duplicate=False)  # one that is in two places has one weight
    }
    x = x[:, :, None] if x.ndim == 4 else x  # matrices, which are no images of all tasks side by side
    return apart(apply_stacked(net, every, x, tasks), tasks)


def apply_stacked(module: nn.Module, weights: Mapping[str, Tensor], x: Tensor, tasks: int) -> Tensor:
    """One module of such a network, from images together or apart to images together, or from vectors to vectors."""
    if hooked(module):
        raise Unsuited(f"the strategy 'stacked' calls no hooks, and {type(module).__name__} has some; take 'loop'.")
    if hasattr(module, "stacked"):
        return module.stacked(weights, x, tasks)  # pyright: ignore[reportCallIssue]
    forward = type(module).forward
    if isinstance(module, nn.Sequential) and forward is nn.Sequential.forward:
        for name, child in module._modules.items():  # a module that comes twice is applied twice
            mine = {key.removeprefix(f"{name}."): w for key, w in weights.items() if key.startswith(f"{name}.")}
            x = apply_stacked(child, mine, x, tasks)
        return x
    if isinstance(module, ELEMENTWISE):
        return module(x)
    if isinstance(module, POOLING):
        return module(together(x))
    weighted = "weight" in weights or getattr(module, "weight", None) is None  # not computed, of others
    for kind, layer in LAYERS.items():
        if isinstance(module, kind) and forward is kind.forward and weighted:
            return layer(module, weights.get("weight"), weights.get("bias"), x, tasks)
    raise Unsuited(
        f"the strategy 'stacked' does not know the layer {type(module).__name__}; take 'loop', or an nn.Sequential of "
        f"{', '.join(kind.__name__ for kind in LAYERS)}, activations and pooling."
    )


def together(x: Tensor) -> Tensor:
    """Images of all tasks in the channel axis, [N, T * C, H, W], where they may be already."""
    return x if x.ndim == 4 else x.transpose(0, 1).flatten(1, 2)


def apart(x: Tensor, tasks: int) -> Tensor:
    """Images with their task axis in front again, [T, N, C, H, W]; vectors as they are."""
    return x.unflatten(1, (tasks, -1)).transpose(0, 1) if x.ndim == 4 else x


def joined(parameter: Tensor | None) -> Tensor | None:
    """A layer's parameter for all tasks, one after the other in its first axis."""
    return None if parameter is None else parameter.flatten(0, 1)


def convolve(layer: nn.Conv2d, weight: Tensor, bias: Tensor | None, x: Tensor, tasks: int) -> Tensor:
    if layer.padding_mode != "zeros":
        raise Unsuited("the strategy 'stacked' pads convolutions with zeros only; take 'loop'.")
    groups = tasks * layer.groups
    return F.conv2d(
        together(x), weight.flatten(0, 1), joined(bias), layer.stride, layer.padding, layer.dilation, groups
    )


def batch_norm(layer: nn.BatchNorm2d, weight: Tensor | None, bias: Tensor | None, x: Tensor, tasks: int) -> Tensor:
    if uses_batch_statistics(layer):
        return F.batch_norm(together(x), None, None, joined(weight), joined(bias), training=True, eps=layer.eps)
    if layer.training or layer.running_mean is None or layer.running_var is None:
        raise Unsuited("the strategy 'stacked' moves no running averages; take 'loop', or evaluate.")
    mean, variance = layer.running_mean.repeat(tasks), layer.running_var.repeat(tasks)
    return F.batch_norm(together(x), mean, variance, joined(weight), joined(bias), training=False, eps=layer.eps)


def group_norm(layer: nn.GroupNorm, weight: Tensor | None, bias: Tensor | None, x: Tensor, tasks: int) -> Tensor:
    if x.ndim < 4:
        raise Unsuited("the strategy 'stacked' normalises groups of images only; take 'loop'.")
    return F.group_norm(together(x), tasks * layer.num_groups, joined(weight), joined(bias), layer.eps)


def linear(layer: nn.Linear, weight: Tensor, bias: Tensor | None, x: Tensor, tasks: int) -> Tensor:
    if x.ndim != 3:
        raise Unsuited("the strategy 'stacked' takes linear layers of vectors only; put an nn.Flatten before them.")
    return x @ weight.mT if bias is None else torch.baddbmm(bias[:, None], x, weight.mT)


def flatten(layer: nn.Flatten, weight: None, bias: None, x: Tensor, tasks: int) -> Tensor:
    if (layer.start_dim, layer.end_dim) != (1, -1):
        raise Unsuited("the strategy 'stacked' takes an nn.Flatten of all axes but the first only.")
    return apart(x, tasks).flatten(2)


LAYERS: dict[type[nn.Module], Callable] = {
    nn.Conv2d: convolve,
    nn.BatchNorm2d: batch_norm,
    nn.GroupNorm: group_norm,
    nn.Linear: linear,
    nn.Flatten: flatten,
}

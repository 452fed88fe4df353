"""A network as a function of its weights."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn


def functional(net: nn.Module) -> Callable[[Mapping[str, Tensor], Tensor], Tensor]:
    """The network as a function of some of its weights, by name, and of its input; other weights are its own.

    It is `torch.func.functional_call` with the names looked up once: an inner loop calls a small network so often that
    the lookup shows, the more so with a thread beside it that waits for the interpreter. A parameter that a network
    holds in several places goes by its first name in all of them.
    """
    names = {id(parameter): name for name, parameter in net.named_parameters()}
    places: list[tuple[dict[str, Any], str, str]] = [
        (module._parameters, key, names[id(parameter)])
        for module in net.modules()
        for key, parameter in module._parameters.items()
        if parameter is not None
    ]

    def call(weights: Mapping[str, Tensor], x: Tensor) -> Tensor:
        own = [parameters[key] for parameters, key, _ in places]
        try:
            for parameters, key, name in places:
                if name in weights:
                    parameters[key] = weights[name]
            return net(x)
        finally:
            for (parameters, key, _), parameter in zip(places, own, strict=True):
                parameters[key] = parameter

    return call

"""A network as a function of its weights, and networks that share their numbers with another."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn

CONTAINERS = (dict, list, tuple)
HOLDERS = (MethodType, nn.Module, Tensor)
"""What else a module, or one of its parameters, may be in or be."""


def functional(net: nn.Module) -> Callable[[Mapping[str, Tensor], Tensor], Tensor]:
    """The network as a function of some of its weights, by name, and of its input; other weights are its own.

    It is `torch.func.functional_call` with the names looked up once: an inner loop calls a small network so often that
    the lookup shows, the more so with a thread beside it that waits for the interpreter. A parameter that a network
    holds in several places goes by its first name in all of them. The network itself is left alone, a twin computes:
    other threads may use it meanwhile.
    """
    names = {id(parameter): name for name, parameter in net.named_parameters()}
    apart = twin(net, {}, lambda parameter: parameter)
    places: list[tuple[dict[str, Any], str, str]] = [
        (module._parameters, key, names[id(parameter)])
        for module in apart.modules()
        for key, parameter in module._parameters.items()
        if parameter is not None
    ]

    def call(weights: Mapping[str, Tensor], x: Tensor) -> Tensor:
        own = [parameters[key] for parameters, key, _ in places]
        try:
            for parameters, key, name in places:
                if name in weights:
                    parameters[key] = weights[name]
            return apart(x)
        finally:
            for (parameters, key, _), parameter in zip(places, own, strict=True):
                parameters[key] = parameter

    return call


def holds(value: Any) -> bool:
    """Whether a module may be in there; an empty list or dict, of which a module has a dozen, is passed over."""
    return bool(value) if isinstance(value, CONTAINERS) else isinstance(value, HOLDERS)


def twin(value: Any, seen: dict[int, Any], parameter: Callable[[nn.Parameter], nn.Parameter]) -> Any:
    """The same module with attributes of its own; it shares buffers, and whatever is no module.

    Modules that it holds in lists or dicts too, or by a method, are the twin's own there as well.

    Args:
        value: A module, or what one holds.
        seen: Twins by the id of what they are of; filled, and looked up first.
        parameter: From a parameter to that of the twin.
    """
    if id(value) in seen:
        return seen[id(value)]
    if isinstance(value, nn.Module) and not isinstance(value, torch.jit.ScriptModule):
        new = seen[id(value)] = object.__new__(type(value))
        new.__dict__.update(vars(value))
        holding = [item for item in vars(value).items() if holds(item[1]) and item[0] != "_buffers"]
        new.__dict__.update({name: twin(part, seen, parameter) for name, part in holding})
        return new
    if isinstance(value, nn.Parameter):
        return seen.setdefault(id(value), parameter(value))
    if not holds(value):
        return value
    for kind in (dict, OrderedDict):
        if type(value) is kind:
            return kind((name, twin(part, seen, parameter)) for name, part in value.items())
    for kind in (list, tuple):
        if type(value) is kind:
            return kind(twin(part, seen, parameter) for part in value)
    if isinstance(value, MethodType) and isinstance(value.__self__, nn.Module):
        return MethodType(value.__func__, twin(value.__self__, seen, parameter))
    return value

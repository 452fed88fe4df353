"""The inner loop: fast weights of many tasks by gradient descent, differentiable in the weights they began from."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.func import functional_call

from quickstudy.contract import Examples
from quickstudy.tensors import valid

Weights = Mapping[str, Tensor]
Likelihood = Callable[[Tensor], Distribution]

VECTORIZED = (nn.Linear, nn.ReLU, nn.Tanh, nn.GELU, nn.SiLU, nn.Sigmoid, nn.Identity, nn.Flatten)
"""Layers that `vmap` runs faster than a loop does on a CPU, and differentiates twice correctly."""


def descend(
    objective: Callable[[Weights], Tensor],
    weights: Weights,
    *,
    steps: int,
    lr: float,
    first_order: bool = False,
    vectorize: bool = False,
) -> Weights:
    """The weights after some steps of gradient descent on one task.

    Args:
        objective: The loss of one task as a function of the weights.
        weights: Where to begin.
        steps: Number of steps; with none, the same weights come back.
        lr: Step size.
        first_order: Take the gradients for constants, which drops the second derivatives of the outer gradient.
        vectorize: Use functions that `vmap` takes.
    """
    gradient = functional_gradient if vectorize else plain_gradient
    for _ in range(steps):
        gradients = gradient(objective, weights, first_order)
        weights = {name: weight - lr * gradients[name] for name, weight in weights.items()}
    return weights


def plain_gradient(objective: Callable[[Weights], Tensor], weights: Weights, first_order: bool) -> Weights:
    """The gradient, which keeps nothing of its graph where nobody will ask for second derivatives."""
    keep = torch.is_grad_enabled() and not first_order
    with torch.enable_grad():
        here = {n: w if keep and w.requires_grad else w.detach().requires_grad_() for n, w in weights.items()}
        gradients = torch.autograd.grad(
            objective(here), list(here.values()), create_graph=keep, allow_unused=True, materialize_grads=True
        )
    return dict(zip(here, gradients, strict=True))


def functional_gradient(objective: Callable[[Weights], Tensor], weights: Weights, first_order: bool) -> Weights:
    gradients = torch.func.grad(objective)(weights)
    return {name: g.detach() for name, g in gradients.items()} if first_order else gradients


def adapt_weights(
    net: nn.Module,
    weights: Weights,
    support: Examples,
    likelihood: Likelihood,
    *,
    steps: int,
    lr: float,
    first_order: bool = False,
) -> Weights:
    """Fast weights of T tasks: descent on minus the mean log-likelihood of each support set, from the same weights.

    Args:
        net: The network that the weights are for.
        weights: Where every task begins; what the net has beside them stays as it is.
        support: The support sets.
        likelihood: From the network's outputs to a distribution.
        steps, lr, first_order: See `descend`.

    Returns:
        The weights, each with a leading task axis.
    """

    def one_task(x: Tensor, y: Tensor, exists: Tensor) -> Weights:
        def objective(weights: Weights) -> Tensor:
            nats = -likelihood(functional_call(net, dict(weights), (x,))).log_prob(y)  # [S]
            return (nats * exists).sum() / exists.sum()

        return descend(objective, weights, steps=steps, lr=lr, first_order=first_order, vectorize=vectorize)

    vectorize = vectorizable(net)
    return map_tasks(one_task, support.x, support.y, valid(support), vectorize=vectorize)


def apply_weights(
    net: nn.Module, weights: Weights, x: Shaped[Tensor, "task query *x"]
) -> Float[Tensor, "task query d"]:
    """The network's outputs for every task, each under its own weights."""
    return map_tasks(lambda w, x: functional_call(net, w, (x,)), dict(weights), x, vectorize=vectorizable(net))


def map_tasks(f: Callable, *trees: Tensor | dict[str, Tensor], vectorize: bool) -> Any:
    """f of each task, the results stacked: arguments and results are tensors, or dicts of them.

    Args:
        f: A pure function, of tensors without their task axis.
        trees: Its arguments for all tasks, with a leading task axis.
        vectorize: One call for all tasks by `torch.func.vmap`; otherwise a loop.
    """
    if vectorize:
        return torch.func.vmap(f)(*trees)
    first = trees[0]
    tasks = len(first if isinstance(first, Tensor) else next(iter(first.values())))
    results = [f(*(at(tree, t) for tree in trees)) for t in range(tasks)]
    if isinstance(results[0], Tensor):
        return torch.stack(results)
    return {name: torch.stack([result[name] for result in results]) for name in results[0]}


def at(tree: Tensor | dict[str, Tensor], task: int) -> Tensor | dict[str, Tensor]:
    return tree[task] if isinstance(tree, Tensor) else {name: tensor[task] for name, tensor in tree.items()}


def vectorizable(net: nn.Module) -> bool:
    """Whether tasks run together under `vmap`: only for networks of plain linear layers and activations.

    Normalisation layers have wrong second derivatives there, and convolutions are slower than a loop on a CPU.
    """
    return all(isinstance(leaf, VECTORIZED) for leaf in net.modules() if not list(leaf.children()))

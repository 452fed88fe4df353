"""The inner loop: fast weights of many tasks by gradient descent, differentiable in the weights they began from.

Tasks run by one of three strategies, which give the same numbers up to rounding: one after the other ("loop"), side by
side in every layer ("stacked"), or under `torch.func.vmap` ("vmap"). No method knows which.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.distributions import Distribution

from quickstudy.contract import Examples, categorical, require_outputs, valid
from quickstudy.functional import functional
from quickstudy.stacked import Unsuited, hooked, stacked_call
from quickstudy.task_norm import measured_on
from quickstudy.tensors import behind_support

Weights = Mapping[str, Tensor]
Likelihood = Callable[[Tensor], Distribution]
Strategy = Literal["loop", "stacked", "vmap"]
Objective = Callable[[Weights], Tensor]
Solver = Callable[[Objective, Weights, Strategy], Weights]

PLAIN = (nn.Linear, nn.ReLU, nn.Tanh, nn.GELU, nn.SiLU, nn.Sigmoid, nn.Identity, nn.Flatten)
"""Layers of vectors, which `vmap` differentiates twice correctly; of normalisation layers it does not."""
USUAL = (nn.Sequential.forward, *(kind.forward for kind in PLAIN))


@dataclass
class Choice:
    """The strategy in force, and whether anything has asked for it."""

    strategy: Strategy
    asked: bool = False


_choice: ContextVar[Choice | None] = ContextVar("choice", default=None)


@contextmanager
def running_by(strategy: Strategy) -> Iterator[Choice]:
    """Runs tasks by this strategy, in this thread."""
    choice = Choice(strategy)
    token = _choice.set(choice)
    try:
        yield choice
    finally:
        _choice.reset(token)


def strategy_for(net: nn.Module, x: Tensor) -> Strategy:
    """The strategy in force; where none is, tasks of a plain network of vectors are stacked, others looped over.

    Args:
        net: The network.
        x: What it is applied to, with task and example axes.

    Raises:
        Unsuited: `vmap` of layers that it would get wrong.
    """
    choice = _choice.get()
    leaves = [leaf for leaf in net.modules() if not list(leaf.children())]
    plain = all(isinstance(leaf, PLAIN) for leaf in leaves)
    if choice is None:
        usual = all(type(m).forward in USUAL and not hooked(m) for m in net.modules())
        flat = all((leaf.start_dim, leaf.end_dim) == (1, -1) for leaf in leaves if isinstance(leaf, nn.Flatten))
        vectors = x.ndim == 3 or isinstance(leaves[0], nn.Flatten)
        return "stacked" if plain and usual and flat and vectors else "loop"
    choice.asked = True
    if choice.strategy == "vmap" and not plain:
        raise Unsuited(
            f"the strategy 'vmap' takes networks of {', '.join(kind.__name__ for kind in PLAIN)} only: second "
            f"derivatives of normalisation layers are wrong under it, and convolutions slow. Take 'loop' or 'stacked'."
        )
    return choice.strategy


def descend(
    objective: Objective,
    weights: Weights,
    strategy: Strategy = "loop",
    *,
    steps: int,
    lr: float | Weights,
    first_order: bool = False,
    adjoint: bool = False,
) -> Weights:
    """The weights after some steps of gradient descent: on one task, or on stacked ones with the sum of their losses.

    Args:
        objective: The loss as a function of the weights.
        weights: Where to begin.
        strategy: By which the tasks are run; `vmap` takes functions of its own.
        steps: Number of steps; with none, the same weights come back.
        lr: Step size; or, by name, a tensor of one for each weight, the same for every task.
        first_order: Take the gradients for constants, which drops the second derivatives of the outer gradient.
        adjoint: Keep the weights of each step alone, not its graph, and compute the step again when its derivative is
            asked for, which takes about a quarter more time.

    Raises:
        TypeError: The adjoint form with a step size for each weight.
        Unsuited: The adjoint form under `vmap`.
    """
    if adjoint and isinstance(lr, Mapping):
        raise TypeError("the adjoint form has no derivative by step sizes; lr is a number there, or leave adjoint out.")
    if adjoint and strategy == "vmap":
        raise Unsuited("the strategy 'vmap' cannot compute inner steps anew; take 'loop' or 'stacked'.")
    if adjoint and not first_order and torch.is_grad_enabled():
        return dict(zip(weights, Descent.apply(objective, list(weights), steps, lr, *weights.values()), strict=True))
    for _ in range(steps if weights else 0):
        gradients = gradient(objective, weights, strategy, first_order=first_order)
        if isinstance(lr, Mapping):
            weights = {name: weight - lr[name] * gradients[name] for name, weight in weights.items()}
        else:
            weights = {name: torch.sub(weight, gradients[name], alpha=lr) for name, weight in weights.items()}
    return weights


def gradient(objective: Objective, weights: Weights, strategy: Strategy, *, first_order: bool) -> Weights:
    """The gradient of the objective by the weights; a constant for the outer loop where it is first-order."""
    of = functional_gradient if strategy == "vmap" else plain_gradient
    return of(objective, weights, first_order)


def plain_gradient(objective: Objective, weights: Weights, first_order: bool) -> Weights:
    """The gradient, which keeps nothing of its graph where nobody will ask for second derivatives."""
    keep = torch.is_grad_enabled() and not first_order
    with torch.enable_grad():
        here = {n: w if keep and w.requires_grad else w.detach().requires_grad_() for n, w in weights.items()}
        gradients = torch.autograd.grad(
            objective(here), list(here.values()), create_graph=keep, allow_unused=True, materialize_grads=True
        )
    return dict(zip(here, gradients, strict=True))


def functional_gradient(objective: Objective, weights: Weights, first_order: bool) -> Weights:
    gradients = torch.func.grad(objective)(weights)
    return {name: g.detach() for name, g in gradients.items()} if first_order else gradients


def hessian_product(objective: Objective, weights: Weights, vector: Weights) -> Weights:
    """The product of the objective's Hessian with a vector, whose graph is gone when it returns."""
    with torch.enable_grad():
        here = {name: w.detach().requires_grad_() for name, w in weights.items()}
        gradients = plain_gradient(objective, here, first_order=False)
        products = torch.autograd.grad(
            [gradients[name] for name in here],
            list(here.values()),
            [vector[name] for name in here],
            allow_unused=True,
            materialize_grads=True,
        )
    return dict(zip(here, products, strict=True))


class Descent(torch.autograd.Function):
    """Steps of gradient descent whose derivative is computed backwards through them, one step in memory at a time.

    With w' = w - lr g(w), a gradient v with respect to w' is v - lr H(w) v with respect to w.
    """

    @staticmethod
    def forward(ctx, objective: Objective, names: list[str], steps: int, lr: float, *values: Tensor):
        path = [dict(zip(names, values, strict=True))]
        for _ in range(steps):
            path.append(dict(descend(objective, path[-1], steps=1, lr=lr, first_order=True)))
        ctx.objective, ctx.names, ctx.lr = objective, names, lr
        ctx.save_for_backward(*(w for weights in path[:-1] for w in weights.values()))
        return tuple(w.clone() if w is value else w for w, value in zip(path[-1].values(), values, strict=True))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, *gradients: Tensor):  # pyright: ignore[reportIncompatibleMethodOverride]
        vector, saved = dict(zip(ctx.names, gradients, strict=True)), list(ctx.saved_tensors)
        while saved:
            weights = dict(zip(ctx.names, saved[-len(ctx.names) :], strict=True))
            del saved[-len(ctx.names) :]
            products = hessian_product(ctx.objective, weights, vector)
            vector = {name: v - ctx.lr * products[name] for name, v in vector.items()}
        return None, None, None, None, *vector.values()


def adapt_weights(
    net: nn.Module,
    weights: Weights,
    support: Examples,
    likelihood: Likelihood,
    solve: Solver,
    own: Weights | None = None,
) -> Weights:
    """Fast weights of T tasks by minus the mean log-likelihood of their support sets.

    Args:
        net: The network that the weights are for.
        weights: Where every task begins; what the net has beside them stays as it is.
        support: The support sets.
        likelihood: From the network's outputs to a distribution.
        solve: From a loss, the weights to begin with and the strategy to the fast weights; such as `descend`.
        own: Where each task begins by itself, with a leading task axis: other weights than those above. They may be
            functions of those, through which the outer gradient runs, and the inner one does not.

    Returns:
        The weights, each with a leading task axis.

    Raises:
        TypeError: Tasks of numbers under the likelihood of classes.
        ValueError: A network whose outputs do not fit the tasks' targets.
    """
    if likelihood is categorical and support.ways is None:
        raise TypeError(
            "the tasks have numbers for targets, of which likelihood=categorical tells nothing; pass gaussian."
        )
    strategy, exists, call = strategy_for(net, support.x), valid(support), functional(net)

    def nats(call: Callable, w: Weights, x: Tensor, y: Tensor, exists: Tensor) -> Tensor:
        with measured_on(exists):
            predicted = likelihood(call(w, x))
        require_outputs(predicted, support)
        return (-predicted.log_prob(y) * exists).sum(-1) / exists.sum(-1)

    def one_task(own: Weights, x: Tensor, y: Tensor, exists: Tensor) -> Weights:
        begin = {name: w.view_as(w) for name, w in weights.items()} | dict(own)  # views, of which no own one is made
        return solve(lambda w: nats(call, w, x, y, exists), begin, strategy)

    own = dict(own or {})
    if strategy == "stacked":
        begin, side_by_side = (
            {n: w.expand(len(support), *w.shape) for n, w in weights.items()},
            partial(stacked_call, net),
        )
        objective = lambda w: nats(side_by_side, w, support.x, support.y, exists).sum()  # noqa: E731
        return solve(objective, begin | own, strategy)
    return map_tasks(one_task, own, support.x, support.y, exists, vectorize=strategy == "vmap")


def apply_weights(
    net: nn.Module, weights: Weights, x: Shaped[Tensor, "task query *x"]
) -> Float[Tensor, "task query d"]:
    """The network's outputs for every task, each under its own weights."""
    strategy, call, queries = strategy_for(net, x), functional(net), x.shape[1]
    x, rows = behind_support(net, x)

    def one_task(weights: Weights, rows: Tensor, x: Tensor) -> Tensor:
        with measured_on(rows):
            return call(weights, x)

    if strategy == "stacked":
        with measured_on(rows):
            outputs = stacked_call(net, weights, x)
    else:
        outputs = map_tasks(one_task, dict(weights), rows, x, vectorize=strategy == "vmap")
    return outputs if x.shape[1] == queries else outputs[:, -queries:]


def map_tasks(f: Callable, *trees: Tensor | dict[str, Tensor], vectorize: bool) -> Any:
    """f of each task, the results stacked: arguments and results are tensors, or dicts of them.

    Args:
        f: A pure function, of tensors without their task axis.
        trees: Its arguments for all tasks, with a leading task axis; the last is a tensor.
        vectorize: One call for all tasks by `torch.func.vmap`; otherwise a loop.
    """
    if vectorize:
        return torch.func.vmap(f)(*trees)
    results = [f(*(at(tree, t) for tree in trees)) for t in range(len(trees[-1]))]
    if isinstance(results[0], Tensor):
        return stack(results)
    return {name: stack([result[name] for result in results]) for name in results[0]}


def stack(tensors: list[Tensor]) -> Tensor:
    """Tensors along a new first axis; a single one is not copied."""
    return torch.stack(tensors) if len(tensors) > 1 else tensors[0][None]


def at(tree: Tensor | dict[str, Tensor], task: int) -> Tensor | dict[str, Tensor]:
    return tree[task] if isinstance(tree, Tensor) else {name: tensor[task] for name, tensor in tree.items()}

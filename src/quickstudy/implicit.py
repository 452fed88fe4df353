"""Weights that solve a problem, differentiated through the problem and not through the path to its solution."""

from collections.abc import Callable

import torch
from torch import Tensor

from quickstudy.inner_loop import Weights

Linear = Callable[[Weights], Weights]


def implicit(found: Weights, initial: Weights, solve: Linear) -> Weights:
    """The weights found, as a function of the initial ones.

    Args:
        found: The solution, without a graph.
        initial: What it depends on.
        solve: From a gradient with respect to the solution to that with respect to the initial weights.
    """
    return dict(zip(initial, Implicit.apply(solve, list(initial), *found.values(), *initial.values()), strict=True))


class Implicit(torch.autograd.Function):
    """What is found, unchanged, with a gradient that is solved for."""

    @staticmethod
    def forward(ctx, solve: Linear, names: list[str], *tensors: Tensor):
        ctx.solve, ctx.names = solve, names
        return tuple(t.clone() for t in tensors[: len(names)])

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, *gradients: Tensor):  # pyright: ignore[reportIncompatibleMethodOverride]
        solved = ctx.solve(dict(zip(ctx.names, gradients, strict=True)))
        return None, None, *[None] * len(gradients), *solved.values()


def conjugate_gradients(product: Linear, vector: Weights, steps: int, *, stacked: bool) -> Weights:
    """The x for which product(x) is the vector, nearly, by some steps of conjugate gradients from zero.

    Args:
        product: With a symmetric positive definite matrix; where it is not so, the search stops.
        vector: The right-hand side.
        steps: At most.
        stacked: The tensors have a leading task axis, and every task is a problem of its own.
    """

    def dot(a: Weights, b: Weights) -> Tensor:
        return torch.stack([(a[n] * b[n]).flatten(int(stacked)).sum(-1) for n in vector]).sum(0)

    def plus(a: Weights, factor: Tensor, b: Weights) -> Weights:
        return {n: a[n] + (factor.view(-1, *[1] * (b[n].ndim - 1)) if stacked else factor) * b[n] for n in vector}

    x, residual, direction = {n: torch.zeros_like(v) for n, v in vector.items()}, vector, vector
    going = dot(vector, vector) > 0
    for _ in range(steps):
        image = product(direction)
        before, along = dot(residual, residual), dot(direction, image)
        going = going & (along > 0)
        step = torch.where(going, before / along, 0)
        x, residual = plus(x, step, direction), plus(residual, -step, image)
        direction = plus(residual, torch.where(before > 0, dot(residual, residual) / before, 0), direction)
    return x

"""A linear support vector machine of many classes (Crammer & Singer, 2001): its weights, and their gradient.

https://www.jmlr.org/papers/v2/crammer01a.html. Its dual is solved by Mehrotra's predictor and corrector (1992,
https://doi.org/10.1137/0802028), for all tasks at once and in double precision.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import one_hot

GAP, MOST = 1e-13, 25
"""Where the search ends: at this mean gap, for a cost of 1 or more and else in proportion, or after so many steps."""


def machine(
    z: Float[Tensor, "task support d"],
    y: Int[Tensor, "task support"],
    ways: int,
    cost: float,
    exists: Bool[Tensor, "task support"],
) -> Float[Tensor, "task d way"]:
    """The weights w_k = sum_n a_kn z_n, where a minimises half of sum_k |w_k|^2 + |a|^2, minus sum_n a_yn.

    A number a_kn is at most the cost where k is the label of n, and at most 0 elsewhere; those of an example sum to 0.

    Args:
        z: Examples.
        y: Their classes.
        ways: How many classes there are.
        cost: Of an example on the wrong side of its margin, C.
        exists: Which examples are no padding.
    """
    z64 = (z * exists[..., None]).double()  # at the origin, padding is a problem of its own
    kernel = z64 @ z64.mT + torch.eye(y.shape[1], dtype=z64.dtype, device=z.device)
    found = Dual.apply(kernel, one_hot(y, ways).mT.to(z64), cost)  # [T, W, S]
    return (found @ z64).mT.to(z)


class Newton(NamedTuple):
    """The conditions of an optimum, made linear: (K + D_k) a_k + nu = r_k for each class k, and sum_k a_k = 0.

    One system per class, of the size of the support set, and one for what joins them.
    """

    inverses: Float[Tensor, "task way support support"]
    joint: Float[Tensor, "task support support"]

    @classmethod
    def at(cls, kernel: Tensor, diagonal: Float[Tensor, "task way support"]) -> "Newton":
        factors = torch.linalg.cholesky(kernel[:, None] + torch.diag_embed(diagonal))
        inverses = torch.cholesky_solve(torch.eye(kernel.shape[-1]).to(factors), factors)
        return cls(inverses, torch.linalg.cholesky(inverses.sum(1)))

    def solve(self, right: Float[Tensor, "task way support"]) -> tuple[Tensor, Float[Tensor, "task 1 support"]]:
        apart = (self.inverses @ right[..., None])[..., 0]
        nu = torch.cholesky_solve(apart.sum(1)[..., None], self.joint).mT
        return apart - (self.inverses @ nu[..., None])[..., 0], nu


class Dual(torch.autograd.Function):
    """The numbers of the dual, with the gradient that the conditions of its optimum give."""

    @staticmethod
    def forward(ctx, kernel: Tensor, label: Tensor, cost: float):
        found, system = optimum(kernel, label, cost)
        ctx.save_for_backward(found, *system)
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor):  # pyright: ignore[reportIncompatibleMethodOverride]
        found, *system = ctx.saved_tensors
        return -Newton(*system).solve(gradient)[0].mT @ found, None, None


def optimum(
    kernel: Float[Tensor, "task support support"], label: Float[Tensor, "task way support"], cost: float
) -> tuple[Float[Tensor, "task way support"], Newton]:
    """The numbers a, and the system there: by steps with bounds that are never quite reached.

    What a number lacks to its bound, times the price of that bound, is the gap; each step is tried without keeping
    away from the bounds, and then taken towards as small a gap as the trial found reason for.
    """
    slack, price = torch.full_like(label, cost / label.shape[1]), torch.ones_like(label)
    system, nu = Newton.at(kernel, price / slack), torch.zeros_like(label[:, :1])
    unit = min(cost, 1.0)
    for _ in range(MOST):
        gap = (slack * price).mean((1, 2), keepdim=True)  # [T, 1, 1]
        if not torch.compiler.is_compiling() and gap.max() < GAP * unit:  # one graph is for any problem
            break
        short = label - (cost * label - slack) @ kernel - nu - price
        far, a, _, prices = step(system, short, slack, price, -slack * price)
        left = ((slack - far * a) * (price + far * prices)).mean((1, 2), keepdim=True)
        aim = (gap * (left / gap) ** 3).clamp(min=GAP * unit / 10)
        far, a, nus, prices = step(system, short, slack, price, aim - slack * price + a * prices)
        slack, price, nu = slack - 0.99 * far * a, price + 0.99 * far * prices, nu + 0.99 * far * nus
        system = Newton.at(kernel, price / slack)
    return cost * label - slack, system


def step(system: Newton, short: Tensor, slack: Tensor, price: Tensor, change: Tensor) -> tuple[Tensor, ...]:
    """How far one may go, up to 1, and where: so that slack times price changes by so much, and nothing is short."""
    a, nu = system.solve(short - change / slack)
    prices = (change + price * a) / slack
    return 1 / torch.maximum(a / slack, -prices / price).amax((1, 2), keepdim=True).clamp(min=1), a, nu, prices

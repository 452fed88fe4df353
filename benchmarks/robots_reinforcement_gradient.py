"""Policy gradients, within a task and across tasks: MAML's reinforcement learning (Finn, Abbeel & Levine, 2017).

Inside a task a step of the plain policy gradient, outside a trust region (TRPO, Schulman et al., 2015) through that
step. https://arxiv.org/abs/1703.03400, https://arxiv.org/abs/1502.05477
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, kl_divergence

import quickstudy as qs
from quickstudy.inner_loop import Weights, descend
from quickstudy.methods.metric.r2d2 import ridge
from quickstudy.stacked import stacked_call

DISCOUNT, TRUST, DAMPING, SEARCHES, CONJUGATE, THINNED = 0.99, 0.01, 1e-3, 10, 5, 4
"""Of TRPO: the largest divergence; what is added to the curvature; halvings of a step; steps of conjugate gradients;
and of how many tasks one counts for the curvature."""


class Trajectories(NamedTuple):
    """What some policies did: of every task as many trajectories, all as long, of which some ended before.

    Args:
        states: Before each step, [task, trajectory, step, d].
        actions: [task, trajectory, step, d].
        rewards: [task, trajectory, step].
        alive: Whether it had not ended before the step, [task, trajectory, step].
    """

    states: Tensor
    actions: Tensor
    rewards: Tensor
    alive: Tensor

    @property
    def returns(self) -> Tensor:
        """The mean sum of rewards of each task, [task]."""
        return (self.rewards * self.alive).sum(-1).mean(-1)


class Policy(nn.Module):
    """A policy whose weights may be of each task its own: normal around a network's means, or over its choices."""

    def __init__(self, net: nn.Sequential, actions: int | None):
        super().__init__()
        self.net = net
        self.log_std = nn.Parameter(torch.zeros(actions)) if actions else None  # none for choices

    def weights(self, tasks: int) -> Weights:
        """The initial weights, once for each task."""
        return {name: w.expand(tasks, *w.shape) for name, w in self.named_parameters()}

    def acts(self, weights: Weights, states: Tensor) -> Distribution:
        """What it would do, under each task's weights."""
        flat = states.flatten(1, -2)
        mine = {name.removeprefix("net."): w for name, w in weights.items() if name.startswith("net.")}
        out = stacked_call(self.net, mine, flat).unflatten(1, states.shape[1:-1])
        if self.log_std is None:
            return qs.categorical(out)
        std = weights["log_std"].exp().view(len(out), *[1] * (out.ndim - 2), -1)
        return qs.gaussian(out, std.expand_as(out))


def advantages(did: Trajectories, discount: float = DISCOUNT) -> Tensor:
    """Discounted rewards to come, less what a linear baseline of the same trajectories says, at unit variance.

    The baseline is that of Duan et al. (2016): ridge regression on the state, its squares, and powers of time.
    https://arxiv.org/abs/1604.06778
    """
    rewards, exists = did.rewards * did.alive, did.alive.float()
    to_come, run = [], torch.zeros_like(rewards[..., 0])
    for reward in rewards.flip(-1).unbind(-1):
        run = reward + discount * run
        to_come.append(run)
    returns = torch.stack(to_come[::-1], -1)  # [T, R, H]
    time = (torch.arange(rewards.shape[-1]) / 100.0).to(rewards).expand_as(rewards)[..., None]
    x = torch.cat([did.states, did.states**2, time, time**2, time**3, torch.ones_like(time)], -1).double()
    x, y = (x * exists[..., None]).flatten(1, 2), (returns * exists).flatten(1, 2)[..., None].double()
    told = (x @ ridge(x, y, torch.tensor(1e-5, dtype=torch.float64))).view_as(returns).to(returns.dtype)
    gain, count = (returns - told) * exists, exists.sum((1, 2), keepdim=True)
    gain = gain - exists * gain.sum((1, 2), keepdim=True) / count
    return gain / ((gain.square().sum((1, 2), keepdim=True) / count).sqrt() + 1e-8)


def mean_of(values: Tensor, did: Trajectories) -> Tensor:
    """Over the steps of each task that were taken."""
    return (values * did.alive).sum((1, 2)) / did.alive.sum((1, 2))


def adapted(policy: Policy, weights: Weights, did: Trajectories, gain: Tensor, lr: float) -> Weights:
    """Each task's weights after a step of the policy gradient, differentiable in what they were (eq. 4)."""

    def loss(w: Weights) -> Tensor:
        return -mean_of(policy.acts(w, did.states).log_prob(did.actions) * gain, did).sum()

    return descend(loss, weights, "stacked", steps=1, lr=lr)


class Batch(NamedTuple):
    """What an outer step learns from: trajectories before adaptation, if any, and after, with their advantages."""

    before: tuple[Trajectories, Tensor] | None
    after: tuple[Trajectories, Tensor]

    def thinned(self, every: int) -> "Batch":
        """One of so many tasks."""
        before, after = (part and (Trajectories(*(t[::every] for t in part[0])), part[1][::every]) for part in self)
        assert after is not None
        return Batch(before, after)


def outer(policy: Policy, batch: Batch, lr: float, old: Distribution | None) -> tuple[Tensor, Tensor, Distribution]:
    """Minus the surrogate gain of adapted policies, how far they went from the old ones, and the policies."""
    did, gain = batch.after
    weights = policy.weights(len(gain))
    if batch.before:
        weights = adapted(policy, weights, *batch.before, lr)
    now = policy.acts(weights, did.states)
    old = old or detached(now)
    ratio = (now.log_prob(did.actions) - old.log_prob(did.actions)).exp()
    return -mean_of(ratio * gain, did).mean(), mean_of(kl_divergence(old, now), did).mean(), now


def detached(acts: Distribution) -> Distribution:
    if isinstance(acts, torch.distributions.Categorical):
        return qs.categorical(acts.logits.detach())
    return qs.gaussian(acts.mean.detach(), acts.stddev.detach())


def trust_region_step(policy: Policy, batch: Batch, lr: float) -> float:
    """One step of TRPO; the divergence comes back, 0 where no step was good."""
    parameters = list(policy.parameters())
    loss, _, now = outer(policy, batch, lr, None)
    old = detached(now)
    gradient = flat(torch.autograd.grad(loss, parameters))
    away = outer(policy, batch.thinned(THINNED), lr, None)[1]
    slope = flat(torch.autograd.grad(away, parameters, create_graph=True))

    def curvature(v: Tensor) -> Tensor:
        return flat(torch.autograd.grad(slope @ v, parameters, retain_graph=True)) + DAMPING * v

    direction = conjugate_gradients(curvature, -gradient, CONJUGATE)
    size = (2 * TRUST / (direction @ curvature(direction)).clamp(min=1e-12)).sqrt()
    begin = flat([p.detach() for p in parameters])
    for halved in range(SEARCHES):
        torch.nn.utils.vector_to_parameters(begin + 0.5**halved * size * direction, parameters)
        with torch.no_grad():
            then, moved, _ = outer(policy, batch, lr, old)
        if then < loss and moved <= TRUST:
            return float(moved)
    torch.nn.utils.vector_to_parameters(begin, parameters)
    return 0.0


def flat(tensors) -> Tensor:
    return torch.cat([t.flatten() for t in tensors])


def conjugate_gradients(product: Callable[[Tensor], Tensor], right: Tensor, steps: int) -> Tensor:
    """About the solution of product(x) = right, from zero."""
    x, rest, direction = torch.zeros_like(right), right.clone(), right.clone()
    square = rest @ rest
    for _ in range(steps):
        along = product(direction)
        far = square / (direction @ along)
        x, rest = x + far * direction, rest - far * along
        before, square = square, rest @ rest
        if square < 1e-10:
            break
        direction = rest + square / before * direction
    return x

"""Two-dimensional navigation: what a policy does, how one is meta-trained, and its returns as it adapts."""

from collections.abc import Callable, Sequence

import torch
from robots_reinforcement_gradient import Batch, Policy, Trajectories, adapted, advantages, trust_region_step
from torch import Tensor, nn

import quickstudy as qs
from quickstudy.inner_loop import Weights
from quickstudy.seeds import seeded

HIDDEN, GOALS, TRAJECTORIES = 100, 20, 20
"""Of the policy's two layers; tasks of an outer step, and trajectories of each before and after adaptation."""
TOGETHER = 50
"""Tasks that are tested at once, for the sake of memory."""
SECOND = 0.5
"""Every test step but the first is smaller by this factor, as in the authors' code."""


def new_policy(told: bool = False) -> Policy:
    """A policy that knows where it is; the oracle's is told the goal too."""
    first, middle, last = nn.Linear(4 if told else 2, HIDDEN), nn.Linear(HIDDEN, HIDDEN), nn.Linear(HIDDEN, 2)
    net = nn.Sequential(first, nn.ReLU(), middle, nn.ReLU(), last)
    with torch.no_grad():
        last.weight.mul_(0.1)  # begin by standing still, but for the noise
        last.bias.zero_()
    return Policy(net, 2)


@torch.no_grad()
def rolled(
    policy: Policy, weights: Weights, world: qs.Navigation2D, goals: Tensor, count: int, generator: torch.Generator
) -> Trajectories:
    """Trajectories of each task under its own weights."""
    tasks, told = len(goals), policy.net[0].in_features == 4
    state, alive = torch.zeros(tasks, count, 2), torch.ones(tasks, count, dtype=torch.bool)
    shown = goals[:, None].expand(-1, count, -1)
    rows = []
    for _ in range(world.horizon):
        seen = torch.cat([state, shown], -1) if told else state
        acts = policy.acts(weights, seen)
        action = acts.mean + acts.stddev * torch.randn(state.shape, generator=generator)
        state, reward, reached = world.step(goals, state, action)
        rows.append((seen, action, reward, alive))
        alive = alive & ~reached
    return Trajectories(*(torch.stack(column, 2) for column in zip(*rows, strict=True)))


def meta_train(
    policy: Policy,
    world: qs.Navigation2D,
    iterations: int,
    lr: float | None,
    seed: int,
    goals: int = GOALS,
    report: Callable[[int, float, float], None] | None = None,
) -> list[list[float]]:
    """TRPO on the returns after a step of adaptation, or with no lr on those without; returns of each iteration."""
    curve = []
    for iteration in range(iterations):
        draw = seeded(seed, "reinforcement", iteration)
        aims = world.draw(goals, draw)
        weights = {name: w.detach() for name, w in policy.weights(goals).items()}
        first = rolled(policy, weights, world, aims, TRAJECTORIES, draw)
        before, last = None, first
        if lr is not None:
            before = first, advantages(first)
            with torch.no_grad():
                weights = adapted(policy, weights, *before, lr)
            last = rolled(policy, weights, world, aims, TRAJECTORIES, draw)
        trust_region_step(policy, Batch(before, (last, advantages(last))), lr or 0.0)
        curve.append([first.returns.mean().item(), last.returns.mean().item()])
        if report:
            report(iteration, *curve[-1])
    return curve


def adapting(
    policy: Policy, world: qs.Navigation2D, goals: Tensor, lr: float, steps: int, generator: torch.Generator
) -> list[Trajectories]:
    """Trajectories of each task before adaptation and after each step."""
    each = [some_adapting(policy, world, some, lr, steps, generator) for some in goals.split(TOGETHER)]
    return [
        Trajectories(*(torch.cat(parts) for parts in zip(*stage, strict=True))) for stage in zip(*each, strict=True)
    ]


def some_adapting(
    policy: Policy, world: qs.Navigation2D, goals: Tensor, lr: float, steps: int, generator: torch.Generator
) -> list[Trajectories]:
    weights = {name: w.detach() for name, w in policy.weights(len(goals)).items()}
    found = [rolled(policy, weights, world, goals, TRAJECTORIES, generator)]
    for step in range(steps):
        size = lr if step == 0 else SECOND * lr
        with torch.no_grad():
            weights = adapted(policy, weights, found[-1], advantages(found[-1]), size)
        found.append(rolled(policy, weights, world, goals, TRAJECTORIES, generator))
    return found


def returns(found: Sequence[Trajectories]) -> list[list[float]]:
    """Of each step of adaptation, the mean return of each task."""
    return [[round(value, 4) for value in did.returns.tolist()] for did in found]

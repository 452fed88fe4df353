"""RL^2: a recurrent policy that keeps its state over all of a task's episodes (Duan et al., 2016).

Trained by PPO (Schulman et al., 2017) on whole trials, where the paper takes TRPO. https://arxiv.org/abs/1611.02779,
https://arxiv.org/abs/1707.06347
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn.functional import one_hot

import quickstudy as qs
from quickstudy.seeds import seeded

DISCOUNT, TRACE, CLIP, EPOCHS, PARTS, LR, ENTROPY, VALUE = 0.99, 0.3, 0.2, 4, 10, 1e-2, 0.01, 0.5
"""Of PPO: each iteration's trials are gone through so often, in so many parts; weights of entropy and value."""


class Trial(Protocol):
    """All that a policy lives through in some tasks, one step of all of them after the other."""

    steps: int

    def begin(self) -> Tensor:
        """What is seen first, [task, d]."""
        ...

    def step(self, action: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What is seen next, the reward, and whether the step counted."""
        ...


class BanditTrial:
    """Pulls of some bandits: what is seen is the arm that was pulled, what it paid, and whether it is the first."""

    def __init__(self, bandits: qs.Bandits, steps: int, chances: Tensor, generator: torch.Generator):
        self.bandits, self.steps, self.chances, self.generator = bandits, steps, chances, generator

    def begin(self) -> Tensor:
        return torch.cat([torch.zeros(len(self.chances), self.bandits.arms + 1), torch.ones(len(self.chances), 1)], 1)

    def step(self, action: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        paid = self.bandits.pull(self.chances, action[:, None], self.generator)
        seen = torch.cat([one_hot(action, self.bandits.arms), paid, torch.zeros_like(paid)], 1)
        return seen, paid[:, 0], torch.ones(len(paid), dtype=torch.bool)


class NavigationTrial:
    """Episodes towards some goals: what is seen is the place, the last step and reward, and whether one begins anew.

    After an episode has reached its goal, nothing counts until the next one begins.
    """

    def __init__(self, world: qs.Navigation2D, episodes: int, goals: Tensor):
        self.world, self.steps, self.goals, self.done = world, episodes * world.horizon, goals, 0
        self.state, self.alive = torch.zeros(len(goals), 1, 2), torch.ones(len(goals), dtype=torch.bool)

    def begin(self) -> Tensor:
        return torch.cat([torch.zeros(len(self.goals), 5), torch.ones(len(self.goals), 1)], 1)

    def step(self, action: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        alive, self.done = self.alive, self.done + 1
        self.state, reward, reached = self.world.step(self.goals, self.state, action[:, None])
        self.alive = alive & ~reached[:, 0]
        new = self.done % self.world.horizon == 0
        if new:
            self.state, self.alive = torch.zeros_like(self.state), torch.ones_like(alive)
        told = [self.state[:, 0], action.clamp(-1, 1), reward, torch.full_like(reward, float(new))]
        return torch.cat(told, 1), reward[:, 0], alive


class Lived(NamedTuple):
    """A trial as it was lived, [task, step, ...]."""

    seen: Tensor
    actions: Tensor
    rewards: Tensor
    alive: Tensor
    chances: Tensor
    values: Tensor


class Recurrent(nn.Module):
    """A GRU under a policy and a value: normal around means, or over choices."""

    def __init__(self, inputs: int, actions: int, hidden: int = 64, choices: bool = True):
        super().__init__()
        self.gru = nn.GRU(inputs, hidden, batch_first=True)
        self.head, self.value = nn.Linear(hidden, actions), nn.Linear(hidden, 1)
        self.log_std = None if choices else nn.Parameter(torch.full((actions,), -0.7))
        with torch.no_grad():
            self.head.weight.mul_(0.1)

    def forward(self, seen: Tensor, state: Tensor | None = None) -> tuple[Distribution, Tensor, Tensor]:
        """What it would do and expects at each step, and its state after them."""
        z, state = self.gru(seen, state)
        out = self.head(z)
        acts = qs.categorical(out) if self.log_std is None else qs.gaussian(out, self.log_std.exp().expand_as(out))
        return acts, self.value(z)[..., 0], state  # pyright: ignore[reportReturnType]


@torch.no_grad()
def lived(policy: Recurrent, trial: Trial, generator: torch.Generator) -> Lived:
    seen, state, rows = trial.begin(), None, []
    for _ in range(trial.steps):
        acts, value, state = policy(seen[:, None], state)
        if isinstance(acts, torch.distributions.Categorical):
            action = torch.multinomial(acts.probs[:, 0], 1, generator=generator)[:, 0]
        else:
            action = (acts.mean + acts.stddev * torch.randn(acts.mean.shape, generator=generator))[:, 0]
        after, reward, alive = trial.step(action)
        rows.append((seen, action, reward, alive, acts.log_prob(action[:, None])[:, 0], value[:, 0]))
        seen = after
    return Lived(*(torch.stack(column, 1) for column in zip(*rows, strict=True)))


def advantages(did: Lived) -> Tensor:
    """Generalised advantages over the whole trial; a step that does not count passes on what comes after it."""
    gain, after, found = torch.zeros(len(did.rewards)), torch.zeros(len(did.rewards)), []
    for reward, alive, value in zip(
        *(part.flip(1).unbind(1) for part in did[2:4]), did.values.flip(1).unbind(1), strict=True
    ):
        now = reward + DISCOUNT * after - value + DISCOUNT * TRACE * gain
        gain, after = torch.where(alive, now, gain), torch.where(alive, value, after)
        found.append(gain)
    return torch.stack(found[::-1], 1)


def meta_train(
    policy: Recurrent,
    trials: Callable[[torch.Generator], Trial],
    iterations: int,
    seed: int,
    report: Callable[[int, float], None] | None = None,
) -> list[float]:
    """PPO on trials of new tasks each time; the mean sum of rewards of each iteration."""
    optimizer, curve = torch.optim.Adam(policy.parameters(), LR), []
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, iterations)
    for iteration in range(iterations):
        draw = seeded(seed, "recurrent", iteration)
        did = lived(policy, trials(draw), draw)
        gain, exists = advantages(did), did.alive
        to_come = gain + did.values
        gain = (gain - gain[exists].mean()) / (gain[exists].std() + 1e-8)
        orders = [torch.randperm(len(gain), generator=draw).chunk(PARTS) for _ in range(EPOCHS)]
        for some in (part for order in orders for part in order):
            acts, values, _ = policy(did.seen[some])
            ratio = (acts.log_prob(did.actions[some]) - did.chances[some]).exp()
            good = torch.minimum(ratio * gain[some], ratio.clamp(1 - CLIP, 1 + CLIP) * gain[some])
            loss = VALUE * (values - to_come[some]).square() - good - ENTROPY * acts.entropy()
            optimizer.zero_grad()
            loss[exists[some]].mean().backward()
            nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
            optimizer.step()
        scheduler.step()
        curve.append((did.rewards * exists).sum(1).mean().item())
        if report:
            report(iteration, curve[-1])
    return curve

"""Bandits: what is known without learning to learn, from the best possible down, and MAML's policy gradient."""

from collections.abc import Callable
from functools import cache

import torch
from robots_reinforcement_gradient import Batch, Policy, Trajectories, adapted, advantages, trust_region_step
from torch import Tensor, nn

import quickstudy as qs
from quickstudy.inner_loop import Weights
from quickstudy.seeds import seeded

PULLS, TASKS = 10, 200
"""Pulls from which a step of the policy gradient is taken; bandits of an outer step."""
Index = Callable[[Tensor, Tensor, int, torch.Generator], Tensor]
"""What each arm is worth trying, from how often it paid and did not, the number of the pull and a generator."""


def thompson(paid: Tensor, not_paid: Tensor, pull: int, generator: torch.Generator) -> Tensor:
    """A draw from what is believed of each arm (Thompson, 1933), from a uniform prior: the truth here."""
    return beta(paid + 1, not_paid + 1, generator)


def beta(a: Tensor, b: Tensor, generator: torch.Generator) -> Tensor:
    """Beta variables for whole a and b, as shares of sums of exponential ones."""
    most = int(torch.maximum(a, b).max())
    parts = []
    for count in (a, b):
        draws = torch.empty(*count.shape, most).exponential_(generator=generator)
        parts.append((draws * (torch.arange(most) < count[..., None])).sum(-1))
    return parts[0] / (parts[0] + parts[1])


def greedy(paid: Tensor, not_paid: Tensor, pull: int, generator: torch.Generator) -> Tensor:
    return (paid + 1) / (paid + not_paid + 2) + 1e-6 * torch.rand(paid.shape, generator=generator)


def upper_bound(width: float) -> Index:
    """UCB1 (Auer et al., 2002), whose bound is so many times sqrt(log t / n) above the mean; 2^0.5 in the paper.

    https://doi.org/10.1023/A:1013689704352
    """

    def index(paid: Tensor, not_paid: Tensor, pull: int, generator: torch.Generator) -> Tensor:
        count = paid + not_paid
        bound = paid / count.clamp(min=1) + width * (torch.tensor(pull + 1.0).log() / count.clamp(min=1)).sqrt()
        return bound.where(count > 0, 1e6) + 1e-6 * torch.rand(paid.shape, generator=generator)

    return index


def random(paid: Tensor, not_paid: Tensor, pull: int, generator: torch.Generator) -> Tensor:
    return torch.rand(paid.shape, generator=generator)


def played(index: Index, bandits: qs.Bandits, chances: Tensor, pulls: int, generator: torch.Generator) -> Tensor:
    """What each pull paid when always the arm of the highest index is pulled, [task, pull]."""
    paid, not_paid, rows = torch.zeros_like(chances), torch.zeros_like(chances), []
    for pull in range(pulls):
        arm = index(paid, not_paid, pull, generator).argmax(1, keepdim=True)
        reward = bandits.pull(chances, arm, generator)
        paid = paid.scatter_add(1, arm, reward)
        not_paid = not_paid.scatter_add(1, arm, 1 - reward)
        rows.append(reward[:, 0])
    return torch.stack(rows, 1)


def optimum(arms: int, pulls: int) -> float:
    """The mean sum of rewards of the best policy there is, by dynamic programming over what may be known of the arms.

    Arms are alike beforehand, so that a state is a sorted tuple of how often each paid and did not.
    """

    @cache
    def value(known: tuple[tuple[int, int], ...], left: int) -> float:
        if not left:
            return 0.0
        best = 0.0
        for arm in set(known):
            others, (paid, not_paid) = list(known), arm
            others.remove(arm)
            chance = (paid + 1) / (paid + not_paid + 2)
            if_paid = value(tuple(sorted([*others, (paid + 1, not_paid)])), left - 1)
            if_not = value(tuple(sorted([*others, (paid, not_paid + 1)])), left - 1)
            best = max(best, chance * (1 + if_paid) + (1 - chance) * if_not)
        return best

    return value(((0, 0),) * arms, pulls)


def new_policy(arms: int) -> Policy:
    """A policy without anything to look at: one logit for each arm."""
    one = nn.Linear(1, arms, bias=False)
    nn.init.zeros_(one.weight)
    return Policy(nn.Sequential(one), None)


@torch.no_grad()
def pulled(
    policy: Policy, weights: Weights, bandits: qs.Bandits, chances: Tensor, generator: torch.Generator
) -> Trajectories:
    """Ten pulls of each bandit under its own weights, each an episode of one step."""
    states = torch.ones(len(chances), PULLS, 1, 1)
    probs = policy.acts(weights, states).probs[:, 0, 0]  # pyright: ignore[reportAttributeAccessIssue]
    arms = torch.multinomial(probs, PULLS, replacement=True, generator=generator)
    paid = bandits.pull(chances, arms, generator)[..., None]
    return Trajectories(states, arms[..., None], paid, torch.ones_like(paid, dtype=torch.bool))


def meta_train(policy: Policy, bandits: qs.Bandits, iterations: int, lr: float, seed: int) -> list[list[float]]:
    """TRPO on what is paid after a step of adaptation; the mean payment of each iteration before and after."""
    curve = []
    for iteration in range(iterations):
        draw = seeded(seed, "bandits", iteration)
        chances = bandits.draw(TASKS, draw)
        first = pulled(policy, policy.weights(TASKS), bandits, chances, draw)
        before = first, advantages(first)
        with torch.no_grad():
            weights = adapted(policy, policy.weights(TASKS), *before, lr)
        last = pulled(policy, weights, bandits, chances, draw)
        trust_region_step(policy, Batch(before, (last, advantages(last))), lr)
        curve.append([first.rewards.mean().item(), last.rewards.mean().item()])
    return curve


def adapting(
    policy: Policy, bandits: qs.Bandits, chances: Tensor, lr: float, steps: int, generator: torch.Generator
) -> Tensor:
    """What was paid in ten pulls before adaptation and after each step, [task, pull]."""
    weights, rows = policy.weights(len(chances)), []
    for step in range(steps + 1):
        did = pulled(policy, weights, bandits, chances, generator)
        rows.append(did.rewards[..., 0])
        if step < steps:
            with torch.no_grad():
                weights = adapted(policy, weights, did, advantages(did), lr)
    return torch.cat(rows, 1)

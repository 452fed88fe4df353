"""Reinforcement learning that adapts: navigation to a goal that is not told, and bandits.

python benchmarks/robots.py run reinforcement [METHOD...]    trains and tests; a method with a result is passed over
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import robots_reinforcement_bandits as bandits
import robots_reinforcement_navigation as navigation
import torch
from machine import processor
from robots_reinforcement_recurrent import BanditTrial, NavigationTrial, Recurrent, lived, meta_train
from torch import Tensor

import quickstudy as qs
from quickstudy.data.files import digest
from quickstudy.seeds import seeded

RESULTS = Path(__file__).parent / "results"
SEED, STEPS, ARMS, EPISODES = 0, 3, 5, 4
FIRST = 10
"""Pulls of a bandit before adaptation, and of each step of it."""
DRAWN, SHOWN = 4, 3
"""Goals of the picture, and trajectories of each."""


class Asked(NamedTuple):
    """How much of everything.

    Args:
        tasks: In the test.
        share: Of the iterations that a method takes.
        horizon: Of an episode of navigation.
    """

    tasks: int
    share: float
    horizon: int


class Setup(NamedTuple):
    """A method's row; what is set here was chosen on validation tasks, or is the authors'.

    Args:
        family: Where a textbook has it.
        title: In tables.
        run: From what is asked for to what is found.
    """

    family: str
    title: str
    run: Callable[[Asked], dict]


def test_tasks(world: qs.Navigation2D | qs.Bandits, asked: Asked) -> tuple[Tensor, torch.Generator]:
    """The goals or chances of the test, and what is random in it."""
    draw = seeded(SEED, "test tasks", 0)
    return world.draw(asked.tasks, draw), draw


def navigated(iterations: int, meta: float | None, lr: float, told: bool = False, steps: int = STEPS):
    """A policy that TRPO trained, through a step of adaptation or with none (`meta`), and that steps of `lr` adapt."""

    def run(asked: Asked) -> dict:
        torch.manual_seed(SEED)
        start, world = time.process_time(), qs.Navigation2D(asked.horizon)
        policy, iterated = navigation.new_policy(told), int(iterations * asked.share)
        curve = navigation.meta_train(policy, world, iterated, meta, SEED)
        seconds = time.process_time() - start
        goals, draw = test_tasks(world, asked)
        did = navigation.adapting(policy, world, goals, lr, steps, draw)
        return about(policy, goals, curve, seconds) | {
            "returns": navigation.returns(did),
            "goals": goals[:DRAWN].tolist(),
            "paths": [paths(each.states[:DRAWN, :SHOWN, :, :2], each.alive[:DRAWN, :SHOWN]) for each in did],
        }

    return run


def paths(states: Tensor, alive: Tensor) -> list:
    """Places of each goal's trajectories, as long as they went."""
    return [
        [
            [[round(value, 3) for value in place] for place in way[goes].tolist()]
            for way, goes in zip(*each, strict=True)
        ]
        for each in zip(states, alive, strict=True)
    ]


def about(policy: torch.nn.Module, tasks: Tensor, curve: list, seconds: float) -> dict:
    found = {"parameters": sum(p.numel() for p in policy.parameters()), "train_seconds": round(seconds, 1)}
    return found | {"curve": curve, "iterations": len(curve), "hash": digest([str(tasks.tolist())])}


def remembered(iterations: int, goals: int = 64):
    """RL^2 on navigation: a step of adaptation is an episode that it remembers."""

    def run(asked: Asked) -> dict:
        torch.manual_seed(SEED)
        start, world = time.process_time(), qs.Navigation2D(asked.horizon)
        policy = Recurrent(6, 2, choices=False)
        trials = lambda draw: NavigationTrial(world, EPISODES, world.draw(goals, draw))  # noqa: E731
        curve = meta_train(policy, trials, int(iterations * asked.share), SEED)
        seconds = time.process_time() - start
        aims, draw = test_tasks(world, asked)
        did = lived(policy, NavigationTrial(world, EPISODES, aims), draw)
        each = (did.rewards * did.alive).unflatten(1, (EPISODES, -1)).sum(-1).T
        found = about(policy, aims, curve, seconds)
        return found | {"returns": [[round(value, 4) for value in row] for row in each.tolist()]}

    return run


def payments(paid: Tensor) -> dict:
    """The sum of each bandit, and the mean payment of a pull in each block of ten."""
    blocks = paid.unflatten(1, (-1, FIRST)).mean(-1).T
    return {"sum": paid.sum(1).tolist(), "blocks": [[round(v, 3) for v in row] for row in blocks.tolist()]}


def indexed(index: bandits.Index, lengths: Sequence[int] = (10, 40, 100)):
    def run(asked: Asked) -> dict:
        found, world = {}, qs.Bandits(ARMS)
        for pulls in lengths:
            chances, draw = test_tasks(world, asked)
            found[str(pulls)] = payments(bandits.played(index, world, chances, pulls, draw))
        return {"pulls": found, "hash": digest([str(chances.tolist())])}

    return run


def gradient(iterations: int, lr: float):
    """MAML's policy gradient; without iterations, that from equal chances."""

    def run(asked: Asked) -> dict:
        torch.manual_seed(SEED)
        start, world = time.process_time(), qs.Bandits(ARMS)
        policy = bandits.new_policy(ARMS)
        curve = bandits.meta_train(policy, world, int(iterations * asked.share), lr, SEED)
        seconds = time.process_time() - start
        chances, draw = test_tasks(world, asked)
        paid = bandits.adapting(policy, world, chances, lr, STEPS, draw)
        return about(policy, chances, curve, seconds) | {"pulls": {str(paid.shape[1]): payments(paid)}}

    return run


def recurrent(lengths: dict[int, tuple[int, int]]):
    """RL^2 on bandits, trained for each length of a trial by so many iterations of so many trials."""

    def run(asked: Asked) -> dict:
        found, world, curves, seconds, policy = {}, qs.Bandits(ARMS), [], 0.0, Recurrent(ARMS + 2, ARMS)
        for pulls, (iterations, trials) in lengths.items():
            torch.manual_seed(SEED)
            start, policy = time.process_time(), Recurrent(ARMS + 2, ARMS)
            make = lambda draw: BanditTrial(world, pulls, world.draw(trials, draw), draw)  # noqa: B023, E731
            curves += meta_train(policy, make, int(iterations * asked.share), SEED)
            seconds += time.process_time() - start
            chances, draw = test_tasks(world, asked)
            found[str(pulls)] = payments(lived(policy, BanditTrial(world, pulls, chances, draw), draw).rewards)
        return about(policy, chances, curves, seconds) | {"pulls": found}

    return run


METHODS: dict[str, Setup] = {
    "navigation-random": Setup("transfer", "Policy gradient from random weights", navigated(0, None, 0.5)),
    "navigation-pretrained": Setup("transfer", "Pre-trained, then policy gradient", navigated(200, None, 0.1)),
    "navigation-maml": Setup("optimization", "MAML", navigated(200, 0.5, 0.5)),
    "navigation-rl2": Setup("model-based", "RL^2", remembered(200)),
    "navigation-oracle": Setup("knows the goal", "Oracle", navigated(200, None, 0.0, told=True, steps=0)),
    "bandit-random": Setup("classical", "At random", indexed(bandits.random)),
    "bandit-greedy": Setup("classical", "Greedy", indexed(bandits.greedy)),
    "bandit-thompson": Setup("bayesian", "Thompson sampling", indexed(bandits.thompson)),
    "bandit-ucb1": Setup("classical", "UCB1", indexed(bandits.upper_bound(0.2))),
    "bandit-gradient": Setup("transfer", "Policy gradient from equal chances", gradient(0, 10.0)),
    "bandit-maml": Setup("optimization", "MAML", gradient(100, 10.0)),
    "bandit-rl2": Setup("model-based", "RL^2", recurrent({10: (120, 1000), 40: (200, 300), 100: (150, 150)})),
}


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("methods", nargs="*", metavar="METHOD", help=f"of {', '.join(METHODS)}; or all")
    parser.add_argument("--tasks", type=int, default=1000, help="in the test")
    parser.add_argument("--share", type=float, default=1.0, help="of the iterations of training")
    parser.add_argument("--horizon", type=int, default=100, help="of an episode of navigation")
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args(words)
    unknown = [name for name in asked.methods if name not in METHODS]
    if unknown:
        parser.error(f"no method {unknown[0]!r}; there are {', '.join(METHODS)}")
    torch.set_num_threads(1)  # networks this small gain nothing from a second thread
    for name in asked.methods or METHODS:
        path = asked.out / f"robots-reinforcement-{name}.json"
        if path.exists():
            continue
        found = {"method": name, "seed": SEED, "tasks": asked.tasks, "horizon": asked.horizon}
        found |= METHODS[name].run(Asked(asked.tasks, asked.share, asked.horizon))
        found |= {"machine": processor(), "torch": torch.__version__}
        asked.out.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(found) + "\n")
        rows = found["returns"] if "returns" in found else [one["sum"] for one in found["pulls"].values()]
        told = " ".join(f"{statistics.mean(row):.2f}" for row in rows)
        print(f"{name}  {told}  {found.get('train_seconds', 0)} s", flush=True)


if __name__ == "__main__":
    main()

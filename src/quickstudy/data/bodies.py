"""Transitions of robots whose bodies are changed, after the tasks of Nagabandi et al. (2019).

https://arxiv.org/abs/1803.11347
"""

import json
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from quickstudy.data.files import cache_directory, cached, digest
from quickstudy.data.simulated import MASSES, ROBOTS, TRAJECTORIES, Body, Kind, Part, simulated


class Bodies(NamedTuple):
    """Transitions of some bodies of one robot, in units of the spread over the training bodies.

    Args:
        robot: Its name.
        bodies: What was changed.
        x: States and actions, each number in standard deviations from its mean over the training bodies.
        y: How the state changed until the next step, likewise.
        mean: Of the numbers of x, in the robot's own units.
        std: Of them.
        change_mean: Of the numbers of y.
        change_std: Of them.
    """

    robot: str
    bodies: tuple[Body, ...]
    x: Float[Tensor, "body trajectory step d"]
    y: Float[Tensor, "body trajectory step state"]
    mean: Float[Tensor, " d"]
    std: Float[Tensor, " d"]
    change_mean: Float[Tensor, " state"]
    change_std: Float[Tensor, " state"]

    @property
    def states(self) -> int:
        """The length of a state, which x begins with."""
        return self.y.shape[-1]

    def of(self, part: Part, kind: Kind | None = None) -> Int[Tensor, " body"]:
        """The numbers of the bodies of a part; of both kinds unless told."""
        chosen = [n for n, body in enumerate(self.bodies) if body.part == part and kind in (None, body.kind)]
        return torch.tensor(chosen, dtype=torch.long)

    def after(
        self, state: Float[Tensor, "*batch state"], change: Float[Tensor, "*batch state"]
    ) -> Float[Tensor, "*batch state"]:
        """The state after a change of it, both standardised."""
        return state + (self.change_mean + self.change_std * change) / self.std[: self.states]


def changed_bodies(
    robot: str = "HalfCheetah-v5",
    *,
    train: int = 200,
    validation: int = 40,
    test: int = 120,
    length: int = 150,
    seed: int = 0,
    folder: str | Path | None = None,
) -> Bodies:
    """Transitions of a robot's changed bodies, which are simulated once and kept in a file.

    A body in training has a mass of 0.7 to 1.5 times the robot's, and one time in four all its joints, else one of the
    training joints is crippled: its motor has no force. Of the bodies of the other parts every second ("joint") has
    a crippled joint that no body in training has, and a mass as in training; the others ("mass") have all joints, and
    are lighter or heavier than any in training. Each has three trajectories, begun near rest, under motors that follow
    waves of random frequency, phase and size with correlated noise on them.

    Args:
        robot: "HalfCheetah-v5" (states of 17 numbers, actions of 6), or "Ant-v5" (27 and 8).
        train: Bodies in training.
        validation: Bodies to choose settings on.
        test: Bodies to test on.
        length: Transitions of a trajectory.
        seed: Of everything that is random.
        folder: Where to keep the file; the user's cache folder unless given.

    Raises:
        ValueError: No such robot, fewer than two bodies of a part, or fewer than two transitions.
        ImportError: Gymnasium or MuJoCo is not installed.
    """
    if robot not in ROBOTS:
        raise ValueError(f"the robot is one of {', '.join(ROBOTS)}; not {robot!r}.")
    if train < 2 or min(validation, test) < 2 or length < 2:
        raise ValueError(
            f"each part needs at least 2 bodies, and a trajectory 2 transitions; got train={train}, "
            f"validation={validation}, test={test} and length={length}."
        )
    counts: dict[Part, int] = {"train": train, "validation": validation, "test": test}
    about = {"robot": robot, **counts, "length": length, "seed": seed, "rule": [MASSES, ROBOTS[robot], TRAJECTORIES]}
    place = Path(folder or cache_directory()) / f"changed-bodies-{robot}.safetensors"
    make = partial(simulated, robot, counts, length, seed)
    transitions, found = cached([place], digest([json.dumps(about)]), make)
    bodies, states = tuple(Body(*body) for body in found["bodies"]), found["states"]
    in_training = torch.tensor([body.part == "train" for body in bodies])
    x, after = transitions.split([transitions.shape[-1] - states, states], -1)
    change = after - x[..., :states]
    units = *spread(x[in_training]), *spread(change[in_training])
    mean, std, change_mean, change_std = units
    x, y = (x - mean) / std, (change - change_mean) / change_std
    return Bodies(robot, bodies, x.float(), y.float(), *(unit.float() for unit in units))


def spread(values: Float[Tensor, "*batch d"]) -> tuple[Float[Tensor, " d"], Float[Tensor, " d"]]:
    """The mean and the standard deviation of each number."""
    rows = values.flatten(0, -2)
    return rows.mean(0), rows.std(0)

"""Demonstrations of Meta-World's tasks by its scripted experts, each of a goal that is not shown."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from quickstudy.data.metaworld import APART, SHOWN, Arm, Moment
from quickstudy.seeds import seeded

AROUND = (0.1, 0.1, 0.05)
"""How far the hand begins, at most, from where Meta-World puts it: to either side, to and fro, up and down; metres."""
MOST = 100
"""Failures of the expert at one demonstration, after which it is given up."""


@dataclass(frozen=True)
class Demonstrations:
    """What an expert did, several times for each of some goals.

    Args:
        environment: Meta-World's name.
        goals: Where the goals are, in metres.
        places: Where the hand and the object were put, in metres; the hand settles near its place.
        states: What was seen before each step: the hand's place, the gripper's opening, the object's place.
        actions: What the expert did, or would have done where it was disturbed; from -1 to 1.
        undisturbed: The number of demonstrations of each goal, the first ones, that were not disturbed.
        tries: How many were recorded in all, of which the successful ones were kept.
    """

    environment: str
    goals: Float[Tensor, "goal 3"]
    places: Float[Tensor, "goal demonstration 6"]
    states: Float[Tensor, "goal demonstration step 7"]
    actions: Float[Tensor, "goal demonstration step 4"]
    undisturbed: int
    tries: int

    def begin(self, arm: Arm, goal: int, demonstration: int) -> Moment:
        """The moment at which a demonstration began."""
        hand, thing = self.places[goal, demonstration].double().numpy().reshape(2, 3)
        return arm.begin(self.goals[goal].double().numpy(), hand, thing)


def demonstrations(
    environment: str = "reach-v3",
    *,
    goals: int = 100,
    per_goal: int = 2,
    disturbed: int = 0,
    noise: float = 0.5,
    steps: int = 100,
    seed: int = 0,
) -> Demonstrations:
    """Successful demonstrations by the scripted expert, of goals drawn from where the environment has them.

    Each begins with the hand and the object somewhere else. While some of them were recorded the motion was disturbed,
    and what was kept is what the expert would have done: so it shows how to come back to the right way, which a
    policy that only saw the right way never learns (DART; Laskey et al., 2017). https://arxiv.org/abs/1703.09327

    Args:
        environment: Meta-World's name, of one that `Arm` takes.
        goals: How many goals.
        per_goal: Demonstrations of each.
        disturbed: Further ones of each that are disturbed.
        noise: The standard deviation of the disturbance of the hand's motion, of which 1 is the fastest.
        steps: Of a demonstration, which goes on after success.
        seed: Of goals, places and disturbances.

    Raises:
        ImportError: Meta-World is not installed.
        ValueError: No such environment, numbers that are too small, or an expert who does not succeed.
    """
    if min(goals, per_goal, steps) < 1 or disturbed < 0 or noise < 0:
        raise ValueError(
            f"goals, per_goal and steps are at least 1, disturbed and noise at least 0; got goals={goals}, "
            f"per_goal={per_goal}, steps={steps}, disturbed={disturbed}, noise={noise}."
        )
    arm, where, found, tries = Arm(environment), [], [], 0
    for number in range(goals):
        draw = np.random.default_rng(seeded(seed, environment, number).initial_seed() % 2**63)
        where.append(draw.uniform(*arm.goals).astype(np.float32))
        for which in range(per_goal + disturbed):
            for attempt in range(MOST):
                spread, placed = noise if which >= per_goal else 0.0, places(arm, where[-1], draw)
                moment = arm.begin(where[-1], placed[:3], placed[3:])
                success, states, actions = record(arm, moment, steps, spread, draw)
                if success:
                    found.append((placed, states, actions))
                    tries += attempt + 1
                    break
            else:
                raise ValueError(
                    f"the expert of {environment} failed {MOST} times within {steps} steps under a disturbance of "
                    f"{spread}; raise steps or lower noise."
                )
    goal = torch.from_numpy(np.stack(where))
    parts = (torch.from_numpy(np.stack(one)).unflatten(0, (goals, -1)) for one in zip(*found, strict=True))
    return Demonstrations(environment, goal, *parts, undisturbed=per_goal, tries=tries)


def places(arm: Arm, goal: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Where to put the hand and the object, the latter not at the goal."""
    hand = arm.hand + draw.uniform(-1, 1, 3) * AROUND
    while True:
        thing = draw.uniform(*arm.objects)
        if np.linalg.norm(goal[:2] - thing[:2]) >= APART + 1e-6:
            return np.concatenate([hand, thing]).astype(np.float32)


def record(
    arm: Arm, moment: Moment, steps: int, noise: float, draw: np.random.Generator
) -> tuple[bool, np.ndarray, np.ndarray]:
    """Whether the expert succeeded at some step, what was seen before each step, and what the expert would do then."""
    states, actions = (np.empty((steps, size), dtype=np.float32) for size in (SHOWN, 4))
    success = False
    for step in range(steps):
        states[step], actions[step] = moment.seen, arm.expert(moment)
        disturbance = np.append(noise * draw.normal(size=3), 0.0)  # an opened gripper would drop what it holds
        moment = arm.step(moment, actions[step] + disturbance)
        success |= moment.success
    return success, states, actions

"""What a policy does when it is let loose: rollouts from where the expert began, and how near to the goal they come."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

import quickstudy as qs
from quickstudy.data.files import digest
from quickstudy.data.metaworld import Arm

MOVED = {"reach-v3": slice(0, 3), "push-v3": slice(4, 7)}
"""Of what is seen, what is to be brought to the goal: the hand or the object."""
SHOWN, EVERY, PLACES = 6, 4, [0, 1, 2, 4, 5, 6]
"""Of so many goals one rollout is kept for pictures, at one in so many steps: the places of hand and object."""
Act = Callable[[Tensor, int], tuple[Tensor, Tensor]]
"""From what all robots see at a step, and the step's number, to their actions and standard deviations."""


class Rollouts(NamedTuple):
    """What came of a policy.

    Args:
        success: Meta-World's verdict at each step.
        paths: What was seen before each step, and in the end.
        spread: The standard deviation of the hand's motion at each step.
    """

    success: np.ndarray
    paths: np.ndarray
    spread: np.ndarray


def pairs(demonstrations: qs.Demonstrations) -> tuple[Tensor, Tensor, Tensor]:
    """Of each rollout the goal, the demonstration that is seen, and the one from whose beginning it begins."""
    goals, count = demonstrations.states.shape[:2]
    goal, shown = torch.arange(goals).repeat_interleave(count), torch.arange(count).repeat(goals)
    return goal, shown, (shown + 1) % count


def roll_out(act: Act, demonstrations: qs.Demonstrations) -> Rollouts:
    """Every pair's rollout, all robots side by side."""
    goal, _, start = pairs(demonstrations)
    arm, steps = Arm(demonstrations.environment), demonstrations.states.shape[2]
    moments = [demonstrations.begin(arm, *one) for one in zip(goal.tolist(), start.tolist(), strict=True)]
    success, paths, spread = [], [np.stack([moment.seen for moment in moments])], []
    for step in range(steps):
        action, std = act(torch.from_numpy(paths[-1]).float(), step)
        moments = [arm.step(moment, one) for moment, one in zip(moments, action.numpy(), strict=True)]
        success.append([moment.success for moment in moments])
        paths.append(np.stack([moment.seen for moment in moments]))
        spread.append(std[:, :3].mean(1).numpy())
    return Rollouts(*(np.stack(one, 1) for one in (success, paths, spread)))


def told(found: Rollouts, demonstrations: qs.Demonstrations) -> dict:
    """What is kept of rollouts: scores of each, and the first one of some goals, in millimetres."""
    (goal, shown, start), steps = pairs(demonstrations), slice(None, None, EVERY)
    moved, goals = MOVED[demonstrations.environment], demonstrations.goals[goal]
    some = slice(None, SHOWN * demonstrations.states.shape[1], demonstrations.states.shape[1])

    def millimetres(places: np.ndarray) -> list:
        return (1000 * places).round().astype(int).tolist()

    return {
        "goals": len(demonstrations.goals),
        "success": found.success.any(1).astype(int).tolist(),
        "last": found.success[:, -1].astype(int).tolist(),
        "distance": np.linalg.norm(found.paths[:, -1, moved] - goals.numpy(), axis=1).round(4).tolist(),
        "spread": found.spread.mean(1).round(4).tolist(),
        "hash": digest(map(repr, (goals.tolist(), demonstrations.places[goal, start].tolist(), shown.tolist()))),
        "shown": {
            "goals": millimetres(goals[some].numpy()),
            "paths": millimetres(found.paths[some, steps][..., PLACES]),
            "spread": found.spread[some, steps].round(3).tolist(),
            "demonstrations": millimetres(demonstrations.states[goal, shown][some, steps][..., PLACES].numpy()),
        },
    }

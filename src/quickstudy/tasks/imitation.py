"""A goal is a task (Duan et al., 2017): from one demonstration, do the same from elsewhere.

https://arxiv.org/abs/1703.07326
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from quickstudy.contract import Episodes, Examples
from quickstudy.data.demonstrations import Demonstrations

CENTRE = (0.0, 0.7, 0.15)
"""The middle of where the hand moves, in metres."""
UNIT = 0.1
"""Inputs are in tenths of a metre, so that they are about as large as 1."""


class OneShotImitation:
    """Tasks of imitation: from the steps of one demonstration, tell what the expert does in another with the same goal.

    An example is a moment: from what is seen to the expert's action, four numbers. The support set is one
    demonstration that was not disturbed, at steps that lie evenly; the query set is random steps of another one,
    disturbed or not. The goal is in neither.

    Args:
        demonstrations: Several for each goal.
        shots: Steps that are told.
        queries: Steps that are asked for.
        told: Tell the goal in every input: for a policy that is to be an upper bound.

    Raises:
        ValueError: Goals with one demonstration, or more steps than there are.
    """

    def __init__(self, demonstrations: Demonstrations, *, shots: int = 20, queries: int = 20, told: bool = False):
        _, count, steps, _ = demonstrations.states.shape
        if count < 2:
            raise ValueError(f"each goal needs two demonstrations, one to see and one to be judged by; it has {count}.")
        if not 1 <= min(shots, queries) <= max(shots, queries) <= steps:
            raise ValueError(f"a demonstration has {steps} steps; got shots={shots} and queries={queries}.")
        self.demonstrations, self.queries, self.told = demonstrations, queries, told
        self.steps = torch.linspace(0, steps - 1, shots).round().long()

    def sample(self, tasks: int, generator: torch.Generator) -> Episodes:
        """A batch of tasks, a function of the generator's state alone."""
        goals, count, steps, _ = self.demonstrations.states.shape
        goal = torch.randint(goals, (tasks,), generator=generator)
        shown = torch.randint(self.demonstrations.undisturbed, (tasks,), generator=generator)
        other = (shown + torch.randint(1, count, (tasks,), generator=generator)) % count
        asked = torch.rand(tasks, steps, generator=generator).argsort(1)[:, : self.queries]
        return Episodes(self.support(goal, shown), self._examples(goal, other, asked))

    def support(self, goal: Int[Tensor, " task"], demonstration: Int[Tensor, " task"]) -> Examples:
        """The support sets that are these demonstrations of these goals."""
        return self._examples(goal, demonstration, self.steps.expand(len(goal), -1))

    def inputs(
        self, seen: Float[Tensor, "task example 7"], goals: Float[Tensor, "task 3"]
    ) -> Float[Tensor, "task example d"]:
        """The inputs of moments: the hand, the gripper, the object, and the object as seen from the hand.

        The goals are among them only where they are told.
        """
        centre = seen.new_tensor(CENTRE)
        hand, gripper, thing = seen.split((3, 1, 3), -1)
        parts = [(hand - centre) / UNIT, gripper, (thing - centre) / UNIT, (thing - hand) / UNIT]
        if self.told:
            parts.append(((goals[:, None] - centre) / UNIT).expand_as(hand))
        return torch.cat(parts, -1)

    def _examples(self, goal: Tensor, demonstration: Tensor, steps: Tensor) -> Examples:
        where = goal[:, None], demonstration[:, None], steps
        told = self.demonstrations
        return Examples(self.inputs(told.states[where], told.goals[goal]), told.actions[where])

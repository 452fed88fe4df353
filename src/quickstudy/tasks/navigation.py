"""Two-dimensional navigation to a goal that is not told (Finn, Abbeel & Levine, 2017, section 5.3).

https://arxiv.org/abs/1703.03400
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

STEP, NEAR = 0.1, 0.01
"""The farthest a step goes along each axis; how near the goal an episode ends, along each axis."""


class Navigation2D:
    """Tasks of reinforcement learning: a point that begins at (0, 0) shall go to a goal that only rewards tell of.

    Goals are uniform in [-0.5, 0.5]^2. The reward of a step is minus the distance from the goal after it, as in the
    authors' code; the paper says the squared distance, with which its returns could not be as low as they are. The
    dynamics are functions of all tasks and trajectories at once.

    Args:
        horizon: Steps after which an episode ends in any case (100 in the paper).

    Raises:
        ValueError: No step.
    """

    def __init__(self, horizon: int = 100):
        if horizon < 1:
            raise ValueError(f"an episode has at least 1 step; horizon is {horizon}.")
        self.horizon = horizon

    def draw(self, tasks: int, generator: torch.Generator) -> Float[Tensor, "task 2"]:
        """The goals of some tasks, a function of the generator's state alone."""
        return torch.rand(tasks, 2, generator=generator) - 0.5

    def step(
        self, goal: Float[Tensor, "task 2"], state: Float[Tensor, "task trajectory 2"], action: Float[Tensor, "..."]
    ) -> tuple[Float[Tensor, "task trajectory 2"], Float[Tensor, "task trajectory"], Bool[Tensor, "task trajectory"]]:
        """The next states, the rewards, and whether the goal is reached.

        Args:
            goal: Of each task.
            state: Of each trajectory.
            action: Steps in units of the farthest, which are cut off at 1.
        """
        state = state + STEP * action.clamp(-1, 1)
        away = state - goal[:, None]
        return state, -away.norm(dim=-1), (away.abs() < NEAR).all(-1)

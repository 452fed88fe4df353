"""Bernoulli bandits (Duan et al., 2016, section 3.1). https://arxiv.org/abs/1611.02779"""

import torch
from jaxtyping import Float, Int
from torch import Tensor


class Bandits:
    """Tasks of reinforcement learning: arms that each pay 1 or 0, with a chance that is uniform in [0, 1].

    Args:
        arms: Of each bandit.

    Raises:
        ValueError: Fewer than two arms.
    """

    def __init__(self, arms: int = 5):
        if arms < 2:
            raise ValueError(f"a bandit has at least 2 arms, not {arms}.")
        self.arms = arms

    def draw(self, tasks: int, generator: torch.Generator) -> Float[Tensor, "task arm"]:
        """The chances of some bandits, a function of the generator's state alone."""
        return torch.rand(tasks, self.arms, generator=generator)

    def pull(
        self, chances: Float[Tensor, "task arm"], arm: Int[Tensor, "task pull"], generator: torch.Generator
    ) -> Float[Tensor, "task pull"]:
        """What some arms pay, each pull by itself."""
        return (torch.rand(arm.shape, generator=generator) < chances.gather(1, arm)).float()

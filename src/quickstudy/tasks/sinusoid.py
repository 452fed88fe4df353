"""Sinusoid regression (Finn, Abbeel & Levine, 2017, section 5.1). https://arxiv.org/abs/1703.03400"""

import math

import torch

from quickstudy.contract import Episodes, Examples


class Sinusoids:
    """Regression tasks: a sine wave of random amplitude in [0.1, 5] and phase in [0, pi], x uniform in [-5, 5].

    Args:
        shots: Support points of a task (K of the paper: 5, 10 or 20).
        queries: Query points of a task.
    """

    def __init__(self, shots: int = 5, queries: int = 10):
        if min(shots, queries) < 1:
            raise ValueError(f"a task needs at least 1 support and 1 query point; got {shots} and {queries}.")
        self.shots, self.queries = shots, queries

    def sample(self, tasks: int, generator: torch.Generator) -> Episodes:
        """A batch of tasks, a function of the generator's state alone."""
        amplitude = 0.1 + 4.9 * torch.rand(tasks, 1, 1, generator=generator)
        phase = math.pi * torch.rand(tasks, 1, 1, generator=generator)

        def examples(count: int) -> Examples:
            x = 10 * torch.rand(tasks, count, 1, generator=generator) - 5
            return Examples(x, amplitude * torch.sin(x - phase))

        return Episodes(examples(self.shots), examples(self.queries))

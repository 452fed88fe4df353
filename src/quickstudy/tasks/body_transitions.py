"""A changed body is a task: from some of its transitions, tell others (Nagabandi et al., 2019).

https://arxiv.org/abs/1803.11347
"""

import torch
from jaxtyping import Int
from torch import Tensor

from quickstudy.contract import Episodes, Examples
from quickstudy.data.bodies import Bodies
from quickstudy.tasks.few_shot import Range, bounds


class BodyTransitions:
    """Regression tasks: from a state and an action to how the state changes, of one body each.

    The support set are transitions that follow upon each other, the query set likewise, of another trajectory.

    Args:
        bodies: Transitions of all bodies.
        rows: The numbers of those to draw from.
        shots: Support transitions; a pair draws the number for every batch, both ends included.
        queries: Query transitions.

    Raises:
        ValueError: No bodies, or trajectories that are shorter than a support set or a query set.
    """

    def __init__(self, bodies: Bodies, rows: Int[Tensor, " body"], shots: Range = (8, 64), queries: int = 50):
        self.shots = bounds("shots", shots, 1)
        longest, length = max(self.shots[1], queries), bodies.x.shape[2]
        if longest > length or queries < 1 or not len(rows):
            raise ValueError(
                f"a task needs {longest} transitions in a row, and one query at least, of {len(rows)} bodies; "
                f"trajectories have {length}, and queries is {queries}. Lower shots or queries."
            )
        self.bodies, self.rows, self.queries = bodies, rows, queries

    def sample(self, tasks: int, generator: torch.Generator) -> Episodes:
        """A batch of tasks, a function of the generator's state alone; all with as many support transitions."""
        return self._draw(self.rows[torch.randint(len(self.rows), (tasks,), generator=generator)], generator)

    def each(self, draws: int, generator: torch.Generator) -> Episodes:
        """So many tasks of every body, those of one body in succession."""
        return self._draw(self.rows.repeat_interleave(draws), generator)

    def _draw(self, rows: Int[Tensor, " task"], generator: torch.Generator) -> Episodes:
        low, high = self.shots
        shots = int(torch.randint(low, high + 1, (), generator=generator))
        trajectories = self.bodies.x.shape[1]
        of_support = torch.randint(trajectories, (len(rows),), generator=generator)
        other = torch.randint(1, trajectories, (len(rows),), generator=generator)
        support = self._examples(rows, of_support, shots, generator)
        return Episodes(support, self._examples(rows, (of_support + other) % trajectories, self.queries, generator))

    def _examples(self, rows: Tensor, trajectory: Tensor, count: int, generator: torch.Generator) -> Examples:
        first = torch.randint(self.bodies.x.shape[2] - count + 1, (len(rows),), generator=generator)
        places = rows[:, None], trajectory[:, None], first[:, None] + torch.arange(count)
        return Examples(self.bodies.x[places], self.bodies.y[places])

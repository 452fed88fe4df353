"""Few-shot regression on the rows of tables: one of their columns of numbers is to be told from others."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Int

from quickstudy.contract import Episodes, Examples
from quickstudy.data.tables import Table
from quickstudy.encoders.table import FARTHEST, TableEncoder, mean_and_scale
from quickstudy.tasks.few_shot import Range, bounds

DISTINCT = 10
"""Values that a column of numbers has at least; none of them fills more than a fifth of its rows."""


class TableColumns:
    """Tasks of rows, those of a batch all of the same columns of one table.

    Rows are encoded as their task's support set says, and targets brought to its mean and standard deviation; what is
    farther than 5 of these is taken for that many, or a few targets would decide what is learned.

    Args:
        tables: To draw from. Those without a column of numbers are left out.
        rows: Support rows of a task; a pair draws the number for every batch, both ends included.
        queries: Query rows of a task.
        columns: The most columns to tell the target from; their number and they themselves are drawn for every batch.

    Raises:
        ValueError: No table with a column of numbers, another column beside it, and enough rows; or no query or column.
    """

    def __init__(self, tables: Sequence[Table], rows: Range = (3, 30), queries: int = 10, columns: int = 10):
        self.rows, self.queries, self.columns = bounds("rows", rows, 2), queries, columns
        if queries < 1 or columns < 1:
            raise ValueError(f"a task needs at least 1 query and 1 column to tell from; got {queries} and {columns}.")
        needed = self.rows[1] + queries
        long = [table for table in tables if len(table.x) >= needed and table.x.shape[1] > 1]
        self.tables = [(table.x, numbers) for table in long if len(numbers := numbers_of(table.x))]
        if not self.tables:
            raise ValueError(f"no table has {needed} rows, a column of numbers, and another to tell these from.")

    def sample(self, tasks: int, generator: torch.Generator) -> Episodes:
        """A batch of tasks, a function of the generator's state alone."""

        def below(high: int) -> int:
            return int(torch.randint(high, (), generator=generator))

        x, numbers = self.tables[below(len(self.tables))]
        target = int(numbers[below(len(numbers))])
        rows = self.rows[0] + below(self.rows[1] - self.rows[0] + 1)
        others = np.delete(np.arange(x.shape[1]), target)
        columns = 1 + below(min(self.columns, len(others)))
        chosen = others[torch.randperm(len(others), generator=generator)[:columns].numpy()]
        drawn = [torch.randperm(len(x), generator=generator).numpy()[: rows + self.queries] for _ in range(tasks)]
        encoded = [encoded_task(x[some][:, chosen], x[some, target], rows) for some in drawn]
        inputs, targets = (torch.stack(part).float() for part in zip(*encoded, strict=True))
        return Episodes(Examples(inputs[:, :rows], targets[:, :rows]), Examples(inputs[:, rows:], targets[:, rows:]))


def encoded_task(x: np.ndarray, y: np.ndarray, rows: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows and targets, [row, d] and [row, 1], as the first of them say."""
    mean, scale = mean_and_scale(y[:rows])
    target = torch.from_numpy((y - mean) / scale).clamp(-FARTHEST, FARTHEST)
    return TableEncoder.fit(x[:rows])(x), target[:, None]


def numbers_of(x: np.ndarray) -> Int[np.ndarray, " column"]:
    """Which columns hold numbers that differ, no codes, and have no gaps."""
    counts = [np.unique(column, return_counts=True)[1] for column in x.T]
    differ = np.array([len(c) >= DISTINCT and c.max() <= len(x) / 5 for c in counts], dtype=bool)
    return np.flatnonzero(differ & ~np.isnan(x).any(0))

"""Few-shot classification of the rows of tables: every table has columns and classes of its own."""

from collections.abc import Sequence
from dataclasses import replace

import torch

from quickstudy.contract import Episodes
from quickstudy.data.labelled import LabelledData
from quickstudy.data.tables import Table
from quickstudy.encoders.table import TableEncoder
from quickstudy.tasks.few_shot import FewShot, Range, bounds


class TableRows:
    """Tasks of rows, those of a batch all from one table, drawn at random.

    Rows are encoded as their task's support set says, and have as many numbers as the table makes of them.

    Args:
        tables: To draw from. Classes with too few rows are left out.
        ways: The most classes of a task; of a table that has fewer, all.
        shots: Support rows of a class; a pair draws the number for every batch, both ends included.
        queries: Query rows of a class.

    Raises:
        ValueError: A table with fewer than two classes that have enough rows.
    """

    def __init__(self, tables: Sequence[Table], ways: int = 5, shots: Range = (1, 10), queries: int = 10):
        needed = bounds("shots", shots, 1)[1] + queries
        self.tasks = []
        for table in tables:
            names = tuple(str(c) for c in range(table.y.max() + 1))
            data = LabelledData(table.name, torch.from_numpy(table.x), torch.from_numpy(table.y), names)
            enough = data.select((data.counts >= needed).nonzero().flatten().tolist())
            self.tasks.append(FewShot(enough, min(ways, max(2, len(enough.classes))), shots, queries))

    def sample(self, tasks: int, generator: torch.Generator) -> Episodes:
        """A batch of tasks, a function of the generator's state alone; all of one table, way and shot."""
        table = int(torch.randint(len(self.tasks), (), generator=generator))
        drawn = self.tasks[table].sample(tasks, generator)
        support, query = encoded(drawn.support.x, drawn.query.x)
        return Episodes(replace(drawn.support, x=support), replace(drawn.query, x=query))


def encoded(support: torch.Tensor, query: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of tasks as vectors [task, row, d], each encoded as its task's support rows say."""
    encoders = [TableEncoder.fit(rows.numpy()) for rows in support]
    ours, theirs = (
        torch.stack([one(rows.numpy()) for one, rows in zip(encoders, part, strict=True)]).float()
        for part in (support, query)
    )
    return ours, theirs

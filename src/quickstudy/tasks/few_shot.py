"""N-way K-shot tasks from labelled data (Vinyals et al., 2016). https://arxiv.org/abs/1606.04080"""

from collections.abc import Sequence
from operator import index
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from quickstudy.contract import Episodes, Examples
from quickstudy.data.labelled import LabelledData
from quickstudy.tasks.origins import draw_apart

Range = int | tuple[int, int]


class FewShot:
    """Classification tasks: `ways` classes drawn from the data, `shots` support and `queries` query examples of each.

    A task numbers its classes in the random order in which they were drawn, so a label says nothing about a class.

    Args:
        data: The classes to draw from.
        ways: Classes of a task; a pair draws the number for every batch, both ends included.
        shots: Support examples of a class; a pair likewise.
        queries: Query examples of a class.
        within_groups: All classes of a task are of one group, such as one alphabet.
        apart: The support and the query examples of a task are of different origins, such as patients.

    Raises:
        TypeError: Ways, shots or queries that are no whole numbers.
        ValueError: Too few classes, or a class with too few examples, or, where they are kept apart, origins.

    Example:
        >>> data = LabelledData("toy", torch.rand(40, 1, 28, 28), torch.arange(40) % 8, tuple("abcdefgh"))
        >>> episodes = FewShot(data, ways=3, shots=1, queries=4).sample(16, torch.Generator().manual_seed(0))
        >>> episodes.query.x.shape
        torch.Size([16, 12, 1, 28, 28])
    """

    def __init__(
        self,
        data: LabelledData,
        ways: Range = 5,
        shots: Range = 1,
        queries: int = 15,
        *,
        within_groups: bool = False,
        apart: bool = False,
    ):
        self.data, self.within_groups, self.apart = data, within_groups, apart
        self.ways, self.shots = bounds("ways", ways, 2), bounds("shots", shots, 1)
        if not hasattr(queries, "__index__"):
            raise TypeError(f"queries is a number, of query examples per class; got {queries!r}.")
        self.queries = index(queries)
        if queries < 1:
            raise ValueError(f"a task needs at least 1 query per class, not {queries}.")
        self.pools = self._pools(within_groups)
        needed = self.shots[1] + queries
        fewest = int(data.counts.argmin())
        if data.counts[fewest] < needed:
            raise ValueError(
                f"{self.shots[1]}-shot tasks with {queries} queries need {needed} examples per class; "
                f"{data.classes[fewest]!r} of {data.name} has {int(data.counts[fewest])}. "
                f"Lower shots or queries, or leave such classes out."
            )
        self._weights = torch.tensor([float(len(pool)) for pool in self.pools])
        if apart:  # of every class by itself
            draw_apart(
                data, torch.arange(len(data.classes))[:, None], self.shots[1], queries, torch.Generator().manual_seed(0)
            )

    def _pools(self, within_groups: bool) -> list[Tensor]:
        """The sets of classes that a task may be drawn from."""
        most = self.ways[1]
        if len(self.data.classes) < most:
            raise ValueError(
                f"{most}-way tasks need {most} classes; {self.data.name} has {len(self.data.classes)}. Lower ways, or "
                f"add classes."
            )
        if not within_groups:
            return [torch.arange(len(self.data.classes))]
        if self.data.groups is None:
            raise ValueError(f"{self.data.name} has no groups to draw tasks within; leave within_groups out.")
        groups = {group: [] for group in self.data.groups}
        for c, group in enumerate(self.data.groups):
            groups[group].append(c)
        pools = [torch.tensor(pool) for pool in groups.values() if len(pool) >= most]
        if not pools:
            raise ValueError(f"no group of {self.data.name} has the {most} classes of a {most}-way task. Lower ways.")
        return pools

    def sample(self, tasks: int, generator: torch.Generator) -> Episodes:
        """A batch of tasks, a function of the generator's state alone; all of one way and shot."""
        return self.episodes(*self.draw(tasks, generator))

    def draw(
        self, tasks: int, generator: torch.Generator
    ) -> tuple[Int[Tensor, "task way"], Int[Tensor, "task way example"]]:
        """The classes of a batch of tasks, and the rows of the data set that are their examples, support first."""
        ways, shots = (
            int(torch.randint(low, high + 1, (), generator=generator)) for low, high in (self.ways, self.shots)
        )
        classes = self._classes(tasks, ways, generator)  # [T, W]
        if self.apart:
            return classes, draw_apart(self.data, classes, shots, self.queries, generator)
        return classes, self._examples(classes, shots + self.queries, generator)

    def episodes(self, classes: Int[Tensor, "task way"], rows: Int[Tensor, "task way example"]) -> Episodes:
        """The episodes of what was drawn."""
        shots = rows.shape[2] - self.queries
        return Episodes(self._gather(classes, rows[:, :, :shots]), self._gather(classes, rows[:, :, shots:]))

    def _classes(self, tasks: int, ways: int, generator: torch.Generator) -> Int[Tensor, "task way"]:
        if len(self.pools) == 1:
            return self.pools[0][distinct(torch.full([tasks], len(self.pools[0])), ways, generator)]
        chosen = torch.multinomial(self._weights, tasks, replacement=True, generator=generator)
        sizes = torch.tensor([len(pool) for pool in self.pools])
        members = torch.nn.utils.rnn.pad_sequence(self.pools, batch_first=True)
        return members[chosen].gather(1, distinct(sizes[chosen], ways, generator))

    def _examples(
        self, classes: Int[Tensor, "task way"], count: int, generator: torch.Generator
    ) -> Int[Tensor, "task way count"]:
        within = distinct(self.data.counts[classes.flatten()], count, generator)
        return self.data.table[classes.flatten()].gather(1, within).unflatten(0, classes.shape)

    def _gather(self, classes: Int[Tensor, "task way"], rows: Int[Tensor, "task way count"]) -> Examples:
        tasks, ways, count = rows.shape
        x = self.data.examples(rows.flatten()).unflatten(0, (tasks, ways * count))
        y = torch.arange(ways).repeat_interleave(count).expand(len(x), -1)
        examples = Examples(x, y, ways, classes=classes.repeat_interleave(count, dim=1))
        return examples if x.device.type == "cpu" else examples.to(x.device)


def distinct(sizes: Int[Tensor, " row"], count: int, generator: torch.Generator) -> Int[Tensor, "row {count}"]:
    """For each row, `count` different numbers below its size, in random order (the largest of random keys)."""
    most = int(sizes.max())
    keys = torch.rand(len(sizes), most, generator=generator)
    if int(sizes.min()) < most:
        keys[torch.arange(most) >= sizes[:, None]] = -1
    return keys.topk(count, dim=1).indices


def bounds(name: str, value: Range | Sequence[int], least: int) -> tuple[int, int]:
    """The lowest and the highest of a number or a pair.

    Raises:
        TypeError: No whole numbers.
        ValueError: Below the least that makes sense, or the wrong way round.
    """
    wanted = f"{name} is a number of at least {least}, or a pair (low, high) of such; got {value!r}."
    pair: Any = value if isinstance(value, (tuple, list)) else (value, value)
    try:
        low, high = map(index, pair)
    except (TypeError, ValueError):
        raise TypeError(wanted) from None
    if not least <= low <= high:
        raise ValueError(wanted)
    return low, high

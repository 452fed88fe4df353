"""An assay is a task: from a few compounds that were measured, tell which others are active."""

from collections.abc import Sequence

import torch
from jaxtyping import Int, Shaped
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from quickstudy.contract import Episodes, Examples
from quickstudy.data.assays import Assay
from quickstudy.seeds import seeded
from quickstudy.tasks.few_shot import Range, bounds

AT_ONCE = 10
"""Episodes in one batch of a test."""


class AssayTasks:
    """Tasks of active (1) and inactive (0) compounds of one assay, drawn anew each time.

    Labels keep their meaning: a learner may learn what compounds are often active, in whatever assay. A support set has
    either as many actives as inactives, as the few-shot literature on Tox21 and SIDER has it, or the assay's own share
    of them (but at least one of each), which is FS-Mol's stratified draw. At most half of an assay's actives, or of its
    inactives, are in a support set; the others make up for them. Queries are as many of each class as are asked for, or
    all that there are, and padded.

    Args:
        x: The molecules, such as their vectors, in the order of their numbers.
        assays: To draw from.
        size: Compounds of a support set, at least 2; a pair draws the number for every batch, both ends included.
        queries: Of each class.
        balanced: The share of tasks that have as many actives as inactives.

    Raises:
        ValueError: No assays, an assay with too few compounds of a class or one twice, or numbers that make no sense.

    Example:
        >>> assay = Assay("kinase", torch.arange(40), torch.arange(40) % 4 // 3)
        >>> episodes = AssayTasks(torch.rand(40, 5), [assay], 8, queries=5).sample(3, torch.Generator().manual_seed(0))
        >>> episodes.support.x.shape, episodes.query.x.shape
        (torch.Size([3, 8, 5]), torch.Size([3, 10, 5]))
    """

    def __init__(
        self,
        x: Shaped[Tensor, "molecule *x"],
        assays: Sequence[Assay],
        size: Range = (2, 64),
        *,
        queries: int = 16,
        balanced: float = 0.5,
    ):
        self.x, self.assays, self.queries, self.balanced = x, assays, queries, balanced
        self.size = bounds("size", size, 2)
        if not assays or queries < 1 or not 0 <= balanced <= 1:
            raise ValueError(
                f"needed are assays, at least 1 query of each class and a share of balanced tasks from 0 to 1; got "
                f"{len(assays)} assays, {queries} queries and {balanced}."
            )
        self._members = [tuple(one.molecules[one.active == label] for label in (0, 1)) for one in assays]
        for one, members in zip(assays, self._members, strict=True):
            if len(one.molecules.unique()) < len(one.molecules):
                raise ValueError(f"assay {one.name!r} lists a molecule twice, which could be told and asked. Drop one.")
            counts = [len(some) for some in members]
            if min(counts) < 2 or sum(count // 2 for count in counts) < self.size[1]:
                raise ValueError(
                    f"assay {one.name!r} has {counts[1]} active and {counts[0]} inactive compounds; support sets of "
                    f"{self.size[1]}, which hold at most half of each, need more. Lower size, or leave the assay out."
                )

    def sample(self, tasks: int, generator: torch.Generator) -> Episodes:
        """A batch of tasks, a function of the generator's state alone."""
        size = int(torch.randint(self.size[0], self.size[1] + 1, (), generator=generator))
        chosen = torch.randint(len(self.assays), (tasks,), generator=generator).tolist()
        drawn = [self._draw(number, size, generator) for number in chosen]
        asked = [
            tuple(some[torch.randperm(len(some), generator=generator)[: self.queries]] for some in rest)
            for _, rest in drawn
        ]
        return self._episodes(chosen, [support for support, _ in drawn], asked)

    def tests(self, draws: int = 10, *, most: int = 1000, seed: int = 0) -> list[Episodes]:
        """The fixed tests of a seed: of each assay so many support sets, which ask for all its other compounds.

        Args:
            draws: Support sets of each assay; fewer are the first of more.
            most: Queries of a task; of more, so many random ones are asked for. That biases no accuracy, likelihood or
                area under the ROC curve, but average precision upwards, the more the fewer of them are active.
            seed: Of the list.
        """
        batches = []
        for number, assay in enumerate(self.assays):
            tasks = [self._test(number, most, seeded(seed, "assay", assay.name, draw)) for draw in range(draws)]
            for start in range(0, draws, AT_ONCE):
                supports, rest = zip(*tasks[start : start + AT_ONCE], strict=True)
                batches.append(self._episodes([number] * len(supports), supports, rest))
        return batches

    def _test(self, number: int, most: int, generator: torch.Generator) -> tuple:
        size = int(torch.randint(self.size[0], self.size[1] + 1, (), generator=generator))
        support, (inactive, active) = self._draw(number, size, generator)
        order = torch.randperm(len(inactive) + len(active), generator=generator)[:most]
        return support, (inactive[order[order < len(inactive)]], active[order[order >= len(inactive)] - len(inactive)])

    def _draw(self, number: int, size: int, generator: torch.Generator) -> tuple:
        """The inactive and the active molecules of a support set, and those of each that remain."""
        members = self._members[number]
        counts = [len(some) for some in members]
        half = bool(torch.rand((), generator=generator) < self.balanced)
        actives = size // 2 if half else round(size * counts[1] / sum(counts))
        actives = min(max(actives, 1, size - counts[0] // 2), counts[1] // 2, size - 1)
        orders = [some[torch.randperm(len(some), generator=generator)] for some in members]
        cuts = (size - actives, actives)
        return tuple(order[:cut] for order, cut in zip(orders, cuts, strict=True)), tuple(
            order[cut:] for order, cut in zip(orders, cuts, strict=True)
        )

    def _episodes(self, assays: Sequence[int], *parts: Sequence[tuple[Tensor, Tensor]]) -> Episodes:
        """Of each task's inactive and active molecules, of support and query sets."""
        return Episodes(*(self._examples(torch.tensor(assays), part) for part in parts))

    def _examples(self, assays: Int[Tensor, " task"], part: Sequence[tuple[Tensor, Tensor]]) -> Examples:
        molecules = pad_sequence([torch.cat(both) for both in part], batch_first=True)  # [T, E]
        y = pad_sequence([torch.arange(2).repeat_interleave(torch.tensor([*map(len, both)])) for both in part], True)
        exists = torch.arange(y.shape[1]) < torch.tensor([sum(map(len, both)) for both in part])[:, None]
        x = self.x.index_select(0, molecules.flatten()).unflatten(0, molecules.shape)
        return Examples(x, y, 2, classes=2 * assays[:, None] + y, mask=None if exists.all() else exists)

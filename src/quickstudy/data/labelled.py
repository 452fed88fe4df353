"""Labelled examples, class by class: what tasks are drawn from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations

import torch
from jaxtyping import Int, Shaped
from torch import Tensor

from quickstudy.contract import require_tensors, whole

HIGHEST = 2**24
"""Origins are numbered below it: one coin is tossed for each number."""


@dataclass(frozen=True)
class Mapped:
    """Some rows of a memory-mapped tensor, of which only what is drawn is read; selecting more copies none of it.

    Args:
        whole: The tensor.
        rows: Which of its rows, in order.
    """

    whole: Shaped[Tensor, "row *x"]
    rows: Int[Tensor, " example"]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, chosen: Tensor | slice) -> "Mapped":
        return Mapped(self.whole, self.rows[chosen])

    def index_select(self, dim: int, index: Int[Tensor, " drawn"]) -> Shaped[Tensor, "drawn *x"]:
        return self.whole.index_select(dim, self.rows[index])

    def to(self, device: torch.device | str) -> Shaped[Tensor, "example *x"]:
        return self.whole.index_select(0, self.rows).to(device)

    @property
    def shape(self) -> torch.Size:
        return torch.Size([len(self.rows), *self.whole.shape[1:]])

    @property
    def dtype(self) -> torch.dtype:
        return self.whole.dtype

    @property
    def device(self) -> torch.device:
        return self.whole.device


@dataclass(frozen=True)
class LabelledData:
    """Examples with their classes: images as uint8, which become floats in [0, 1] when drawn.

    Args:
        name: What the data is called in tables and messages.
        x: The examples, in memory or memory-mapped.
        y: The class of each, as an index into `classes`.
        classes: Class names, without repetition.
        groups: The group of each class, such as its alphabet; None where there are none.
        origins: What each example was taken from, such as a patient, as numbers from 0; None where it is not known.

    Raises:
        TypeError: Something else than tensors, or labels that are not whole numbers.
        ValueError: Lengths that do not belong together, a label of no class, origins that are no such numbers, or a
            class name given twice.
    """

    name: str
    x: Shaped[Tensor, "example *x"] | Mapped
    y: Int[Tensor, " example"]
    classes: tuple[str, ...]
    groups: tuple[str, ...] | None = None
    origins: Int[Tensor, " example"] | None = None

    def __post_init__(self):
        require_tensors(self.name, x=None if isinstance(self.x, Mapped) else self.x, y=self.y, origins=self.origins)
        object.__setattr__(self, "y", whole(self.y))
        if self.origins is not None:
            object.__setattr__(self, "origins", whole(self.origins))
        if self.y.dtype != torch.int64 or self.y.ndim != 1:
            raise TypeError(
                f"{self.name}: y is {self.y.dtype} of shape {list(self.y.shape)}; each example has one label, a whole "
                f"number that says where in classes its class stands. Pass y of shape [{len(self.x)}], of torch.long."
            )
        labels, origins = len(self.y), len(self.y) if self.origins is None else len(self.origins)
        groups = len(self.classes) if self.groups is None else len(self.groups)
        if not len(self.x) == labels == origins or groups != len(self.classes):
            raise ValueError(
                f"{self.name}: {len(self.x)} examples with {labels} labels and {origins} origins, {len(self.classes)} "
                f"classes with {groups} groups; each example needs one label and origin, each class one group."
            )
        told = self.origins if labels else None
        if told is not None and (told.dtype != torch.int64 or not 0 <= told.min() <= told.max() < HIGHEST):
            raise ValueError(
                f"{self.name}: origins are whole numbers from 0 to {HIGHEST - 1:,}; got {told.dtype} from {told.min()} "
                f"to {told.max()}. Number them anew: origins.unique(return_inverse=True)[1]."
            )
        if labels and not 0 <= self.y.min() <= self.y.max() < len(self.classes):
            raise ValueError(
                f"{self.name}: labels lie from {int(self.y.min())} to {int(self.y.max())}, and there are "
                f"{len(self.classes)} classes, which labels count from 0. Number the classes anew, "
                f"or name those that are missing."
            )
        if len(set(self.classes)) != len(self.classes):
            twice = next(name for name in self.classes if self.classes.count(name) > 1)
            raise ValueError(f"{self.name}: class {twice!r} is listed twice; class names must differ.")

    def __len__(self) -> int:
        return len(self.x)

    def examples(self, rows: Int[Tensor, " drawn"]) -> Shaped[Tensor, "drawn *x"]:
        """The examples of these rows, as they are learned from: bytes become floats in [0, 1]."""
        x = self.x.index_select(0, rows.to(self.x.device))  # many times as fast as x[rows]
        if x.dtype != torch.uint8:
            return x
        return x.float().div_(torch.full([1], 255.0, device=x.device))  # by a number, a GPU rounds otherwise

    @cached_property
    def counts(self) -> Int[Tensor, " cls"]:
        """The number of examples of each class."""
        return torch.bincount(self.y, minlength=len(self.classes))

    @cached_property
    def table(self) -> Int[Tensor, "cls most"]:
        """Where each class's examples lie in `x`, a row per class, short rows padded with zeros."""
        rows = torch.nn.utils.rnn.pad_sequence(list(self.y.argsort(stable=True).split(self.counts.tolist())))
        return rows.T.contiguous()

    def select(self, chosen: Sequence[int], name: str | None = None) -> "LabelledData":
        """The data of some classes alone, given by index; they are numbered anew in the order given."""
        renumbered = torch.full([len(self.classes)], -1)
        renumbered[torch.as_tensor(chosen, dtype=torch.long)] = torch.arange(len(chosen))
        y = renumbered[self.y]
        return LabelledData(
            name or self.name,
            self.x[y >= 0],
            y[y >= 0],
            tuple(self.classes[c] for c in chosen),
            self.groups and tuple(self.groups[c] for c in chosen),
            None if self.origins is None else self.origins[y >= 0],
        )

    def split(self, *fractions: float, seed: int = 0) -> tuple["LabelledData", ...]:
        """Disjoint sets of classes, drawn at random in these fractions; groups, where there are any, stay whole.

        Example:
            >>> data = LabelledData("ten", torch.zeros(10, 1), torch.arange(10), tuple("abcdefghij"))
            >>> [len(part.classes) for part in data.split(0.6, 0.2, 0.2)]
            [6, 2, 2]
        """
        if not fractions or min(fractions) <= 0 or sum(fractions) > 1 + 1e-6:
            raise ValueError(f"the fractions of a split are positive and add up to at most 1; got {fractions}.")
        units = sorted(set(self.groups or self.classes))
        order = torch.randperm(len(units), generator=torch.Generator().manual_seed(seed)).tolist()
        parts, start = [], 0.0
        for fraction in fractions:
            first, last = round(start * len(units)), round((start + fraction) * len(units))
            mine = {units[u] for u in order[first:last]}
            if not mine:
                raise ValueError(
                    f"{self.name} has {len(units)} {'groups' if self.groups else 'classes'}, too few to split into "
                    f"{fractions}: a part is left empty. Add classes, or give that part a larger fraction."
                )
            parts.append(self.select([c for c, unit in enumerate(self.groups or self.classes) if unit in mine]))
            start += fraction
        return tuple(parts)

    def rotated(self) -> "LabelledData":
        """Four times the classes: every class turned by 0, 90, 180 and 270 degrees is a class of its own."""
        if isinstance(self.x, Mapped):
            raise ValueError(f"{self.name} is memory-mapped; turn its classes before they are written.")
        turns = range(4)
        return LabelledData(
            self.name,
            torch.cat([torch.rot90(self.x, turn, (-2, -1)) for turn in turns]),
            torch.cat([self.y + turn * len(self.classes) for turn in turns]),
            tuple(f"{name}/rot{90 * turn:03d}" for turn in turns for name in self.classes),
            self.groups and self.groups * 4,
            None if self.origins is None else self.origins.repeat(4),
        )

    def to(self, device: torch.device | str) -> "LabelledData":
        """The same data on another device, where tasks are then drawn; labels stay, as drawing begins with them.

        What is memory-mapped is read as a whole.
        """
        return replace(self, x=self.x.to(device))

    def keep(self, wanted: Callable[[str], bool], name: str | None = None) -> "LabelledData":
        """The data of the classes whose name is wanted."""
        return self.select([c for c, class_name in enumerate(self.classes) if wanted(class_name)], name)


def refuse_shared(*parts: LabelledData) -> None:
    """Refuses splits of which two have a class in common: what was learned from would be tested on.

    Raises:
        ValueError: Such a class.
    """
    for one, other in combinations(parts, 2):
        if both := set(one.classes) & set(other.classes):
            raise ValueError(
                f"class {min(both)!r} is in {one.name} and in {other.name}; splits share no class. "
                f"Put it into one of them."
            )


def refuse_data(tasks: object) -> None:
    """Refuses labelled data where tasks are due, which are drawn from it.

    Raises:
        TypeError: Such data.
    """
    if isinstance(tasks, LabelledData):
        raise TypeError(
            f"{tasks.name} is labelled data, and needed are tasks drawn from it; pass qs.FewShot(data, ways=5, "
            f"shots=1)."
        )


def joined(name: str, *parts: LabelledData) -> LabelledData:
    """All classes of several sets of data, each of which is a group, so that tasks can be drawn within one of them.

    Raises:
        ValueError: Examples of different shapes or types, or origins of some parts alone.
    """
    shapes = {(tuple(part.x.shape[1:]), str(part.x.dtype)) for part in parts}
    if len(shapes) > 1 or len({part.origins is None for part in parts}) > 1:
        raise ValueError(
            f"{name}: examples of shapes and types {sorted(shapes)}, of which "
            f"{sum(part.origins is not None for part in parts)} of {len(parts)} parts tell origins; all need the same."
        )
    ways = torch.tensor([0, *(len(part.classes) for part in parts)]).cumsum(0)
    origins = [part.origins for part in parts if part.origins is not None]
    before = torch.tensor([0, *(int(some.max()) + 1 for some in origins)]).cumsum(0)
    return LabelledData(
        name,
        torch.cat([part.x.index_select(0, torch.arange(len(part))) for part in parts]),
        torch.cat([part.y + start for part, start in zip(parts, ways[:-1], strict=True)]),
        tuple(f"{part.name}/{one}" for part in parts for one in part.classes),
        tuple(part.name for part in parts for _ in part.classes),
        torch.cat([some + start for some, start in zip(origins, before, strict=False)]) if origins else None,
    )

"""Rows of a table as vectors: missing values filled in, categories spread out, columns brought to one scale.

All of that is taken from a task's own support set, as nothing else is known of its columns. It is a few lines of numpy
and plain numbers, where scikit-learn's transformers would have to be pickled to be kept.
"""

import datetime
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from quickstudy.encoders.wrong_item import WrongItem

FARTHEST = 5.0
"""Standard deviations beyond which a value is taken for that many: the scale is estimated from a few rows."""

GAPS = {"", "na", "n/a", "n.a.", "#n/a", "nan", "null", "nil", "none", "missing", "unknown", "?", "-", "--", "."}
"""Texts that stand for no number, in small letters."""
GROUP = r"\d{1,3}([,' \u00a0\u202f]\d{3})+(\.\d+)?"
MISWRITTEN = re.compile(rf"\s*[-+]?(\d+,\d+|{GROUP}|\d{{1,3}}(\.\d{{3}})+,\d+)\s*")
"""A number with a comma for its point, or with something between its thousands, which is read in different ways."""
CODES = 10
"""Whole numbers below it are likelier codes than measures, and so are those of no more different values."""


@dataclass(frozen=True)
class Column:
    """What the support set says of one column.

    Args:
        levels: The categories, as text; None for a column of numbers.
        median: Of the numbers, in place of those that are missing.
        mean: Of the numbers, or of each level's indicator.
        scale: Their standard deviations; infinite where all rows are alike, so that the column tells nothing.
    """

    levels: list[str] | None
    median: float
    mean: list[float]
    scale: list[float]


@dataclass(frozen=True)
class TableEncoder:
    """The columns of a table, fitted to the rows of a support set; rows become vectors of mean square norm 1.

    Args:
        columns: One for each column of the table.

    Example:
        >>> rows = np.array([[1.0, "red"], [3.0, "blue"], [np.nan, "red"]], dtype=object)
        >>> TableEncoder.fit(rows)(rows).shape
        torch.Size([3, 3])
    """

    columns: Sequence[Column]

    @classmethod
    def fit(cls, rows: np.ndarray) -> "TableEncoder":
        """The encoder of these rows, an array [rows, columns] of numbers, of objects, or of both mixed.

        Raises:
            WrongItem: A value that is no finite number, in a column that else is one of numbers: see `strays`.
        """
        for column in range(rows.shape[1]):
            for row in strays(rows[:, column])[:1]:
                value = rows[row, column]
                why = "is no number, and others in its column are. Write one, or nothing"
                if MISWRITTEN.fullmatch(str(value)):
                    why = "may be read as different numbers. Write it with a point, and nothing between thousands"
                raise WrongItem(row, f"{value!r} {why}; or if these are names, add a letter to all.", column)
        return cls([fitted(rows[:, place]) for place in range(rows.shape[1])])

    def __call__(self, rows: np.ndarray) -> Float64[Tensor, "row d"]:
        """Vectors of rows with the same columns; unknown categories are none of the known ones.

        Raises:
            WrongItem: A value that is no finite number, in a column that held numbers before.
        """
        for place, column in enumerate(self.columns):
            for row in [] if column.levels is not None else unread(rows[:, place])[:1]:
                said = "is no number, and the support set has numbers in its column. Write one, or leave the row out"
                raise WrongItem(row, f"{rows[row, place]!r} {said}.", place)
        parts = [
            np.clip((spread_out(rows[:, place], column) - column.mean) / column.scale, -FARTHEST, FARTHEST)
            for place, column in enumerate(self.columns)
        ]
        x = np.concatenate(parts, 1)
        return torch.from_numpy(x / max(1, x.shape[1]) ** 0.5)

    def about(self) -> dict[str, Any]:
        """The encoder as JSON can hold it, with infinite scales as null."""
        columns = [asdict(column) for column in self.columns]
        for column in columns:
            column["scale"] = [None if np.isinf(scale) else scale for scale in column["scale"]]
        return {"columns": columns}

    @classmethod
    def of(cls, about: Mapping[str, Any]) -> "TableEncoder":
        """The encoder that a description is of."""
        finite = [
            {**c, "scale": [np.inf if scale is None else scale for scale in c["scale"]]} for c in about["columns"]
        ]
        return cls([Column(**column) for column in finite])


NEVER = "\ue000"
"""A category that no value has."""


def mean_and_scale(targets: Float[np.ndarray, " row"]) -> tuple[float, float]:
    """The mean and the standard deviation of a support set's targets; 1 for the latter where all are alike."""
    return float(targets.mean()), float(targets.std()) if np.ptp(targets) > 0 else 1.0


def fitted(values: np.ndarray) -> Column:
    """What the values of a column say of it: it is one of numbers if all that are there can be read as such."""
    numbers = as_numbers(values)
    if numbers is None:
        levels = sorted({name_of(value) for value in values if not missing(value)})
        median = 0.0
    else:
        known = numbers[~np.isnan(numbers)]
        levels = None if len(known) else [NEVER]  # after a column without a value may come anything, and tells nothing
        median = float(np.median(known)) if len(known) else 0.0
    x = spread_out(values, Column(levels, median, [], []))
    varies = np.ptp(x, axis=0) > 0  # of 0.1, three times, the deviation is not quite zero
    return Column(levels, median, x.mean(0).tolist(), np.where(varies, x.std(0), np.inf).tolist())


def spread_out(values: np.ndarray, column: Column) -> np.ndarray:
    """A column's numbers, or an indicator of each of its levels: [rows, 1 or levels]."""
    if column.levels is not None:
        names = np.array([name_of(value) for value in values], dtype=object)
        return np.stack([names == level for level in column.levels], 1).astype(float)
    numbers = as_numbers(values)
    assert numbers is not None  # or it would have been refused
    return np.where(np.isnan(numbers), column.median, numbers)[:, None]


def name_of(value: Any) -> str:
    """A category's name: that of 1.0 is that of 1, as a column of whole numbers with a gap is one of floats."""
    return str(int(value)) if isinstance(value, float | np.floating) and value.is_integer() else str(value)


def as_numbers(values: np.ndarray) -> np.ndarray | None:
    """The values as floats, missing ones as NaN; None where one of them is no number.

    Raises:
        TypeError: Something that is neither a number nor a text nor a date.
    """
    if values.dtype.kind in "biuf":
        return values.astype(float)
    numbers = [as_number(value) for value in values.astype(object)]
    return None if None in numbers else np.array(numbers, dtype=float)


def as_number(value: Any) -> float | None:
    """A value as a float, NaN where it is missing; None where it is no number; errors are those of `as_numbers`."""
    dated = isinstance(value, datetime.date | datetime.time | datetime.timedelta)
    if dated or (isinstance(value, str) and "_" in value):  # Python would take 1_2 for 12
        return None
    try:
        return np.nan if missing(value) or gap(value) else float(value)
    except (ValueError, OverflowError):
        return None


def unread(values: np.ndarray) -> list[int]:
    """Where values are neither finite numbers nor missing."""
    if values.dtype.kind in "biuf":
        return np.flatnonzero(np.isinf(values)).tolist()
    numbers = [as_number(value) for value in values.astype(object)]
    return [place for place, number in enumerate(numbers) if number is None or np.isinf(number)]


def strays(values: np.ndarray) -> list[int]:
    """Where values are no finite numbers in a column that else is one of numbers; nowhere in one of categories.

    It is one of numbers where whatever is not read as a number is one with commas, or an infinite one. Otherwise it is
    where most are numbers and not all of them whole; or where three in four are numbers that are no codes, since they
    go beyond nine and most of them differ, or more than ten do.
    """
    places = unread(values)
    if all(MISWRITTEN.fullmatch(str(values[place])) for place in places) or as_numbers(values) is not None:
        return places
    read = as_numbers(np.delete(values, places))
    assert read is not None  # without those that are no numbers
    read = read[~np.isnan(read)]
    if (read % 1 != 0).any():
        return places if len(places) < len(read) else []
    differ = len(np.unique(read)) > min(len(read) / 2, CODES)
    return places if differ and np.abs(read).max() >= CODES and 3 * len(places) <= len(read) else []


def holds_names(values: np.ndarray) -> bool:
    """Whether a column is one of categories."""
    return as_numbers(values) is None and not strays(values)


def gap(value: Any) -> bool:
    """Whether a text stands for no number, in a column of numbers."""
    return isinstance(value, str) and value.strip().casefold() in GAPS


def missing(value: Any) -> bool:
    """Whether there is no value: None, NaN, pandas' NA or an empty text."""
    try:
        return value is None or value == "" or bool(value != value)
    except TypeError:  # of NA nothing can be said
        return True


def labels_of(values: np.ndarray) -> list[str | None]:
    """The labels that a column holds, as text; None where there is none, which among numbers also a text may say."""
    numbers = as_numbers(values)
    if numbers is not None and not np.isnan(numbers).all():
        return [None if np.isnan(number) else name_of(value) for number, value in zip(numbers, values, strict=True)]
    return [None if missing(value) or not str(value).strip() else name_of(value) for value in values]


def meant(label: str) -> str:
    """What a label means, however it is written: 0.0 is the number 0, and True is true."""
    try:
        return label if "_" in label else name_of(float(label))
    except (ValueError, OverflowError):
        return label.lower() if label.lower() in ("true", "false") else label

"""Tasks of the command line whose labels are numbers: how they are read, what is answered, and how that is shown."""

import numpy as np
from rich.table import Table

from quickstudy.encoders.table import as_numbers, strays
from quickstudy.ready import Ready
from quickstudy.regressor import FewShotRegressor
from quickstudy.user_items import Labelled, Queries

SHIPPED_FOR_NUMBERS = "table-regression"


def tells_numbers(ready: Ready) -> bool:
    """Whether a learner tells numbers, and not classes."""
    return getattr(ready.learner, "targets", None) is not None


def look_like_measures(labels: np.ndarray) -> bool:
    """Whether labels are numbers, not all of them whole, and most of them different: such are no names of classes."""
    numbers = as_numbers(labels)
    if numbers is None or not np.isfinite(numbers).all():
        return False
    return bool((numbers % 1 != 0).any()) and len(np.unique(numbers)) > len(numbers) / 2


def measures(examples: Labelled) -> bool:
    """Whether labels look like measures.

    Raises:
        ValueError: They do, but for a few that are no numbers.
    """
    labels = examples.labels
    few = strays(labels)
    if few and look_like_measures(np.delete(labels, few)):
        raise ValueError(
            f"{examples.called[few[0]]} has {str(labels[few[0]])!r} in column {examples.label!r}, and others are "
            f"numbers; write one, or remove the row."
        )
    return look_like_measures(labels)


def as_targets(examples: Labelled) -> np.ndarray:
    """The labels as numbers.

    Raises:
        ValueError: One that is none, named by its row.
    """
    for where, label in zip(examples.called, examples.labels.tolist(), strict=True):
        if not finite(label):
            raise ValueError(f"{where} has {label!r} in column {examples.label!r}; needed a number.")
    return examples.labels.astype(float)


def finite(label: str) -> bool:
    try:
        return "_" not in label and bool(np.isfinite(float(label)))
    except ValueError:
        return False


def told_numbers(regressor: FewShotRegressor, queries: Queries) -> list[dict]:
    """The number of each query, its standard deviation, and the true one where that stands beside it."""
    mean, std = regressor.predict(queries.items, return_std=True)
    return [
        {
            "file": file,
            "row": row,
            "number": float(number),
            "std": float(spread),
            **({} if true is None or not finite(true) else {"true": float(true)}),
        }
        for (file, row), true, number, spread in zip(queries.places, queries.labels, mean, std, strict=True)
    ]


def table_of(answers: list[dict]) -> Table:
    """Numbers as a table, each with its standard deviation."""
    known = any("true" in answer for answer in answers)
    table = Table("file", "row", "number", "standard deviation", *(["true"] if known else []), box=None)
    for answer in answers:
        numbers = [answer["number"], answer["std"], *([answer["true"]] if "true" in answer else [])]
        table.add_row(answer["file"], str(answer["row"]), *(f"{number:.5g}" for number in numbers))
    return table


def error_of(answers: list[dict]) -> str:
    """How far off the numbers are, where true ones are known, in a sentence; empty where none is."""
    off = [abs(answer["number"] - answer["true"]) for answer in answers if "true" in answer]
    return f"off by {np.mean(off):.5g} on average, over {len(off)} rows whose number is known" if off else ""

"""Rows of tables with a column of labels: which tell nothing, and which are there twice or nearly."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.neighbors import NearestNeighbors

from quickstudy.checks.findings import (
    Checked,
    Finding,
    counted,
    first_of_each,
    of_classes,
    of_near,
    of_same,
    with_doubts,
)
from quickstudy.data.rows import RowsRead
from quickstudy.encoders.table import TableEncoder, as_numbers, labels_of, missing, strays
from quickstudy.ready import opened

NEAR = 0.05
"""Of the median distance to the nearest row: the distance below which rows are nearly the same."""
COLUMNS = 3
"""Columns from which on so close a row is no chance: a ball of 1/20 of the radius holds 20**-COLUMNS of the rows."""


def check_rows(rows: RowsRead, label: str, learner: Any = "table") -> Checked:
    """What is wrong with rows of labelled examples; row 1 is the first below the names of columns.

    Args:
        rows: With a column of labels.
        label: Its name.
        learner: Of rows, that is to say which labels it doubts: see `FewShotClassifier`.

    Raises:
        ValueError: A learner that takes no rows.
    """
    ready, examples = opened(learner), rows.without(label)
    if ready.inputs.kind != "rows":
        raise ValueError(f"{learner!r} takes no rows of tables; take 'table'.")
    names = [name or "" for name in labels_of(rows.column(label))]
    keys = list(zip(*(comparable(column) for column in examples.values.T), strict=True))
    blank = [all(value is None for value in key) for key in keys]
    findings = [Finding("blank", (f"row {n}",), (names[n - 1],)) for n, empty in enumerate(blank, 1) if empty]
    findings += [Finding("unlabelled", (f"row {n}",), ("",)) for n, name in enumerate(names, 1) if not name]
    wrong = set()
    for column, values in zip(examples.names, examples.values.T, strict=True):
        for i in strays(values):
            wrong.add(i)
            findings.append(
                Finding("broken", (f"row {i + 1}",), (names[i],), f"{values[i]!r} in column {column!r} is no number")
            )
    told = [i for i, name in enumerate(names) if name and not blank[i] and i not in wrong]
    items, labels, keys = [f"row {i + 1}" for i in told], [names[i] for i in told], [keys[i] for i in told]
    values = examples.values[told]
    counts = counted(sorted(set(filter(None, names))), labels)
    findings += of_classes(counts) + of_same(keys, items, labels) + of_near(near(values, keys), items, labels)
    kept = first_of_each(keys, labels)
    return with_doubts(
        Checked(counts, findings), ready, values[kept], [items[i] for i in kept], [labels[i] for i in kept]
    )


def comparable(column: np.ndarray) -> list[float | str | None]:
    """The values of a column so that equal ones compare equal: as numbers where all are, missing ones as None."""
    numbers = as_numbers(column)
    if numbers is None:
        return [None if missing(value) else str(value) for value in column]
    return [None if np.isnan(number) else float(number) for number in numbers]


def near(values: np.ndarray, keys: list) -> Iterator[tuple[int, int]]:
    """Pairs of rows that are nearly the same: far nearer to each other than rows usually are to their nearest."""
    single = first_of_each(keys, [""] * len(keys))
    if len(single) < 3 or values.shape[1] < COLUMNS:
        return
    x = TableEncoder.fit(values)(values).numpy()
    neighbours = NearestNeighbors(n_neighbors=1).fit(x[single])
    usual = float(np.median(neighbours.kneighbors()[0]))
    for i, others in enumerate(neighbours.radius_neighbors(radius=NEAR * usual, return_distance=False)):
        yield from ((single[i], single[j]) for j in others if i < j)

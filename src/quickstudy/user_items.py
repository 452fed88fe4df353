"""A user's own examples and queries, from files: folders of pictures, and rows of numbers, texts or molecules."""

import sys
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from quickstudy.data.folder import class_files, is_picture
from quickstudy.data.rows import RowsRead, label_column, read_rows
from quickstudy.encoders.table import missing, name_of

CONTENT = {
    "texts": ("text", "sentence", "utterance", "query", "message", "comment", "review", "title"),
    "molecules": ("smiles", "molecule", "structure", "canonical_smiles"),
}
"""Names that a column of texts, or of molecules, usually has."""


UNNAMED = ("", "Unnamed: 0")
"""What the column of a frame's index is called that was written to a file."""


class Labelled(NamedTuple):
    """Labelled examples, as they were read.

    Args:
        items: What a learner of their kind takes.
        labels: The label of each, as text.
        columns: Names of the columns that items are from; None for pictures.
        label: Name of the column of labels; None for pictures.
        said: What was found, in a line for the user.
    """

    items: Any
    labels: np.ndarray
    columns: list[str] | None
    label: str | None
    said: str


class Queries(NamedTuple):
    """Examples to answer for.

    Args:
        items: What a learner of their kind takes.
        places: The file of each, and its row there; None where it is the file.
        labels: Of each the label that stands beside it, where one does.
    """

    items: Any
    places: list[tuple[str, int | None]]
    labels: Sequence[str | None]


def read_labelled(path: str | Path, kind: str, label: str | None = None, column: str | None = None) -> Labelled:
    """The labelled examples of a folder of class folders, or of a file of rows.

    Args:
        path: The folder, for pictures; for anything else a file that `read_rows` reads.
        kind: Of `Inputs`: "pictures", "rows", "texts" or "molecules".
        label: The column of labels; found by its name unless given.
        column: The column of texts or molecules; likewise.

    Raises:
        FileNotFoundError: No such file or folder.
        ValueError: Another kind of file, or columns that are not there, cannot be told or are of no use.
    """
    check_columns(kind, label, column)
    if kind == "pictures":
        files = class_files(Path(path))
        labels = [name for name, members in files.items() for _ in members]
        said = f"{len(labels)} pictures of {len(files)} classes in {path}: {', '.join(files)}"
        return Labelled([file for members in files.values() for file in members], np.array(labels), None, None, said)
    rows = read_rows(path)
    if kind == "rows":
        label = label_column(rows, label, path)
        examples, unnamed = without_unnamed(rows, label)
        examples = examples.without(label)
        items, columns = examples.values, examples.names
    else:
        column, unnamed = content_column(rows, kind, column, label, path), []
        label = label_column(rows, label, path, column)
        items, columns = texts_of(rows.column(column), column, path), [column]
    labels = labels_of(rows, label)
    if None in labels:
        raise ValueError(f"{path}, row {labels.index(None) + 1}: no {label!r}. Label it, or remove the row.")
    said = f"labels: column {label!r} of {path}; learned from: {', '.join(columns)}"
    said += "; left out: a column without a name" if unnamed else ""
    return Labelled(items, np.array(labels), columns, label, said)


def without_unnamed(rows: RowsRead, label: str) -> tuple[RowsRead, list[str]]:
    """Rows without columns that have no name, such as the index that pandas writes, where others are left."""
    unnamed = [name for name in rows.names if name in UNNAMED and name != label]
    if len(unnamed) == len(rows.names) - 1:
        return rows, []
    for name in unnamed:
        rows = rows.without(name)
    return rows, unnamed


def check_columns(kind: str, label: str | None, column: str | None) -> None:
    """Refuses the name of a column where none is read by its name.

    Raises:
        ValueError: It is of no use.
    """
    if kind == "pictures" and (label or column):
        raise ValueError("pictures are named by the folders that they lie in: leave --label and --column out.")
    if kind == "rows" and column:
        raise ValueError("tables are learned from all columns but that of the labels: leave --column out.")


def labels_of(rows: RowsRead, label: str) -> list[str | None]:
    """The labels of rows; None where there is none."""
    return [None if missing(value) or not str(value).strip() else name_of(value) for value in rows.column(label)]


def texts_of(values: np.ndarray, column: str, path: str | Path) -> list[str]:
    """The texts of a column.

    Raises:
        ValueError: Something else in it.
    """
    for row, value in enumerate(values, 1):
        if not isinstance(value, str):
            raise ValueError(f"{path}, row {row}: {column!r} is no text but {value!r}. Write one, or remove the row.")
    return values.tolist()


def content_column(rows: RowsRead, kind: str, asked: str | None, label: str | None, path: str | Path) -> str:
    """The column of texts or molecules: the one asked for, one that is called so, or the only one beside the label.

    Raises:
        ValueError: No column of that name, or several that it could be.
    """
    if asked is not None and asked not in rows.names:
        raise ValueError(f"{path} has no column {asked!r}; it has {', '.join(rows.names)}.")
    others = [name for name in rows.names if name != label]
    usual = [name for name in others if name.lower() in CONTENT[kind]]
    if asked or usual:
        return asked or usual[0]
    if label is None and len(others) == 2:
        others.remove(label_column(rows, None, path))
    if len(others) == 1:
        return others[0]
    raise ValueError(f"which column of {path} holds the {kind}? Name it by --column; there are {', '.join(others)}.")


def read_queries(names: Sequence[str], kind: str, columns: list[str] | None, label: str | None) -> Queries:
    """The examples to answer for, from files, folders of pictures, or standard input, which is "-".

    Args:
        names: Of files and folders. Texts may also be the lines of a .txt file, molecules those of a .smi file.
        kind: Of `Inputs`.
        columns: Of the rows that were learned from; None where those had no names.
        label: The column of labels, which is read if it is there, and never learned from.

    Raises:
        FileNotFoundError: No such file or folder.
        ValueError: Another kind of file, or one without the columns that are needed.
    """
    parts = [pictures_of(name) if kind == "pictures" else rows_of(name, kind, columns, label) for name in names]
    items = np.concatenate([part.items for part in parts]) if kind == "rows" else [*chain(*(p.items for p in parts))]
    return Queries(items, [*chain(*(part.places for part in parts))], [*chain(*(part.labels for part in parts))])


def pictures_of(name: str) -> Queries:
    """A picture; those of a folder, whose label is the name of the folder within it where they lie in one."""
    if name == "-":
        return Queries([sys.stdin.buffer.read()], [(name, None)], [None])
    path = Path(name)
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if is_picture(file))
        if not files:
            raise ValueError(f"{path} holds no .png or .jpg pictures.")
        inner = [file.relative_to(path).parts for file in files]
        return Queries(files, [(str(f), None) for f in files], [p[0] if len(p) > 1 else None for p in inner])
    if not path.is_file():
        raise FileNotFoundError(f"no such picture or folder: {name}.")
    return Queries([path], [(name, None)], [None])


def rows_of(name: str, kind: str, columns: list[str] | None, label: str | None) -> Queries:
    """The rows of a file."""
    if kind != "rows" and (name == "-" or Path(name).suffix.lower() in (".txt", ".smi")):
        if name != "-" and not Path(name).is_file():
            raise FileNotFoundError(f"no such file: {name}.")
        lines = (sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8-sig")).splitlines()
        items = [line.split()[0] if kind == "molecules" else line for line in lines if line.strip()]
        return Queries(items, [(name, row) for row in range(1, len(items) + 1)], [None] * len(items))
    rows = read_rows(name)
    if kind != "rows" and columns is None:
        columns = [content_column(rows, kind, None, label, name)]
    if columns is None:
        raise ValueError("this task was saved from arrays and knows no names of columns; write one with adapt.")
    values = rows.like(columns, name)
    items = values if kind == "rows" else texts_of(values[:, 0], columns[0], name)
    labels = labels_of(rows, label) if label in rows.names else [None] * len(values)
    return Queries(items, [(name, row) for row in range(1, len(values) + 1)], labels)

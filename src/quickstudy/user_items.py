"""A user's own examples and queries, from files: folders of pictures, and rows of numbers, texts or molecules."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from quickstudy.data.folder import READ, class_files, is_picture, nested
from quickstudy.data.rows import RowsRead, label_column, read_rows, read_text, shown
from quickstudy.encoders.table import holds_names, labels_of, meant
from quickstudy.encoders.wrong_item import WrongItem

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
        called: What each example is called in an error: its file, row and line.
    """

    items: Any
    labels: np.ndarray
    columns: list[str] | None
    label: str | None
    said: str
    called: list[str]


class Queries(NamedTuple):
    """Examples to answer for.

    Args:
        items: What a learner of their kind takes.
        places: The file of each, and its row there; None where it is the file.
        labels: Of each the label that stands beside it, where one does.
        called: What each is called in an error: its file, row and line.
    """

    items: Any
    places: list[tuple[str, int | None]]
    labels: Sequence[str | None]
    called: list[str]


@contextmanager
def told_where(called: Sequence[str], columns: Sequence[str] | None) -> Iterator[None]:
    """Has errors of items that cannot be encoded tell the file, row and line that these came from, and the column."""
    try:
        yield
    except WrongItem as error:
        column = "" if error.column is None or columns is None else f", column {columns[error.column]!r}"
        raise ValueError(f"{called[error.row]}{column}: {error.said}") from None


def read_labelled(path: str | Path, kind: str, label: str | None = None, column: str | None = None) -> Labelled:
    """The labelled examples of a folder of class folders, or of a file of rows.

    Args:
        path: The folder, for pictures; for anything else a file that `read_rows` reads.
        kind: Of `Inputs`: "pictures", "rows", "texts" or "molecules".
        label: The column of labels; see `label_column` unless given.
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
        deeper = [file for name in files for file in nested(Path(path) / name)]
        said += f"; not read, as they lie deeper: {len(deeper)}, such as {deeper[0]}" if deeper else ""
        pictures = [file for members in files.values() for file in members]
        return Labelled(pictures, np.array(labels), None, None, said, [*map(str, pictures)])
    rows = read_rows(path)
    if kind == "rows":
        label = label_column(rows, label, path)
        examples, unnamed = without_unnamed(rows, label)
        examples = examples.without(label)
        items, columns = examples.values, examples.names
    else:
        column, unnamed = content_column(rows, kind, column, label, path), []
        label = label_column(rows, label, path, column)
        items, columns = texts_of(rows, column, path), [column]
    labels, called = labels_of(rows.column(label)), rows.called(path)
    if None in labels:
        place = labels.index(None)
        value = rows.column(label)[place]
        but = f" but {value!r}" if isinstance(value, str) and value.strip() else ""
        raise ValueError(f"{called[place]}: no {label!r}{but}. Label it, or remove the row.")
    check_written_alike(labels, called, label)
    said = f"labels: column {label!r} of {path}; learned from: {', '.join(columns)}"
    if kind == "rows" and (words := [name for name in columns if holds_names(rows.column(name))]):
        said += f"; categories: {', '.join(words)}"
    said += "; left out: a column without a name" if unnamed else ""
    return Labelled(items, np.array(labels), columns, label, said, called)


def check_written_alike(labels: Sequence[str | None], called: Sequence[str], label: str) -> None:
    """Refuses labels that mean the same and are written in different ways.

    Raises:
        ValueError: Such labels.
    """
    first: dict[str, str] = {}
    for where, one in zip(called, map(str, labels), strict=True):
        other = first.setdefault(meant(one), one)
        if other != one:
            raise ValueError(f"{where}: {label!r} is {one!r}, and {other!r} in a row above. Write them in one way.")


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


def texts_of(rows: RowsRead, column: str, path: str | Path) -> list[str]:
    """The texts of a column.

    Raises:
        ValueError: Something else in it.
    """
    values = rows.column(column).tolist()
    for where, value in zip(rows.called(path), values, strict=True):
        if not isinstance(value, str):
            raise ValueError(f"{where}: {column!r} is no text but {value!r}. Write one, or remove the row.")
    return values


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
    places, labels, called = ([*chain(*(getattr(p, name) for p in parts))] for name in ("places", "labels", "called"))
    return Queries(items, places, labels, called)


def pictures_of(name: str) -> Queries:
    """A picture; those of a folder, whose label is the name of the folder within it where they lie in one."""
    if name == "-":
        return Queries([sys.stdin.buffer.read()], [(name, None)], [None], [name])
    path = Path(name)
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if is_picture(file))
        if not files:
            raise ValueError(f"{path} holds no pictures ({READ}).")
        inner = [file.relative_to(path).parts for file in files]
        labels, names = [p[0] if len(p) > 1 else None for p in inner], [*map(str, files)]
        return Queries(files, [(one, None) for one in names], labels, names)
    if not path.is_file():
        raise FileNotFoundError(f"no such picture or folder: {name}.")
    return Queries([path], [(name, None)], [None], [name])


def rows_of(name: str, kind: str, columns: list[str] | None, label: str | None) -> Queries:
    """The rows of a file; those of one without columns are called by their lines."""
    if kind != "rows" and (name == "-" or Path(name).suffix.lower() in (".txt", ".smi")):
        if name != "-" and not Path(name).is_file():
            raise FileNotFoundError(f"no such file: {name}.")
        lines = {number: line for number, line in enumerate(read_text(name).split("\n"), 1) if line.strip()}
        items = [line.split()[0] if kind == "molecules" else line for line in lines.values()]
        called = [f"{shown(name)}, line {number}" for number in lines]
        return Queries(items, [(name, number) for number in lines], [None] * len(items), called)
    rows = read_rows(name)
    if kind != "rows" and columns is None:
        columns = [content_column(rows, kind, None, label, name)]
    if columns is None:
        raise ValueError("this task was saved from arrays and knows no names of columns; write one with adapt.")
    values = rows.like(columns, name)
    items = values if kind == "rows" else texts_of(rows, columns[0], name)
    labels = labels_of(rows.column(label)) if label in rows.names else [None] * len(values)
    return Queries(items, [(name, row) for row in range(1, len(values) + 1)], labels, rows.called(name))

"""A user's own rows, from CSV, TSV, JSON Lines or Parquet, and which of their columns is the label."""

import csv
import io
import json
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

LABELS = ("label", "class", "target", "category", "y")
"""Names that a column of labels usually has, the surest first."""
JSON_LINES = (".jsonl", ".ndjson")
COMMA = re.compile(r"\s*[-+]?\d+,\d+\s*")
"""A number with a comma for its point."""
SEPARATOR = re.compile(r"sep=(.)\r?\n")


class RowsRead(NamedTuple):
    """Rows as they were read.

    Args:
        names: Of the columns.
        values: Numbers, texts and None, an array of objects [row, column].
        lines: Where in the file each row begins, the first line being 1; None where there are no lines.
    """

    names: list[str]
    values: np.ndarray
    lines: list[int] | None = None

    def without(self, name: str) -> "RowsRead":
        """The rows with one column less, if they have it."""
        places = [place for place, other in enumerate(self.names) if other != name]
        return self._replace(names=[self.names[place] for place in places], values=self.values[:, places])

    def column(self, name: str) -> np.ndarray:
        return self.values[:, self.names.index(name)]

    def called(self, path: str | Path) -> list[str]:
        """What to call each row of the file in an error: by its number below the names, and by its line."""
        lines = [f" (line {line})" for line in self.lines] if self.lines else [""] * len(self.values)
        return [f"{shown(path)}, row {number}{line}" for number, line in enumerate(lines, 1)]

    def like(self, names: list[str], what: str) -> np.ndarray:
        """The values of these columns, in this order.

        Raises:
            ValueError: A column that is not there.
        """
        for name in names:
            if name not in self.names:
                raise ValueError(f"{what} has no column {name!r}, which the support set has; its are {self.names}.")
        return self.values[:, [self.names.index(name) for name in names]]


def read_rows(path: str | Path) -> RowsRead:
    """The rows of a file, by its ending: .csv, .tsv, .jsonl or .parquet; "-" is CSV from standard input.

    Raises:
        FileNotFoundError: No such file.
        ValueError: A folder, another kind of file, a broken one, or one without rows.
        ImportError: A Parquet file, and no pyarrow.
    """
    name, kind = str(path), Path(path).suffix.lower()
    if Path(path).is_dir():
        raise ValueError(f"{path} is a folder; needed a file of rows: .csv, .tsv, .jsonl or .parquet.")
    if name != "-" and not Path(path).is_file():
        raise FileNotFoundError(f"no such file: {path}.")
    text = read_text(path) if name == "-" or kind in (".csv", ".tsv", *JSON_LINES) else ""
    try:
        if name == "-" or kind in (".csv", ".tsv"):
            read = from_csv(text, "\t" if kind == ".tsv" else None)
        elif kind in JSON_LINES:
            read = from_json_lines(text)
        elif kind == ".parquet":
            read = from_parquet(Path(path))
        else:
            raise ValueError("needed .csv, .tsv, .jsonl or .parquet")
        if not len(read.values):
            raise ValueError("it has no rows")
    except (ValueError, csv.Error) as error:
        raise ValueError(f"{shown(path)} cannot be read as rows: {error}.") from None
    return read


def shown(path: str | Path) -> str:
    """What to call a file in an error."""
    return "standard input" if str(path) == "-" else str(path)


def read_text(path: str | Path) -> str:
    """The text of a file, or of standard input for "-", without a byte order mark.

    Raises:
        ValueError: Another encoding.
    """
    content = sys.stdin.buffer.read() if str(path) == "-" else Path(path).read_bytes()
    try:
        return io.TextIOWrapper(io.BytesIO(content), encoding="utf-8-sig").read()
    except UnicodeDecodeError:
        raise ValueError(f"{shown(path)} is no text in UTF-8; save it again as that (in Excel: CSV UTF-8).") from None


def from_csv(text: str, delimiter: str | None = None) -> RowsRead:
    """Rows under a line of names; unless told, separated by what of comma, semicolon and tab that line holds most of.

    Where that is the semicolon, numbers may have a comma for their point. Excel's first line, such as sep=; tells too.
    """
    first, skipped = next((line for line in text.splitlines() if line.strip()), ""), 0
    if told := SEPARATOR.match(text):
        delimiter, text, skipped = told[1], text[told.end() :], 1
    delimiter = delimiter or max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text), delimiter=delimiter, skipinitialspace=True)
    rows, lines, next_line = [], [], 1 + skipped
    for row in reader:
        if row:
            rows.append(row)
            lines.append(next_line)
        next_line = reader.line_num + 1 + skipped
    if not rows:
        raise ValueError("it is empty")
    rows[0] = [name.strip() for name in rows[0]]
    for line, row in zip(lines, rows, strict=True):
        if len(row) != len(rows[0]):
            raise ValueError(f"line {line} has {len(row)} values, and there are {len(rows[0])} columns")
    if twice := [name for name, count in Counter(rows[0]).items() if count > 1]:
        raise ValueError(f"more than one of its columns is called {twice[0]!r}; give each its own name")
    if delimiter == ";":
        rows[1:] = [[v.replace(",", ".") if COMMA.fullmatch(v) else v for v in row] for row in rows[1:]]
    return RowsRead(rows[0], np.array(rows[1:], dtype=object).reshape(-1, len(rows[0])), lines[1:])


def from_json_lines(text: str) -> RowsRead:
    """Rows of objects, one on each line that is not blank."""
    lines = {number: line for number, line in enumerate(text.split("\n"), 1) if line.strip()}
    records = []
    for number, line in lines.items():
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError as error:
            raise ValueError(f"line {number} is no JSON ({error.msg}, at character {error.colno})") from None
        if not isinstance(records[-1], dict):
            raise ValueError(f"line {number} is no JSON object")
    return from_records(records, list(lines))


def from_records(records: list[dict[str, Any]], lines: list[int] | None = None) -> RowsRead:
    """Rows of objects, with a gap where one lacks what another has."""
    for place, record in enumerate(records):
        if held := [name for name, value in record.items() if isinstance(value, list | dict)]:
            where = f"line {lines[place]}" if lines else f"row {place + 1}"
            raise ValueError(f"{where} holds several values in {held[0]!r}; needed one number or one text in each")
    names = list(dict.fromkeys(name for record in records for name in record))
    values = np.empty((len(records), len(names)), dtype=object)
    for place, name in enumerate(names):
        values[:, place] = [record.get(name) for record in records]
    return RowsRead(names, values, lines)


def from_parquet(path: Path) -> RowsRead:
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import read_table
    except ImportError:
        raise ImportError("Parquet files need pyarrow: pip install 'quickstudy[arrow]'.") from None
    try:
        return from_records(read_table(path).to_pylist())
    except (ArrowException, OSError) as error:
        raise ValueError(str(error)) from None


def label_column(rows: RowsRead, asked: str | None, path: str | Path, content: str | None = None) -> str:
    """The name of the column of labels: the one asked for, one that is called like it, or the last.

    It is not the column of content, where that is known.

    Raises:
        ValueError: No column of that name, the column of content, or no other column beside it.
    """
    if asked is not None and asked not in rows.names:
        raise ValueError(f"{path} has no column {asked!r}; it has {', '.join(rows.names)}.")
    if asked is not None and asked == content:
        raise ValueError(f"{path}: column {asked!r} was asked for both as the label and as what is learned from.")
    if len(rows.names) < 2:
        raise ValueError(f"{path} has one column, {rows.names[0]!r}; needed one of labels and others to learn from.")
    others = [name for name in rows.names if name != content]
    usual = sorted((name for name in others if name.lower() in LABELS), key=lambda name: LABELS.index(name.lower()))
    return asked or (usual[0] if usual else others[-1])

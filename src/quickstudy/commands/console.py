"""What commands print, and what they write for programs."""

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import typer
from rich.console import Console

from quickstudy.atomic import write_atomically

out = Console(width=None if sys.stdout.isatty() else 120, markup=False)  # names may have brackets
err = Console(stderr=True, markup=False)
STDOUT = Path("-")


def json_option(what: str) -> typer.models.OptionInfo:
    """The option of a file for what a program shall read; standard output has it alone, and words go to the other."""

    def make_way(file: Path | None) -> Path | None:
        out.stderr = file == STDOUT
        return file

    return typer.Option("--json", help=f"Write {what} here; - is standard output.", callback=make_way)


def spare(file: Path | None, option: str, read: Mapping[str, Iterable[Path]]) -> None:
    """Keeps what is read from being written over, and refuses what cannot be written before the work is done.

    Raises:
        ValueError: The file to write is one of those, or a folder.
    """
    if file is not None and file.is_dir():
        raise ValueError(f"{file} is a folder; name a file by {option}.")
    for what, paths in read.items():
        for path in paths:
            if file is not None and file.exists() and path.exists() and file.samefile(path):
                raise ValueError(f"{file} holds {what}; name another file by {option}.")


def write_json(file: Path | None, about: dict, indent: int | None = 1) -> None:
    """Where that option says, if anywhere."""
    if file is None:
        return
    text = json.dumps(about, indent=indent)
    if file == STDOUT:
        print(text)
    else:
        write_atomically(file, text.encode())

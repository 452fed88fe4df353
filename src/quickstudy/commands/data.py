"""The command that looks after data: data."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from quickstudy.commands import options
from quickstudy.commands.console import out
from quickstudy.data.arrow import arrow_data, pack_folder
from quickstudy.data.digits import digits
from quickstudy.data.sources import SOURCES, splits


def data_command(
    action: Annotated[str, typer.Argument(help="list, get, check or pack.")],
    source: Annotated[str | None, typer.Argument(help=f"{', '.join(SOURCES)}, or a folder.")] = None,
    data_dir: options.DataDir = None,
    image_size: options.Size = None,
    file: Annotated[Path | None, typer.Option("--out", help="The .arrow file to pack into.")] = None,
) -> None:
    """List the data there is, get it, check that what lies on disk is whole, or pack a folder that outgrows memory.

    Example: quickstudy data check omniglot --data-dir DIR

    Example: quickstudy data pack PICTURES --out pictures.arrow
    """
    if action not in ("list", "get", "check", "pack"):
        raise ValueError(f"no action {action!r}; there are list, get, check and pack.")
    if action == "list":
        rows = Table("data", "what it is", box=None)
        for name, what in SOURCES.items():
            rows.add_row(name, what)
        rows.add_row("PATH", "a folder of CLASS folders with pictures, or train, val and test folders of such")
        rows.add_row("FILE.arrow", "such a folder, packed into a file that is memory-mapped (quickstudy data pack)")
        out.print(rows)
        return
    if source is None:
        raise ValueError(f"which data to {action}? Name one of {', '.join(SOURCES)}, or a folder.")
    if action == "pack":
        if file is None or file.suffix != ".arrow":
            raise ValueError(f"pack into which file? Pass --out with a name that ends in .arrow, not {file}.")
        pack_folder(source, file, size=image_size or 84)
        parts = [arrow_data(file)]
    else:
        parts = [digits()] if source == "digits" else splits(source, data_dir, size=image_size)
    rows = Table("part", "classes", "examples", "fewest per class", "pixels", box=None)
    for part in parts:
        pixels = "x".join(str(n) for n in part.x.shape[1:])
        rows.add_row(part.name, f"{len(part.classes):,}", f"{len(part):,}", str(int(part.counts.min())), pixels)
    out.print(rows)

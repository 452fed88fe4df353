"""The options that commands share."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from lightning_fabric import Fabric
from typer.core import TyperOption

from quickstudy.allocator import keep_freed_memory
from quickstudy.catalogue import ENCODERS
from quickstudy.commands.console import err, out
from quickstudy.data.sources import SOURCES
from quickstudy.engine import Engine
from quickstudy.processes import PRECISIONS, processes


def at_least(low: int, most: int | None = None) -> Callable:
    """What refuses a number below the lowest that makes sense, or above the highest, before a command begins."""

    def check(option: TyperOption, value: int | float | None) -> int | float | None:
        if value is not None and not value >= low:  # so written, it refuses nan too
            raise ValueError(f"{option.opts[0]} is at least {low}, not {value}.")
        if value is not None and most is not None and value > most:
            raise ValueError(f"{option.opts[0]} is at most {most}, not {value}.")
        return value

    return check


def engine_named(name: str) -> Engine | None:
    """The engine of an option's value, STRATEGY[:CHUNK[:WORKERS]]; None for auto.

    Raises:
        ValueError: Another value.
    """
    if name == "auto":
        return None
    strategy, *numbers = name.split(":")
    try:
        return Engine(strategy, *map(int, numbers))  # pyright: ignore[reportArgumentType]
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"--engine is auto or STRATEGY:CHUNK:WORKERS, such as loop:1:2; not {name!r} ({error})."
        ) from None


def launcher(devices: int, batch: int, precision: str) -> Fabric:
    """The processes of this command, of which only the first speaks; they are not started yet."""
    keep_freed_memory()
    fabric = processes(devices, batch, precision)
    if not fabric.is_global_zero:
        out.quiet = err.quiet = True
    return fabric


Data = Annotated[
    str, typer.Option(help=f"Where classes come from: {', '.join(SOURCES)}, or a folder of CLASS folders.")
]
DataDir = Annotated[Path | None, typer.Option(help="Folder of local data; else QUICKSTUDY_DATA; else download.")]
Ways = Annotated[int, typer.Option(help="Classes of a task.")]
Shots = Annotated[int, typer.Option(help="Support examples per class.")]
Queries = Annotated[int, typer.Option(help="Query examples per class while training.")]
TestQueries = Annotated[
    int | None,
    typer.Option(help="Query examples per class of a test episode; 15 unless given, or as many as there are."),
]
Steps = Annotated[int, typer.Option(callback=at_least(1), help="Outer steps of meta-training.")]
Batch = Annotated[int, typer.Option(callback=at_least(1), help="Tasks per step, over all processes.")]
Episodes = Annotated[int, typer.Option(callback=at_least(2), help="Test episodes, the same for every method.")]
Seed = Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Of weights, tasks and test episodes.")]
Devices = Annotated[
    int, typer.Option(callback=at_least(1), help="Processes, each with a device of its own, or a share of the cores.")
]
Encoder = Annotated[str, typer.Option(help=f"The backbone, the same for every method: {', '.join(ENCODERS)}.")]
Rate = Annotated[float, typer.Option(callback=at_least(0), help="Step size of Adam, with a cosine schedule.")]
Validate = Annotated[
    int, typer.Option(callback=at_least(2), help="Meta-validation episodes that choose the weights to keep.")
]
Size = Annotated[
    int | None,
    typer.Option(callback=at_least(1), help="Pixels that pictures of a folder (84) or of tiny-imagenet (64) get."),
]
Within = Annotated[bool, typer.Option("--within-groups", help="All classes of a task of one group (one alphabet).")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the run in the folder.")]
Every = Annotated[float, typer.Option(callback=at_least(0), help="Seconds from one checkpoint to the next.")]
EngineName = Annotated[
    str,
    typer.Option(
        "--engine", help="How tasks are computed, STRATEGY:CHUNK:WORKERS (see docs/performance.md); auto probes."
    ),
]
Precision = Annotated[
    str, typer.Option(help=f"Of meta-training: {', '.join(PRECISIONS)}; weights and evaluations are float32 always.")
]

"""What a comparison found, for people: a table for the terminal, and one HTML file that needs nothing beside it."""

import base64
import io
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import jinja2
import torch
from jaxtyping import Float
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from PIL import Image
from rich.table import Table
from rich.text import Text
from torch import Tensor

from quickstudy.atomic import write_atomically
from quickstudy.catalogue import METHODS, Method
from quickstudy.comparison import Comparison
from quickstudy.evaluation import BINS, Interval

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#b5578d", "#c98500", "#3a9bd5", "#6a4c93", "#6b705c")
SHAPES = (("o", "●"), ("s", "■"), ("^", "▲"), ("D", "◆"), ("v", "▼"))  # in plots, and beside a method's name
STYLE = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "quickstudy",  # the same results give the same file
    "font.size": 9,
    "axes.edgecolor": "#888888",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.4,
    "lines.markersize": 4.5,
}
SIDE = 64  # the longest side of a picture in the report, in pixels


class Look(NamedTuple):
    """How a learner is shown: by the same name, colour and shape everywhere."""

    title: str
    family: str
    colour: str
    shape: str
    glyph: str


class Row(NamedTuple):
    """A learner's line of a table.

    `cells` go by column; `level` says that it is the best, or that its paired difference does not set it apart from
    the best; `place` is where its score and the ends of its interval lie between the two ends of a track, 0 and 1.
    """

    look: Look
    cells: dict[str, str]
    level: bool
    place: tuple[float, float, float]


def report(comparison: Comparison, path: str | Path, *, about: Mapping[str, Method] = METHODS) -> None:
    """Writes what a comparison found as one HTML file, which loads nothing and runs no script.

    Args:
        comparison: Of at least one learner on at least one test.
        path: The file; it is there whole or not at all.
        about: What is said of the learners, by name; a learner that is not in it goes by its name alone.
    """
    shown, entries = looks(comparison, about), comparison.entries
    loader = jinja2.PackageLoader("quickstudy", "")
    pages = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    html = pages.get_template("report.html.j2").render(
        tests=[section(comparison, test, shown) for test in next(iter(entries.values())).tests],
        looks=shown,
        methods=[(shown[name], about[name]) for name in entries if name in about],
        validation=validation_plot(comparison, shown),
        losses=[(shown[name], loss_plot(entry.curve, shown[name])) for name, entry in entries.items() if entry.curve],
        results=comparison.results(),
        bins=BINS,
    )
    write_atomically(Path(path), html.encode())


def table(comparison: Comparison, test: str) -> Table:
    """What a comparison found on one test, for the terminal, in the columns of the report."""
    found = next(iter(comparison.entries.values())).tests[test]
    chance = "" if found.chance is None else f"chance {percent(found.chance)}; "
    same = f"{chance}{len(found.scores[found.main])} episodes, SHA-256 {found.episodes_hash[:12]}; bold: level with the best"
    lines = rows(comparison, test, looks(comparison, METHODS))
    shown = Table(title=Text(test), caption=Text(same), box=SIMPLE_HEAD, pad_edge=False)
    for column in lines[0].cells:
        shown.add_column(column, justify="left" if column in ("method", "family") else "right")
    for line in lines:
        shown.add_row(*(Text(cell) for cell in line.cells.values()), style="bold" if line.level else None)
    return shown


def looks(comparison: Comparison, about: Mapping[str, Method]) -> dict[str, Look]:
    """How each learner is shown."""
    return {
        name: Look(
            about[name].title if name in about else name,
            about[name].family if name in about else "",
            COLOURS[i % len(COLOURS)],
            *SHAPES[i % len(SHAPES)],
        )
        for i, name in enumerate(comparison.entries)
    }


def ranked(comparison: Comparison, test: str) -> list[str]:
    """The learners' names, the best mean score of a test first."""
    return sorted(comparison.entries, key=lambda name: -comparison.entries[name].tests[test].goodness)


def rows(comparison: Comparison, test: str, shown: Mapping[str, Look]) -> list[Row]:
    """A test's table, the best learner first."""
    best, lines = ranked(comparison, test)[0], []
    results = {name: comparison.entries[name].tests[test].result for name in ranked(comparison, test)}
    chance = comparison.entries[best].tests[test].chance or 0
    low = min(chance, *(i.mean - i.half_width for i in results.values()))
    span = max(i.mean + i.half_width for i in results.values()) - low or 1
    for name, (mean, half) in results.items():
        entry, found, gap = comparison.entries[name], comparison.entries[name].tests[test], comparison.difference(name, best, test)
        place = ((mean - low) / span, (mean - half - low) / span, (mean + half - low) / span)
        cells = {
            "method": shown[name].title,
            "family": shown[name].family,
            found.main.replace("_", " "): str(found),
            "difference from best": "—" if name == best else signed(gap, 100 if found.ways else 1),
            "log-likelihood, nats": interval(found.scores["log_likelihood"]).plain(),
            "calibration error": percent(found.calibration_error, 1) if found.calibration_error is not None else "",
            "adapt, ms/task": f"{1000 * found.adapt_seconds:.2f}",
            "meta-training": duration(entry.train_seconds),
            "parameters": f"{entry.parameters:,}",
            "transductive": "yes" if found.transductive else "no",
        }
        ...
    return lines

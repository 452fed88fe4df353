"""What a comparison found, for people: a table for the terminal, and one HTML file that needs nothing beside it."""

import base64
import io
from collections.abc import Mapping, Sequence
from math import log
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, PercentFormatter
from PIL import Image
from rich import box
from rich.table import Table
from rich.text import Text

from quickstudy.atomic import write_atomically
from quickstudy.catalogue import FAMILIES, METHODS, Method
from quickstudy.comparison import Comparison
from quickstudy.confidence import MISSED
from quickstudy.contract import Examples
from quickstudy.evaluation import Evaluation
from quickstudy.none_of_these import SOFTMAX, UNLIKE
from quickstudy.scores import Interval

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#b5578d", "#c98500", "#6a4c93", "#6b705c", "#3a9bd5")
SHAPES = (("o", "●"), ("s", "■"), ("^", "▲"), ("D", "◆"), ("v", "▼"), ("P", "✚"), ("X", "✖"))  # in plots; in text
STYLE: dict = {"svg.fonttype": "none", "svg.hashsalt": "quickstudy", "font.size": 9, "grid.color": "#e2e2e2"}
STYLE |= {"axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "axes.axisbelow": True}
SHORT = {"log-likelihood": "nats per\nquery", "calibration error": "calib.\nerror", "adapt": "ms/\ntask"}
SHORT |= {
    "tempered": "tem-\npered",
    "meta-training": "train",
    "parameters": "params",
    "difference from best": "vs best",
    "transductive": "trans.",
}
EPISODES, SHOTS, QUERIES, PIXELS = 3, 5, 2, 64  # shown at most: tasks; examples and queries of a class; picture side


class Look(NamedTuple):
    """How a learner is shown: by one name, colour and shape everywhere."""

    title: str
    family: str
    colour: str
    shape: str
    glyph: str


class Row(NamedTuple):
    """A learner's line of a table: its cells by column, and whether its paired difference from the best may be zero."""

    name: str
    cells: dict[str, str]
    level: bool


def report(comparison: Comparison, path: str | Path, *, about: Mapping[str, Method] = METHODS) -> None:
    """Writes what a comparison found as one HTML file, which loads nothing and runs no script.

    Args:
        comparison: Of at least one learner on at least one test.
        path: The file; it is there whole or not at all.
        about: What is said of the learners, by name; a learner that is not in it goes by its name alone.
    """
    entries = comparison.entries
    loader = PackageLoader("quickstudy", "")
    pages = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    pages.globals |= {f.__name__: f for f in (rows, families, strip, knowing, curves, reliability_diagram, log)}
    with rc_context(STYLE):
        html = pages.get_template("report.html.j2").render(
            comparison=comparison,
            results=comparison.results(),
            about=about,
            sentences=FAMILIES,
            looks=looks(comparison, about),
            shots={t: {n: e.by_shots.get(t, {}) for n, e in entries.items()} for t in comparison.strip},
            selective={t: {n: dict(e.tests[t].selective) for n, e in entries.items()} for t in comparison.strip},
            promised=1 - MISSED,
            scores={n: {step: abs(v) for step, _, v in e.curve if v is not None} for n, e in entries.items()},
            losses={n: {step: loss for step, loss, _ in e.curve} for n, e in entries.items()},
        )
    write_atomically(Path(path), html.encode())


def table(comparison: Comparison, test: str) -> Table:
    """What a comparison found on one test, for the terminal, in the columns of the report."""
    found = comparison.entries[comparison.best(test)].tests[test]
    chance = "" if found.chance is None else f"chance {found.chance:.1%}; "
    chance += f"{len(found.scores[found.main]):,} episodes, SHA-256 {found.episodes_hash[:12]}"
    caption = f"{chance}\nvs best: paired difference{', in points' if found.ways else ''}; bold: it may be zero"
    shown = Table(title=Text(test), caption=Text(caption), box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    lines = rows(comparison, test, looks(comparison, METHODS))
    for column in lines[0].cells:
        head, name = SHORT.get(column.split(",")[0], column), column == "method"
        shown.add_column(head, justify="left" if name else "right", overflow="fold")
    for line in lines:
        shown.add_row(*map(Text, line.cells.values()), style="bold" if line.level else None)
    return shown


def looks(comparison: Comparison, about: Mapping[str, Method]) -> dict[str, Look]:
    """How each learner is shown, by name."""
    texts = {n: (about[n].title, about[n].family) if n in about else (n, "") for n in comparison.entries}
    return {n: Look(*text, COLOURS[i % 8], *SHAPES[i % 7]) for i, (n, text) in enumerate(texts.items())}


def families(lines: Sequence[Row], about: Mapping[str, Method]) -> dict[str, list[Row]]:
    """The lines of learners of which something is said, by family, in their order."""
    known = [line for line in lines if line.name in about]
    order = dict.fromkeys([*FAMILIES, *(about[line.name].family for line in known)])
    return {family: [line for line in known if about[line.name].family == family] for family in order}


def rows(comparison: Comparison, test: str, looks: Mapping[str, Look]) -> list[Row]:
    """A test's table, the best learner first."""
    lines, best = [], comparison.best(test)
    for name, entry in sorted(comparison.entries.items(), key=lambda item: -item[1].tests[test].goodness):
        found, gap = entry.tests[test], comparison.difference(name, best, test)
        unit, scale, digits = (", points", 100, 2) if found.ways else ("", 1, 3)
        behind = f"{scale * gap.mean:+.{digits}f} ± {scale * gap.half_width:.{digits}f}" if name != best else "—"
        cells = {
            "method": looks[name].title,
            found.main.replace("_", " "): str(found),
            f"difference from best{unit}": behind,
            "log-likelihood, nats": found.interval("log_likelihood").plain(),
            **({"calibration error": f"{found.calibration_error:.1%}"} if found.ways else {}),
            **({"tempered": f"{found.tempered_calibration_error:.1%}"} if found.temperature else {}),
            "adapt, ms per task": f"{1000 * found.adapt_seconds:,.{0 if found.adapt_seconds >= 0.1 else 2}f}",
            "meta-training": duration(entry.train_seconds),
            "parameters": short(entry.parameters),
            "transductive": "yes" if found.transductive else "no",
        }
        lines.append(Row(name, cells, abs(gap.mean) <= gap.half_width))
    return lines


def knowing(comparison: Comparison, test: str, looks: Mapping[str, Look]) -> list[Row]:
    """What each learner knows of its own knowledge, in the order of the test's table; empty cells where none can be."""
    lines = []
    for name in (line.name for line in rows(comparison, test, looks)):
        entry = comparison.entries[name]
        found, told = entry.tests[test], entry.strangers.get(test, {})
        promised = {key: str(found.interval(key)) for key in ("covered",) if key in found.scores}
        cells = {
            "method": looks[name].title,
            "right class in its set": promised.get("covered", "—"),
            "classes in a set": f"{found.scores['set_size'].mean():.2f}" if promised else "—",
            "accuracy of the surest half": f"{surest(found, 0.5):.1%}",
            "strangers told by softmax": told[SOFTMAX].plain() if SOFTMAX in told else "—",
            "strangers told by distance too": told[UNLIKE].plain() if UNLIKE in told else "—",
        }
        lines.append(Row(name, cells, False))
    return lines


def surest(found: Evaluation, coverage: float) -> float:
    """The accuracy if only this share of the queries is answered, on a line between the shares that bins allow."""
    shares, accuracies = zip(*found.selective, strict=True)
    return float(np.interp(coverage, shares, accuracies))


def short(number: int) -> str:
    """A number in thousands or millions."""
    return f"{number / 1e6:.1f} M" if number >= 1e6 else f"{number / 1e3:.3g} k"


def duration(seconds: float) -> str:
    """A time as people say it; a dash for none."""
    if seconds < 100:
        return f"{seconds:.0f} s" if seconds else "—"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def strip(comparison: Comparison, test: str) -> list[tuple]:
    """Pictures of a few support and query sets, with each learner's probabilities; none where inputs are no images."""
    episodes = comparison.strip[test][:EPISODES]
    if episodes.support.ways is None or episodes.support.x.ndim != 5 or episodes.support.x.shape[2] not in (1, 3):
        return []
    said = {name: entry.strip[test].tolist() for name, entry in comparison.entries.items()}
    return [
        (pictures(episode.support, SHOTS), pictures(episode.query, QUERIES), {name: p[t] for name, p in said.items()})
        for t, episode in enumerate(episodes)
    ]


def pictures(examples: Examples, most: int) -> list[list[tuple[int, str]]]:
    """Of each class of one task, where its first examples are, and how they look."""
    there = torch.ones_like(examples.y, dtype=torch.bool) if examples.mask is None else examples.mask
    places = [((examples.y[0] == way) & there[0]).nonzero()[:most, 0].tolist() for way in range(examples.ways or 0)]
    return [[(i, picture(examples.x[0, i])) for i in of_class] for of_class in places]


def picture(x: Float[torch.Tensor, "channel h w"]) -> str:
    """An image as a data URL."""
    pixels = (255 * x.clamp(0, 1)).round().byte().movedim(0, -1).numpy()
    image = Image.fromarray(pixels if len(x) == 3 else pixels[..., 0])
    image.thumbnail((PIXELS, PIXELS))
    image.save(file := io.BytesIO(), "png")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def svg(figure: Figure) -> str:
    """A figure as a data URL; the same figure gives the same one."""
    figure.savefig(file := io.BytesIO(), format="svg", transparent=True, metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(file.getvalue()).decode()


def curves(
    lines: Mapping[str, Mapping[int | float, Interval | float]], looks: Mapping[str, Look], x: str, y: str
) -> str:
    """Values against something counted, a line for each learner, as the data URL of an SVG."""
    figure = Figure((2.5, 1.8) if y == "loss" else (6.2, 3.1), layout="constrained")
    axes = figure.subplots()
    for name, line in lines.items():
        values = [value if isinstance(value, Interval) else Interval(value, 0) for value in line.values()]
        mean, half = zip(*values, strict=True) if values else ((), ())
        mark = {"marker": looks[name].shape if len(line) < 30 else "", "markersize": 4.5, "linewidth": 1.3}
        axes.errorbar(list(line), mean, half if any(half) else None, color=looks[name].colour, capsize=2.5, **mark)
    axes.set(xlabel=x, ylabel=y)
    at = sorted({x for line in lines.values() for x in line})
    axes.xaxis.set_major_locator(FixedLocator(at) if len(at) < 9 else MaxNLocator("auto", integer=True))
    axes.set_xlim(left=0)
    if x.startswith("coverage"):
        axes.xaxis.set_major_locator(MaxNLocator("auto"))
        axes.xaxis.set_major_formatter(PercentFormatter(1))
    if y == "accuracy":
        axes.yaxis.set_major_formatter(PercentFormatter(1))
    return svg(figure)


def reliability_diagram(found: Evaluation, look: Look) -> str:
    """Accuracy against confidence bin by bin, above the share of the queries in each, as the data URL of an SVG.

    The line with hollow points is that of the tempered confidences, where a temperature was fitted.
    """
    bins = found.bins
    assert bins is not None
    count, confidence, correct = bins.T.numpy()
    seen, width, left = count > 0, 1 / len(bins), (torch.arange(len(bins)) / len(bins)).numpy()
    at, accuracy = confidence[seen] / count[seen], correct[seen] / count[seen]
    figure = Figure((2.5, 2.8), layout="constrained")
    top, below = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    top.bar(left[seen], accuracy, width, align="edge", color=look.colour, alpha=0.35)
    top.vlines(at, accuracy, at, color=look.colour, linewidth=2)
    top.plot(at, accuracy, "o", color=look.colour, markersize=3.5, clip_on=False)
    top.plot([0, 1], [0, 1], "--", color="#777777", linewidth=1)
    if found.tempered_bins is not None:
        count_then, confidence, correct = found.tempered_bins[found.tempered_bins[:, 0] > 0].T.numpy()
        line = {"color": "#333333", "linewidth": 0.8, "markersize": 3.5, "markerfacecolor": "none", "clip_on": False}
        top.plot(confidence / count_then, correct / count_then, "o-", **line)
    below.bar(left, count / count.sum(), width, align="edge", color=look.colour, alpha=0.7)
    top.set(ylabel="accuracy", xlim=(0, 1), ylim=(0, 1), yticks=(0, 0.5, 1))
    below.set(xlabel="confidence", ylabel="queries", xticks=(0, 0.5, 1))
    below.yaxis.set_major_locator(MaxNLocator(2))
    for axis in (top.yaxis, below.xaxis, below.yaxis):
        axis.set_major_formatter(PercentFormatter(1, decimals=0))
    return svg(figure)

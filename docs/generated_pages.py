"""Pages that are made at each build and never committed: one of each method, and the reference of what is public.

A method's page is its row of docs/methods.md, its docstring and its rows of the race's ledger in benchmarks/results.
"""

import inspect
import re
import shutil
from pathlib import Path

from race import COURSES, ledger, written
from sphinx.application import Sphinx

import quickstudy
from quickstudy.catalogue import FAMILIES, METHODS

HERE = Path(__file__).parent
MADE = HERE / "generated"
LEDGER = {course: ledger(course) for course in COURSES}
ROOMS = {
    "Your own examples": ("estimators", "regressor", "ready", "shipping", "export"),
    "The contract": ("contract", "task_norm"),
    "Data": ("data",),
    "Tasks": ("tasks",),
    "Encoders": ("encoders",),
    "Training": ("training", "engine", "checkpoint"),
    "Evaluation and comparison": ("evaluation", "comparison", "confidence", "none_of_these"),
}
"""The rooms of the package under the headings of the reference; methods have pages of their own."""


def method_rows() -> list[dict[str, str]]:
    """The rows of docs/methods.md's first table, by their columns."""
    text = (HERE / "methods.md").read_text().split("\n## ")[0]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    return [dict(zip(cells[0], row, strict=True)) for row in cells[2:]]


def class_name(row: dict[str, str]) -> str:
    return row["class"].strip("`").split("(")[0]


def page_name(row: dict[str, str]) -> str:
    """A row's name on the command line, or that of its class where it has none."""
    name = row["name"].strip("`")
    return name if name in METHODS else class_name(row)


def reached(name: str) -> str:
    """A method's rows of the race's ledger, or that it has none."""
    parts = []
    for course, tables in LEDGER.items():
        found = [zip(columns[2:], rows[name][2:], strict=True) for columns, rows in tables if name in rows]
        if found:
            parts.append(f"[The race](../../results.md) `{course}`, {COURSES[course].minutes:g} minutes on two cores:")
        parts += [written(["what", "result"], dict(enumerate(map(list, each)))) for each in found]
    return "\n\n".join(parts) or "Not yet raced: see [the results](../../results.md) for those that were."


def described(kind: str, name: str, *options: str) -> str:
    """A directive that prints a docstring with its signature."""
    lines = [f".. auto{kind}:: {name}", *(f"   :{option}:" for option in options)]
    return "\n".join(["```{eval-rst}", *lines, "```"])


def method_page(row: dict[str, str], again: bool) -> str:
    """A method's page; a class that another page described already has no second entry in the index."""
    name, one = page_name(row), getattr(quickstudy, class_name(row))
    known = METHODS.get(name)
    parts = [
        f"# {known.title if known else one.__name__}",
        f"*{row['family'].capitalize()}.* {FAMILIES[row['family']]}",
        "\n".join(f"- *{key}*: {row[key]}" for key in ("learned across tasks", "remembered of one task", "paper")),
        f"From the command line: `quickstudy train {name}`, `quickstudy compare --methods {name}`." if known else "",
        f"## `{row['class'].strip('`')}`",
        described("class", f"quickstudy.{one.__name__}", "members", *(["no-index"] if again else [])),
        "## What it reached",
        reached(name),
    ]
    return "\n\n".join(part for part in parts if part)


def reference_page(heading: str, names: list[str]) -> str:
    """The public names of some rooms, each with its docstring."""
    parts = [f"# {heading}"]
    for name in names:
        one = getattr(quickstudy, name)
        if inspect.isclass(one):
            parts.append(described("class", f"quickstudy.{name}", "members"))
        elif inspect.isroutine(one):
            parts.append(described("function", f"quickstudy.{name}"))
        else:
            parts.append(described("data", f"quickstudy.contract.{name}"))  # Memory, a name for a union of types
    return "\n\n".join(parts)


def heading_of(name: str) -> str:
    """Under which heading of the reference a public name is; none for a method."""
    module = getattr(quickstudy, name).__module__
    room = module.split(".")[1] if module.startswith("quickstudy.") else "contract"  # Memory's is no module of ours
    return next((heading for heading, rooms in ROOMS.items() if room in rooms), "" if room == "methods" else room)


def contents(pages: list[str]) -> str:
    return "\n".join(["```{toctree}", ":maxdepth: 1", "", *pages, "```"])


def pages() -> dict[str, str]:
    """Every generated page by its path.

    Raises:
        ValueError: A method without a row in docs/methods.md, or a public name of a room that has no heading.
    """
    rows, made = method_rows(), {}
    if missing := set(METHODS) - {page_name(row) for row in rows}:
        raise ValueError(f"docs/methods.md needs a row for each method; it has none for {', '.join(sorted(missing))}.")
    for i, row in enumerate(rows):
        again = class_name(row) in [class_name(other) for other in rows[:i]]
        made[f"method/{page_name(row)}"] = method_page(row, again)
    parts = ["# One page a method", "What each is, its paper, and what it reached in [the race](../results.md)."]
    for family in FAMILIES:
        names = [f"method/{page_name(row)}" for row in rows if row["family"] == family]
        parts += [f"## {family.capitalize()}", FAMILIES[family], contents(names)]
    made["methods"] = "\n\n".join(parts)
    if lost := [name for name in quickstudy.__all__ if heading_of(name) not in (*ROOMS, "")]:
        raise ValueError(f"the reference has no heading for {', '.join(lost)}; name the room in ROOMS, in {__file__}.")
    for heading in ROOMS:
        names = [name for name in quickstudy.__all__ if heading_of(name) == heading]
        made[f"reference/{heading.lower().replace(' ', '-')}"] = reference_page(heading, names)
    listed = contents([path for path in made if path.startswith("reference/")])
    about = "What `import quickstudy as qs` offers, room by room; methods have [pages of their own](methods.md)."
    made["reference"] = "\n\n".join(["# Reference", about, listed])
    for path in (HERE.parent / "README.md", HERE.parent / "CONTRIBUTING.md"):
        inner = path.read_text().replace("](docs/", "](../")
        made[path.stem.lower()] = inner.replace("](CONTRIBUTING.md", "](contributing.md")
    return made


def write(_: Sphinx) -> None:
    """Writes the pages, those of an earlier build out of the way."""
    shutil.rmtree(MADE, ignore_errors=True)
    for path, text in pages().items():
        (MADE / path).parent.mkdir(parents=True, exist_ok=True)
        (MADE / path).with_suffix(".md").write_text(text + "\n")


def inside(_: Sphinx, __: str, text: list[str]) -> None:
    """Links of docs/*.md that lead out of docs/ on GitHub lead to the site's own copies."""
    for name in ("README", "CONTRIBUTING"):
        text[0] = text[0].replace(f"](../{name}.md", f"](generated/{name.lower()}.md")


def routed(_: Sphinx, __: str, name: str, *rest: object) -> bool | None:
    """Leaves out the methods that scikit-learn makes for every estimator, whose texts point into its own pages."""
    return True if re.fullmatch(r"set_\w+_request", name) else None


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("builder-inited", write)
    app.connect("source-read", inside)
    app.connect("autodoc-skip-member", routed)
    return {"parallel_read_safe": True}

"""A page of each method: its row of docs/methods.md, its docstring, and its rows of the race's ledger.

The ledger are the files that `benchmarks/race.py` wrote to benchmarks/results.
"""

from pathlib import Path

from grid import grid
from race import COURSES, ledger
from reference_pages import contents, described

import quickstudy
from quickstudy.catalogue import FAMILIES, METHODS

LEDGER = {course: ledger(course) for course in COURSES}


def method_rows() -> list[dict[str, str]]:
    """The rows of docs/methods.md's first table, by their columns."""
    text = (Path(__file__).with_name("methods.md")).read_text().split("\n## ")[0]
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
            minutes = f"{COURSES[course].minutes:g} minutes"
            parts.append(f"[The race](../../results.md) `{course}`, as many steps as fit into {minutes}:")
        parts += [grid(["what", "result"], each) for each in found]
    return "\n\n".join(parts) or "Not yet raced: see [the results](../../results.md) for those that were."


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


def methods() -> dict[str, str]:
    """The methods' pages by their paths, and the page that lists them.

    Raises:
        ValueError: A method without a row in docs/methods.md.
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
    return made | {"methods": "\n\n".join(parts)}

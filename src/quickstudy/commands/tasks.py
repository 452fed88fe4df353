"""The commands of someone with a few labelled examples: predict, adapt."""

import shlex
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.table import Table

from quickstudy.commands.console import json_option, out, spare, write_json
from quickstudy.confidence import MISSED
from quickstudy.encoders.table import meant, name_of
from quickstudy.estimators import FewShotClassifier
from quickstudy.none_of_these import STRANGE
from quickstudy.numbers_told import (
    SHIPPED_FOR_NUMBERS,
    as_targets,
    error_of,
    measures,
    table_of,
    tells_numbers,
    told_numbers,
)
from quickstudy.ready import opened
from quickstudy.regressor import FewShotRegressor
from quickstudy.shipping import Fitted, holds_examples, load_task, save_task
from quickstudy.user_items import Labelled, Queries, check_columns, read_labelled, read_queries, told_where

Learner = Annotated[
    str,
    typer.Argument(
        help="table, table-regression, images, handwriting, text or molecules, which ship; or a run's folder."
    ),
]
Label = Annotated[
    str | None,
    typer.Option(
        "--label", help="The column of labels; else one called label, class, target, category or y, or the last."
    ),
]
Column = Annotated[
    str | None, typer.Option("--column", help="The column of texts or molecules; found by its name unless given.")
]
SHOWN = 50
"""Rows of the printed table, at most; --json has them all."""


def adapt_command(
    learner: Learner,
    support: Annotated[
        Path, typer.Argument(help="Labelled examples: a folder of class folders, or .csv, .tsv, .jsonl or .parquet.")
    ],
    file: Annotated[Path, typer.Option("--out", help="The file to write the adapted task to.")],
    label: Label = None,
    column: Column = None,
) -> None:
    """Learn from a few labelled examples, and write what was learned to one file, for predict.

    Example: quickstudy adapt table few.csv --out task.safetensors

    Example: quickstudy adapt images examples/ --out task.safetensors
    """
    spare(file, "--out", {"the labelled examples": [support]})
    fitted, examples = learned(learner, support, label, column)
    if examples.columns:
        fitted.feature_names_in_ = np.array(examples.columns, dtype=object)
    if examples.label:
        fitted.label_name_ = examples.label
    save_task(fitted, file)
    holds = "which holds the examples, encoded" if holds_examples(fitted) else "which holds no example"
    if isinstance(fitted, FewShotRegressor):
        what = f"the number {examples.label!r}, from {len(examples.labels)} rows"
    else:
        what = f"{len(fitted.classes_)} classes: {', '.join(fitted.classes_)}"
    out.print(f"{what}; written to {file}, {holds}", soft_wrap=True)
    out.print(f"next: quickstudy predict {shlex.quote(str(file))} QUERY...", soft_wrap=True)


def predict_command(
    learner: Annotated[
        str,
        typer.Argument(help="table, images, handwriting, text or molecules; a run's folder; or an adapted task."),
    ],
    files: Annotated[list[str], typer.Argument(help="SUPPORT QUERY..., or of an adapted task QUERY... alone.")],
    label: Label = None,
    column: Column = None,
    missed: Annotated[
        float | None,
        typer.Option("--missed", help="The share of queries whose right class their set may lack; 0.1 unless given."),
    ] = None,
    json_file: Annotated[Path | None, json_option("every answer")] = None,
) -> None:
    """Learn from a few labelled examples and answer queries; or answer them by a task that was adapted before.

    SUPPORT is a folder of class folders with pictures, or a file of rows with a column of labels. QUERY is a file, a
    folder of pictures, or - for standard input. Where queries have labels too, the share of right answers is told; it
    is never learned from. Labels that are numbers are told as numbers by table-regression, and by table where they are
    measures, not names: not all of them whole, and most of them different.

    Example: quickstudy predict table few.csv others.csv

    Example: quickstudy predict images examples/ new.jpg more/

    Example: quickstudy predict task.safetensors others.csv --json answers.json
    """
    spare(json_file, "--json", {"the task": [Path(learner)], "examples or queries": map(Path, files)})
    if Path(learner).is_file():
        fitted, queries = load_task(learner), files
        columns = vars(fitted).pop("feature_names_in_", None)  # rows come without names from here on
        columns = None if columns is None else columns.tolist()
        check_columns(fitted.ready_.inputs.kind, label, column)
        columns = columns if column is None else [column]
        label = label or getattr(fitted, "label_name_", None)
    else:
        if len(files) < 2:
            opened(learner)  # which may be what is wrong
            raise ValueError(f"what shall {learner!r} learn from, and what answer? Name SUPPORT and QUERY files.")
        fitted, examples = learned(learner, Path(files[0]), label, column)
        queries, columns, label = files[1:], examples.columns, examples.label
    read = read_queries(queries, fitted.ready_.inputs.kind, columns, label)
    if isinstance(fitted, FewShotRegressor):
        if missed is not None:
            raise ValueError("--missed is for sets of classes, and this task's labels are numbers: leave it out.")
        with told_where(read.called, columns):
            answers, about = told_numbers(fitted, read), {}
    else:
        missed = MISSED if missed is None else missed
        with told_where(read.called, columns):
            answers = answered(fitted, read, missed)
        about = {"classes": fitted.classes_.tolist(), "missed": missed}
    show(answers)
    write_json(json_file, about | {"answers": answers})


def learned(learner: str, support: Path, label: str | None, column: str | None) -> tuple[Fitted, Labelled]:
    """A classifier, or where labels are numbers a regressor, fitted to labelled examples; and these."""
    ready = opened(learner)
    examples = read_labelled(support, ready.inputs.kind, label, column)
    out.print(examples.said, soft_wrap=True)
    as_numbers = measures(examples)
    if learner == "table" and as_numbers:
        out.print(f"the labels are numbers, not names: {SHIPPED_FOR_NUMBERS} learns them instead of {learner}.")
        ready = opened(SHIPPED_FOR_NUMBERS)
    elif not tells_numbers(ready) and as_numbers:
        out.print(
            "the labels look like measures, and are taken for names of classes: numbers are learned of tables alone."
        )
    with told_where(examples.called, examples.columns):
        if tells_numbers(ready):
            return FewShotRegressor(ready).fit(examples.items, as_targets(examples)), examples
        return FewShotClassifier(ready).fit(examples.items, examples.labels), examples


def answered(classifier: FewShotClassifier, queries: Queries, missed: float) -> list[dict]:
    """What a classifier answers, and the label where a query has one."""
    found = classifier.answer(queries.items, missed)
    names = [name_of(label) for label in classifier.classes_.tolist()]
    pictures, same = classifier.ready_.inputs.kind == "pictures", {meant(name): name for name in names}
    true = [None if label is None else same.get(meant(label), label) for label in queries.labels]
    told = [None if pictures and name not in names else name for name in true]  # any folder may hold pictures
    return [
        {
            "file": file,
            **({} if row is None else {"row": row}),
            "label": names[each.argmax()],
            "confidence": float(each.max()),
            "set": [name for name, inside in zip(names, within, strict=True) if inside],
            "none_of_these": float(none),
            "probabilities": each.tolist(),
            **({} if true is None else {"true": true}),
        }
        for (file, row), true, each, within, none in zip(
            queries.places, told, found.probabilities, found.sets, found.none_of_these, strict=True
        )
    ]


def show(answers: list[dict]) -> None:
    """Prints answers as a table, the first of them where there are many."""
    if answers and "number" in answers[0]:
        out.print(table_of(answers[:SHOWN]))
        many(answers)
        if error := error_of(answers):
            out.print(error)
        return
    known = [answer for answer in answers if "true" in answer]
    rows = any("row" in answer for answer in answers)
    names = ["file", *(["row"] if rows else []), "label", "confidence", "set", *(["true"] if known else [])]
    table = Table(*names, box=None)
    for answer in answers[:SHOWN]:
        strange = answer["none_of_these"] > STRANGE
        cells = [answer["file"], *([str(answer.get("row", ""))] if rows else []), answer["label"]]
        inside = "none of these?" if strange else ", ".join(answer["set"]) or "(no class)"
        cells += [f"{answer['confidence']:.1%}", inside]
        table.add_row(*cells, *([answer.get("true", "")] if known else []))
    out.print(table)
    many(answers)
    if known:
        right = sum(answer["label"] == answer["true"] for answer in known)
        out.print(f"{right} of {len(known)} labels right ({right / len(known):.1%})")


def many(answers: list[dict]) -> None:
    """Says how many answers were not shown."""
    if len(answers) > SHOWN:
        out.print(f"... and {len(answers) - SHOWN} more rows; --json FILE has them all.")

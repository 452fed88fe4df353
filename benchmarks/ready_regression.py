"""The shipped learner of numbers in tables: trains it, and tests it beside simple regressors on the same rows.

    python benchmarks/ready_regression.py train --data-dir DIR    writes src/quickstudy/learners/table-regression.safetensors
    python benchmarks/ready_regression.py test --data-dir DIR     writes benchmarks/results/ready-table-regression.json
    python benchmarks/ready_regression.py table                   prints docs/learners.md's table

It is trained on columns of the training tables of `quickstudy.data.tables`, and tested on those of the others, and on
scikit-learn's real regressions, diabetes and linnerud.
"""  # noqa: E501

import argparse
import json
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from machine import processor
from scipy.stats import norm
from sklearn.datasets import load_diabetes, load_linnerud
from sklearn.dummy import DummyRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from sklearn.linear_model import RidgeCV
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import quickstudy as qs
from quickstudy.checkpoint import save_learner
from quickstudy.data.tables import tables
from quickstudy.ready import SHIPPED
from quickstudy.tasks.table_columns import numbers_of
from quickstudy.training import adam

NAME = "table-regression"
RESULTS = Path(__file__).parent / "results" / f"ready-{NAME}.json"
LEARNER = Path(qs.__file__).parent / "learners" / f"{NAME}.safetensors"
STEPS, BATCH, RATE = 2000, 8, 0.02
ROWS, MOST_QUERIES = (5, 10, 20), 50
REGRESSORS: dict[str, tuple[str, Callable[[], Any]]] = {
    "table-regression": ("shipped learner", qs.FewShotRegressor),
    "ridge": ("ridge regression", lambda: RidgeCV(np.logspace(-2, 3, 11))),
    "process": (
        "Gaussian process",
        lambda: GaussianProcessRegressor(ConstantKernel() * RBF() + WhiteKernel(), normalize_y=True),
    ),
    "nearest": ("3 nearest neighbours", lambda: KNeighborsRegressor(3)),
    "mean": ("mean", DummyRegressor),
}


def train(data_dir: Path | None) -> None:
    torch.manual_seed(0)
    start, tasks = time.monotonic(), qs.TableColumns(tables(data_dir)[0])
    learner = SHIPPED[NAME][0]().float()
    optimizer, scheduler = adam(learner, RATE, STEPS)
    for progress in qs.train(learner, tasks, steps=STEPS, batch=BATCH, optimizer=optimizer, scheduler=scheduler):
        if progress.step % 200 == 0:
            print(progress.step, progress.loss, flush=True)
    save_learner(learner.double(), LEARNER, {"steps": STEPS, "batch": BATCH, "seed": 0})
    print(f"{(time.monotonic() - start) / 60:.1f} minutes")


class Draw(NamedTuple):
    """Rows to learn from and rows to answer, and the standard deviation of the numbers in the whole data set."""

    x: np.ndarray
    y: np.ndarray
    queries: np.ndarray
    answers: np.ndarray
    scale: float


def draws(data: list[tuple[np.ndarray, np.ndarray]], rows: int, number: int) -> Iterator[Draw]:
    """Of one of some data sets each; those of a number of rows are the same for every regressor."""
    generator = np.random.default_rng(rows)
    for _ in range(number):
        x, y = data[generator.integers(len(data))]
        order = generator.permutation(len(y))
        few, rest = order[:rows], order[rows : rows + MOST_QUERIES]
        yield Draw(x[few], y[few], x[rest], y[rest], float(y.std()))


def tested(drawn: list[Draw]) -> dict:
    """Per regressor its mean absolute error of each draw, and of those with a spread nats and the share within 1.96."""
    found = {}
    for name, (_, make) in REGRESSORS.items():
        found[name] = {"errors": []}
        for draw in drawn:
            one = make() if name == NAME else make_pipeline(StandardScaler(), make())
            one.fit(draw.x, draw.y)
            spread = {"return_std": True} if name in (NAME, "process") else {}
            mean, *std = one.predict(draw.queries, **spread) if spread else (one.predict(draw.queries),)
            found[name]["errors"].append(float(np.abs(mean - draw.answers).mean() / draw.scale))
            if std:
                nats = norm.logpdf(draw.answers / draw.scale, mean / draw.scale, std[0] / draw.scale)
                found[name].setdefault("nats", []).append(float(nats.mean()))
                within = np.abs(mean - draw.answers) < 1.96 * std[0]
                found[name].setdefault("within", []).append(float(within.mean()))
    return found


def data_sets(data_dir: Path | None) -> dict[str, list[tuple[np.ndarray, np.ndarray]]]:
    """By name, rows with numbers: a table has as many such as it has columns of numbers."""
    diabetes, (x, numbers) = load_diabetes(return_X_y=True), map(np.asarray, load_linnerud(return_X_y=True))
    real = {
        "diabetes": [(np.asarray(diabetes[0]), np.asarray(diabetes[1]))],
        "linnerud": [(x, each) for each in numbers.T],
    }
    for table in tables(data_dir)[1]:
        columns = [(np.delete(table.x, c, 1), table.x[:, c]) for c in numbers_of(table.x)]
        if columns and table.x.shape[1] > 1:
            real[table.name] = columns
    return real


def test(data_dir: Path | None) -> None:
    start, found = time.monotonic(), {}
    for name, data in data_sets(data_dir).items():
        number = 200 if name in ("diabetes", "linnerud") else 50
        sizes = [rows for rows in ROWS if len(data[0][1]) >= rows + 10]
        found[name] = {rows: tested(list(draws(data, rows, number))) for rows in sizes}
        print(
            name, {rows: {n: round(np.mean(e["errors"]), 3) for n, e in f.items()} for rows, f in found[name].items()}
        )
    minutes = round((time.monotonic() - start) / 60, 1)
    RESULTS.write_text(json.dumps({"machine": processor(), "minutes": minutes, "tests": found}) + "\n")
    print(written())


def written() -> str:
    """Two tables: of each of scikit-learn's data sets over its draws, and of the others over tables."""
    about = json.loads(RESULTS.read_text())
    columns = ["data", "rows", "regressor", "absolute error", "it minus the shipped learner", "nats", "within 95%"]
    lines = ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    real = {name: about["tests"].pop(name) for name in ("diabetes", "linnerud")}
    for name, by_rows in real.items():
        for rows, found in by_rows.items():
            lines += rows_of(name, rows, {one: {k: np.array(v) for k, v in e.items()} for one, e in found.items()})
    for rows in map(str, ROWS):
        each = [found[rows] for found in about["tests"].values() if rows in found]
        means = {
            one: {k: np.array([np.mean(found[one][k]) for found in each]) for k in each[0][one]} for one in REGRESSORS
        }
        lines += rows_of(f"{len(each)} tables", rows, means)
    return "\n".join([*lines, "", f"{about['machine']}, {about['minutes']} minutes."])


def rows_of(name: str, rows: str, found: dict[str, dict[str, np.ndarray]]) -> list[str]:
    lines = []
    for one, (title, _) in REGRESSORS.items():
        errors = found[one]["errors"]
        gap = qs.interval(torch.from_numpy(errors - found[NAME]["errors"])).plain()
        cells = [name, rows, title, f"{errors.mean():.3f}", "-" if one == NAME else gap]
        spread = found[one].get("nats")
        cells += ["-", "-"] if spread is None else [f"{spread.mean():.2f}", f"{found[one]['within'].mean():.1%}"]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["train", "test", "table"])
    parser.add_argument("--data-dir", type=Path, help="folder of the tables; else QUICKSTUDY_DATA")
    asked = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    if asked.command == "table":
        print(written())
    else:
        {"train": train, "test": test}[asked.command](asked.data_dir)


if __name__ == "__main__":
    sys.exit(main())

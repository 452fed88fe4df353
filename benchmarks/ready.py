"""The learners that ship with quickstudy: trains them, and tests them beside simple classifiers on the same features.

    python benchmarks/ready.py train table --data-dir DIR     writes src/quickstudy/learners/table.safetensors
    python benchmarks/ready.py test table --data-dir DIR      writes benchmarks/results/ready-table.json
    python benchmarks/ready.py table table                    prints docs/results.md's table

Tables are split by name: nothing was trained, chosen or fitted on the test tables.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from statistics import geometric_mean

import torch
from jaxtyping import Float
from machine import processor
from torch import Tensor, nn

import quickstudy as qs
from quickstudy.checkpoint import save_learner
from quickstudy.data.tables import Table, tables
from quickstudy.ready import SHIPPED
from quickstudy.training import adam

RESULTS = Path(__file__).parent / "results"
LEARNERS = Path(qs.__file__).parent / "learners"
STEPS, BATCH, FOLDS, FITTED, DRAWS, SHOTS = 3000, 8, 3, (1, 2, 5, 10), 200, (1, 5, 10)
TITLES = {"table": "shipped learner", "nearest": "nearest centroid", "logistic": "logistic regression"}


def train(name: str, data_dir: Path | None) -> None:
    """On all training tables; temperatures are fitted on tables that a learner, trained on the others, has not seen."""
    some, start, found = tables(data_dir)[0], time.monotonic(), []
    for fold in range(FOLDS):
        fitted = trained(name, [table for i, table in enumerate(some) if i % FOLDS != fold], STEPS // FOLDS)
        found.append({
            shots: qs.fit_temperature(fitted, qs.TableRows(some[fold::FOLDS], shots=shots, queries=5), episodes=300)
            for shots in FITTED
        })  # fmt: skip
        print(found[-1], flush=True)
    temperatures = {shots: geometric_mean([each[shots] for each in found]) for shots in FITTED}
    learner = trained(name, some, STEPS)
    about = {"temperatures": temperatures, "steps": STEPS, "batch": BATCH, "seed": 0}
    save_learner(learner.double(), LEARNERS / f"{name}.safetensors", about)
    print(f"temperatures {temperatures}, {(time.monotonic() - start) / 60:.1f} minutes")


def trained(name: str, some: list[Table], steps: int) -> qs.MetaLearner:
    """On tasks of 1 to 10 rows of each class."""
    torch.manual_seed(0)
    learner, tasks = SHIPPED[name][0]().float(), qs.TableRows(some, shots=(1, 10), queries=5)
    optimizer, scheduler = adam(learner, 0.02, steps)
    for _ in qs.train(learner, tasks, steps=steps, batch=BATCH, optimizer=optimizer, scheduler=scheduler):
        pass
    return learner


class Standardised(nn.Module):
    """Columns at a standard deviation of 1 each, as logistic regression is used to."""

    out_features = 1

    def forward(self, x: Float[Tensor, "row d"]) -> Float[Tensor, "row d"]:
        return x * x.shape[-1] ** 0.5


def test_one(table: Table, shots: int) -> dict:
    """The shipped learner and the simple ones, on the same draws of support and query rows."""
    ready = qs.load("table")
    learners = {
        "table": ready.learner.float(),
        "nearest": qs.PrototypicalNetwork(Standardised()),
        "logistic": qs.LinearProbe(Standardised(), classes=2),
    }
    tasks, about = qs.TableRows([table], shots=shots, queries=5), {}
    for name, one in learners.items():
        temperature = ready.temperature(shots) if name == "table" else 1.0
        found = qs.evaluate(one, tasks, episodes=DRAWS, temperature=temperature)
        assert found.tempered_bins is not None
        about[name] = {
            "scores": found.scores["accuracy"].tolist(), "bins": found.tempered_bins.tolist(),
            "nats": found.scores["tempered_log_likelihood"].mean().item(), "hash": found.episodes_hash,
        }  # fmt: skip
    return about


def test(name: str, data_dir: Path | None) -> None:
    start = time.monotonic()
    tests = {
        shots: {table.name: test_one(table, shots) for table in tables(data_dir)[1] if suits(table, shots)}
        for shots in SHOTS
    }
    minutes = round((time.monotonic() - start) / 60, 1)
    about = {"machine": processor(), "minutes": minutes, "draws": DRAWS, "seed": 0, "tests": tests}
    (RESULTS / f"ready-{name}.json").write_text(json.dumps(about) + "\n")
    print(written(name))


def suits(table: Table, shots: int) -> bool:
    """Whether two classes have rows enough."""
    return sum(count >= shots + 5 for count in torch.bincount(torch.from_numpy(table.y)).tolist()) >= 2


def written(name: str) -> str:
    """A row for each learner and number of shots: means over tables, whose spread makes the intervals."""
    about = json.loads((RESULTS / f"ready-{name}.json").read_text())
    columns = ["shots", "classifier", "accuracy", "shipped learner minus it, points", "beats it beyond the interval on"]
    columns += ["is beaten on", "nats per query", "ECE"]
    lines = ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    for shots, found in about["tests"].items():
        for one, title in TITLES.items():
            gaps = {
                table: qs.interval(torch.tensor(each["table"]["scores"]) - torch.tensor(each[one]["scores"]))
                for table, each in found.items()
            }
            better, worse = (sum(sign * gap.mean > gap.half_width for gap in gaps.values()) for sign in (1, -1))
            accuracy = torch.tensor([each[one]["scores"] for each in found.values()]).mean(1)
            gap = qs.interval(torch.tensor([gap.mean for gap in gaps.values()]))
            bins = torch.tensor([each[one]["bins"] for each in found.values()]).sum(0)
            ece = ((bins[:, 1] - bins[:, 2]).abs().sum() / bins[:, 0].sum()).item()
            nats = sum(each[one]["nats"] for each in found.values()) / len(found)
            cells = [shots, title, f"{accuracy.mean():.1%}", f"{100 * gap.mean:+.1f} ± {100 * gap.half_width:.1f}"]
            cells += [f"{better} of {len(gaps)} tables", f"{worse}", f"{nats:.3f}", f"{ece:.3f}"]
            lines.append("| " + " | ".join(cells if one != "table" else [*cells[:3], "-", "-", "-", *cells[6:]]) + " |")
    drawn = f"{about['draws']} draws of each table (seed 0), {about['machine']}, {about['minutes']} minutes."
    return "\n".join([*lines, "", drawn])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["train", "test", "table"])
    parser.add_argument("name", choices=["table"])
    parser.add_argument("--data-dir", type=Path, help="folder of the data; else QUICKSTUDY_DATA")
    asked = parser.parse_args()
    if asked.command == "table":
        print(written(asked.name))
    else:
        {"train": train, "test": test}[asked.command](asked.name, asked.data_dir)


if __name__ == "__main__":
    sys.exit(main())

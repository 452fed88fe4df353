"""bfloat16 against float32: the rate of a training step, and what is learned, on Omniglot's training and val classes.

    python benchmarks/precision.py METHOD... --data-dir DIR [--steps 300] [--out benchmarks/results]
    python benchmarks/precision.py                                prints the table from what was measured

Setups are those of omniglot.py, with fewer steps. Both precisions train from the same weights on the same tasks, in
turns of 10 steps; accuracies are of the same 400 tasks of the val classes, evaluated in float32, and their difference
is paired.
"""

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Literal

import torch
from lightning_fabric import Fabric
from machine import device
from omniglot import SETUPS

import quickstudy as qs
from quickstudy.allocator import keep_freed_memory
from quickstudy.processes import accelerator

TURN, EPISODES = 10, 400


class Contestant:
    """One precision: a learner, its steps, and the rates of its turns."""

    def __init__(self, setup, train: qs.LabelledData, precision: Literal["32-true", "bf16-mixed"], steps: int):
        torch.manual_seed(0)
        self.learner, self.batch = setup.build(), setup.batch
        optimizer = torch.optim.Adam(self.learner.parameters(), lr=setup.lr)
        self.steps = qs.train(
            self.learner,
            qs.FewShot(train, setup.ways, 1, setup.queries),
            steps=steps,
            batch=setup.batch,
            optimizer=optimizer,
            fabric=Fabric(accelerator="auto", devices=1, precision=precision),
        )
        self.rates: list[float] = []

    def turn(self) -> None:
        start, last = time.perf_counter(), None
        for _ in range(TURN):
            last = next(self.steps)
        assert last is not None
        assert last.loss == last.loss  # waits for a GPU
        self.rates.append(TURN * self.batch / (time.perf_counter() - start))


def measure(name: str, data_dir: str | None, steps: int) -> dict:
    train, val, _ = qs.omniglot(data_dir)
    setup, start = SETUPS[name], time.time()
    both = [Contestant(setup, train, precision, steps) for precision in ("32-true", "bf16-mixed")]
    for _ in range(steps // TURN):
        for one in both:
            one.turn()
    tasks = qs.FewShot(val, 5, 1, 5)
    scores = [qs.evaluate(one.learner, tasks, episodes=EPISODES).scores["accuracy"] for one in both]
    names = ("float32", "bfloat16")
    return {
        "method": name,
        "title": setup.title,
        "rates": {name: one.rates[1:] for name, one in zip(names, both, strict=True)},
        "accuracy": {name: qs.interval(found) for name, found in zip(names, scores, strict=True)},
        "difference": qs.interval(scores[1] - scores[0]),
        "steps": steps,
        "episodes": EPISODES,
        "machine": device(accelerator()),
        "minutes": round((time.time() - start) / 60, 1),
    }


def table(folder: Path) -> str:
    rows = [
        "| method | float32, tasks/s | bfloat16 | accuracy, float32 | bfloat16 | paired difference | machine |",
        "|---|---|---|---|---|---|---|",
    ]
    for path in sorted(folder.glob("precision-*.json")):
        found = json.loads(path.read_text())
        rates = [f"{statistics.median(r):.1f} ({min(r):.1f} to {max(r):.1f})" for r in found["rates"].values()]
        scores = [str(qs.Interval(*pair)) for pair in (*found["accuracy"].values(), found["difference"])]
        about = f"{found['machine']}, {found['steps']} steps, {found['minutes']} min"
        rows.append("| " + " | ".join([found["title"], *rates, *scores, about]) + " |")
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("methods", nargs="*", choices=[*SETUPS, []])
    parser.add_argument("--data-dir")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    asked = parser.parse_args()
    keep_freed_memory()
    for name in asked.methods:
        found = measure(name, asked.data_dir, asked.steps)
        (asked.out / f"precision-{name}.json").write_text(json.dumps(found, indent=1) + "\n")
    print(table(asked.out))


if __name__ == "__main__":
    main()

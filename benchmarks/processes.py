"""Two processes against one: the rate, and whether they learn the same.

    python benchmarks/processes.py [--rounds 5] [--out benchmarks/results]

Second-order MAML on Conv4-64, 5-way 1-shot with 15 queries a class, 8 tasks a step. Every process computes on one
thread, so that one process has one core, and two have two. Runs take turns; a run's rate is that of its median step.
What they learn is compared once more in double precision, where rounding does not grow into a difference.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import torch
from lightning_fabric import Fabric
from machine import processor
from torch import nn

import quickstudy as qs
from quickstudy.allocator import keep_freed_memory
from quickstudy.tasks import Augmented

STEPS, BATCH = 30, 8


def work(processes: int, precision: str, path: Path) -> None:
    """One process of a run; the first writes the loss of every step, and its rate."""
    fabric = Fabric(accelerator="cpu", devices=processes, strategy="ddp" if processes > 1 else "auto")
    fabric.launch()
    keep_freed_memory()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    learner = qs.MAML(nn.Sequential(qs.Conv4(norm="batch"), nn.Linear(64, 5)), inner_lr=0.4)
    tasks = qs.FewShot(qs.glyphs(60), 5, 1, 15)
    if precision == "float64":
        learner, tasks = learner.double(), Augmented(tasks, [lambda x, _: x.double()])
    losses, moments = [], [time.perf_counter()]
    for step in qs.train(learner, tasks, steps=STEPS, batch=BATCH, engine=qs.Engine("loop", 1, 1), fabric=fabric):
        losses.append(step.loss)
        moments.append(time.perf_counter())
    if fabric.is_global_zero:
        seconds = [end - begin for begin, end in pairwise(moments)]
        path.write_text(json.dumps({"losses": losses, "rate": BATCH / statistics.median(seconds)}))


def run(processes: int, precision: str) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.json"
        command = [sys.executable, "-W", "ignore", __file__, "--work", str(processes), precision, str(path)]
        subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True)
        return json.loads(path.read_text())


def differences(one: list[float], two: list[float]) -> list[float]:
    return [abs(a - b) / abs(a) for a, b in zip(one, two, strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, help="folder for processes.json")
    parser.add_argument("--work", nargs=3, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.work:
        work(int(asked.work[0]), asked.work[1], Path(asked.work[2]))
        return
    start, runs = time.time(), {1: [], 2: []}
    for _ in range(asked.rounds):
        for processes, mine in runs.items():
            mine.append(run(processes, "float32"))
    rates = {n: [one["rate"] for one in found] for n, found in runs.items()}
    ratios = [two / one for one, two in zip(rates[1], rates[2], strict=True)]
    apart = {
        "float32": differences(*(found[0]["losses"] for found in runs.values())),
        "float64": differences(*(run(processes, "float64")["losses"] for processes in runs)),
    }
    for n, found in rates.items():
        print(f"{n} process(es): {statistics.median(found):.2f} tasks/s ({min(found):.2f} to {max(found):.2f})")
    print(f"ratio: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
    for precision, found in apart.items():
        print(f"losses, {precision}: relative difference {found[0]:.0e} at step 1, at most {max(found):.0e} in {STEPS}")
    if asked.out:
        about = {"machine": processor(), "torch": torch.__version__, "minutes": round((time.time() - start) / 60, 1)}
        found = {**about, "rates": rates, "ratios": ratios, "relative_differences_of_losses": apart}
        (asked.out / "processes.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()

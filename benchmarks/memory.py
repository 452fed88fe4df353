"""Peak memory of gradient-based learners against inner steps and against the meta-batch, each in a process of its own.

python benchmarks/memory.py [--out benchmarks/results]     prints MiB above what PyTorch and the tasks take
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from machine import measured, processor
from speed import conv4, images

import quickstudy as qs

STEPS, TASKS = (1, 5, 10, 20, 40), (4, 8, 16, 32)
ROWS: dict[str, Callable[[int], qs.MetaLearner]] = {
    "MAML": lambda steps: qs.MAML(conv4("pool"), inner_lr=0.01, inner_steps=steps),
    "MAML, adjoint": lambda steps: qs.MAML(conv4("pool"), inner_lr=0.01, inner_steps=steps, adjoint=True),
    "MAML, first order": lambda steps: qs.MAML(conv4("pool"), inner_lr=0.01, inner_steps=steps, first_order=True),
    "iMAML": lambda steps: qs.IMAML(conv4("pool"), inner_lr=0.01, inner_steps=steps),
    "ANIL": lambda steps: qs.ANIL(qs.Conv4(norm="batch"), torch.nn.Linear(64, 5), inner_steps=steps),
}


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(name: str, steps: int, tasks: int) -> float:
    """MiB that one outer gradient adds to the peak."""
    data = images(tasks).episodes
    learner, before = ROWS[name](steps).train(), peak()
    qs.Engine("loop", 1, 1).gradient(learner, data)
    return peak() - before


def apart(name: str, steps: int, tasks: int) -> float:
    command = [sys.executable, __file__, "--measure", name, str(steps), str(tasks)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help="folder for memory.json")
    asked = parser.parse_args()
    if asked.measure:
        print(measure(asked.measure[0], int(asked.measure[1]), int(asked.measure[2])))
        return
    start = time.monotonic()
    by_steps = {name: [apart(name, steps, 4) for steps in STEPS] for name in ROWS}
    by_tasks = {name: [apart(name, 5, tasks) for tasks in TASKS] for name in ROWS}
    for title, columns, rows in (("inner steps (4 tasks)", STEPS, by_steps), ("tasks (5 steps)", TASKS, by_tasks)):
        print(f"\n| {title} | " + " | ".join(map(str, columns)) + " |\n" + "|---" * (len(columns) + 1) + "|")
        for name, found in rows.items():
            print(f"| {name} | " + " | ".join(f"{mib:.0f}" for mib in found) + " |")
    print(f"\nEach in a process of one thread, seed 0; {measured(start)}")
    if asked.out:
        about = {"machine": processor(), "torch": torch.__version__, "steps": STEPS, "tasks": TASKS}
        text = json.dumps({**about, "by_steps": by_steps, "by_tasks": by_tasks}, indent=1)
        (asked.out / "memory.json").write_text(text + "\n")


if __name__ == "__main__":
    main()

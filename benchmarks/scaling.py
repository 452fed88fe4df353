"""How quickstudy's rate changes with the size of a task, of a batch, and with threads; a picture and a JSON file.

    python benchmarks/scaling.py [--rounds 5] [--out benchmarks/results] [--picture docs/images/scaling.png]

Second-order MAML on Conv4-64, 5-way 1-shot with 15 queries a class, 28x28, 1 inner step, 4 tasks a step, on all cores;
one of these is varied at a time. All settings of an axis take turns.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import torch
from machine import processor
from matplotlib import pyplot
from speed import CORES, images
from torch import nn

import quickstudy as qs
from quickstudy.allocator import keep_freed_memory
from quickstudy.engine import channels_last

AXES: dict[str, tuple[int, ...]] = {
    "tasks a step": (1, 2, 4, 8, 16, 32),
    "inner steps": (1, 2, 3, 5, 10),
    "ways": (2, 5, 10, 20),
    "image size": (28, 42, 56, 84),
    "threads": tuple(range(1, CORES + 1)),
}
DOWNSAMPLING = ("pool", "stride")


def step(downsample, axis: str, value: int) -> tuple[Callable[[], object], int]:
    """An outer gradient with one thing varied, and the number of its tasks."""
    setting = {"tasks a step": 4, "inner steps": 1, "ways": 5, "image size": 28, "threads": CORES, axis: value}
    tasks, ways, size = setting["tasks a step"], setting["ways"], setting["image size"]
    encoder = qs.Conv4(norm="batch", downsample=downsample, image_size=size)
    net = nn.Sequential(encoder, nn.Linear(encoder.out_features, ways))
    learner = qs.MAML(net, inner_lr=0.4, inner_steps=setting["inner steps"]).train()
    channels_last(learner)
    data = images(tasks, size=size, ways=ways).episodes
    engine = qs.Engine("loop", 1, setting["threads"])

    def unit() -> None:
        torch.set_num_threads(setting["threads"])
        engine.gradient(learner, data)

    return unit, tasks


def rates(downsample, axis: str, rounds: int) -> list[list[float]]:
    """Tasks per second of each value of an axis, a number for each round."""
    units = [step(downsample, axis, value) for value in AXES[axis]]
    found: list[list[float]] = [[] for _ in units]
    for turn in range(rounds + 1):
        for (unit, tasks), mine in zip(units, found, strict=True):
            start = time.perf_counter()
            unit()
            if turn:  # the first warms up
                mine.append(tasks / (time.perf_counter() - start))
    return found


def draw(found: dict[str, dict[str, list[list[float]]]], path: Path, title: str) -> None:
    figure, axes = pyplot.subplots(1, len(AXES), figsize=(15, 3.4), sharey=False, layout="constrained")
    for plot, axis in zip(axes, AXES, strict=True):
        for downsample in DOWNSAMPLING:
            medians = [statistics.median(rounds) for rounds in found[downsample][axis]]
            plot.plot(AXES[axis], medians, "o-", label=f"Conv4, {downsample}")
            low, high = ([f(rounds) for rounds in found[downsample][axis]] for f in (min, max))
            plot.fill_between(AXES[axis], low, high, alpha=0.2)
        plot.set(xlabel=axis, ylim=(0, None), xticks=AXES[axis])
        plot.grid(alpha=0.3)
    axes[0].set_ylabel("tasks per second")
    axes[0].legend()
    figure.suptitle(title, fontsize=10)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, help="folder for scaling.json")
    parser.add_argument("--picture", type=Path)
    asked = parser.parse_args()
    keep_freed_memory()
    torch.manual_seed(0)
    start = time.time()
    found = {d: {axis: rates(d, axis, asked.rounds) for axis in AXES} for d in DOWNSAMPLING}
    about = {"machine": processor(), "cores": CORES, "torch": torch.__version__, "rounds": asked.rounds}
    about["minutes"] = round((time.time() - start) / 60, 1)
    for axis, values in AXES.items():
        print(f"\n| {axis} | " + " | ".join(map(str, values)) + " |\n" + "|---" * (len(values) + 1) + "|")
        for d in DOWNSAMPLING:
            cells = [f"{statistics.median(r):.1f} ({min(r):.1f} to {max(r):.1f})" for r in found[d][axis]]
            print(f"| Conv4, {d}: tasks/s | " + " | ".join(cells) + " |")
    print(f"\n{about}")
    if asked.out:
        (asked.out / "scaling.json").write_text(json.dumps({**about, "axes": AXES, "rates": found}, indent=1) + "\n")
    if asked.picture:
        draw(found, asked.picture, f"{about['machine']}, {CORES} cores: medians of {asked.rounds}, slowest to fastest")


if __name__ == "__main__":
    main()

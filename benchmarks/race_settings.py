"""Settings of methods that race on Omniglot, each tried in a short training and judged on validation classes.

    python benchmarks/race_settings.py run [METHOD...] --data-dir DIR    resumable; what was tried is passed over
    python benchmarks/race_settings.py table                             prints what was tried

For settings that a training needs and `tune` cannot choose afterwards. Tasks, encoder and outer step size are the
race's; no test class is seen.
"""

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from grid import grid
from machine import processor
from race import COURSES, QUERIES, RESULTS, SHOTS, learner

import quickstudy as qs
from quickstudy.allocator import keep_freed_memory
from quickstudy.catalogue import METHODS
from quickstudy.data.sources import splits
from quickstudy.training import adam
from quickstudy.tuning import give

COURSE, EPISODES = COURSES["omniglot"], 200


class Trial(NamedTuple):
    """What is tried for a method, each for so many steps."""

    steps: int
    settings: Sequence[Mapping[str, Any]]


TRIED = {
    "reptile": Trial(300, [{"inner_lr": lr} for lr in (0.003, 0.01, 0.03)]),
    "imaml": Trial(
        100,
        [
            {"strength": pull, "inner_lr": lr}
            for pull, lr in ((2, 0.1), (2, 0.4), (0.5, 0.1), (0.5, 0.4), (0.1, 0.4), (0.02, 0.4))
        ],
    ),
    "mann": Trial(1000, [{"strength": strength} for strength in (1.0, 10.0)]),
    "abml": Trial(40, [{"inner_lr": lr, "first_order": first} for first in (False, True) for lr in (0.1, 0.4)]),
}


def tried(name: str, settings: Mapping[str, Any], train: qs.LabelledData, val: qs.LabelledData) -> dict[str, Any]:
    """How a method does on tasks of validation classes, after a short training with these settings."""
    one, steps, start = learner(COURSE, name, train), TRIED[name].steps, time.monotonic()
    give(one, settings)
    optimizer, scheduler = adam(one, 1e-3, steps)
    tasks = qs.FewShot(train, COURSE.ways, SHOTS, QUERIES)
    for _ in qs.train(one, tasks, steps=steps, batch=COURSE.batch, optimizer=optimizer, scheduler=scheduler):
        pass
    minutes = (time.monotonic() - start) / 60
    found = qs.evaluate(one, qs.FewShot(val, COURSE.ways, 1, QUERIES), episodes=EPISODES)
    return {
        "settings": settings, "steps": steps, "accuracy": found.result.mean, "half_width": found.result.half_width,
        "minutes": round(minutes, 1), "cores": torch.get_num_threads(), "machine": processor(),
        "hash": found.episodes_hash,
    }  # fmt: skip


def path(name: str) -> Path:
    return RESULTS / f"race-settings-{name}.json"


def known(name: str) -> list[dict[str, Any]]:
    """What was tried of a method."""
    return json.loads(path(name).read_text()) if path(name).exists() else []


def table() -> str:
    """What was tried, method by method."""
    rows = [
        [
            METHODS[name].title, ", ".join(f"`{key}={value}`" for key, value in one["settings"].items()),
            f"{one['accuracy']:.1%} ± {one['half_width']:.1%}", f"{one['steps']:,}", f"{one['minutes']:.1f}",
            str(one["cores"]), one["machine"],
        ]
        for name in TRIED
        for one in known(name)
    ]  # fmt: skip
    return grid(["method", "settings", "5-way 1-shot, validation", "steps", "minutes", "cores", "machine"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    runner, _ = (commands.add_parser(name) for name in ("run", "table"))
    runner.add_argument("methods", nargs="*", choices=[*TRIED, []])
    runner.add_argument("--data-dir", type=Path, help="folder of the data; else QUICKSTUDY_DATA, else downloaded")
    asked = parser.parse_args()
    if asked.command == "table":
        print(table())
        return
    keep_freed_memory()
    train, val, _ = splits(COURSE.data, asked.data_dir)
    for name in asked.methods or TRIED:
        for settings in TRIED[name].settings:
            if settings not in [one["settings"] for one in known(name)]:
                found = [*known(name), tried(name, settings, train, val)]
                path(name).write_text(json.dumps(found) + "\n")
                print(f"{name}  {settings}  {found[-1]['accuracy']:.1%}  {found[-1]['minutes']:.1f} min", flush=True)


if __name__ == "__main__":
    sys.exit(main())

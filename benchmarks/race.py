"""Every method on Omniglot, 5-way 1-shot and 5-shot, each with the same minutes of training on the same machine.

    python benchmarks/race.py run METHOD... --data-dir DIR [--minutes 20]    all methods, where none is named
    python benchmarks/race.py table                                          prints docs/results.md's table

One training serves both tests: it draws 1 to 5 shots a step. Its number of steps is what fits into the minutes at the
rate of its first steps. A run can be stopped and is resumed by the same command; a method that has a result is passed
over. Weights are chosen on the val classes; the test classes are opened once, at the end.
"""

import argparse
import json
import sys
import time
from itertools import islice
from pathlib import Path

import torch
from machine import processor

import quickstudy as qs
from quickstudy.allocator import keep_freed_memory
from quickstudy.catalogue import METHODS, Setting, build
from quickstudy.training import Validation, adam

RESULTS = Path(__file__).parent / "results"
BATCH, QUERIES, SHOTS, WARM, TIMED = 16, 5, (1, 5), 5, 40
PAPERS: dict[str, tuple[float | None, float | None]] = {
    "protonet": (0.988, 0.997),
    "matching": (0.981, 0.989),
    "relation": (0.996, 0.998),
    "maml": (0.987, 0.999),
    "fo-maml": (0.983, 0.992),
    "reptile": (0.954, 0.989),
    "meta-sgd": (0.995, 0.999),
    "maml++": (0.995, 0.999),
    "imaml": (0.992, 0.997),
    "snail": (0.991, 0.998),
    "mann": (0.828, 0.949),
}
"""5-way 1-shot and 5-shot accuracy, as published."""


def learner(name: str, classes: int) -> qs.MetaLearner:
    torch.manual_seed(0)
    return build(name, Setting(encoder="conv4-strided", ways=5, shots=SHOTS[1], classes=classes))


def steps_within(name: str, tasks: qs.FewShot, minutes: float) -> int:
    """How many steps fit into the minutes, at the rate of the first ones; none where nothing can be trained."""
    one = learner(name, len(tasks.data.classes))
    if not any(p.requires_grad for p in one.parameters()):
        return 0
    running = qs.train(one, tasks, steps=10**6, batch=BATCH)
    list(islice(running, WARM))
    start = time.monotonic()
    done = 0
    while done < TIMED and time.monotonic() - start < 30:
        next(running)
        done += 1
    return max(100, round(minutes * 60 * done / (time.monotonic() - start)))


def test_of(one: qs.MetaLearner, val: qs.LabelledData, test: qs.LabelledData, shots: int) -> qs.Evaluation:
    """1,000 episodes of the test classes, with a temperature from 200 of the validation classes."""
    temperature = qs.fit_temperature(one, qs.FewShot(val, 5, shots, QUERIES), episodes=200)
    return qs.evaluate(one, qs.FewShot(test, 5, shots, 15), episodes=1000, temperature=temperature)


def run(name: str, data_dir: str | None, out: Path, minutes: float) -> None:
    train, val, test = qs.omniglot(data_dir)
    tasks, folder = qs.FewShot(train, 5, SHOTS, QUERIES), out / name
    folder.mkdir(parents=True, exist_ok=True)
    plan = folder / "steps.json"
    if not plan.exists():
        plan.write_text(json.dumps(steps_within(name, tasks, minutes)))
    steps, one = json.loads(plan.read_text()), learner(name, len(train.classes))
    optimizer, scheduler = adam(one, 1e-3, steps)
    last = None
    for last in qs.train(
        one,
        tasks,
        steps=max(1, steps),
        batch=BATCH,
        optimizer=optimizer,
        scheduler=scheduler,
        validate=Validation(qs.FewShot(val, 5, 1, QUERIES), every=max(1, steps // 10), episodes=200),
        out=folder,
        resume=True,
    ):
        if last.validation is not None:
            print(f"{name} {last.step}/{steps}  loss {last.loss:.3f}  val {last.validation:.4f}", flush=True)
    found = {shots: test_of(one, val, test, shots) for shots in SHOTS}
    about = {
        "method": name, "minutes": round(last.seconds / 60, 1) if last else 0,
        "steps": steps, "batch": BATCH, "seed": 0,
        "machine": processor(), "cores": torch.get_num_threads(), "torch": torch.__version__,
        "parameters": sum(p.numel() for p in one.parameters()), "engine": str(last.engine) if last else "",
        "tests": {
            shots: {
                "accuracy": one.result.mean, "half_width": one.result.half_width, "ece": one.calibration_error,
                "temperature": one.temperature, "tempered_ece": one.tempered_calibration_error,
                "log_likelihood": one.scores["log_likelihood"].mean().item(), "transductive": one.transductive,
                "hash": one.episodes_hash, "episodes": len(one.scores["accuracy"]),
                "adapt_ms": one.adapt_seconds * 1000, "scores": one.scores["accuracy"].tolist(),
            }
            for shots, one in found.items()
        },
    }  # fmt: skip
    (RESULTS / f"race-{name}.json").write_text(json.dumps(about, indent=1) + "\n")
    print({shots: str(one) for shots, one in found.items()}, flush=True)


def table() -> str:
    lines = [
        "| family | method | 1 shot | paper | 5 shots | paper | ECE, 1 shot | tempered | transductive | tasks seen | "
        "minutes |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    hashes: dict[str, set[str]] = {}
    for name, method in METHODS.items():
        path = RESULTS / f"race-{name}.json"
        if not path.exists():
            continue
        about = json.loads(path.read_text())
        cells = [method.family, method.title]
        for (shots, test), paper in zip(about["tests"].items(), PAPERS.get(name, (None, None)), strict=True):
            cells += [f"{test['accuracy']:.2%} ± {test['half_width']:.2%}", f"{paper:.1%}" if paper else "-"]
            hashes.setdefault(shots, set()).add(test["hash"][:12])
        first = about["tests"]["1"]
        cells += [f"{first['ece']:.3f}", f"{first['tempered_ece']:.3f}", "yes" if first["transductive"] else "no"]
        cells += [f"{about['steps'] * about['batch']:,}", f"{about['minutes']:.0f}"]
        lines.append("| " + " | ".join(cells) + " |")
    told = "; ".join(f"{shots}-shot {', '.join(sorted(found))}" for shots, found in hashes.items())
    return "\n".join([*lines, "", f"SHA-256 of the test episodes: {told}."])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    runner = commands.add_parser("run")
    runner.add_argument("methods", nargs="*", choices=[*METHODS, []])
    runner.add_argument("--data-dir", help="folder with the Omniglot zips; else QUICKSTUDY_DATA, else downloaded")
    runner.add_argument("--out", type=Path, default=Path("runs/race"))
    runner.add_argument("--minutes", type=float, default=20)
    commands.add_parser("table")
    asked = parser.parse_args()
    if asked.command == "table":
        print(table())
        return
    keep_freed_memory()
    for name in asked.methods or METHODS:
        if not (RESULTS / f"race-{name}.json").exists():
            run(name, asked.data_dir, asked.out, asked.minutes)


if __name__ == "__main__":
    sys.exit(main())

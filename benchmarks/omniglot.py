"""Omniglot as the papers report it: Vinyals split, 1,000 fixed test episodes, weights chosen on the val classes.

    python benchmarks/omniglot.py run protonet --data-dir DIR    trains and tests one method (see SETUPS)
    python benchmarks/omniglot.py table                          prints docs/results.md's table from what was run

A run can be stopped and is resumed by the same command. What it found is written to benchmarks/results/.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from lightning_fabric import Fabric
from machine import processor
from torch import nn

import quickstudy as qs
from quickstudy.allocator import keep_freed_memory
from quickstudy.catalogue import Setting, build
from quickstudy.encoders.norm import Norm
from quickstudy.tasks import crop, rotate
from quickstudy.tasks.augmented import Augmentation
from quickstudy.training import Validation

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Setup:
    """How one method is trained, and what its paper reports."""

    title: str
    build: Callable[[], qs.MetaLearner]
    ways: int
    queries: int
    batch: int
    steps: int
    tests: dict[tuple[int, int], float | None]  # (ways, shots): the paper's accuracy
    paper_budget: str
    shots: int | tuple[int, int] = 1
    lr: float = 1e-3
    processes: int = 1
    augmentations: Sequence[Augmentation] = ()


def bare(name: str) -> qs.MetaLearner:
    """A method as the command line has it, and the race."""
    return build(name, Setting("conv4-strided", 1, 28, ways=5, shots=5, classes=4112))


def maml(norm: Norm) -> qs.MetaLearner:
    net = nn.Sequential(qs.Conv4(downsample="stride", norm=norm), nn.Linear(64, 5))
    return qs.MAML(net, inner_lr=0.4, inner_steps=1, test_inner_steps=3)


SETUPS = {
    "protonet": Setup(
        "Prototypical network (trained 60-way)",
        lambda: qs.PrototypicalNetwork(qs.Conv4()),
        ways=60, queries=5, batch=1, steps=6000, tests={(5, 1): 0.988, (20, 1): 0.960, (5, 5): 0.997, (20, 5): 0.989},
        paper_budget="episodes not stated; step size halved every 2,000, until validation loss stopped falling",
    ),
    "maml": Setup(
        "MAML, second order",
        lambda: maml("batch"),
        ways=5, queries=5, batch=32, steps=8000, tests={(5, 1): 0.987, (5, 5): 0.999},
        paper_budget="60,000 steps of 32 tasks", processes=2,
    ),
    "snail": Setup(
        "SNAIL",
        lambda: qs.SNAIL(qs.Conv4(downsample="stride"), ways=5, shots=1),
        ways=5, queries=3, batch=32, steps=14000, tests={(5, 1): 0.9907},
        paper_budget="not stated in steps",
    ),
    "snail-pooled": Setup(
        "SNAIL, pooled, on pictures shifted and turned",
        lambda: qs.SNAIL(qs.Conv4(), ways=5, shots=1),
        ways=5, queries=3, batch=32, steps=8000, tests={(5, 1): 0.9907},
        paper_budget="not stated in steps", augmentations=(crop(2), rotate(15)),
    ),
    "in-context": Setup(
        "In-context transformer",
        lambda: bare("in-context"),
        ways=5, queries=5, batch=32, steps=5000, tests={(5, 1): None, (5, 5): None},
        paper_budget="ours: no paper", shots=(1, 5),
    ),
    "alpaca": Setup(
        "ALPaCA (trained 60-way)",
        lambda: qs.ALPaCA(qs.Conv4()),
        ways=60, queries=5, batch=1, steps=6000, tests={(5, 1): None, (20, 1): None, (5, 5): None, (20, 5): None},
        paper_budget="not on Omniglot",
    ),
    "meta-baseline": Setup(
        "Meta-Baseline (trained 60-way)",
        lambda: qs.MetaBaseline(qs.Conv4(), classes=4112),
        ways=60, queries=5, batch=1, steps=6000, tests={(5, 1): None, (20, 1): None, (5, 5): None, (20, 5): None},
        paper_budget="not on Omniglot",
    ),
    "mahalanobis": Setup(
        "Mahalanobis classifier (trained 60-way)",
        lambda: qs.Mahalanobis(qs.Conv4()),
        ways=60, queries=5, batch=1, steps=6000,
        tests={(5, 1): None, (20, 1): None, (5, 5): None, (20, 5): None}, paper_budget="not on Omniglot",
    ),
    "cnaps": Setup(
        "CNAPs", lambda: bare("cnaps"),
        ways=5, queries=5, batch=32, steps=6000, tests={(5, 1): None, (5, 5): None},
        paper_budget="not on Omniglot alone", shots=(1, 5),
    ),
    "fast-weights": Setup(
        "Fast weights", lambda: bare("fast-weights"),
        ways=5, queries=5, batch=32, steps=8000, tests={(5, 1): None, (5, 5): None},
        paper_budget="not on Omniglot", shots=(1, 5),
    ),
    "tnp": Setup(
        "Transformer neural process", lambda: bare("tnp"),
        ways=5, queries=5, batch=32, steps=8000, tests={(5, 1): None, (5, 5): None},
        paper_budget="not on Omniglot", shots=(1, 5),
    ),
}  # fmt: skip


def run(name: str, data_dir: str | None, out: Path, steps: int | None) -> None:
    setup = SETUPS[name]
    keep_freed_memory()
    fabric = Fabric(accelerator="cpu", devices=setup.processes, strategy="ddp" if setup.processes > 1 else "auto")
    fabric.launch()
    steps = steps or setup.steps
    train, val, test = qs.omniglot(data_dir)
    torch.manual_seed(0)
    learner = setup.build()
    optimizer = torch.optim.Adam(learner.parameters(), lr=setup.lr)
    drawn = qs.FewShot(train, setup.ways, setup.shots, setup.queries)
    folder, start = out / name, time.time()
    if fabric.is_global_zero:
        folder.mkdir(parents=True, exist_ok=True)
        clock = folder / "seconds.json"  # of earlier parts of this run
        before = json.loads(clock.read_text()) if clock.exists() else 0.0
    for progress in qs.train(
        learner,
        qs.Augmented(drawn, setup.augmentations) if setup.augmentations else drawn,
        steps=steps,
        batch=setup.batch,
        optimizer=optimizer,
        scheduler=torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps),
        validate=Validation(qs.FewShot(val, 5, 1, 5), every=max(1, steps // 20), episodes=400),
        out=folder,
        resume=True,
        fabric=fabric,
    ):
        if fabric.is_global_zero and progress.validation is not None:
            clock.write_text(json.dumps(before + time.time() - start))
            print(
                f"{name} step {progress.step}/{steps}  loss {progress.loss:.3f}  val {progress.validation:.4f}  "
                f"best {progress.best:.4f}  {progress.tasks_per_second:.0f} tasks/s  {time.time() - start:.0f} s",
                flush=True,
            )
    rows = []
    for (ways, shots), paper in setup.tests.items():
        found = qs.evaluate(learner, qs.FewShot(test, ways, shots, 15), episodes=1000, fabric=fabric)
        rows.append(row(ways, shots, paper, found))
    if fabric.is_global_zero:
        about = {
            "method": name, "seed": 0, "steps": steps, "batch": setup.batch, "queries": setup.queries,
            "train_ways": setup.ways, "train_shots": setup.shots,
            "minutes": round(json.loads(clock.read_text()) / 60, 1),
            "processes": setup.processes, "threads": torch.get_num_threads(), "machine": processor(),
            "cores": 2, "torch": torch.__version__, "parameters": sum(p.numel() for p in learner.parameters()),
            "rows": rows,
        }  # fmt: skip
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"omniglot-{name}.json").write_text(json.dumps(about, indent=1) + "\n")
        print(json.dumps(about, indent=1))


def row(ways: int, shots: int, paper: float | None, found: qs.Evaluation) -> dict:
    return {
        "ways": ways, "shots": shots, "paper": paper,
        "accuracy": found.result.mean, "half_width": found.result.half_width,
        "log_likelihood": found.scores["log_likelihood"].mean().item(), "ece": found.calibration_error,
        "transductive": found.transductive, "episodes": len(found.scores["accuracy"]), "hash": found.episodes_hash,
        "adapt_ms": found.adapt_seconds * 1000,
    }  # fmt: skip


def table() -> str:
    lines = [
        "| method | task | accuracy, 95% interval | paper | ECE | transductive | steps x tasks | paper's | minutes | "
        "machine |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    lists: dict[str, set[str]] = {}
    for name, setup in SETUPS.items():
        path = RESULTS / f"omniglot-{name}.json"
        about = json.loads(path.read_text()) if path.exists() else {"rows": []}
        for r in about["rows"]:
            paper = f"{r['paper']:.1%}" if r["paper"] else "-"
            task = f"{r['ways']}-way {r['shots']}-shot"
            lines.append(
                f"| {setup.title} | {task} | {r['accuracy']:.2%} ± {r['half_width']:.2%} | {paper} | "
                f"{r['ece']:.3f} | {'yes' if r['transductive'] else 'no'} | {about['steps']:,} x {about['batch']} | "
                f"{setup.paper_budget} | {about['minutes']:.0f} | {about['machine']} |"
            )
            lists.setdefault(task, set()).add(r["hash"][:12])
    hashes = "; ".join(f"{task} {', '.join(sorted(found))}" for task, found in lists.items())
    return "\n".join([*lines, "", f"SHA-256 of the test episodes: {hashes}."])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    runner = commands.add_parser("run")
    runner.add_argument("method", choices=SETUPS)
    runner.add_argument("--data-dir", help="folder with the Omniglot zips; else QUICKSTUDY_DATA, else downloaded")
    runner.add_argument("--out", type=Path, default=Path("runs/omniglot"))
    runner.add_argument("--steps", type=int, help="fewer steps, for a try")
    commands.add_parser("table")
    arguments = parser.parse_args()
    if arguments.command == "table":
        print(table())
        return
    run(arguments.method, arguments.data_dir, arguments.out, arguments.steps)


if __name__ == "__main__":
    sys.exit(main())

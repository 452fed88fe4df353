"""Curves of Gaussian processes, the neural processes' benchmark: log-likelihood per target, in nats.

    python benchmarks/gaussian_process.py run METHOD...     trains and tests some of SETUPS, or all
    python benchmarks/gaussian_process.py table             prints docs/results.md's table from what was run

Trained on the RBF kernel alone, tested on three; beside them the exact posterior given the true hyper-parameters of
every task, which no method is told. The last weights are tested: nothing is chosen on any test. A run can be stopped,
and is resumed by the same command.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, get_args

import torch
from machine import processor
from torch import Tensor

import quickstudy as qs
from quickstudy.evaluation import episode_list
from quickstudy.seeds import seeded
from quickstudy.tasks.gaussian_process import Kernel

RESULTS = Path(__file__).parent / "results"
BATCH, EPISODES, SEED, CHUNK = 16, 10_000, 1, 20


class Setup(NamedTuple):
    """How one method is trained; step sizes of Adam were chosen on tasks of another seed than the test's."""

    title: str
    build: Callable[[], qs.MetaLearner]
    steps: int
    lr: float = 5e-4


SETUPS = {
    "cnp": Setup(
        "Conditional neural process",
        lambda: qs.NeuralProcess(qs.MLP(1, 128), targets=1, hidden=128, least_std=0.01),
        60_000,
    ),
    "anp": Setup(
        "Attentive neural process",
        lambda: qs.AttentiveNeuralProcess(qs.MLP(1, 128), targets=1, hidden=128, least_std=0.01),
        30_000,
    ),
    "tnp": Setup(
        "Transformer neural process (TNP-D)",
        lambda: qs.TransformerNeuralProcess(qs.MLP(1, 64), targets=1),
        20_000,
    ),
    "alpaca": Setup("ALPaCA", lambda: qs.ALPaCA(qs.MLP(1, 128, 128, 64), targets=1), 20_000, 3e-3),
    "dkt": Setup(
        "Deep kernel transfer",
        lambda: qs.DeepKernelTransfer(qs.MLP(1, 128, 128, 64), targets=1, kernel="rbf"),
        20_000,
        5e-3,
    ),
    "dkt-mixture": Setup(
        "Mixture of 16 deep kernels",
        lambda: qs.DeepKernelMixture(qs.MLP(1, 64, 64, 32), targets=1, kernels=16),
        10_000,
        5e-3,
    ),
}


def run(name: str, steps: int, out: Path) -> None:
    torch.manual_seed(0)
    learner = SETUPS[name].build()
    optimizer = torch.optim.Adam(learner.parameters(), SETUPS[name].lr)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    p = None
    for p in qs.train(
        learner,
        qs.GPCurves("rbf"),
        steps=steps,
        batch=BATCH,
        optimizer=optimizer,
        scheduler=scheduler,
        out=out / name,
        resume=True,
    ):
        if p.step % max(1, steps // 20) == 0:
            print(f"{name} {p.step}/{steps}  loss {p.loss:.3f}  {p.tasks_per_second:.0f} tasks/s", flush=True)
    assert p is not None
    tests = {}
    for kernel in get_args(Kernel):
        found = qs.evaluate(learner, qs.GPCurves(kernel), episodes=EPISODES, seed=SEED)
        nats = found.scores["log_likelihood"].double()
        tests[kernel] = {
            "nats": over_batches(nats),
            "below_ceiling": over_batches(ceiling(kernel) - nats),
            "squared_error": found.result,
            "hash": found.episodes_hash,
        }
    about = {
        "method": name, "seed": 0, "steps": steps, "lr": SETUPS[name].lr, "batch": BATCH, "episodes": EPISODES,
        "minutes": round(p.seconds / 60, 1), "parameters": sum(p.numel() for p in learner.parameters()),
        "engine": str(p.engine),
        "machine": processor(), "cores": torch.get_num_threads(), "torch": torch.__version__, "tests": tests,
    }  # fmt: skip
    (RESULTS / f"gaussian-process-{name}.json").write_text(json.dumps(about, indent=1) + "\n")
    print(json.dumps(about, indent=1))


def over_batches(nats: Tensor) -> qs.Interval:
    """The interval over batches of tasks, which share their numbers of support and query points."""
    return qs.interval(nats.view(-1, CHUNK).mean(1))


def ceiling(kernel: Kernel) -> Tensor:
    """The exact posterior's log-likelihood per target of every test task."""
    curves, nats = qs.GPCurves(kernel), []
    for chunk, shown in enumerate(episode_list(curves, EPISODES, SEED)):
        episodes, hyper = curves.draw(CHUNK, seeded(SEED, "episodes", chunk))
        assert torch.equal(episodes.query.y, shown.query.y)  # the same tasks, and what is behind them
        nats.append(curves.posterior(episodes, hyper).log_prob(episodes.query.y.double()).mean(1))
    return torch.cat(nats)


def table() -> str:
    kernels = get_args(Kernel)
    lines = [
        "| method | " + " | ".join(f"{k}, nats per target" for k in kernels) + " | below the exact posterior, rbf | "
        "steps x tasks | parameters | minutes | machine |",
        "|---" * (len(kernels) + 6) + "|",
    ]
    exact = " | ".join(over_batches(ceiling(kernel)).plain(2) for kernel in kernels)
    lines.append(f"| Exact posterior, told the hyper-parameters | {exact} | - | - | - | - | - |")
    hashes = {}
    for name, setup in SETUPS.items():
        path = RESULTS / f"gaussian-process-{name}.json"
        if not path.exists():
            continue
        about = json.loads(path.read_text())
        cells = [qs.Interval(*about["tests"][kernel]["nats"]).plain(2) for kernel in kernels]
        cells += [qs.Interval(*about["tests"]["rbf"]["below_ceiling"]).plain(2), f"{about['steps']:,} x {BATCH}"]
        cells += [f"{about['parameters']:,}", f"{about['minutes']:.0f}", about["machine"]]
        lines.append("| " + " | ".join([setup.title, *cells]) + " |")
        hashes |= {kernel: about["tests"][kernel]["hash"][:12] for kernel in kernels}
    told = ", ".join(f"{kernel} {found}" for kernel, found in hashes.items())
    return "\n".join([*lines, "", f"{EPISODES:,} tasks of each kernel; SHA-256 of the test episodes: {told}."])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    runner = commands.add_parser("run")
    runner.add_argument("methods", nargs="*", choices=[*SETUPS, []])
    runner.add_argument("--out", type=Path, default=Path("runs/gaussian-process"))
    runner.add_argument("--steps", type=int, help="fewer steps, for a try")
    commands.add_parser("table")
    asked = parser.parse_args()
    if asked.command == "table":
        print(table())
        return
    for name in asked.methods or SETUPS:
        run(name, asked.steps or SETUPS[name].steps, asked.out)


if __name__ == "__main__":
    main()

"""Sinusoid regression as in MAML's section 5.1: 5-shot squared error after 1, 5 and 10 gradient steps, CNP beside it.

python benchmarks/sinusoid.py run maml            trains and tests one of METHODS
python benchmarks/sinusoid.py run maml-one-step
python benchmarks/sinusoid.py run cnp
python benchmarks/sinusoid.py table               prints docs/results.md's table from what was run
"""

import argparse
import itertools
import json
import time
from pathlib import Path

import torch
from machine import processor

import quickstudy as qs

RESULTS = Path(__file__).parent / "results"
PAPER = {1: 0.67, 5: 0.38, 10: 0.35}
METHODS = {
    "maml": "MAML, 1 and 3 inner steps by turns",
    "maml-one-step": "MAML, 1 inner step as in the paper",
    "cnp": "Conditional neural process",
}
INNER_STEPS = {"maml": (1, 3), "maml-one-step": (1,)}  # of the outer steps, by turns
STEPS, BATCH, LR = 50_000, 50, 1e-3


def build(name: str) -> qs.MetaLearner:
    if name == "cnp":
        return qs.NeuralProcess(qs.MLP(1, 128), targets=1, hidden=128)
    net = qs.MLP(1, 40, 40, 1)
    for layer in net.modules():
        if isinstance(layer, torch.nn.Linear):  # the paper's initial weights: with PyTorch's, ten steps may diverge
            torch.nn.init.trunc_normal_(layer.weight, std=0.01, a=-0.02, b=0.02)
            torch.nn.init.zeros_(layer.bias)
    return qs.MAML(net, inner_lr=0.01, inner_steps=1, test_inner_steps=max(PAPER), likelihood=qs.gaussian)


def run(name: str, steps: int) -> None:
    torch.set_num_threads(1)  # networks this small gain nothing from a second thread
    torch.manual_seed(0)
    learner, start = build(name), time.time()
    optimizer = torch.optim.Adam(learner.parameters(), LR)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, 2 * (1 - step / steps)))
    validation = qs.Validation(qs.Sinusoids(5, 10), every=max(1, steps // 20), episodes=1000)
    turns = itertools.cycle(INNER_STEPS.get(name, ()))
    for p in qs.train(
        learner,
        qs.Sinusoids(5, 10),
        steps=steps,
        batch=BATCH,
        optimizer=optimizer,
        scheduler=scheduler,
        clip=None,
        validate=validation,
        seed=0,
    ):
        if isinstance(learner, qs.MAML):
            learner.inner_steps = next(turns)
        if p.validation is not None:
            print(f"{name} {p.step}/{steps}  val {-p.validation:.4f}  {p.tasks_per_second:.0f} tasks/s", flush=True)
    minutes = (time.time() - start) / 60
    rows = []
    for inner in PAPER if isinstance(learner, qs.MAML) else [0]:
        if isinstance(learner, qs.MAML):
            learner.test_inner_steps = inner
        found = qs.evaluate(learner, qs.Sinusoids(5, 100), episodes=1000, seed=1)
        rows.append({"steps": inner, "error": found.result.mean, "half_width": found.result.half_width})
        rows[-1] |= {"median": found.scores["squared_error"].median().item(), "paper": PAPER.get(inner)}
        rows[-1] |= {"log_likelihood": found.scores["log_likelihood"].mean().item(), "hash": found.episodes_hash}
    about = {"method": name, "seed": 0, "steps": steps, "batch": BATCH, "episodes": 1000, "minutes": round(minutes, 1)}
    about |= {"machine": processor(), "threads": 1, "torch": torch.__version__, "rows": rows}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"sinusoid-{name}.json").write_text(json.dumps(about, indent=1) + "\n")
    print(json.dumps(about, indent=1))


def table() -> str:
    lines = [
        "| method | gradient steps | squared error, 95% interval | median | paper | nats per query | steps x tasks | "
        "minutes | machine |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    hashes = set()
    for name, title in METHODS.items():
        path = RESULTS / f"sinusoid-{name}.json"
        about = json.loads(path.read_text()) if path.exists() else {"rows": []}
        for r in about["rows"]:
            nats = f"{r['log_likelihood']:.2f}" if name == "cnp" else "-"  # MAML's variance is fixed
            lines.append(
                f"| {title} | {r['steps'] or '-'} | {r['error']:.3g} ± {r['half_width']:.2g} | {r['median']:.3f} | "
                f"{r['paper'] or '-'} | {nats} | {about['steps']:,} x {about['batch']} | {about['minutes']:.0f} | "
                f"{about['machine']} |"
            )
            hashes.add(r["hash"][:12])
    return "\n".join([*lines, "", f"SHA-256 of the test episodes: {', '.join(sorted(hashes))}."])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    runner = commands.add_parser("run")
    runner.add_argument("method", choices=METHODS)
    runner.add_argument("--steps", type=int, default=STEPS)
    commands.add_parser("table")
    arguments = parser.parse_args()
    if arguments.command == "run":
        run(arguments.method, arguments.steps)
    else:
        print(table())


if __name__ == "__main__":
    main()

"""A changed body: the next state of a robot with a crippled joint or another mass, from 16 to 64 transitions of it.

python benchmarks/robots.py run bodies [METHOD...]       trains and tests; a method with a result is passed over
"""

import argparse
import json
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from machine import processor
from robots_bodies_methods import LEARNERS, Setup
from robots_bodies_scores import tested

import quickstudy as qs

RESULTS = Path(__file__).parent / "results"
STEPS, BATCH, DRAWS, SEED = 4000, 16, 10, 0
COUNTS = 200, 40, 120
"""Bodies in training, in validation and in the test."""


def trained(setup: Setup, bodies: qs.Bodies, steps: int) -> tuple[qs.MetaLearner, list]:
    """The learner with the weights that were best for validation bodies, and its curve."""
    torch.manual_seed(SEED)
    learner = setup.build(bodies.x.shape[-1], bodies.states)
    parameters = [p for p in learner.parameters() if p.requires_grad]
    if not parameters:
        return learner, []
    optimizer = torch.optim.Adam(parameters, setup.lr)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    tasks, validation = (qs.BodyTransitions(bodies, bodies.of(part)) for part in ("train", "validation"))
    engine = qs.Engine(
        "stacked", chunk=None
    )  # found by hand: a probe on a busy machine may err, and networks are small
    judge = qs.Validation(validation, every=max(1, steps // 5), episodes=200)
    curve = []
    for progress in qs.train(
        learner,
        tasks,
        steps=steps,
        batch=BATCH,
        optimizer=optimizer,
        scheduler=scheduler,
        validate=judge,
        seed=SEED,
        engine=engine,
    ):
        curve = progress.curve
    return learner, [row for row in curve if row[2] is not None]


def run(name: str, bodies: qs.Bodies, steps: int, draws: int, known: dict[str, tuple]) -> dict:
    """One method: what it cost, and what was found; `known` keeps what was trained, for others that begin with it."""
    setup = LEARNERS[name]
    steps, begins = max(2, int(steps * setup.share)), setup.trains or name
    if begins not in known:
        start = time.process_time()
        known[begins] = *trained(LEARNERS[begins], bodies, steps), time.process_time() - start
    learner, curve, seconds = known[begins]
    if setup.trains:
        own = setup.build(bodies.x.shape[-1], bodies.states)
        own.load_state_dict(learner.state_dict())
        learner = own
    start = time.process_time()
    parameters = sum(p.numel() for p in learner.parameters())
    about = {"steps": steps if curve else 0, "batch": BATCH, "parameters": parameters, "curve": curve}
    about |= {"transductive": learner.transductive, "train_seconds": round(seconds, 1)}
    about |= tested(learner, bodies, setup.spread, draws, SEED)
    return about | {"test_seconds": round(time.process_time() - start, 1)}


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("methods", nargs="*", metavar="METHOD", help=f"of {', '.join(LEARNERS)}; or all")
    parser.add_argument("--robot", default="HalfCheetah-v5")
    parser.add_argument("--bodies", type=int, nargs=3, default=COUNTS, help="in training, validation and test")
    parser.add_argument("--data-dir", type=Path, help="where transitions are kept; the user's cache unless given")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--draws", type=int, default=DRAWS, help="tasks of each test body")
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args(words)
    unknown = [name for name in asked.methods if name not in LEARNERS]
    if unknown:
        parser.error(f"no method {unknown[0]!r}; there are {', '.join(LEARNERS)}")
    torch.set_num_threads(1)  # networks this small gain nothing from a second thread
    train, validation, test = asked.bodies
    counts = {"train": train, "validation": validation, "test": test}
    bodies = qs.changed_bodies(asked.robot, **counts, seed=SEED, folder=asked.data_dir)
    known = {}
    for name in asked.methods or LEARNERS:
        path = asked.out / f"robots-bodies-{name}.json"
        if path.exists():
            continue
        about = {"method": name, "seed": SEED, "robot": asked.robot, "bodies": counts, "draws": asked.draws}
        about |= run(name, bodies, asked.steps, asked.draws, known)
        about |= {"machine": processor(), "torch": torch.__version__}
        asked.out.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(about) + "\n")
        errors = [
            f"{score}: {name} {statistics.mean(v[score]):.3f}"
            for name, v in about["tests"].items()
            for score in ("one", "ten")
        ]
        print(f"{about['method']}  {'  '.join(errors)}  {about['train_seconds']} s", flush=True)


if __name__ == "__main__":
    main()

"""Recommendation for new users and new items: MeLU's four cells on MovieLens, meta-learners beside classical methods.

    python benchmarks/recommendation.py run [METHOD...] --data-dir DIR     trains and tests; a method with a result is
                                                                           passed over
    python benchmarks/recommendation.py page                               writes tables, picture and example into
                                                                           docs/uses/recommendation.md

The baselines of libraries need `pip install -r benchmarks/requirements.txt`.
"""

import argparse
import json
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from machine import processor
from recommendation_baselines import BASELINES
from recommendation_methods import LEARNERS, Setup
from recommendation_scores import by_baseline, by_learner, tested

import quickstudy as qs
from quickstudy.data.ratings import ColdStart

RESULTS = Path(__file__).parent / "results"
RELEASED = {"100k": 1997, "1m": 1998}
"""The year from which on a film is new."""
STEPS, BATCH, HIDDEN_SHARE, DRAWS, SEED = 600, 16, 0.3, 10, 0


def trained(setup: Setup, split: ColdStart, steps: int) -> tuple[qs.MetaLearner, list]:
    """The learner with the weights that were best for validation users, and its curve."""
    torch.manual_seed(SEED)
    learner = setup.build(split.ratings)
    steps = max(2, int(steps * setup.share))
    about = {"hidden": HIDDEN_SHARE, "fewer": True}
    rows = split.train, split.validation
    tasks, validation = (qs.UserRatings(split.ratings, some, split.known, **about) for some in rows)
    parameters = [p for p in learner.parameters() if p.requires_grad]
    if not parameters:
        return learner, []
    optimizer = torch.optim.AdamW(parameters, setup.lr, weight_decay=setup.decay)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    judge = qs.Validation(validation, every=max(1, steps // 5), episodes=100)
    curve = []
    for progress in qs.train(
        learner, tasks, steps=steps, batch=BATCH, optimizer=optimizer, scheduler=scheduler, validate=judge, seed=SEED
    ):
        curve = progress.curve
    return learner, [row for row in curve if row[2] is not None]


def run(name: str, split: ColdStart, steps: int) -> dict:
    """One method, on one fold."""
    start = time.process_time()
    if name in BASELINES:
        predict, about = by_baseline(BASELINES[name][1](split)), {}
    else:
        setup = LEARNERS[name]
        learner, curve = trained(setup, split, steps)
        predict = by_learner(learner, split, setup.spread)
        about = {"parameters": sum(p.numel() for p in learner.parameters()), "curve": curve}
        about |= {"steps": max(2, int(steps * setup.share)), "batch": BATCH, "transductive": learner.transductive}
    seconds = time.process_time() - start
    return about | {"cpu_seconds": round(seconds, 1), **tested(split, predict, SEED)}


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    runner = commands.add_parser("run")
    runner.add_argument("methods", nargs="*", metavar="METHOD", help=f"of {', '.join([*BASELINES, *LEARNERS])}; or all")
    runner.add_argument("--data-dir", type=Path, help="folder of MovieLens; else QUICKSTUDY_DATA")
    runner.add_argument("--size", choices=RELEASED, default="100k")
    runner.add_argument(
        "--folds", type=int, nargs="+", default=range(5), help="which fifths of the users are new, by turns"
    )
    runner.add_argument("--steps", type=int, default=STEPS)
    runner.add_argument("--out", type=Path, default=RESULTS)
    writer = commands.add_parser("page")
    writer.add_argument("--size", choices=RELEASED, default="100k")
    writer.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args(words)
    if asked.command == "page":
        from recommendation_page import write

        write(asked.out, asked.size)
        return
    unknown = [name for name in asked.methods if name not in {**BASELINES, **LEARNERS}]
    if unknown:
        parser.error(f"no method {unknown[0]!r}; there are {', '.join([*BASELINES, *LEARNERS])}")
    torch.set_num_threads(1)  # networks this small gain nothing from a second thread
    ratings = qs.movielens(asked.data_dir, asked.size)
    for fold in asked.folds:
        split = qs.cold_start(ratings, released=RELEASED[asked.size], fold=fold, draws=DRAWS, seed=SEED)
        for name in asked.methods or [*BASELINES, *LEARNERS]:
            path = asked.out / f"recommendation-{asked.size}-{name}.json"
            about = json.loads(path.read_text()) if path.exists() else {"method": name, "seed": SEED, "folds": {}}
            if str(fold) in about["folds"]:
                continue
            about["folds"][str(fold)] = found = run(name, split, asked.steps)
            about |= {"machine": processor(), "torch": torch.__version__, "released": RELEASED[asked.size]}
            asked.out.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(about) + "\n")
            errors = [f"{statistics.mean(scores['mae']):.3f}" for scores in found["tests"].values()]
            print(f"fold {fold}  {name}  {' '.join(errors)}  {found['cpu_seconds']} s", flush=True)


if __name__ == "__main__":
    main()

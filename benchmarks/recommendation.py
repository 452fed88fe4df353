"""Recommendation for new users and new items: MeLU's four cells on MovieLens, meta-learners beside classical methods.

    python benchmarks/recommendation.py run [METHOD...] --data-dir DIR     trains and tests; a method with a result is
                                                                           passed over
    python benchmarks/recommendation.py page                               writes tables, picture and example into
                                                                           docs/uses/recommendation.md

The baselines of libraries need `pip install -r benchmarks/requirements.txt`.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from machine import processor
from recommendation_baselines import BASELINES, Answer
from recommendation_methods import LEARNERS, Setup
from scipy.stats import norm
from sklearn.metrics import ndcg_score
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

import quickstudy as qs
from quickstudy.data.files import digest
from quickstudy.data.ratings import CELLS, ColdStart, Held, held
from quickstudy.tasks.user_ratings import stars

RESULTS = Path(__file__).parent / "results"
RELEASED = {"100k": 1997, "1m": 1998}
"""The year from which on a film is new."""
STEPS, BATCH, HIDDEN_SHARE, SEED = 600, 16, 0.3, 0
KNOWN, LONG = (1, 2, 4, 8, 16, 32), 32
"""Numbers of ratings told, for the curve over users who have the most of them to tell."""
OFTEN, NEXT, SURE = 40, 5, norm.ppf(0.95)
"""Films rated so often in training may be recommended; so many are shown; half the width of a 90% interval."""

Predictor = Callable[[Sequence[Held], Sequence[Tensor]], list[tuple[np.ndarray, np.ndarray | None]]]
"""From users and the items that each is asked about to predicted ratings, and standard deviations where there are."""


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


def by_learner(learner: qs.MetaLearner, split: ColdStart, spread: bool, chunk: int = 50) -> Predictor:
    tasks = qs.UserRatings(split.ratings, split.train, split.known)
    learner.eval()

    @torch.no_grad()
    def predict(users: Sequence[Held], items: Sequence[Tensor]) -> list:
        found = []
        for start in range(0, len(users), chunk):
            some, asked = users[start : start + chunk], items[start : start + chunk]
            item = pad_sequence(list(asked), batch_first=True)
            user = torch.tensor([one.user for one in some])[:, None].expand_as(item)
            answers = learner.predict(learner.adapt(tasks.of(some).support), tasks.inputs(user, item))
            mean, std = stars(answers.mean)[..., 0].numpy(), answers.stddev[..., 0].numpy()
            found += [(m[: len(i)], s[: len(i)] if spread else None) for m, s, i in zip(mean, std, asked, strict=True)]
        return found

    return predict


def by_baseline(answer: Answer) -> Predictor:
    return lambda users, items: [
        (np.clip(answer(one.support, one.user, asked), 1, 5).reshape(-1), None)
        for one, asked in zip(users, items, strict=True)
    ]


def scored(split: ColdStart, users: Sequence[Held], predict: Predictor, spread: float) -> dict[str, list[float]]:
    """Per user the mean absolute error, nDCG, nats, and the share within and half the width of 90% intervals."""
    rows: dict[str, list[float]] = {name: [] for name in ("mae", "ndcg1", "ndcg3", "nats", "within", "width")}
    asked = [split.ratings.item[one.query] for one in users]
    for one, (mean, own) in zip(users, predict(users, asked), strict=True):
        truth, std = split.ratings.value[one.query].numpy(), np.full(len(mean), spread) if own is None else own
        error = np.abs(mean - truth)
        rows["mae"].append(error.mean())
        rows["ndcg1"].append(ndcg_score([truth], [mean], k=1))
        rows["ndcg3"].append(ndcg_score([truth], [mean], k=3))
        rows["nats"].append(norm.logpdf(truth, mean, std).mean())
        rows["within"].append((error <= SURE * std).mean())
        rows["width"].append(SURE * std.mean())
    return {name: [round(float(value), 4) for value in values] for name, values in rows.items()}


def absolute(split: ColdStart, users: Sequence[Held], predict: Predictor) -> list[float]:
    """The mean absolute error of each user."""
    found = predict(users, [split.ratings.item[one.query] for one in users])
    errors = [np.abs(m - split.ratings.value[one.query].numpy()) for one, (m, _) in zip(users, found, strict=True)]
    return [round(float(error.mean()), 4) for error in errors]


def residual(split: ColdStart, predict: Predictor) -> float:
    """The root mean square error of validation users: the spread of a method that tells none."""
    users = held(split.ratings, split.validation, SEED)
    found = predict(users, [split.ratings.item[one.query] for one in users])
    errors = [m - split.ratings.value[one.query].numpy() for one, (m, _) in zip(users, found, strict=True)]
    return float(np.sqrt(np.mean(np.concatenate(errors) ** 2)))


def tested(split: ColdStart, predict: Predictor) -> dict:
    """Everything that is told of one method."""
    spread = residual(split, predict)
    new = split.tests[CELLS[1]]
    long = [one for one in new if len(one.support) >= LONG]
    known = {k: [one._replace(support=one.support[:k]) for one in long] for k in KNOWN} if len(long) > 1 else {}
    return {
        "hash": digest(f"{cell} {one}" for cell, users in split.tests.items() for one in map(plain, users)),
        "validation_rmse": spread,
        "tests": {cell: scored(split, users, predict, spread) for cell, users in split.tests.items()},
        "by_known": {k: absolute(split, users, predict) for k, users in known.items()},
        "example": example(split, min(new, key=lambda one: abs(len(one.support) - 8)), predict, spread),
    }


def plain(one: Held) -> tuple:
    return one.user, one.support.tolist(), one.query.tolist()


def example(split: ColdStart, one: Held, predict: Predictor, spread: float) -> dict:
    """A new user: what was told, what was answered, and what is recommended next, with half a 90% interval each."""
    ratings, value = split.ratings, split.ratings.value
    counts = torch.bincount(ratings.item[split.train], minlength=len(ratings.titles))
    counts[ratings.item[one.support]] = 0  # nobody is recommended what they have seen
    asked, often = ratings.item[one.query], (counts >= OFTEN).nonzero().flatten()
    often = often if len(often) else asked
    answers = [(m, np.full(len(m), spread) if s is None else s) for m, s in predict([one, one], [asked, often])]
    told, asked_for, every = (
        [
            [f"{ratings.titles[item]} ({int(ratings.years[item])})", *(round(float(number), 2) for number in numbers)]
            for item, *numbers in zip(items.tolist(), *columns, strict=True)
        ]
        for items, columns in (
            (ratings.item[one.support], [value[one.support]]),
            (asked, [value[one.query], answers[0][0], SURE * answers[0][1]]),
            (often, [answers[1][0], SURE * answers[1][1]]),
        )
    )
    best = sorted(every, key=lambda row: -row[1])[:NEXT]
    return {"user": ratings.described[one.user], "told": told, "asked": asked_for, "next": best}


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
    return about | {"cpu_seconds": round(seconds, 1), **tested(split, predict)}


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    runner = commands.add_parser("run")
    runner.add_argument("methods", nargs="*", metavar="METHOD", help=f"of {', '.join([*BASELINES, *LEARNERS])}; or all")
    runner.add_argument("--data-dir", type=Path, help="folder of MovieLens; else QUICKSTUDY_DATA")
    runner.add_argument("--size", choices=RELEASED, default="100k")
    runner.add_argument("--folds", type=int, nargs="+", default=[0], help="which fifths of the users are new, by turns")
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
        split = qs.cold_start(ratings, released=RELEASED[asked.size], fold=fold, seed=SEED)
        for name in asked.methods or [*BASELINES, *LEARNERS]:
            path = asked.out / f"recommendation-{asked.size}-{name}.json"
            about = json.loads(path.read_text()) if path.exists() else {"method": name, "seed": SEED, "folds": {}}
            if str(fold) in about["folds"]:
                continue
            about["folds"][str(fold)] = found = run(name, split, asked.steps)
            about |= {"machine": processor(), "torch": torch.__version__, "released": RELEASED[asked.size]}
            asked.out.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(about) + "\n")
            errors = [f"{np.mean(scores['mae']):.3f}" for scores in found["tests"].values()]
            print(f"fold {fold}  {name}  {' '.join(errors)}  {found['cpu_seconds']} s", flush=True)


if __name__ == "__main__":
    main()

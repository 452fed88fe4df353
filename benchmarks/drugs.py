"""Drug discovery: which compounds are active in a new assay, from the few that were measured; Tox21, SIDER and MUV.

    python benchmarks/drugs.py run [METHOD...] --data-dir DIR     trains and tests; what has a result is passed over
    python benchmarks/drugs.py run ... --choose                   the same on validation assays, to choose settings on
    python benchmarks/drugs.py page                               writes tables and picture into docs/uses/drugs.md
    python benchmarks/drugs.py known --data-dir DIR               what training tells of the tests' compounds

Needs `pip install 'quickstudy[molecules,graphs]'`. Molecules' vectors are computed once, and kept in the folder --kept.
"""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from drugs_methods import METHODS, Molecules, Setup, seen
from machine import processor
from molecule_vectors import encoded
from quicker import quicker
from torch import Tensor

import quickstudy as qs
from quickstudy.tensors import known

RESULTS = Path(__file__).parent / "results"
STEPS, BATCH, DECAY, SEED = 300, 8, 0.1, 0
DATA = ("tox21", "sider", "muv")
INACTIVE = 4000
"""Of MUV's 93,127 compounds those that are active anywhere are kept, and so many random others."""


class Setting(NamedTuple):
    """Support sets of one kind.

    Args:
        size: Compounds.
        balanced: Whether half of them are active, as in the few-shot literature, or the assay's share, as in FS-Mol.
    """

    size: int
    balanced: bool


SETTINGS = {
    "1-shot": Setting(2, True),
    "10-shot": Setting(20, True),
    **{str(size): Setting(size, False) for size in (16, 32, 64, 128)},
}
SHOWN = "32"
"""The setting of the example."""


class Course(NamedTuple):
    """What is trained and tested on.

    Args:
        data: The assays.
        tasks: Of 1-shot and of 10-shot, over all assays.
        apart: Whether one half of the molecules is trained on, and the other tested on.
        settings: Of the tests.
    """

    data: str
    tasks: int = 600
    apart: bool = False
    settings: Sequence[str] = (*SETTINGS,)


COURSES = {
    "tox21": Course("tox21"),
    "sider": Course("sider", 120),
    "tox21-apart": Course("tox21", 120, True, ("1-shot", "10-shot", "64")),
    "sider-apart": Course("sider", 120, True, ("1-shot", "10-shot", "64")),
    "muv": Course("muv"),
}


def opened(data: str, data_dir: Path | None) -> qs.Assays:
    """All assays; of MUV's molecules those that are active anywhere, and some of the others."""
    assays = qs.molecule_net(data, data_dir)
    return assays.keep(few(assays, INACTIVE)) if data == "muv" else assays


def read(course: Course, asked: argparse.Namespace) -> tuple[Molecules, qs.Assays]:
    """The molecules and the assays to train and test on."""
    vectors, assays = encoded(opened(course.data, asked.data_dir), asked.kept, course.data)
    assays = assays.to_choose() if asked.choose else assays
    assays = assays.apart(seed=SEED) if course.apart else assays
    training = torch.cat([one.molecules for one in assays.train]).unique()
    return Molecules(vectors, seen(vectors, training), len(assays.train), assays.smiles), assays


def few(assays: qs.Assays, others: int) -> Tensor:
    """All molecules that are active in an assay, and so many random others, in their order."""
    active = torch.zeros(len(assays.smiles), dtype=torch.bool)
    for one in (*assays.train, *assays.test):
        active[one.molecules[one.active == 1]] = True
    order = torch.randperm(len(active), generator=torch.Generator().manual_seed(SEED))
    active[order[~active[order]][:others]] = True
    return active.nonzero()[:, 0]


def tell_known(names: Sequence[str], data_dir: Path | None) -> None:
    """How many of the compounds of the tests were measured in training assays, and how many actives were active."""
    for data in names:
        assays = opened(data, data_dir)
        measured, active = (
            [torch.cat([one.molecules[one.active >= least] for one in some]) for some in (assays.train, assays.test)]
            for least in (0, 1)
        )
        shares = (torch.isin(asked, told).float().mean().item() for told, asked in (measured, active))
        print(data, *(f"{what}: {share:.1%}" for what, share in zip(("measured", "active"), shares, strict=True)))


def trained(setup: Setup, molecules: Molecules, assays: qs.Assays, steps: int) -> qs.MetaLearner:
    """The learner after its last step."""
    torch.manual_seed(SEED)
    learner, steps = setup.build(molecules), max(1, int(steps * setup.share))
    if not setup.lr:
        return learner
    tasks = qs.AssayTasks(torch.arange(len(assays.smiles)), assays.train)
    optimizer = torch.optim.AdamW(learner.parameters(), setup.lr, weight_decay=DECAY)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    how = {"steps": steps, "batch": BATCH, "optimizer": optimizer, "scheduler": scheduler, "seed": SEED}
    for _ in qs.train(learner, tasks, **how, engine=qs.Engine(chunk=None)):
        pass
    return learner


def tested(learner: qs.MetaLearner, assays: qs.Assays, course: Course, asked: argparse.Namespace) -> dict:
    """What is found in each setting: the scores of each test, assay by assay."""
    found = {}
    for name in asked.settings or course.settings:
        setting, molecules = SETTINGS[name], torch.arange(len(assays.smiles))
        tasks = qs.AssayTasks(molecules, assays.test, setting.size, balanced=float(setting.balanced))
        each = (asked.tasks or course.tasks) // len(assays.test) if setting.balanced else asked.draws
        tests = tasks.tests(each, most=asked.queries, seed=SEED)
        metrics = {"auc": qs.roc_auc, "delta_auprc": qs.delta_auprc}
        scores = qs.evaluate(learner, tests, metrics=metrics, engine=qs.Engine(chunk=None))
        found[name] = {
            "draws": each,
            "hash": scores.episodes_hash,
            "calibration_error": scores.calibration_error,
            "adapt_ms": scores.adapt_seconds * 1000,
            **{
                kind: [round(value, 4) for value in scores.scores[kind].tolist()]
                for kind in ("auc", "delta_auprc", "log_likelihood")
            },
        }
    return found


@torch.no_grad()
def example(learner: qs.MetaLearner, assays: qs.Assays, setting: Setting, asked: int = 4) -> dict:
    """The first test of the middle assay: what was told, and some of each class that are asked about, with answers."""
    which = assays.test[len(assays.test) // 2]
    tasks = qs.AssayTasks(torch.arange(len(assays.smiles)), [which], setting.size, balanced=float(setting.balanced))
    (episode,) = tasks.tests(1, seed=SEED)
    y = episode.query.y[0]
    some = torch.cat([(y == label).nonzero()[:asked, 0] for label in (1, 0)])
    p = known(learner.predict(learner.adapt(episode.support), episode.query.x[:, some]), 2).exp()
    smiles = [assays.smiles[number] for number in episode.support.x[0].tolist()]
    return {
        "assay": which.name,
        "told": list(zip(smiles, episode.support.y[0].tolist(), strict=True)),
        "asked": [
            [assays.smiles[number], label, round(active, 3)]
            for number, label, active in zip(
                episode.query.x[0, some].tolist(), y[some].tolist(), p[0, :, 1].tolist(), strict=True
            )
        ],
    }  # fmt: skip


def run(setup: Setup, molecules: Molecules, assays: qs.Assays, course: Course, asked: argparse.Namespace) -> dict:
    """One method."""
    start = time.process_time()
    learner = trained(setup, molecules, assays, asked.steps)
    parameters = sum(p.numel() for p in learner.parameters()) if setup.lr else 0
    between = time.process_time()
    learner = quicker(learner, len(assays.smiles))
    tests = tested(learner, assays, course, asked)
    return {
        "steps": max(1, int(asked.steps * setup.share)) if setup.lr else 0,
        "batch": BATCH,
        "parameters": parameters,
        "training_seconds": round(between - start, 1),
        "testing_seconds": round(time.process_time() - between, 1),
        "tests": tests,
        "example": example(learner, assays, SETTINGS[SHOWN]),
    }


def run_course(name: str, asked: argparse.Namespace) -> None:
    """All methods that are asked for; one that has a result is passed over."""
    course = COURSES[name]
    kind = name + "-chosen" * asked.choose
    paths = {method: asked.out / f"drugs-{kind}-{method}.json" for method in asked.methods or METHODS}
    if all(path.exists() for path in paths.values()):
        return
    molecules, assays = read(course, asked)
    for method, path in paths.items():
        if path.exists():
            continue
        found = run(METHODS[method], molecules, assays, course, asked)
        about = {
            "method": method, "data": assays.name, "seed": SEED, "machine": processor(), "torch": torch.__version__,
            "molecules": len(assays.smiles), "apart": course.apart, "train": [one.name for one in assays.train],
            "test": [one.name for one in assays.test],
        }  # fmt: skip
        asked.out.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(about | found) + "\n")
        means = [f"{kind} {100 * torch.tensor(tests['auc']).nanmean():.1f}" for kind, tests in found["tests"].items()]
        seconds = f"{found['training_seconds']} + {found['testing_seconds']} s"
        print(name, method, *means, seconds, sep="  ", flush=True)


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    runner = commands.add_parser("run")
    runner.add_argument("methods", nargs="*", metavar="METHOD", help=f"of {', '.join(METHODS)}; or all")
    runner.add_argument("--data", choices=COURSES, nargs="+", default=COURSES, help="apart: of new compounds")
    teller = commands.add_parser("known")
    teller.add_argument("--data", choices=DATA, nargs="+", default=DATA)
    for one in (runner, teller):
        one.add_argument("--data-dir", type=Path, help="folder of MoleculeNet's files; else QUICKSTUDY_DATA")
    runner.add_argument("--kept", type=Path, default=Path("runs/molecules"), help="folder of vectors")
    runner.add_argument("--choose", action="store_true", help="test on the last two training assays instead")
    runner.add_argument("--steps", type=int, default=STEPS)
    runner.add_argument("--settings", nargs="+", choices=SETTINGS, help="else those of the data")
    runner.add_argument("--tasks", type=int, help="of 1-shot and of 10-shot, over all assays; else those of the data")
    runner.add_argument("--draws", type=int, default=10, help="support sets of each assay and of each other size")
    runner.add_argument("--queries", type=int, default=1000, help="the most of a task")
    writer = commands.add_parser("page")
    for one in (runner, writer):
        one.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args(words)
    if asked.command == "page":
        from drugs_page import write

        write(asked.out)
    elif asked.command == "known":
        tell_known(asked.data, asked.data_dir)
    elif unknown := [name for name in asked.methods if name not in METHODS]:
        parser.error(f"no method {unknown[0]!r}; there are {', '.join(METHODS)}")
    else:
        torch.set_num_threads(1)
        for name in asked.data:
            run_course(name, asked)


if __name__ == "__main__":
    main()

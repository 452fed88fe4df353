"""Medicine: rare classes of three clinics from 3, 5 or 10 pictures, meta-learning beside transfer learning.

    python benchmarks/medicine.py run [METHOD...] --data-dir DIR     trains and tests; what has a result is passed over
    python benchmarks/medicine.py page                               writes docs/uses/medicine.md's tables
    python benchmarks/medicine.py cases --data-dir DIR               draws a task of each clinic, answered, as cases.png

A method learns from the common classes of a clinic, and is tested on its rare ones ("within"); or it learns from the
common classes of the two other clinics ("across"). Weights, temperatures and sizes of steps are chosen on the two other
clinics: on their common classes within, on their rare ones across. The rare classes of a clinic are opened once, for
its tests. No patient of a task is both learned from and asked about, where a class has more than one.
"""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch
from machine import processor
from medicine_cases import draw
from medicine_methods import ACROSS, METHODS, MOST, SHOTS, SHOWN, SIZE, WAYS, Built, Row
from medicine_page import CASES, write
from medicine_scores import measured, rounded
from once import once
from torch import Tensor

import quickstudy as qs
from quickstudy.allocator import keep_freed_memory
from quickstudy.data.labelled import LabelledData
from quickstudy.data.medical import SOURCES, Medical
from quickstudy.inputs import PICTURES
from quickstudy.training import adam

RESULTS = Path(__file__).parent / "results"
QUERIES, EPISODES, SEED = 10, 600, 0
LEARNED, ASKED = 10, 5
"""Pictures of a class in a task of training, of which up to so many are shown, and so many are asked about."""
JUDGED = 100
"""Tasks that choose weights, as many that choose the size of a step, and a temperature."""
PIXELS, EMBEDDINGS = (600, 4), (300, 8)
"""Steps, and tasks of a step."""


class Clinic(NamedTuple):
    """One source as pixels and as embeddings."""

    pixels: Medical
    embeddings: Medical


class Course(NamedTuple):
    """What is learned from, what chooses weights and temperature, and what is tested on."""

    train: LabelledData
    val: LabelledData
    test: LabelledData


@cache
def clinics(data_dir: Path | None, kept: Path) -> dict[str, Clinic]:
    pixels = {name: qs.medical(name, data_dir, size=SIZE) for name in SOURCES}
    return {name: Clinic(one, embedded(name, one, data_dir, kept)) for name, one in pixels.items()}


def embedded(name: str, pixels: Medical, data_dir: Path | None, kept: Path) -> Medical:
    """A clinic's pictures as the pre-trained network sees them, computed once."""
    found = once(
        kept / f"{name}.safetensors",
        lambda: {kind: seen(part) for kind, part in qs.medical(name, data_dir, size=224)._asdict().items()},
    )
    return Medical(*(replace(part, x=found[kind]) for kind, part in pixels._asdict().items()))


def seen(data: LabelledData) -> Tensor:
    """The embeddings of pictures."""
    some = (data.x.index_select(0, rows) for rows in torch.arange(len(data)).split(100))
    return torch.cat([PICTURES.encode([one.permute(1, 2, 0).contiguous().numpy() for one in x]) for x in some])


def course(found: dict[str, Clinic], name: str, setting: str, pixels: bool) -> Course:
    """Within a clinic, or across clinics."""
    by_name = {source: clinic.pixels if pixels else clinic.embeddings for source, clinic in found.items()}
    here, others = by_name[name], [one for source, one in by_name.items() if source != name]
    common = parted(qs.joined("common classes of the others", *(one.common for one in others)))
    if setting == "within":
        return Course(parted(qs.joined(here.common.name, here.common)), common, here.rare)
    return Course(common, qs.joined("rare classes of the others", *(one.rare for one in others)), here.rare)


def parted(data: LabelledData) -> LabelledData:
    """The same, but that the pictures of a class of one patient, who cannot be on both sides, count as of several."""
    assert data.origins is not None
    origins, last = data.origins.clone(), int(data.origins.max())
    for label in range(len(data.classes)):
        mine = data.y == label
        if len(origins[mine].unique()) == 1:
            origins[mine] = last + 1 + torch.arange(int(mine.sum()))
            last += int(mine.sum())
    return replace(data, origins=origins)


def tasks(data: LabelledData, ways: int | tuple[int, int], row: Row | None = None) -> qs.Tasks:
    """Tasks of common classes, each of one clinic."""
    asked = min(ASKED, int(data.counts.min()) - 1)
    shots = (1, min(LEARNED, int(data.counts.min()) - asked))
    drawn = qs.FewShot(data, ways, shots, asked, within_groups=True, apart=True)
    return qs.Augmented(drawn, row.augmentations) if row and row.augmentations else drawn


def trained(row: Row, one: Course, ways: int, steps: int | None) -> tuple[qs.MetaLearner, float, int]:
    """The learner, the seconds and the steps of its training."""
    torch.manual_seed(SEED)
    x = one.train.x.index_select(0, torch.arange(len(one.train))).float()
    learner = row.build(Built(ways, len(one.train.classes), x.mean(0), x.std(0)))
    usual, batch = PIXELS if row.pixels else EMBEDDINGS
    count = steps or usual
    optimizer, scheduler = adam(learner, 1e-3, count)
    if optimizer is None:
        return learner, 0, 0
    drawn, start = ways if row.fixed else WAYS, time.process_time()
    judge = qs.Validation(tasks(one.val, drawn), every=max(1, count // 5), episodes=JUDGED)
    run = qs.train(
        learner, tasks(one.train, drawn, row), steps=count, batch=batch, optimizer=optimizer, scheduler=scheduler,
        validate=judge, seed=SEED,
    )  # fmt: skip
    for _ in run:
        pass
    return learner, time.process_time() - start, count


def judging(one: Course, ways: int, shots: int) -> qs.FewShot:
    """Tasks that choose what is no weight."""
    return qs.FewShot(one.val, ways, min(shots, LEARNED - 1), ASKED - 1, within_groups=True, apart=True)


def tested(one: Course, ways: int, shots: int, learner: qs.MetaLearner, episodes: int) -> dict:
    """Everything that is told of a learner's answers for so many classes, and pictures of each."""
    temperature = qs.fit_temperature(learner, judging(one, ways, shots), episodes=JUDGED)
    tasks = qs.FewShot(one.test, ways, shots, QUERIES, apart=True)
    found = measured(learner, tasks, episodes, temperature)
    if one.test.name.startswith("BreakHis") and shots == SHOWN:  # what one would find without looking at patients
        mixed = qs.evaluate(learner, qs.FewShot(one.test, ways, shots, QUERIES), episodes=episodes)
        found["mixed"] = rounded(mixed.scores["accuracy"])
    return found


def run(name: str, found: dict[str, Clinic], path: Path, steps: int | None, episodes: int) -> None:
    """One method, everywhere; what it has a result for is passed over."""
    row = METHODS[name]
    about = json.loads(path.read_text()) if path.exists() else {"method": name, "seed": SEED, "courses": {}}
    for setting in ("within", "across"):
        for source in found:
            one = course(found, source, setting, row.pixels)
            learner = None
            for ways in WAYS:
                key = f"{source} {setting} {ways}-way"
                alike = about.get("learns") is False or (row.pixels and name not in ACROSS)
                if key in about["courses"] or (setting == "across" and alike):
                    continue
                if learner is None or row.fixed:
                    learner, seconds, count = trained(row, one, ways if row.fixed else MOST, steps)
                sizes = {"lr": row.sizes} if row.sizes else {}
                tuned = qs.tune(learner, judging(one, ways, SHOWN), sizes, episodes=JUDGED)
                about["learns"] = count > 0
                about["courses"][key] = {
                    "tuned": tuned,
                    "seconds": round(seconds, 1),
                    "steps": count,
                    "batch": (PIXELS if row.pixels else EMBEDDINGS)[1],
                    "parameters": sum(p.numel() for p in learner.parameters()),
                    "tests": {f"{shots}-shot": tested(one, ways, shots, learner, episodes) for shots in SHOTS},
                }
                about |= {"machine": processor(), "torch": torch.__version__, "threads": torch.get_num_threads()}
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(json.dumps(about) + "\n")
                tests = about["courses"][key]["tests"].values()
                shown = " ".join(f"{torch.tensor(one['accuracy']).mean():.3f}" for one in tests)
                print(f"{name}  {key}  {shown}  {seconds:.0f} s", flush=True)


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    runner, writer, drawer = (commands.add_parser(name) for name in ("run", "page", "cases"))
    runner.add_argument("methods", nargs="*", metavar="METHOD", help=f"of {', '.join(METHODS)}; or all")
    runner.add_argument("--steps", type=int, help="of training, for the methods that take all of them")
    runner.add_argument("--episodes", type=int, default=EPISODES)
    runner.add_argument("--kept", type=Path, default=Path("runs/medicine"), help="where embeddings are kept")
    for one in (runner, drawer):
        one.add_argument("--data-dir", type=Path, help="folder of the clinics' files; else QUICKSTUDY_DATA")
    for one in (runner, writer):
        one.add_argument("--out", type=Path, default=RESULTS)
    drawer.add_argument("--out", type=Path, default=Path("cases.png"))
    drawer.add_argument("--answers", type=Path, default=RESULTS, help="where the answers go, for the page")
    asked = parser.parse_args(words)
    if asked.command == "page":
        write(asked.out)
        return
    if asked.command == "cases":
        answers = draw({name: qs.medical(name, asked.data_dir, size=224).rare for name in SOURCES}, asked.out)
        (asked.answers / CASES).write_text(json.dumps(answers, indent=1) + "\n")
        return
    unknown = [name for name in asked.methods if name not in METHODS]
    if unknown:
        parser.error(f"no method {unknown[0]!r}; there are {', '.join(METHODS)}")
    keep_freed_memory()
    found = clinics(asked.data_dir, asked.kept)
    for name in asked.methods or METHODS:
        run(name, found, asked.out / f"medicine-{name}.json", asked.steps, asked.episodes)


if __name__ == "__main__":
    main()

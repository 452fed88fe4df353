"""Every method on the same data, each with the same minutes of training on the same machine.

    python benchmarks/race.py plan COURSE [METHOD...] --data-dir DIR    counts the steps that the minutes are enough for
    python benchmarks/race.py run COURSE [METHOD...] --data-dir DIR     all of its methods, where none is named
    python benchmarks/race.py table COURSE                              prints docs/results.md's table
    python benchmarks/race.py calibration COURSE                        prints the calibration errors of every test

The courses are those of COURSES: omniglot, and tiny-imagenet on two encoders. One training serves all tests, of 1 and 5
shots, 5-way and 20-way where a method is not bound to the ways that it was built for: it draws 1 to 5 shots a step. Its
number of steps is what fits into the minutes at the rate of its first steps, which are to be counted while nothing else
runs; then `run` takes as many, be it on fewer cores or on a GPU (--device cuda). A run can be stopped and is resumed by
the same command; a method that has a result is passed over. Weights, settings (see `tune`) and temperatures are chosen
on the val classes; the test classes are opened once, at the end.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import torch
from grid import grid
from lightning_fabric import Fabric
from machine import device

import quickstudy as qs
from quickstudy.allocator import keep_freed_memory
from quickstudy.catalogue import METHODS, SOME, Setting, build
from quickstudy.data.sources import splits
from quickstudy.training import Validation, adam

RESULTS = Path(__file__).parent / "results"
QUERIES, SHOTS, WAYS, WARM, TIMED = 5, (1, 5), (5, 20), 5, 40


class Course(NamedTuple):
    """What is raced on, and how: tasks of so many ways, so many a step; `papers` are accuracies as published.

    These are of 5-way 1-shot and 5-shot, then 20-way. The budget is minutes of training, or the same steps for all.
    """

    data: str
    encoder: str
    methods: Iterable[str]
    ways: int = 5
    batch: int = 16
    minutes: float = 20
    steps: int | None = None
    papers: Mapping[str, Sequence[float]] = MappingProxyType({})


OMNIGLOT = {
    "protonet": (0.988, 0.997, 0.960, 0.989),
    "matching": (0.981, 0.989, 0.938, 0.985),
    "relation": (0.996, 0.998, 0.976, 0.991),
    "maml": (0.987, 0.999, 0.958, 0.989),
    "fo-maml": (0.983, 0.992, 0.894, 0.979),
    "reptile": (0.954, 0.989, 0.881, 0.967),
    "meta-sgd": (0.995, 0.999),
    "maml++": (0.995, 0.999),
    "imaml": (0.992, 0.997, 0.945, 0.987),
    "snail": (0.991, 0.998, 0.976, 0.994),
    "cnp": (0.953, 0.985, 0.899, 0.968),
    "mann": (0.828, 0.949),
}
SAME_TRAINING: Mapping[str, str] = dict.fromkeys(("fine-tune", "good-embedding"), "linear-probe")
"""Methods that differ from another only in what they do with a task: its training, and its weights, are theirs too."""
COURSES = {
    "omniglot": Course("omniglot", "conv4-strided", METHODS, papers=OMNIGLOT),
    "tiny-imagenet": Course("tiny-imagenet", "conv4", [*SOME, "r2d2", "meta-baseline"]),
    "tiny-imagenet-resnet12": Course("tiny-imagenet", "resnet12", ("r2d2", "meta-baseline"), steps=700),
}


def learner(course: Course, name: str, train: qs.LabelledData, ways: int | None = None) -> qs.MetaLearner:
    torch.manual_seed(0)
    channels, size = train.x.shape[1:3]
    return build(name, Setting(course.encoder, channels, size, ways or course.ways, max(SHOTS), len(train.classes)))


def ways_of(course: Course, name: str, parts: Sequence[qs.LabelledData]) -> Sequence[int]:
    """The ways to test a method with: all that there are classes for, unless its weights depend on training's."""
    few, many = (learner(course, name, parts[0], ways).state_dict() for ways in WAYS)
    bound = any(tensor.shape != many[key].shape for key, tensor in few.items())
    most = min(len(part.classes) for part in parts)
    return (course.ways,) if bound else [ways for ways in WAYS if ways <= most]


def steps_within(one: qs.MetaLearner, tasks: qs.FewShot, batch: int, minutes: float) -> int:
    """How many steps fit into the minutes, at the rate of the first ones; none where nothing can be trained."""
    if not any(p.requires_grad for p in one.parameters()):
        return 0
    running = qs.train(one, tasks, steps=10**6, batch=batch)
    list(islice(running, WARM))
    start, done = time.monotonic(), 0
    while done < TIMED and time.monotonic() - start < 30:
        next(running)
        done += 1
    return max(100, round(minutes * 60 * done / (time.monotonic() - start)))


def tested(
    one: qs.MetaLearner, val: qs.LabelledData, test: qs.LabelledData, ways: int, shots: int, fabric: Fabric
) -> dict:
    """1,000 episodes of the test classes, with settings and a temperature from 200 of the validation classes."""
    validation = qs.FewShot(val, ways, shots, QUERIES)
    tuned = qs.tune(one, validation, episodes=200, fabric=fabric)
    temperature = qs.fit_temperature(one, validation, episodes=200, fabric=fabric)
    tests = qs.FewShot(test, ways, shots, 15)
    found = qs.evaluate(one, tests, episodes=1000, temperature=temperature, fabric=fabric)
    print(f"{ways}-way {shots}-shot: {found}", flush=True)
    return {
        "accuracy": found.result.mean, "half_width": found.result.half_width, "ece": found.calibration_error,
        "temperature": found.temperature, "tempered_ece": found.tempered_calibration_error, "tuned": tuned,
        "log_likelihood": found.scores["log_likelihood"].mean().item(), "transductive": found.transductive,
        "hash": found.episodes_hash, "episodes": len(found.scores["accuracy"]),
        "adapt_ms": found.adapt_seconds * 1000, "scores": found.scores["accuracy"].tolist(),
    }  # fmt: skip


def result(course: str, name: str) -> Path:
    return RESULTS / f"race-{course}-{name}.json"


def planned(which: str, name: str, train: qs.LabelledData, out: Path) -> dict[str, int]:
    """A method's steps and the cores that they were counted on; counted now, unless they were before or are fixed."""
    course, plan = COURSES[which], out / which / name / "steps.json"
    if course.steps:
        return {"steps": course.steps}
    if not plan.exists():
        tasks = qs.FewShot(train, course.ways, SHOTS, QUERIES)
        steps = steps_within(learner(course, name, train), tasks, course.batch, course.minutes)
        plan.parent.mkdir(parents=True, exist_ok=True)
        plan.write_text(json.dumps({"steps": steps, "counted_on": torch.get_num_threads()}))
    return json.loads(plan.read_text())


def run(which: str, name: str, data_dir: Path | None, out: Path, kind: str) -> None:
    course, trained = COURSES[which], SAME_TRAINING.get(name, name)
    fabric = Fabric(accelerator=kind, devices=1)
    train, val, test = (part.to(fabric.device) for part in splits(course.data, data_dir))
    tasks, plan = qs.FewShot(train, course.ways, SHOTS, QUERIES), planned(which, trained, train, out)
    steps, one, last = plan["steps"], learner(course, trained, train), None
    optimizer, scheduler = adam(one, 1e-3, steps)
    for last in qs.train(
        one,
        tasks,
        steps=max(1, steps),
        batch=course.batch,
        optimizer=optimizer,
        scheduler=scheduler,
        validate=Validation(qs.FewShot(val, course.ways, 1, QUERIES), every=max(1, steps // 10), episodes=200),
        out=out / which / trained,
        resume=True,
        fabric=fabric,
    ):
        if last.validation is not None:
            print(f"{name} {last.step}/{steps}  loss {last.loss:.3f}  val {last.validation:.4f}", flush=True)
    if trained != name:
        weights, one = one.state_dict(), learner(course, name, train)
        fabric.to_device(one).load_state_dict(weights)
    about = {
        "method": name, "minutes": round(last.seconds / 60, 1) if last else 0,
        **plan, "batch": course.batch, "ways": course.ways, "seed": 0,
        "machine": device(kind), "cores": torch.get_num_threads(), "torch": torch.__version__,
        "parameters": sum(p.numel() for p in one.parameters()), "engine": str(last.engine) if last else "",
        "tests": {
            f"{ways}-way {shots}-shot": tested(one, val, test, ways, shots, fabric)
            for ways in ways_of(course, name, (train, val, test))
            for shots in SHOTS
        },
    }  # fmt: skip
    result(which, name).write_text(json.dumps(about) + "\n")


def raced(course: str) -> dict[str, dict]:
    """What each method wrote that has run, by its name."""
    paths = {name: result(course, name) for name in METHODS}
    return {name: json.loads(path.read_text()) for name, path in paths.items() if path.exists()}


def ledger(course: str) -> list[tuple[list[str], dict[str, list[str]]]]:
    """Columns and rows of what the methods reached that have run, 5-way and 20-way; one training serves both."""
    found, few, many = raced(course), *([f"{ways}-way {shots}-shot" for shots in SHOTS] for ways in WAYS)
    if not found:
        return []
    columns, rows = accuracies(course, found, few)
    columns += ["ECE, 1 shot", "tempered", "transductive", "tasks seen", "minutes", "cores", "machine"]
    for name, about in found.items():
        first = about["tests"][few[0]]
        rows[name] += [f"{first['ece']:.3f}", f"{first['tempered_ece']:.3f}", "yes" if first["transductive"] else "no"]
        rows[name] += [f"{about['steps'] * about['batch']:,}", f"{about['minutes']:.0f}", str(about["cores"])]
        rows[name].append(about["machine"])
    free = {name: about for name, about in found.items() if many[0] in about["tests"]}
    return [(columns, rows), *([accuracies(course, free, many)] if free else [])]


def table(course: str) -> str:
    """What the methods reached that have run, family by family, and on which episodes."""
    if not (tables := ledger(course)):
        return f"Nothing has been raced on {course} yet."
    tests = [about["tests"] for about in raced(course).values()]
    tasks = [f"{ways}-way {shots}-shot" for ways in WAYS for shots in SHOTS]
    hashes = {task: {test[task]["hash"][:12] for test in tests if task in test} for task in tasks}
    lists = "; ".join(f"{task} {', '.join(sorted(some))}" for task, some in hashes.items() if some)
    grids = [grid(columns, rows.values()) for columns, rows in tables]
    return "\n\n".join([*grids, f"SHA-256 of the test episodes: {lists}."])


def calibration(course: str) -> str:
    """Calibration errors in every test, as they come and with a temperature from validation classes."""
    tasks = [f"{ways}-way {shots}-shot" for ways in WAYS for shots in SHOTS]
    rows = []
    for name, about in raced(course).items():
        errors = [about["tests"].get(task) for task in tasks]
        told = "{ece:.3f}, {tempered_ece:.3f} at {temperature:.2g}"
        each = [told.format_map(one) if one else "-" for one in errors]
        rows.append([METHODS[name].family, METHODS[name].title, *each])
    return grid(["family", "method", *tasks], rows)


def accuracies(course: str, found: dict[str, dict], tasks: list[str]) -> tuple[list[str], dict[str, list[str]]]:
    """Columns and rows of accuracy, beside the paper's and the paired difference from the best."""
    papers, columns = COURSES[course].papers, ["family", "method"]
    rows = {name: [METHODS[name].family, METHODS[name].title] for name in found}
    for task in tasks:
        place = int(task.startswith(str(max(WAYS)))) * len(SHOTS) + tasks.index(task)
        columns += [task, *(["paper"] if papers else []), "vs best, points"]
        tests = {name: about["tests"][task] for name, about in found.items()}
        best = torch.tensor(max(tests.values(), key=lambda test: test["accuracy"])["scores"])
        for name, test in tests.items():
            gap = qs.interval(torch.tensor(test["scores"]) - best)
            known = papers.get(name, ())
            rows[name].append(f"{test['accuracy']:.2%} ± {test['half_width']:.2%}")
            rows[name] += [f"{known[place]:.1%}" if place < len(known) else "-"] if papers else []
            rows[name].append(f"{100 * gap.mean:+.2f} ± {100 * gap.half_width:.2f}" if gap.half_width else "best")
    return columns, rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    planner, runner, *printers = (commands.add_parser(name) for name in ("plan", "run", "table", "calibration"))
    for command in (planner, runner, *printers):
        command.add_argument("course", choices=COURSES)
    for command in (planner, runner):
        command.add_argument("methods", nargs="*", choices=[*METHODS, []])
        command.add_argument("--data-dir", type=Path, help="folder of the data; else QUICKSTUDY_DATA, else downloaded")
        command.add_argument("--out", type=Path, default=Path("runs/race"))
    runner.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    asked = parser.parse_args()
    if asked.command in ("table", "calibration"):
        print({"table": table, "calibration": calibration}[asked.command](asked.course))
        return
    keep_freed_memory()
    names = asked.methods or COURSES[asked.course].methods
    if asked.command == "plan":
        train = splits(COURSES[asked.course].data, asked.data_dir)[0]
        for name in names:
            print(name, planned(asked.course, SAME_TRAINING.get(name, name), train, asked.out), flush=True)
        return
    for name in names:
        if not result(asked.course, name).exists():
            run(asked.course, name, asked.data_dir, asked.out, asked.device)


if __name__ == "__main__":
    sys.exit(main())

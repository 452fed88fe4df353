"""Tables of docs/uses/medicine.md, from what benchmarks/medicine.py wrote."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from grid import grid
from medicine_methods import METHODS, SHOTS, SHOWN, WAYS
from page_parts import DOCS, fill, machines, on_the_same, results

import quickstudy as qs
from quickstudy.data.medical import SOURCES

PAGE = DOCS / "uses" / "medicine.md"
CASES = "medicine-cases.json"
PLACES = {**{about.title: [source] for source, about in SOURCES.items()}, "all": list(SOURCES)}
"""The clinics that a difference is told of."""


def found(folder: Path) -> dict[str, dict]:
    """What was written of each method, in the order of the tables.

    Raises:
        FileNotFoundError: Nothing was.
    """
    paths = {name: folder / f"medicine-{name}.json" for name in METHODS}
    abouts = results(paths, f"no result in {folder}; run python benchmarks/medicine.py run first.")
    for pixels in (False, True):  # of which the tasks' hashes are others
        alike = {name: about["courses"] for name, about in abouts.items() if METHODS[name].pixels == pixels}
        for key in set().union(*alike.values()):
            tests = {name: courses[key]["tests"] for name, courses in alike.items() if key in courses}
            for shots in SHOTS:
                on_the_same({name: each[f"{shots}-shot"] for name, each in tests.items()})
    return abouts


def named(name: str) -> list[str]:
    row = METHODS[name]
    return ["pixels" if row.pixels else "embeddings", row.family, row.title]


def cell_of(about: dict, source: str, ways: int, shots: int, setting: str = "within") -> dict | None:
    """What was found in one setting; a method that learns nothing is the same across clinics."""
    setting = setting if about["learns"] else "within"
    course = about["courses"].get(f"{source} {setting} {ways}-way")
    return course and course["tests"][f"{shots}-shot"]


def scores(about: dict, sources: Iterable[str], name: str = "accuracy", setting: str = "within") -> torch.Tensor:
    """Of all tasks of all settings of some clinics; empty where one of them was not run.

    A task with more pictures or classes is one with fewer, and more beside them: what counts is its mean over those.
    """
    tasks = [[cell_of(about, source, ways, shots, setting) for shots in SHOTS for ways in WAYS] for source in sources]
    known = [[one[name] for one in nested if one] for nested in tasks]
    whole = all(len(nested) == len(SHOTS) * len(WAYS) for nested in known)
    return torch.cat([torch.tensor(nested).mean(0) for nested in known]) if whole else torch.tensor([])


def percent(values: torch.Tensor) -> str:
    mean, half = qs.interval(values) if len(values) else (float("nan"), 0)
    return f"{100 * mean:.1f} ± {100 * half:.1f}" if len(values) else "-"


def minus(abouts: dict[str, dict], one: str, other: str, sources: Sequence[str]) -> str:
    """The paired difference of two methods' accuracies, in points."""
    if one == other or one not in abouts or other not in abouts:
        return "-"
    mine, theirs = scores(abouts[one], sources), scores(abouts[other], sources)
    return percent(mine - theirs) if len(mine) == len(theirs) else "-"


def clinic(source: str, abouts: dict[str, dict]) -> str:
    """Accuracy by classes and pictures of each, in bold the best of those that see the same."""
    settings = [(ways, shots) for ways in WAYS for shots in SHOTS]
    rows = {}
    for name, about in abouts.items():
        found = [one for ways, shots in settings if (one := cell_of(about, source, ways, shots))]
        if len(found) == len(settings):
            rows[name] = [torch.tensor(one["accuracy"]) for one in found]
    cells = {name: [percent(values) for values in row] for name, row in rows.items()}
    for pixels in (False, True):
        same = [name for name in rows if METHODS[name].pixels == pixels]
        for n in range(len(settings)):
            best = max(same, key=lambda name: rows[name][n].mean().item(), default=None)
            if best:
                cells[best][n] = f"**{cells[best][n]}**"
    head = ["sees", "family", "method", *(f"{ways}-way, {shots}" for ways, shots in settings)]
    return grid(head, [[*named(name), *row] for name, row in cells.items()])


def differences(abouts: dict[str, dict]) -> str:
    """From the classical baseline and from transfer learning, over all settings of a clinic and of all."""
    head = ["sees", "family", "method", "minus", *PLACES]
    rows = []
    for name in abouts:
        against = ("pixels-fine-tune", "pixels-probe") if METHODS[name].pixels else ("logistic", "head-fine-tune")
        for other in against:
            cells = [minus(abouts, name, other, sources) for sources in PLACES.values()]
            if cells[-1] != "-":
                rows.append([*named(name), METHODS[other].title.lower(), *cells])
    return grid(head, rows)


def augmentation(abouts: dict[str, dict]) -> str:
    """What CutOut, MixUp and CutMix add to mirrored and shifted pictures."""
    cells = [minus(abouts, "metamed", "metamed-plain", sources) for sources in PLACES.values()]
    return grid(["method", *PLACES], [[METHODS["metamed"].title, *cells]])


def confidences(abouts: dict[str, dict]) -> str:
    """Of 3-way tasks with 5 pictures of a class."""
    told = ("AUC", "sure when right", "ECE, tempered")
    head = ["sees", "family", "method", *(f"{about.title}: {what}" for about in SOURCES.values() for what in told)]
    rows = []
    for name, about in abouts.items():
        cells = []
        for source in SOURCES:
            if one := cell_of(about, source, 3, SHOWN):
                auc, sure = (qs.Interval(*one[name]).plain() for name in ("auc", "sure"))
                cells += [auc, sure, f"{one['ece']:.3f}, {one['tempered_ece']:.3f}"]
        if len(cells) == 3 * len(SOURCES):
            rows.append([*named(name), *cells])
    return grid(head, rows)


def across(abouts: dict[str, dict]) -> str:
    """Accuracy over all settings of learning from the other two clinics, and minus learning from the clinic itself."""
    head, rows = ["sees", "family", "method"], []
    for about in SOURCES.values():
        head += [about.title, f"{about.title}: minus within"]
    for name, about in abouts.items():
        pairs = [(scores(about, [source], setting="across"), scores(about, [source])) for source in SOURCES]
        if all(len(there) and len(here) for there, here in pairs):
            gaps = [percent(there - here) if about["learns"] else "-" for there, here in pairs]
            cells = [cell for (there, _), gap in zip(pairs, gaps, strict=True) for cell in (percent(there), gap)]
            rows.append([*named(name), *cells])
    return grid(head, rows)


def patients(abouts: dict[str, dict]) -> str:
    """BreakHis, 5 pictures of a class: accuracy with other patients asked about than learned from, and with any."""
    told = ("other patients", "any patient")
    head = ["sees", "family", "method", *(f"{ways}-way: {what}" for ways in WAYS for what in told)]
    rows = []
    for name, about in abouts.items():
        tests = [one for ways in WAYS if (one := cell_of(about, "breakhis", ways, SHOWN))]
        pairs = [(torch.tensor(one["accuracy"]), torch.tensor(one["mixed"])) for one in tests]
        if len(pairs) == len(WAYS):
            rows.append([*named(name), *(percent(values) for pair in pairs for values in pair)])
    return grid(head, rows)


def costs(abouts: dict[str, dict]) -> str:
    """Of learning from HAM10000's common classes, and of one 3-way task with 5 pictures of a class."""
    head = ["sees", "family", "method", "steps x tasks", "CPU seconds", "parameters", "ms a task", "peak MB", "kept kB"]
    head += ["machine"]
    rows = []
    for name, about in abouts.items():
        course, one = about["courses"].get("ham10000 within 3-way"), cell_of(about, "ham10000", 3, SHOWN)
        if course is None or one is None:
            continue
        steps, seconds = f"{course['steps']} x {course['batch']}", f"{course['seconds']:.0f}"
        trained = [steps, seconds] if course["steps"] else ["-", "-"]
        rows.append(
            [
                *named(name), *trained, f"{course['parameters']:,}", f"{one['adapt_ms']:.1f}",
                f"{one['peak_bytes'] / 1e6:.1f}" if one["peak_bytes"] is not None else "-",
                f"{one['remembered_bytes'] / 1e3:.1f}", about["machine"],
            ]
        )  # fmt: skip
    return grid(head, rows)


def sizes(abouts: dict[str, dict]) -> str:
    """The size of a gradient step that was chosen in each test, where one was."""
    head = ["method", *(f"{about.title}: {ways}-way" for about in SOURCES.values() for ways in WAYS)]
    rows = []
    for name, about in abouts.items():
        courses = [about["courses"].get(f"{source} within {ways}-way") for source in SOURCES for ways in WAYS]
        if METHODS[name].sizes and all(courses):
            rows.append([METHODS[name].title, *(f"{course['tuned']['lr']:g}" for course in courses)])
    return grid(head, rows)


def answered(cases: list[dict]) -> str:
    """Queries of one task of each clinic with the probabilities that they were answered with, the likeliest first."""
    rows = []
    for one in cases:
        likely = sorted(one["probabilities"].items(), key=lambda pair: -pair[1])
        right = "yes" if likely[0][0] == one["class"] else "no"
        told = [f"{name.replace('_', ' ')} {share:.0%}" for name, share in likely]
        rows.append([one["clinic"], one["class"].replace("_", " "), right, ", ".join(told)])
    return grid(["clinic", "is", "right", "answered"], rows)


def setting(abouts: dict[str, dict]) -> str:
    about = next(iter(abouts.values()))
    one = next(iter(about["courses"].values()))
    tests = next(iter(one["tests"].values()))
    episodes = {len(t["accuracy"]) for a in abouts.values() for c in a["courses"].values() for t in c["tests"].values()}
    return (
        f"{' or '.join(map(str, sorted(episodes)))} tasks in each cell, 10 queries of a class, seed {about['seed']}; "
        f"95% intervals over tasks. {machines(abouts.values())}, {about['threads']} "
        f"thread{'s' * (about['threads'] > 1)}, PyTorch {about['torch']}. SHA-256 of the first cell's tasks: "
        f"{tests['hash'][:12]}."
    )


def write(folder: Path, page: Path = PAGE) -> None:
    """Puts everything into its places of the page."""
    abouts = found(folder)
    parts = (differences, augmentation, confidences, across, patients, costs, sizes, setting)
    made = {part.__name__: part(abouts) for part in parts} | {source: clinic(source, abouts) for source in SOURCES}
    if (folder / CASES).exists():
        made["answered"] = answered(json.loads((folder / CASES).read_text()))
    fill(page, made)

"""What the learners that ship are trained, calibrated and tested on, as tasks of embeddings.

Embeddings of pictures and texts are computed once and kept in a folder, as the pre-trained networks do not change.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from molecule_vectors import encoded
from once import once
from torch import Tensor

import quickstudy as qs
from quickstudy.atomic import write_atomically
from quickstudy.data.files import data_directory
from quickstudy.data.labelled import Mapped
from quickstudy.data.medical import SOURCES, find, read
from quickstudy.data.tables import tables
from quickstudy.inputs import PICTURES, TEXTS
from quickstudy.tasks import Tasks

HELD_OUT_DOMAINS = ("banking", "credit_cards")  # of CLINC150: the nearest to Banking77, which tests
CALIBRATING, TESTING = ("NR-PPAR-gamma", "SR-ARE", "SR-ATAD5"), ("SR-HSE", "SR-MMP", "SR-p53")  # assays of Tox21
PICTURES_OF_A_CLASS, TEXTS_OF_A_CLASS = 60, 60
FOLDS = 3
FEW_WAYS = (2, 8)
"""Classes of a task of training; a learner of 5 alone needs another temperature for each number of classes."""


class Distribution(NamedTuple):
    """Tasks by number of classes and of examples of a class.

    Args:
        training: To train on, of 1 to 10 examples.
        ways: The numbers of classes to calibrate with.
        calibrating: Of so many classes, and examples of each.
        tests: By name, of so many examples of a class.
        data: What a head takes means and directions from: examples and their classes.
    """

    training: Tasks
    ways: tuple[int, ...]
    calibrating: Callable[[int, int], Tasks]
    tests: Mapping[str, Callable[[int], Tasks]]
    data: tuple[Tensor, Tensor] | None = None


def distribution(name: str, data_dir: Path | None, kept: Path) -> Distribution:
    folder = data_directory(data_dir)
    assert folder, "name the folder of the data by --data-dir or QUICKSTUDY_DATA"
    return {"images": images, "text": texts, "molecules": molecules, "handwriting": drawings}[name](folder, kept)


def whole(data: qs.LabelledData) -> tuple[Tensor, Tensor]:
    """Its examples and labels."""
    assert isinstance(data.x, Tensor)
    return data.x, data.y


def embedded(name: str, kept: Path, make: Callable[[], tuple[Tensor, Tensor, Iterable[str]]]) -> qs.LabelledData:
    """Embeddings and labels, made once."""
    names = kept / f"{name}.json"

    def made() -> dict[str, Tensor]:
        x, y, classes = make()
        write_atomically(names, json.dumps(list(classes)).encode())
        return {"x": x, "y": y}

    found = once(kept / f"{name}.safetensors", made)
    return qs.LabelledData(name, found["x"], found["y"], tuple(json.loads(names.read_text())))


def images(folder: Path, kept: Path) -> Distribution:
    """Tiny ImageNet's classes, of which the test ones are tested on, and Herlev's cells, apart by photograph."""
    train, val, test = (
        embedded(f"tiny-imagenet-{part}", kept, lambda data=data: of_tiny(data))
        for part, data in zip(("train", "val", "test"), qs.tiny_imagenet(folder), strict=True)
    )
    smears = read(SOURCES["herlev"], find(SOURCES["herlev"], folder), 224)
    found = once(kept / "herlev-cells.safetensors", lambda: {"x": of_pixels(whole(smears)[0])})
    cells = replace(smears, x=found["x"])
    return Distribution(
        qs.FewShot(train, FEW_WAYS, (1, 10), 5),
        (2, 3, 5, 10),
        lambda ways, shots: qs.FewShot(val, ways, shots, 5),
        {
            "tiny-imagenet, 2-way": lambda shots: qs.FewShot(test, 2, shots, 5),
            "tiny-imagenet, 5-way": lambda shots: qs.FewShot(test, 5, shots, 5),
            "Herlev, 3-way": lambda shots: qs.FewShot(cells, 3, shots, 5, apart=True),
        },
        whole(train),
    )


def of_tiny(data: qs.LabelledData) -> tuple[Tensor, Tensor, Iterable[str]]:
    rows = torch.cat([data.table[c][:PICTURES_OF_A_CLASS] for c in range(len(data.classes))])
    return of_pixels(data.x.index_select(0, rows)), data.y[rows], data.classes


def of_pixels(x: Tensor) -> Tensor:
    """The embeddings of pictures [n, 3, height, width]."""
    return PICTURES.encode([one.permute(1, 2, 0).contiguous().numpy() for one in x])


def texts(folder: Path, kept: Path) -> Distribution:
    """CLINC150's intents of eight domains; two other domains calibrate, and Banking77 tests."""
    intents = qs.clinc150(folder)
    domains = dict(zip(intents.rows.classes, intents.rows.groups or (), strict=True))
    train, val = (
        embedded(
            f"clinc-{part}", kept, lambda out=out: of_texts(intents.keep(lambda c: is_held_out(domains[c]) == out))
        )
        for part, out in (("train", False), ("val", True))
    )
    test = embedded("banking77", kept, lambda: of_texts(qs.banking77(folder)))
    return Distribution(
        qs.FewShot(train, FEW_WAYS, (1, 10), 5),
        (2, 3, 5, 10, 20),
        lambda ways, shots: qs.FewShot(val, ways, shots, 5),
        {f"Banking77, {ways}-way": lambda shots, ways=ways: qs.FewShot(test, ways, shots, 5) for ways in (2, 5, 10)},
        whole(train),
    )


def is_held_out(domain: str) -> bool:
    return domain in HELD_OUT_DOMAINS


def of_texts(some: qs.LabelledTexts) -> tuple[Tensor, Tensor, Iterable[str]]:
    data = some.first(TEXTS_OF_A_CLASS).embedded(TEXTS.encode)
    return *whole(data), data.classes


def molecules(folder: Path, kept: Path) -> Distribution:
    """Tox21's assays, each a task of active and inactive compounds: six to train on, three calibrate, three test."""
    x, assays = encoded(qs.molecule_net("tox21", folder), kept, "tox21")
    every = {one.name: one for one in (*assays.train, *assays.test)}
    others = [assay for assay in every if assay not in CALIBRATING + TESTING]

    def of(chosen: Iterable[str]) -> qs.LabelledData:
        parts = [(f"{assay} {v}", assay, every[assay].molecules[every[assay].active == v])
                 for assay in chosen for v in (0, 1)]  # fmt: skip
        names, groups, places = zip(*parts, strict=True)
        y = torch.arange(len(parts)).repeat_interleave(torch.tensor([len(some) for some in places]))
        return qs.LabelledData("Tox21", Mapped(x, torch.cat(places)), y, names, groups)

    def tasks(chosen: Iterable[str]) -> Callable[[int | tuple[int, int]], Tasks]:
        return lambda shots: qs.FewShot(of(chosen), 2, shots, 5, within_groups=True)

    tests = {f"Tox21 {assay}": tasks([assay]) for assay in TESTING}
    seen = x[torch.cat([every[assay].molecules for assay in others]).unique()]
    calibrating = tasks(CALIBRATING)
    return Distribution(
        tasks(others)((1, 10)), (2,), lambda _, shots: calibrating(shots), tests, (seen, torch.zeros(len(seen)))
    )


def drawings(folder: Path, kept: Path) -> Distribution:
    """Omniglot's characters; the learner is the race's."""
    train, val, test = qs.omniglot(folder)
    return Distribution(
        qs.FewShot(train, 5, (1, 5), 5),
        (2, 3, 5, 10, 20),
        lambda ways, shots: qs.FewShot(val, ways, shots, 5),
        {f"Omniglot, {ways}-way": lambda shots, ways=ways: qs.FewShot(test, ways, shots, 5) for ways in (5, 20)},
    )


def folds(data_dir: Path | None) -> list[tuple[list, list]]:
    """The training tables but a third, and that third."""
    some = tables(data_dir)[0]
    return [([t for i, t in enumerate(some) if i % FOLDS != fold], some[fold::FOLDS]) for fold in range(FOLDS)]

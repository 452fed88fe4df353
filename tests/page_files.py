"""Small files in the layouts of other people's data, for the pages whose Python reads them from a folder DIR."""

import io
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile

import medical_files
import molecule_files
import movielens_files
import numpy as np
import text_files
from PIL import Image

from quickstudy.data import mini_imagenet, tiny_imagenet


def mini(folder: Path) -> None:
    """mini-ImageNet's arrays in DIR, two pictures of a class, and the pickles of them that go round beside it."""
    for split, classes in mini_imagenet.SPLITS.items():
        images, labels = np.zeros((2 * len(classes.split()), 84, 84, 3), np.uint8), np.repeat(classes.split(), 2)
        np.savez(folder / f"{split}.npz", images=images, labels=labels)
        rows = {name: [2 * i, 2 * i + 1] for i, name in enumerate(classes.split())}
        content = pickle.dumps({"image_data": images, "class_dict": rows})
        (folder.parent / f"mini-imagenet-cache-{split}.pkl").write_bytes(content)


def tiny(folder: Path) -> None:
    """Tiny ImageNet's zip with one picture of a class."""
    picture = io.BytesIO()
    Image.new("RGB", (64, 64)).save(picture, "JPEG")
    names = [name for groups in tiny_imagenet.SPLITS.values() for some in groups.values() for name in some.split()]
    with ZipFile(folder / tiny_imagenet.ZIP, "w") as archive:
        for name in names:
            archive.writestr(f"tiny-imagenet-200/train/{name}/images/{name}_0.JPEG", picture.getvalue())


def films(folder: Path) -> None:
    """MovieLens-100k, and of the million its three files with a user, a film and a rating."""
    movielens_files.written(folder / "ml-100k")
    (folder / "ml-1m").mkdir()
    for name, line in (
        ("ratings", "1::1::5::978300760"),
        ("users", "1::F::1::10::48067"),
        ("movies", "1::Toy Story (1995)::Comedy"),
    ):
        (folder / "ml-1m" / f"{name}.dat").write_text(line + "\n")


def tumours(folder: Path) -> None:
    medical_files.breakhis(folder, times=2)


FILES: dict[str, Callable[[Path], None]] = {
    "data": lambda folder: [make(folder) for make in (mini, tiny, films, tumours)],
    "drugs": molecule_files.molecule_net,
    "language": text_files.clinc,
    "methods": text_files.banking,
    "medicine": lambda folder: medical_files.skin(folder, times=3),
    "recommendation": films,
    "robots": lambda folder: None,
}
"""By page, what fills its folder; robots are simulated."""


def lay_out(page: Path, folder: Path) -> Path:
    """The page to run in a folder: where it reads from DIR, that is made, and few steps are enough."""
    if page.stem not in FILES:
        return page
    (folder / "DIR").mkdir()
    FILES[page.stem](folder / "DIR")
    short = folder / page.name
    fewer = re.sub(r"\b(steps|episodes|goals|train|test)=\d\d+", r"\1=20", page.read_text())
    short.write_text(fewer.replace("first(60)", "first(12)"))
    return short

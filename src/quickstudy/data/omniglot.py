"""Omniglot: 1,623 handwritten characters of 50 alphabets, each drawn by 20 people (Lake et al., 2015).

https://github.com/brendenlake/omniglot
"""

import hashlib
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from quickstudy.data.files import cache_directory, cached, data_directory, obtain, open_zip, read_image, read_member
from quickstudy.data.labelled import LabelledData

ZIPS = {  # name: (MD5 of the official file, alphabets, characters)
    "images_background.zip": ("68d2efa1b9178cc56df9314c21c6e718", 30, 964),
    "images_evaluation.zip": ("6b91aef0f799c5bb55b94e3f2daec811", 20, 659),
}
DRAWINGS = 20
ZIP_URL = "https://raw.githubusercontent.com/brendenlake/omniglot/master/python/"
LISTS = {  # split: SHA-256 of its list of classes
    "train": "984522c194c30fb678ce53304a160a42faf5403ad4f9a67010f32dd3a35738e0",
    "val": "11f99e54faee3e26f53d3231c1cceac5bf7b8730e9be31cb6dab256551dc0c1a",
    "test": "845264cc5c156180828ccf17915668b17ee21424d0170df6e7d81676aa5d1204",
}
LISTS_URL = "https://raw.githubusercontent.com/jakesnell/prototypical-networks/master/data/omniglot/splits/vinyals/"


def omniglot(
    data_dir: str | Path | None = None, *, split: Literal["vinyals", "lake"] = "vinyals", rotations: bool = True
) -> tuple[LabelledData, LabelledData, LabelledData]:
    """Omniglot's meta-train, meta-validation and meta-test classes: 28x28, ink bright on black.

    Args:
        data_dir: The folder with the two zips, or with a folder `omniglot` that holds them; else the variable
            QUICKSTUDY_DATA; else they are downloaded and kept in the user's cache.
        split: "vinyals" is the split that few-shot papers report (1,028, 172 and 423 characters); "lake" trains on
            25 background alphabets, validates on 5 and tests on the 20 evaluation alphabets.
        rotations: Every character turned by 90, 180 and 270 degrees is a class of its own, on the same side.

    Raises:
        FileNotFoundError: The folder lacks a file.
        ValueError: A file is broken or is not Omniglot; nothing is kept of it.
        ConnectionError: The download failed.
    """
    if split not in ("vinyals", "lake"):
        raise ValueError(f"split is 'vinyals' or 'lake', not {split!r}.")
    folder = data_directory(data_dir)
    data = characters(folder)
    parts = vinyals_split(data, folder) if split == "vinyals" else lake_split(data)
    return tuple(part.rotated() for part in parts) if rotations else parts  # pyright: ignore[reportReturnType]


def characters(folder: Path | None) -> LabelledData:
    """All 1,623 characters, the 30 background alphabets first; decoded once, then read from a cache."""
    paths = {
        name: obtain(name, url=ZIP_URL + name, known_hash=f"md5:{md5}", folder=folder, places=(".", "omniglot"))
        for name, (md5, _, _) in ZIPS.items()
    }
    key = fingerprint(paths)
    beside = paths["images_background.zip"].with_name("omniglot-28.safetensors")
    x, about = cached([beside, cache_directory() / f"omniglot-28-{key[:12]}.safetensors"], key, lambda: decode(paths))
    names = tuple(about["classes"])
    groups = tuple(name.split("/")[0] for name in names)
    return LabelledData("omniglot", x, torch.arange(len(x)) // DRAWINGS, names, groups)


def fingerprint(paths: dict[str, Path]) -> str:
    """A hash over the names and checksums that the zips list."""
    digest = hashlib.sha256()
    for name, path in paths.items():
        with open_zip(path, f"Omniglot's {name}") as archive:
            for entry in archive.infolist():
                digest.update(f"{entry.filename} {entry.CRC}\n".encode())
    return digest.hexdigest()


def decode(paths: dict[str, Path]) -> tuple[Tensor, dict]:
    """Every drawing of both zips, sorted by file, with the names of the characters."""
    drawings, names = [], []
    for name, path in paths.items():
        _, alphabets, count = ZIPS[name]
        with open_zip(path, f"Omniglot's {name}") as archive:
            files = sorted(file for file in archive.namelist() if file.endswith(".png"))
            found = sorted({file.split("/", 1)[1].rsplit("/", 1)[0] for file in files if file.count("/") == 3})
            found_alphabets = len({character.split("/")[0] for character in found})
            if (found_alphabets, len(found), len(files)) != (alphabets, count, count * DRAWINGS):
                raise ValueError(
                    f"{path} is not Omniglot's {name}: expected {alphabets} alphabets, {count} characters and "
                    f"{count * DRAWINGS:,} drawings; found {found_alphabets}, {len(found)} and {len(files):,}."
                )
            drawings += [255 - read_image(read_member(archive, file), f"{path}: {file}", 28) for file in files]
        names += found
    return torch.stack(drawings), {"classes": names}


def vinyals_split(data: LabelledData, folder: Path | None) -> tuple[LabelledData, LabelledData, LabelledData]:
    parts = []
    for name, sha256 in LISTS.items():
        path = obtain(
            f"{name}.txt",
            url=f"{LISTS_URL}{name}.txt",
            known_hash=f"sha256:{sha256}",
            folder=folder,
            places=("splits/vinyals", "omniglot/splits/vinyals"),
        )
        listed = dict.fromkeys(line.rsplit("/", 1)[0] for line in path.read_text().split())
        missing = listed.keys() - set(data.classes)
        if missing or not listed:
            raise ValueError(f"{path} lists {min(missing, default='nothing')!r}, which is no character of Omniglot.")
        parts.append(data.keep(listed.__contains__, f"omniglot {name}"))
    return parts[0], parts[1], parts[2]


def lake_split(data: LabelledData) -> tuple[LabelledData, LabelledData, LabelledData]:
    """The evaluation set is for testing; of the background alphabets the last five, by name, validate."""
    assert data.groups is not None
    background = data.groups[: ZIPS["images_background.zip"][2]]
    validation = set(sorted(set(background))[-5:])
    sides = [
        "test" if c >= len(background) else "val" if g in validation else "train" for c, g in enumerate(data.groups)
    ]
    train, val, test = (
        data.select([c for c, side in enumerate(sides) if side == name], f"omniglot {name}")
        for name in ("train", "val", "test")
    )
    return train, val, test

"""mini-ImageNet: 100 classes of ImageNet with 600 pictures each (Vinyals et al., 2016), 84x84, split by class.

https://arxiv.org/abs/1606.04080; the split is Ravi & Larochelle's (2017): https://openreview.net/forum?id=rJY0-Kcll
"""

import csv
import os
import re
import zlib
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch

from quickstudy.data.arrow import Unpacked, pack_places, packed
from quickstudy.data.files import cache_directory, data_directory, digest, open_zip, read_image
from quickstudy.data.hub import hub_splits
from quickstudy.data.labelled import LabelledData, refuse_shared

SIZE = 84
LISTS = "https://github.com/twitter-research/meta-learning-lstm (data/miniImagenet)"
SPLITS = {  # split: its classes, by WordNet id
    "train": """
        n01532829 n01558993 n01704323 n01749939 n01770081 n01843383 n01910747 n02074367 n02089867 n02091831 n02101006
        n02105505 n02108089 n02108551 n02108915 n02111277 n02113712 n02120079 n02165456 n02457408 n02606052 n02687172
        n02747177 n02795169 n02823428 n02966193 n03017168 n03047690 n03062245 n03207743 n03220513 n03337140 n03347037
        n03400231 n03476684 n03527444 n03676483 n03838899 n03854065 n03888605 n03908618 n03924679 n03998194 n04067472
        n04243546 n04251144 n04258138 n04275548 n04296562 n04389033 n04435653 n04443257 n04509417 n04515003 n04596742
        n04604644 n04612504 n06794110 n07584110 n07697537 n07747607 n09246464 n13054560 n13133613""",
    "val": """
        n01855672 n02091244 n02114548 n02138441 n02174001 n02950826 n02971356 n02981792 n03075370 n03417042 n03535780
        n03584254 n03770439 n03773504 n03980874 n09256479""",
    "test": """
        n01930112 n01981276 n02099601 n02110063 n02110341 n02116738 n02129165 n02219486 n02443484 n02871525 n03127925
        n03146219 n03272010 n03544143 n03775546 n04146614 n04149813 n04418357 n04522168 n07613480""",
}
WORDNET_ID = re.compile(r"n\d{8}")
CSV_PLACES = ("", "mini-imagenet", "splits/mini-imagenet-ravi")


def mini_imagenet(
    data_dir: str | Path | None = None, *, hub: str | None = None
) -> tuple[LabelledData, LabelledData, LabelledData]:
    """mini-ImageNet's 64 meta-train, 16 meta-validation and 20 meta-test classes: 84x84, in colour, memory-mapped.

    The folder, or a folder `mini-imagenet` in it, holds either of

    - `images/*.jpg` with `train.csv`, `val.csv` and `test.csv`, whose columns are filename and label;
    - `train.npz`, `val.npz` and `test.npz`, with arrays `images`, uint8 [N, 84, 84, 3], and `labels`, WordNet ids or
      numbers. The pickles that go round are not read, as a pickle may run anything: docs/data.md says how to export
      one that you trust.

    Pictures are packed once into files beside the data, or in the user's cache.

    Args:
        data_dir: The folder; else the variable QUICKSTUDY_DATA.
        hub: Instead of a folder, the name of a dataset of the Hugging Face hub, with these classes by WordNet id, or
            with splits of 64, 16 and 20 classes. It is packed into the user's cache, and looked up there from then on.

    Raises:
        FileNotFoundError: The folder lacks a file.
        ValueError: A file is broken, or is of another split; nothing is kept of it.
        ImportError: pyarrow is not installed, or for the hub its library.
    """
    folder = None if hub else data_directory(data_dir)
    parts = [hub_part(hub, split) if hub else folder_part(folder, split) for split in SPLITS]
    refuse_shared(*parts)
    train, val, test = parts
    return train, val, test


def folder_part(folder: Path | None, split: str) -> LabelledData:
    """One split of a folder, packed or from before."""
    if folder is None:
        raise FileNotFoundError(
            "mini-ImageNet is not downloaded by itself; name the folder that holds it with --data-dir or the variable "
            "QUICKSTUDY_DATA. docs/data.md says where to get it."
        )
    places = (folder, folder / "mini-imagenet")
    for place in places:
        if (place / f"{split}.npz").is_file():
            return arrays_part(place / f"{split}.npz", split)
        if (place / "images").is_dir():
            return pictures_part(place / "images", read_list(folder, split), split)
    pickles = [path.name for place in places for path in sorted(place.glob("*.p*k*l*"))]
    raise FileNotFoundError(
        f"no mini-ImageNet in {folder}: neither images/ with {split}.csv, nor {split}.npz, there or in a folder "
        f"mini-imagenet. docs/data.md says where to get it"
        + (f", and how to export {pickles[0]}, which is not read: a pickle may run anything." if pickles else ".")
    )


def arrays_part(path: Path, split: str) -> LabelledData:
    with open_zip(path, "arrays images and labels") as archive:
        key = digest(f"{entry.filename} {entry.CRC}" for entry in archive.infolist())
    return packed(pack_places(path.parent, f"mini-imagenet-{SIZE}-{split}", key), key, lambda: read_arrays(path, split))


def pictures_part(images: Path, labels: dict[str, str], split: str) -> LabelledData:
    sizes = {entry.name: entry.stat().st_size for entry in os.scandir(images)}
    if missing := [file for file in labels if file not in sizes]:
        raise FileNotFoundError(
            f"{images} lacks {len(missing):,} of the {len(labels):,} pictures that {split}.csv lists, "
            f"such as {missing[0]}. Put them there; docs/data.md says where to get them."
        )
    key = digest(f"{file} {label} {sizes[file]}" for file, label in labels.items())
    return packed(
        pack_places(images.parent, f"mini-imagenet-{SIZE}-{split}", key),
        key,
        lambda: read_pictures(images, labels, split),
    )


def read_list(folder: Path, split: str) -> dict[str, str]:
    """The label of each picture of a split's CSV file."""
    places = [folder / place / f"{split}.csv" for place in CSV_PLACES]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        raise FileNotFoundError(
            f"no {split}.csv in {folder}; looked for {', '.join(map(str, places))}. Fetch Ravi & Larochelle's lists: "
            f"{LISTS}"
        )
    with open(path, newline="", encoding="utf-8-sig") as file:
        rows = csv.DictReader(file)
        if not {"filename", "label"} <= set(rows.fieldnames or ()):
            raise ValueError(f"{path} has columns {', '.join(rows.fieldnames or ())}; needed filename and label.")
        labels = {row["filename"]: row["label"] for row in rows}
    check(labels.values(), split, str(path))
    return labels


def read_pictures(images: Path, labels: dict[str, str], split: str) -> Unpacked:
    pictures = (read_image(images / file, str(images / file), SIZE, "RGB") for file in labels)
    return Unpacked(f"mini-imagenet {split}", pictures, list(labels.values()))


def read_arrays(path: Path, split: str) -> Unpacked:
    """The pictures of a split's arrays, which are in memory while they are packed."""
    try:
        with np.load(path) as arrays:
            if not {"images", "labels"} <= set(arrays.files):
                raise ValueError(f"it holds {', '.join(arrays.files)}")
            images, labels = arrays["images"], arrays["labels"]
    except (BadZipFile, zlib.error, ValueError) as error:
        raise ValueError(f"{path} cannot be read ({error}); needed arrays images and labels, of no objects.") from None
    shapes = labels.shape == (len(images),) and images.shape[1:] == (SIZE, SIZE, 3)
    if images.dtype != np.uint8 or not shapes or labels.dtype.kind not in "iuU":
        raise ValueError(
            f"{path} has images {images.dtype} {list(images.shape)} and labels {labels.dtype} {list(labels.shape)}; "
            f"needed uint8 [N, {SIZE}, {SIZE}, 3], and N WordNet ids or whole numbers."
        )
    names = class_names(labels.tolist(), split)
    check(names, split, str(path))
    pictures = (torch.from_numpy(image).permute(2, 0, 1).contiguous() for image in images)
    return Unpacked(f"mini-imagenet {split}", pictures, names)


def hub_part(hub: str, split: str) -> LabelledData:
    """One split of a dataset of the hub, packed or from before."""
    place = cache_directory() / f"mini-imagenet-{hub.replace('/', '-')}" / f"{SIZE}-{split}.arrow"
    return packed([place], hub, lambda: read_hub(hub, split))


def read_hub(hub: str, split: str) -> Unpacked:
    """The pictures of the split's classes where they have WordNet ids, else those of the dataset's split."""
    tables = hub_splits(hub)
    wanted = set(SPLITS[split].split())
    chosen = {name: [i for i, label in enumerate(table.labels) if label in wanted] for name, table in tables.items()}
    if not any(chosen.values()):
        named = "validation" if split == "val" and "validation" in tables else split
        if named not in tables:
            raise ValueError(
                f"{hub} has splits {', '.join(tables)}, with none of the classes by WordNet id; needed {split}."
            )
        chosen = {named: list(range(len(tables[named].labels)))}
    pictures = chain.from_iterable(tables[name].pictures(rows, SIZE) for name, rows in chosen.items())
    labels = [tables[name].labels[i] for name, rows in chosen.items() for i in rows]
    names = class_names(labels, split)
    check(names, split, hub)
    return Unpacked(f"mini-imagenet {split}", pictures, names)


def class_names(labels: Sequence[str | int], split: str) -> list[str]:
    """Names, as a number may be a class of each split."""
    return [label if isinstance(label, str) else f"{split} {label:02d}" for label in labels]


def check(labels: Iterable[str], split: str, where: str) -> None:
    """Raises ValueError where the classes are not those of the split, as far as can be told."""
    wanted, found = set(SPLITS[split].split()), set(labels)
    if len(found) != len(wanted) or (all(map(WORDNET_ID.fullmatch, found)) and found != wanted):
        raise ValueError(
            f"{where} is not of Ravi & Larochelle's split: it has {len(found)} classes, "
            f"{len(found & wanted)} of them among the {len(wanted)} for {split}. Fetch their lists: {LISTS}"
        )

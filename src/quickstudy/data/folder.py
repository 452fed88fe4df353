"""Pictures in folders: `folder/CLASS/*.png`, one folder per class."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from quickstudy.data.files import read_image
from quickstudy.data.labelled import LabelledData, refuse_shared

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
READ = f"{', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}"
"""The kinds of pictures that are read, in words."""
SPLITS = ("train", "val", "test")


def image_folder(folder: str | Path, *, size: int = 84, colour: bool = True) -> LabelledData:
    """The pictures of a folder of class folders, in memory.

    Args:
        folder: Holds a folder per class, with pictures of `SUFFIXES`.
        size: Height and width that pictures are resized to, in pixels.
        colour: Three channels; otherwise one grey channel.

    Raises:
        FileNotFoundError: No such folder.
        ValueError: A file, no class folders, a class without pictures, or a file that is no picture.
    """
    files = class_files(Path(folder))
    members = [file for pictures in files.values() for file in pictures]
    x = torch.stack([read_image(file, str(file), size, "RGB" if colour else "L") for file in members])
    y = torch.arange(len(files)).repeat_interleave(torch.tensor([len(pictures) for pictures in files.values()]))
    return LabelledData(Path(folder).name, x, y, tuple(files))


def class_files(folder: Path) -> dict[str, list[Path]]:
    """The picture files of each class of a folder; errors are those of `image_folder`."""
    files = {path.name: sorted(p for p in path.iterdir() if is_picture(p)) for path in class_folders(folder)}
    for name, pictures in files.items():
        if not pictures:
            deeper = [path.relative_to(folder) for path in nested(folder / name)]
            do = f"They lie deeper, such as {deeper[0]}: move them up" if deeper else "Add some"
            raise ValueError(f"class {name!r} in {folder} has no pictures ({READ}). {do}, or remove the folder.")
    return files


def nested(folder: Path) -> list[Path]:
    """The pictures in folders within the folder of a class, which are not read."""
    inner = [path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]
    return sorted(path for one in inner for path in one.rglob("*") if is_picture(path))


def is_picture(path: Path) -> bool:
    """Whether a file's name is that of a picture; names with a dot in front are those of what systems leave behind."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def class_folders(folder: Path) -> list[Path]:
    """The folders of a folder, one for each class; errors are those of `image_folder`."""
    if folder.is_file():
        raise ValueError(f"{folder} is a file; needed a folder that holds one of pictures ({READ}) for each class.")
    if not folder.is_dir():
        raise FileNotFoundError(f"no such folder: {folder}.")
    found = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not found:
        raise ValueError(f"{folder} holds no class folders; needed {folder}/CLASS, each with pictures ({READ}).")
    return found


def image_folder_splits(
    folder: str | Path, *, size: int = 84, colour: bool = True, seed: int = 0
) -> tuple[LabelledData, LabelledData, LabelledData]:
    """Meta-train, meta-validation and meta-test classes: of `folder/train|val|test/CLASS`, else drawn 60:20:20.

    Raises:
        ValueError: Besides those of `image_folder`, a class in two of the three, or one or two of these folders alone.
    """
    folder = Path(folder)
    parts: tuple[LabelledData, ...]
    there = [part for part in SPLITS if (folder / part).is_dir()]
    lacking = [part for part in SPLITS if part not in there]
    if there and lacking and all(class_folders_alone(folder / part) for part in there):
        raise ValueError(
            f"{folder} has {' and '.join(there)}, and no {' and no '.join(lacking)}; needed train, val and test, each "
            f"with folders of classes, or folders of classes alone, which are split for you."
        )
    if not lacking:
        parts = tuple(image_folder(folder / part, size=size, colour=colour) for part in SPLITS)
    else:
        parts = image_folder(folder, size=size, colour=colour).split(0.6, 0.2, 0.2, seed=seed)
    return named_splits(parts, folder.name)


def class_folders_alone(folder: Path) -> bool:
    """Whether a folder holds folders, and no pictures beside them."""
    return any(path.is_dir() for path in folder.iterdir()) and not any(map(is_picture, folder.iterdir()))


def named_splits(parts: Sequence[LabelledData], name: str) -> tuple[LabelledData, LabelledData, LabelledData]:
    """Three parts of the same data, called train, val and test.

    Raises:
        ValueError: A class in two of them.
    """
    train, val, test = (replace(part, name=f"{name} {split}") for part, split in zip(parts, SPLITS, strict=True))
    refuse_shared(train, val, test)
    return train, val, test

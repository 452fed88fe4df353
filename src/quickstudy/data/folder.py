"""Pictures in folders: `folder/CLASS/*.png`, one folder per class."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from quickstudy.data.files import read_image
from quickstudy.data.labelled import LabelledData, refuse_shared

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"}
SPLITS = ("train", "val", "test")


def image_folder(folder: str | Path, *, size: int = 84, colour: bool = True) -> LabelledData:
    """The pictures of a folder of class folders, in memory.

    Args:
        folder: Holds a folder per class, with .png or .jpg files.
        size: Height and width that pictures are resized to, in pixels.
        colour: Three channels; otherwise one grey channel.

    Raises:
        FileNotFoundError: No such folder.
        ValueError: No class folders, a class without pictures, or a file that is no picture.
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
            raise ValueError(
                f"class {name!r} in {folder} has no .png or .jpg pictures. Add some, or remove the folder."
            )
    return files


def is_picture(path: Path) -> bool:
    """Whether a file's name is that of a picture; names with a dot in front are those of what systems leave behind."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def class_folders(folder: Path) -> list[Path]:
    """The folders of a folder, one for each class; errors are those of `image_folder`."""
    if not folder.is_dir():
        raise FileNotFoundError(f"no such folder: {folder}.")
    found = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not found:
        raise ValueError(f"{folder} holds no class folders; needed {folder}/CLASS/*.png or *.jpg.")
    return found


def image_folder_splits(
    folder: str | Path, *, size: int = 84, colour: bool = True, seed: int = 0
) -> tuple[LabelledData, LabelledData, LabelledData]:
    """Meta-train, meta-validation and meta-test classes: of `folder/train|val|test/CLASS`, else drawn 60:20:20.

    Raises:
        ValueError: Besides those of `image_folder`, a class in two of the three.
    """
    folder = Path(folder)
    parts: tuple[LabelledData, ...]
    if all((folder / part).is_dir() for part in SPLITS):
        parts = tuple(image_folder(folder / part, size=size, colour=colour) for part in SPLITS)
    else:
        parts = image_folder(folder, size=size, colour=colour).split(0.6, 0.2, 0.2, seed=seed)
    return named_splits(parts, folder.name)


def named_splits(parts: Sequence[LabelledData], name: str) -> tuple[LabelledData, LabelledData, LabelledData]:
    """Three parts of the same data, called train, val and test.

    Raises:
        ValueError: A class in two of them.
    """
    train, val, test = (replace(part, name=f"{name} {split}") for part, split in zip(parts, SPLITS, strict=True))
    refuse_shared(train, val, test)
    return train, val, test

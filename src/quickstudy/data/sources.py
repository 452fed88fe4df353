"""Labelled data by name, as the command line asks for it: its meta-train, meta-validation and meta-test classes."""

from pathlib import Path

from quickstudy.data.arrow import arrow_data
from quickstudy.data.digits import digits
from quickstudy.data.folder import image_folder_splits, named_splits
from quickstudy.data.glyphs import glyphs
from quickstudy.data.labelled import LabelledData
from quickstudy.data.mini_imagenet import mini_imagenet
from quickstudy.data.omniglot import omniglot
from quickstudy.data.tiny_imagenet import tiny_imagenet

SOURCES = {
    "glyphs": "generated handwriting: 1,000 + 200 + 300 characters x 20 drawings; nothing to download",
    "omniglot": "1,623 characters x 20 drawings, Vinyals' split, rotations as classes (MIT, 14 MB to download)",
    "omniglot-lake": "the same in Lake's split: 25 + 5 alphabets, and 20 for testing",
    "mini-imagenet": "100 classes x 600 natural images, 84x84, Ravi & Larochelle's split; not to be downloaded",
    "tiny-imagenet": "123 classes x 500 natural images, 64x64, tieredImageNet's split (237 MB to download)",
    "digits": "1,797 real handwritten digits from scikit-learn, for testing only; nothing to download",
}
GREY, NATURAL, FOLDER_SIZE = (1, 28), {"mini-imagenet": (3, 84), "tiny-imagenet": (3, 64)}, 84
Splits = tuple[LabelledData, LabelledData, LabelledData]


def splits(
    source: str, data_dir: str | Path | None = None, *, size: int | None = None, channels: int | None = None
) -> Splits:
    """The meta-train, meta-validation and meta-test classes of a source.

    Args:
        source: One of `SOURCES`, or the path of a folder of class folders, or of an Arrow file made of one.
        data_dir: Where local data lie; see `omniglot`.
        size: Height and width of the pictures, for folders and tiny-imagenet; 84 and 64 unless given.
        channels: 3 for colour, 1 for grey, for folders; 3 unless given.

    Raises:
        FileNotFoundError: Neither a source nor a folder.
        ValueError: The source cannot be had in that form, or has no classes to train on.
    """
    if source in SOURCES:
        has = NATURAL.get(source, GREY)
        check_form(source, has, None if source == "tiny-imagenet" else size, channels)
        if source == "digits":
            raise ValueError("digits are for testing only; train on glyphs or omniglot, evaluate on digits.")
        if source == "glyphs":
            return glyph_splits()
        if source == "tiny-imagenet":
            return tiny_imagenet(data_dir, size=size or has[1])
        if source == "mini-imagenet":
            return mini_imagenet(data_dir)
        return omniglot(data_dir, split="lake" if source == "omniglot-lake" else "vinyals")
    if source.endswith(".arrow"):
        data = arrow_data(source)
        if len(data.x.shape) != 4:
            raise ValueError(f"{source} holds examples of shape {list(data.x.shape[1:])}; needed pictures, [C, H, W].")
        check_form(source, (data.x.shape[1], data.x.shape[2]), size, channels)
        return named_splits(data.split(0.6, 0.2, 0.2), Path(source).stem)
    if not Path(source).is_dir():
        raise FileNotFoundError(
            f"no data {source!r}: it is neither a folder, nor an .arrow file, nor one of {', '.join(SOURCES)}."
        )
    return image_folder_splits(source, size=size or FOLDER_SIZE, colour=channels != 1)


def unseen_classes(
    source: str, data_dir: str | Path | None = None, *, size: int | None = None, channels: int | None = None
) -> LabelledData:
    """The meta-test classes of a source; see `splits`."""
    if source == "digits":
        check_form(source, GREY, size, channels)
        return digits()
    return splits(source, data_dir, size=size, channels=channels)[2]


def check_form(source: str, has: tuple[int, int], size: int | None, channels: int | None) -> None:
    """Checks that pictures of so many channels and pixels are those that are wanted.

    Raises:
        ValueError: They are others.
    """
    if (channels or has[0], size or has[1]) != has:
        kind, wanted = "grey" if has[0] == 1 else "colour", f"{channels or has[0]} x {size or has[1]}"
        raise ValueError(f"{source} has {kind} pictures of {has[1]} pixels, not {wanted}.")


def glyph_splits(train: int = 1000, val: int = 200, test: int = 300) -> Splits:
    """Generated characters; the alphabets of the three parts have nothing in common."""
    data = glyphs(train + val + test)
    numbers = range(train + val + test)
    return (
        data.select(numbers[:train], "glyphs train"),
        data.select(numbers[train : train + val], "glyphs val"),
        data.select(numbers[train + val :], "glyphs test"),
    )

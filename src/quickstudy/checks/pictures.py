"""Pictures in class folders: which cannot be read, which are there twice or nearly, which are unlike the others."""

import hashlib
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool
from PIL import Image, UnidentifiedImageError

from quickstudy.checks.findings import (
    Checked,
    Finding,
    counted,
    first_of_each,
    of_classes,
    of_near,
    of_same,
    with_doubts,
)
from quickstudy.data.files import as_seen
from quickstudy.data.folder import class_folders, is_picture, nested
from quickstudy.ready import opened

SIDE = 16
"""Differences of neighbouring pixels in a row of a difference hash, and its rows."""
RISE = 4
"""Grey levels, of 255, by which a step up rises at least: less is noise on flat ground."""
NEAR = 0.2
"""The share of the steps up in either of two pictures that only one of them has, if they are nearly the same."""
USUAL = 0.75
"""The share of pictures with the same size, or colours, from which on the others are odd."""
AT_A_TIME = 1000
UNDOUBTED = (
    "labels were not doubted, for want of a learner: pip install 'quickstudy[vision]', or pass one with --learner."
)


class Picture(NamedTuple):
    """What a check keeps of a picture.

    Args:
        item: Its path within the folder.
        label: Its class.
        path: Its file.
        size: Width and height in pixels.
        mode: What its pixels are, in Pillow's words: L, RGB, RGBA, ...
        content: A fingerprint of its decoded pixels.
        steps: Its difference hash.
    """

    item: str
    label: str
    path: Path
    size: tuple[int, int]
    mode: str
    content: str
    steps: Bool[np.ndarray, " step"]


def check_pictures(folder: str | Path, learner: Any = None) -> Checked:
    """What is wrong with the pictures of a folder of class folders.

    Args:
        folder: Holds a folder per class, with pictures of the kinds that are read.
        learner: Of pictures, that is to say which labels it doubts: "images", "handwriting", a `Ready` one or the
            folder of a run. None: no labels are doubted.

    Raises:
        FileNotFoundError: No such folder.
        ValueError: No class folders, or a learner that takes no pictures of a folder.
    """
    folder, pictures, findings = Path(folder), [], []
    ready = None if learner is None else opened(learner)
    if ready is not None and ready.inputs.kind != "pictures":
        raise ValueError(f"{learner!r} takes {ready.inputs.kind}; pass a learner of pictures with --learner.")
    classes = class_folders(folder)
    for path in (path for one in classes for path in sorted(one.iterdir()) if not path.name.startswith(".")):
        item, label = str(path.relative_to(folder)), path.parent.name
        if is_picture(path):
            try:
                pictures.append(looked_at(path, item, label))
            except Exception as error:  # whatever a decoder makes of a broken file: it must not end the check
                findings.append(Finding("broken", (item,), (label,), str(error).rstrip(".")))
        elif path.suffix.lower() in Image.registered_extensions():
            findings.append(Finding("unread", (item,), (label,)))
    for one in classes:
        if deeper := nested(one):
            detail = f"{len(deeper)}, such as {deeper[0].relative_to(folder)}"
            findings.append(Finding("nested", (one.name,), (one.name,), detail))
    items, labels, contents = (
        [getattr(picture, name) for picture in pictures] for name in ("item", "label", "content")
    )
    counts = counted([one.name for one in classes], labels)
    findings += of_classes(counts) + of_same(contents, items, labels) + of_near(near(pictures), items, labels)
    findings += odd("size", [f"{picture.size[0]}x{picture.size[1]}" for picture in pictures], items, labels)
    findings += odd("colours", [picture.mode for picture in pictures], items, labels)
    checked = Checked(counts, findings)
    if ready is None:
        return replace(
            checked,
            note=UNDOUBTED,
        )
    kept = [pictures[i] for i in first_of_each(contents, labels)]
    names, labels = [picture.item for picture in kept], [picture.label for picture in kept]
    return with_doubts(checked, ready, [picture.path for picture in kept], names, labels)


def looked_at(path: Path, item: str, label: str) -> Picture:
    """The picture of a file.

    Raises:
        ValueError: An empty file, one that is no picture, or a folder.
        Exception: Whatever Pillow raises on a broken file, or one that claims to be so large that it is an attack.
    """
    if not path.is_file():
        raise ValueError("it is no file")
    if not path.stat().st_size:
        raise ValueError("it is empty")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            with Image.open(path) as image:
                seen = as_seen(image)
                deep = seen.mode.startswith("F")  # which RGB would cut at 255
                content = hashlib.sha256(f"{seen.size}".encode() + (seen if deep else seen.convert("RGB")).tobytes())
                grey = seen.convert("L").resize((SIDE + 1, SIDE), Image.Resampling.BILINEAR)
                steps = np.diff(np.asarray(grey, dtype=int), axis=1) > RISE
                return Picture(item, label, path, image.size, image.mode, content.hexdigest(), steps.flatten())
        except UnidentifiedImageError:
            raise ValueError("it is no picture") from None


def near(pictures: Sequence[Picture]) -> Iterator[tuple[int, int]]:
    """Pairs of pictures that are nearly the same, such as one saved again, in another size or a little brighter.

    Each has a difference hash (Krawetz, 2013): whether brightness rises from each pixel of a row to the next, in a grey
    version of 17 x 16 pixels. Two are nearly the same if of the steps up of either all but a fifth are the other's too.
    The share is taken of these and not of all steps, as in a drawing on flat ground most steps are level in every
    picture. https://www.hackerfactor.com/blog/index.php?/archives/529-Kind-of-Like-That.html
    """
    steps = np.array([picture.steps for picture in pictures], dtype=np.float32).reshape(-1, SIDE * SIDE)
    ups = steps.sum(1)
    for start in range(0, len(steps), AT_A_TIME):
        both = steps[start : start + AT_A_TIME] @ steps.T
        either = ups[start : start + AT_A_TIME, None] + ups - both
        for i, j in zip(*np.nonzero(either - both <= NEAR * either), strict=True):
            if start + i < j and either[i, j] and pictures[start + i].content != pictures[j].content:
                yield int(start + i), int(j)


def odd(what: str, values: Sequence[str], items: Sequence[str], labels: Sequence[str]) -> list[Finding]:
    """The pictures that differ in something from most."""
    if not values:
        return []
    usual, count = Counter(values).most_common(1)[0]
    if count < USUAL * len(values):
        return []
    return [
        Finding("odd", (item,), (label,), f"{what} {value}, and of most {usual}")
        for value, item, label in zip(values, items, labels, strict=True)
        if value != usual
    ]

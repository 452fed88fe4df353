"""What strangers may send: how much of it, and pictures decoded so that no file can do harm."""

import base64
import binascii
import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from threading import BoundedSemaphore

from PIL import Image

PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
ENOUGH = (384, 384)
"""Pixels that a picture keeps at most; networks here see fewer."""
AT_ONCE = BoundedSemaphore(2)
"""Pictures that are decoded beside each other: each may fill as much memory as `Limits.pixels` allows."""


class Refused(Exception):
    """A request that is not answered.

    Args:
        status: The HTTP status.
        detail: Why, in a sentence.
    """

    def __init__(self, status: int, detail: str):
        super().__init__(detail)
        self.status, self.detail = status, detail


@dataclass(frozen=True)
class Limits:
    """How much is taken.

    Args:
        classes, pictures, lines, queries: The most classes of a task; pictures, or texts, of a class; and queries of a
            request.
        picture_bytes, pixels: Of one picture, as a file and decoded.
        characters: Of one text.
        body_bytes: Of one request.
        sessions: At the same time.
        session_seconds: After its last request a session is forgotten.
        body_seconds, wait_seconds: For a request to arrive, and for the learner to be free.
        export_seconds: For a task to become an ONNX file.
    """

    classes: int = 20
    pictures: int = 10
    lines: int = 30
    queries: int = 20
    picture_bytes: int = 4_000_000
    pixels: int = 25_000_000
    characters: int = 2_000
    body_bytes: int = 16_000_000
    sessions: int = 32
    session_seconds: float = 1800.0
    body_seconds: float = 60.0
    wait_seconds: float = 60.0
    export_seconds: float = 300.0

    def per_class(self, kind: str) -> int:
        """The most examples of a class, of pictures or of texts."""
        return self.pictures if kind == "pictures" else self.lines


def decoded(content: str, name: str, limits: Limits) -> tuple[Image.Image, bytes]:
    """A picture, made small, and the bytes of its file.

    A file must be one PNG or JPEG picture from its first byte to its last, so none that is another file as well.

    Args:
        content: The file in base64.
        name: What to call it in an error.

    Raises:
        Refused: Anything else (415), or too much of it (413).
    """
    try:
        data = base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError):
        raise Refused(422, f"{name} is not base64; send the bytes of a PNG or JPEG file in base64.") from None
    if len(data) > limits.picture_bytes:
        raise Refused(413, f"{name} has {len(data):,} bytes, and {limits.picture_bytes:,} are allowed; shrink it.")
    end = end_of(data)
    if end is None:
        raise Refused(415, f"{name} is no PNG or JPEG picture, or one that is cut short.")
    if end < len(data):
        raise Refused(
            415,
            f"{name} goes on for {len(data) - end:,} bytes behind its picture, as files of two kinds do; save it anew.",
        )
    try:
        with AT_ONCE:
            image = Image.open(io.BytesIO(data), formats=["PNG", "JPEG"])
            if image.width * image.height > limits.pixels:
                raise too_many_pixels(name, limits, f"{image.width:,} x {image.height:,}")
            image.draft(None, ENOUGH)
            image.load()
            if image.mode in ("1", "P"):  # whose pixels have no mean
                image = image.convert("RGBA" if image.has_transparency_data else "RGB")
            image.thumbnail(ENOUGH)
    except Refused:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise too_many_pixels(name, limits, "far too many") from None
    except Exception:  # whatever else a decoder says of a stranger's bytes, they hold no picture
        raise Refused(415, f"{name} is a broken picture; save it again.") from None
    return image, data


def too_many_pixels(name: str, limits: Limits, found: str) -> Refused:
    return Refused(413, f"{name} has {found} pixels, and {limits.pixels:,} in all are allowed; shrink it.")


def end_of(data: bytes) -> int | None:
    """Where the picture at the beginning of a file ends; None where there is no whole one."""
    kinds: dict[bytes, Callable[[bytes], int | None]] = {PNG: end_of_png, JPEG: end_of_jpeg}
    return next((end(data) for begins, end in kinds.items() if data.startswith(begins)), None)


def end_of_png(data: bytes) -> int | None:
    at = len(PNG)
    while at + 12 <= len(data):
        following = at + 12 + int.from_bytes(data[at : at + 4], "big")
        if data[at + 4 : at + 8] == b"IEND":
            return following if following <= len(data) else None
        at = following
    return None


def end_of_jpeg(data: bytes) -> int | None:
    at = 2
    while at + 2 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xD9:
            return at + 2
        if marker == 0xFF:  # a byte that fills
            at += 1
            continue
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == 0xDA:  # a scan, which lasts until the next marker that is none of its own
            found = re.compile(rb"\xff+[^\x00\xd0-\xd7\xff]").search(data, at)
            at = found.end() - 2 if found else len(data)
    return None

"""Files that a data set is made of: where they lie, how they arrive, and a cache that is whole or absent."""

import hashlib
import io
import json
import os
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import numpy as np
import pooch
import torch
from jaxtyping import UInt8
from PIL import Image, ImageOps
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from quickstudy.atomic import write_atomically

MOST_PIXELS = 50_000_000
"""A picture of more is refused: it is likelier made to fill the memory than a photograph."""
UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning)
"""What Pillow raises for files that hold no picture, part of one, or one of far too many pixels."""


def data_directory(data_dir: str | Path | None) -> Path | None:
    """The folder of local data: the argument, else the variable QUICKSTUDY_DATA, else None, which means download.

    Raises:
        FileNotFoundError: The folder does not exist.
    """
    named = data_dir or os.environ.get("QUICKSTUDY_DATA")
    if not named:
        return None
    folder = Path(named).expanduser()
    if not folder.is_dir():
        source = "--data-dir" if data_dir else "the variable QUICKSTUDY_DATA"
        raise FileNotFoundError(f"no such folder: {folder} (from {source}).")
    return folder


def obtain(name: str, *, url: str, known_hash: str, folder: Path | None, places: tuple[str, ...]) -> Path:
    """The path of one file: found in a local folder, or downloaded once and checked against its pinned hash.

    Args:
        name: The file's name.
        url: Where to download it.
        known_hash: "sha256:..." or "md5:..." of the download.
        folder: The local folder; None downloads into the user's cache.
        places: Where in the local folder to look.

    Raises:
        FileNotFoundError: The local folder does not hold it.
        ValueError: The download was not what it should be.
        ConnectionError: The download failed.
    """
    if folder is None:
        try:
            return Path(pooch.retrieve(url, known_hash, fname=name, path=cache_directory(), progressbar=True))
        except ValueError as error:
            raise ValueError(f"the download of {url} is not the file it should be ({error}). Try again.") from None
        except OSError as error:
            raise ConnectionError(
                f"could not download {url} ({type(error).__name__}). Offline, name the folder that holds {name} "
                f"with --data-dir or the variable QUICKSTUDY_DATA."
            ) from None
    for place in places:
        if (folder / place / name).is_file():
            return folder / place / name
    looked = ", ".join(str(folder / place / name) for place in places)
    raise FileNotFoundError(f"{name} is not in {folder}; looked for {looked}.")


def cache_directory() -> Path:
    """The user's cache folder of this package."""
    return Path(pooch.os_cache("quickstudy"))


def digest(lines: Iterable[str]) -> str:
    """A fingerprint of some lines."""
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def open_zip(path: Path, needed: str) -> ZipFile:
    """The opened archive.

    Raises:
        ValueError: A file that is no zip, or a truncated one.
    """
    try:
        return ZipFile(path)
    except BadZipFile as error:
        raise ValueError(
            f"{path} is not a whole zip file ({error}; {path.stat().st_size:,} bytes); needed {needed}. Fetch it again."
        ) from None


def read_member(archive: ZipFile, name: str) -> bytes:
    """What a file of an archive holds.

    Raises:
        ValueError: A damaged archive.
    """
    try:
        return archive.read(name)
    except (BadZipFile, zlib.error) as error:
        raise ValueError(f"{archive.filename} is damaged ({error}). Fetch it again.") from None


def read_image(picture: Any, name: str, size: int, mode: str = "L") -> UInt8[Tensor, "channel {size} {size}"]:
    """One picture as bytes, as it is seen (see `as_seen`), resized to a square.

    Args:
        picture: A path, the bytes of an image file, a PIL picture, or an array of bytes, [height, width] or [h, w, 3].
        name: What to call it in an error.
        size: Height and width in pixels.
        mode: "L" for one grey channel, "RGB" for three.

    Raises:
        ValueError: Not a picture, a broken one, one of more than 50 million pixels, or a size that is none.
    """
    if size < 1:
        raise ValueError(f"pictures are resized to at least 1 pixel, not {size}.")
    try:
        with opened_image(picture) as image:
            if image.width * image.height > MOST_PIXELS:
                raise ValueError(f"it has {image.width} x {image.height} pixels, more than {MOST_PIXELS:,}")
            image = as_seen(image).convert(mode).resize((size, size), Image.Resampling.BILINEAR)
            pixels = torch.from_numpy(np.array(image))
    except UNREADABLE as error:
        raise ValueError(f"{name} is not a readable picture ({error}). Remove it, or save it again.") from None
    return pixels[None] if mode == "L" else pixels.permute(2, 0, 1).contiguous()


def as_seen(image: Image.Image) -> Image.Image:
    """A picture turned as its camera says, on white where it is transparent; of 16 bits of grey, the upper 8."""
    image = ImageOps.exif_transpose(image)
    if image.mode == "F":
        raise ValueError("its pixels are fractions of what it does not tell; save it with 8 bits of a channel")
    if image.mode.startswith("I"):  # Pillow would take all above 255 for white
        if 0 < np.asarray(image).max() < 256:
            raise ValueError("of its 16 bits or more of grey only the lowest 8 are in use; save it with 8 bits")
        image = Image.fromarray((np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image


def opened_image(picture: Any) -> Image.Image:
    """A picture, of which perhaps only the head has been read yet; errors are those of `UNREADABLE`."""
    if isinstance(picture, np.ndarray):
        picture = picture[..., 0] if picture.ndim == 3 and picture.shape[-1] == 1 else picture
        if picture.dtype != np.uint8 or not (picture.ndim == 2 or (picture.ndim == 3 and picture.shape[-1] in (3, 4))):
            raise ValueError(
                f"an array of {picture.dtype} of shape {list(picture.shape)}; needed bytes (uint8) of shape "
                f"[height, width] or [height, width, 3]"
            )
        return Image.fromarray(picture)
    if isinstance(picture, Image.Image):
        return picture.copy()
    if not isinstance(picture, (str, os.PathLike, bytes)) and not hasattr(picture, "read"):
        raise ValueError(
            f"a {type(picture).__name__}; needed a path, bytes, a PIL picture or an array of bytes (uint8)"
        )
    return Image.open(io.BytesIO(picture) if isinstance(picture, bytes) else picture)


def cached(places: list[Path], key: str, make: Callable[[], tuple[Tensor, dict]]) -> tuple[Tensor, dict]:
    """A tensor with its description, made once and kept in a file; made anew when the key no longer fits.

    Args:
        places: Files to keep it in, in order of preference: the first whose folder can be written.
        key: A fingerprint of what it is made from.
        make: Makes it.
    """
    for place in places:
        try:
            with safe_open(place, "pt") as file:
                about = json.loads(file.metadata()["quickstudy"])
                if about["key"] == key:
                    return file.get_tensor("x"), about
        except (FileNotFoundError, SafetensorError, KeyError, TypeError, ValueError):
            continue  # absent, broken or of another program: made again below
    x, about = make()
    about = {**about, "key": key}
    content = save({"x": x}, metadata={"quickstudy": json.dumps(about)})
    for place in places:
        try:
            write_atomically(place, content)
            break
        except OSError:
            continue  # a folder that cannot be written: the next, or no cache at all
    return x, about

"""Labelled data in an Arrow file, memory-mapped: for data that outgrow memory, with the interface of any other data."""

import json
import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from types import ModuleType
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from quickstudy.data.files import cache_directory, read_image
from quickstudy.data.folder import class_files
from quickstudy.data.labelled import LabelledData, Mapped


class Unpacked(NamedTuple):
    """Labelled pictures that are read one at a time.

    Args:
        name: What the data is called in tables and messages.
        pictures: Yields them, all of one size.
        labels: The name of the class of each.
        groups: The group of each class, by name; None where there are none.
    """

    name: str
    pictures: Iterable[UInt8[Tensor, "channel height width"]]
    labels: Sequence[str]
    groups: Mapping[str, str] | None = None


def save_arrow(data: LabelledData, path: str | Path) -> None:
    """Writes labelled data as one record batch of an Arrow IPC file, with columns x (bytes), y and perhaps origin.

    Raises:
        ValueError: Data that are memory-mapped already.
        ImportError: pyarrow is not installed.
    """
    if isinstance(data.x, Mapped):
        raise ValueError(f"{data.name} is memory-mapped already, in an Arrow file.")
    about = {"name": data.name, "classes": data.classes, "groups": data.groups}
    origins = None if data.origins is None else data.origins.numpy()
    _write(Path(path), np.ascontiguousarray(data.x.numpy()), data.y.numpy(), about, origins)


def pack_folder(folder: str | Path, path: str | Path, *, size: int = 84, colour: bool = True) -> None:
    """Writes the pictures of a folder of class folders as such a file, holding one in memory at a time.

    Args:
        folder, size, colour: See `image_folder`.
        path: The file to write.

    Raises:
        FileNotFoundError, ValueError: As `image_folder` does.
        ImportError: pyarrow is not installed.
    """
    files = class_files(Path(folder))
    members = [file for pictures in files.values() for file in pictures]
    pictures = (read_image(file, str(file), size, "RGB" if colour else "L") for file in members)
    _pack(Unpacked(Path(folder).name, pictures, [file.parent.name for file in members]), Path(path))


def pack_places(folder: Path, name: str, key: str) -> list[Path]:
    """Where `packed` may write: beside the data, or in the user's cache."""
    return [folder / f"{name}.arrow", cache_directory() / f"{name}-{key[:12]}.arrow"]


def packed(places: Sequence[Path], key: str, read: Callable[[], Unpacked]) -> LabelledData:
    """Labelled data packed into such a file once, and memory-mapped from then on.

    Args:
        places: Files to pack into, in order of preference: the first whose folder can be written.
        key: A fingerprint of what is packed; a file of another one, or a damaged one, is packed anew.
        read: Called to pack.

    Raises:
        PermissionError: No folder can be written.
        ImportError: pyarrow is not installed.
    """
    for place in places:
        try:
            data, about = _mapped(place)
        except (OSError, ValueError):
            continue  # absent, damaged or of another program: packed again below
        if about.get("key") == key:
            return data
    place = next(filter(_writable, places), None)
    if place is None:
        folders = " nor ".join(str(place.parent) for place in places)
        raise PermissionError(f"pictures are packed once into a file, but neither {folders} can be written.")
    _pack(read(), place, key)
    return arrow_data(place)


def arrow_data(path: str | Path) -> LabelledData:
    """The labelled data of such a file, of which only what is drawn is read.

    Raises:
        FileNotFoundError: No such file.
        ValueError: Not a file that quickstudy wrote.
        ImportError: pyarrow is not installed.
    """
    return _mapped(Path(path))[0]


def _mapped(path: Path) -> tuple[LabelledData, dict]:
    """The data of a file, and what the file says about them; errors are those of `arrow_data`."""
    pa = _pyarrow()
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}.")
    try:
        file = pa.ipc.open_file(pa.memory_map(str(path)))
        about, batch = json.loads(file.schema.metadata[b"quickstudy"]), file.get_batch(0)
    except (pa.ArrowInvalid, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is no Arrow file of quickstudy ({error}); write one with save_arrow.") from None
    with warnings.catch_warnings():  # the map is read-only, which is as it should be
        warnings.filterwarnings("ignore", "The given NumPy array is not writable", UserWarning)
        x = torch.from_numpy(np.frombuffer(batch["x"].buffers()[1], about["dtype"]))
    groups = about["groups"] and tuple(about["groups"])
    y = torch.from_numpy(batch["y"].to_numpy().copy())
    origins = torch.from_numpy(batch["origin"].to_numpy().copy()) if "origin" in batch.schema.names else None
    x = Mapped(x.view(-1, *about["shape"]), torch.arange(len(y)))
    return LabelledData(about["name"], x, y, tuple(about["classes"]), groups, origins), about


def _writable(path: Path) -> bool:
    """Whether a file can be written here; makes its folder."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=path.parent):
            return True
    except OSError:
        return False


def _pack(data: Unpacked, path: Path, key: str | None = None) -> None:
    """Writes such a file, holding one picture in memory at a time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    classes, y = np.unique(np.array(data.labels), return_inverse=True)
    groups = data.groups and [data.groups[name] for name in classes.tolist()]
    with TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as beside:
        shape = ()
        with open(Path(beside) / "x", "wb") as file:
            for picture in data.pictures:
                file.write(picture.numpy().tobytes())
                shape = picture.shape
        x = np.memmap(Path(beside) / "x", np.uint8, "r", shape=(len(y), *shape))
        _write(path, x, y, {"name": data.name, "classes": classes.tolist(), "groups": groups, "key": key})


def _write(path: Path, x: np.ndarray, y: np.ndarray, about: dict, origins: np.ndarray | None = None) -> None:
    pa = _pyarrow()
    bytes_each = x[0].nbytes
    rows = pa.FixedSizeBinaryArray.from_buffers(pa.binary(bytes_each), len(x), [None, pa.py_buffer(x)])
    about = {**about, "shape": x.shape[1:], "dtype": str(x.dtype)}
    fields = [pa.field("x", pa.binary(bytes_each)), pa.field("y", pa.int64())]
    columns = [rows, pa.array(y)]
    if origins is not None:
        fields.append(pa.field("origin", pa.int64()))
        columns.append(pa.array(origins))
    schema = pa.schema(fields, metadata={"quickstudy": json.dumps(about)})
    path.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as beside:  # of this process alone
        part = Path(beside) / path.name
        with open(part, "wb") as sink:
            with pa.ipc.new_file(sink, schema) as writer:
                writer.write_batch(pa.record_batch(columns, schema=schema))
            sink.flush()
            os.fsync(sink.fileno())
        part.replace(path)


def _pyarrow() -> ModuleType:
    try:
        import pyarrow
        import pyarrow.ipc
    except ImportError:
        raise ImportError("data in Arrow files need pyarrow: pip install 'quickstudy[arrow]'.") from None
    return pyarrow

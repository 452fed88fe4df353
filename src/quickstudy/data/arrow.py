"""Labelled data in an Arrow file, memory-mapped: for data that outgrow memory, with the interface of any other data."""

import json
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType

import numpy as np
import torch

from quickstudy.data.files import read_image
from quickstudy.data.folder import class_files
from quickstudy.data.labelled import LabelledData, Mapped


def save_arrow(data: LabelledData, path: str | Path) -> None:
    """Writes labelled data as one record batch of an Arrow IPC file, with columns x (bytes) and y.

    Raises:
        ValueError: Data that are memory-mapped already.
        ImportError: pyarrow is not installed.
    """
    if isinstance(data.x, Mapped):
        raise ValueError(f"{data.name} is memory-mapped already, in an Arrow file.")
    about = {"name": data.name, "classes": data.classes, "groups": data.groups}
    _write(Path(path), data.x.numpy(), data.y.numpy(), about)


def pack_folder(folder: str | Path, path: str | Path, *, size: int = 84, colour: bool = True) -> None:
    """Writes the pictures of a folder of class folders as such a file, holding one in memory at a time.

    Args:
        folder, size, colour: See `image_folder`.
        path: The file to write.

    Raises:
        FileNotFoundError, ValueError: As `image_folder` does.
        ImportError: pyarrow is not installed.
    """
    path, files = Path(path), class_files(Path(folder))
    path.parent.mkdir(parents=True, exist_ok=True)
    count, channels = sum(map(len, files.values())), 3 if colour else 1
    with TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as beside:
        x = np.memmap(Path(beside) / "x", np.uint8, "w+", shape=(count, channels, size, size))
        for i, file in enumerate(file for members in files.values() for file in members):
            x[i] = read_image(file, str(file), size, "RGB" if colour else "L").numpy()
        y = np.repeat(np.arange(len(files)), [len(members) for members in files.values()])
        _write(path, x, y, {"name": Path(folder).name, "classes": list(files), "groups": None})


def arrow_data(path: str | Path) -> LabelledData:
    """The labelled data of such a file, of which only what is drawn is read.

    Raises:
        FileNotFoundError: No such file.
        ValueError: Not a file that quickstudy wrote.
        ImportError: pyarrow is not installed.
    """
    pa, path = _pyarrow(), Path(path)
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
    x = Mapped(x.view(-1, *about["shape"]), torch.arange(len(y)))
    return LabelledData(about["name"], x, y, tuple(about["classes"]), groups)


def _write(path: Path, x: np.ndarray, y: np.ndarray, about: dict) -> None:
    pa = _pyarrow()
    bytes_each = x[0].nbytes
    rows = pa.FixedSizeBinaryArray.from_buffers(pa.binary(bytes_each), len(x), [None, pa.py_buffer(x)])
    about = {**about, "shape": x.shape[1:], "dtype": str(x.dtype)}
    fields = [pa.field("x", pa.binary(bytes_each)), pa.field("y", pa.int64())]
    schema = pa.schema(fields, metadata={"quickstudy": json.dumps(about)})
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    try:
        with pa.OSFile(str(part), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
            writer.write_batch(pa.record_batch([rows, pa.array(y)], schema=schema))
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _pyarrow() -> ModuleType:
    try:
        import pyarrow
        import pyarrow.ipc
    except ImportError:
        raise ImportError("data in Arrow files need pyarrow: pip install 'quickstudy[arrow]'.") from None
    return pyarrow

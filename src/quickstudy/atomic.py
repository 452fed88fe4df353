"""Files that are there whole or not at all."""

import os
from contextlib import suppress
from pathlib import Path


def write_atomically(path: Path, content: bytes) -> None:
    """Writes a file that is there whole or not at all, even if the machine stops half-way.

    Raises:
        OSError: It cannot be written: see its message.
    """
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder, and a file was to be written there; name a file.")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            why = error.strerror or error
            raise type(error)(f"{path} cannot be written ({why}); make room or way for it, or name another.") from None
        raise

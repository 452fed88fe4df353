"""Tensors that are computed once, and kept in a file."""

from collections.abc import Callable
from pathlib import Path

from safetensors.torch import load_file, save
from torch import Tensor

from quickstudy.atomic import write_atomically


def once(path: Path, make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """What the file holds; where there is none, what is made is written to it, whole or not at all."""
    if not path.exists():
        write_atomically(path, save({name: tensor.contiguous() for name, tensor in make().items()}))
    return load_file(path)

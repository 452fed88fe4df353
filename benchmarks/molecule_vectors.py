"""Molecules of assays as vectors, computed once and kept in a folder."""

from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor

import quickstudy as qs
from quickstudy.encoders.molecules import MoleculeEncoder, readable


def encoded(assays: qs.Assays, kept: Path, file: str) -> tuple[Tensor, qs.Assays]:
    """The vectors of the molecules, and the assays, without the handful that RDKit cannot read."""
    path = kept / f"{file}.safetensors"
    if not path.exists():
        known = readable(assays.smiles)
        kept.mkdir(parents=True, exist_ok=True)
        save_file({"x": MoleculeEncoder()(assays.keep(known).smiles), "known": known}, path)
    found = load_file(path)
    return found["x"], assays.keep(found["known"])

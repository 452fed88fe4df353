"""Molecules of assays as vectors, computed once and kept in a folder."""

import hashlib
from pathlib import Path

from once import once
from torch import Tensor

import quickstudy as qs
from quickstudy.encoders.molecules import MoleculeEncoder, readable


def encoded(assays: qs.Assays, kept: Path, file: str) -> tuple[Tensor, qs.Assays]:
    """The vectors of the molecules, and the assays, without the handful that RDKit cannot read."""

    def vectors() -> dict[str, Tensor]:
        known = readable(assays.smiles)
        return {"x": MoleculeEncoder()(assays.keep(known).smiles), "known": known}

    key = hashlib.sha256("\n".join(assays.smiles).encode()).hexdigest()[:12]
    found = once(kept / f"{file}-{key}.safetensors", vectors)
    return found["x"], assays.keep(found["known"])

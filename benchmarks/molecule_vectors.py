"""Molecules of assays as vectors, computed once and kept in a folder."""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import quickstudy as qs
from quickstudy.encoders.molecules import MoleculeEncoder


def encoded(assays: qs.Assays, kept: Path, file: str) -> tuple[Tensor, qs.Assays]:
    """The vectors of the molecules, and the assays, without the handful that RDKit cannot read."""
    path = kept / f"{file}.safetensors"
    if not path.exists():
        encode, x, known = MoleculeEncoder(), [], []
        for place, smiles in enumerate(assays.smiles):
            try:
                x.append(encode([smiles])[0])
                known.append(place)
            except ValueError:
                continue
        kept.mkdir(parents=True, exist_ok=True)
        save_file({"x": torch.stack(x), "known": torch.tensor(known)}, path)
    found = load_file(path)
    return found["x"], assays.keep(found["known"])

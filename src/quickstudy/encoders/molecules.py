"""Molecules as vectors: how often each of their fragments occurs, and what they weigh, carry and dissolve like."""

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.stats import entropy
from torch import Tensor

from quickstudy.encoders.kept import Kept
from quickstudy.encoders.wrong_item import WrongItem

BITS, RADIUS, DESCRIPTORS = 2048, 2, 217
"""Of the fingerprint, its length and radius; and the number of RDKit's descriptors."""
LARGE = 200
"""Atoms above which the characteristic polynomial is not RDKit's: that takes a time of their fourth power."""


def readable(molecules: Sequence[str]) -> Int[Tensor, " readable"]:
    """The numbers of those SMILES that RDKit reads as molecules: the encoder takes no others.

    Raises:
        ImportError: RDKit is not installed.
    """
    MoleculeEncoder()
    from rdkit.Chem import MolFromSmiles

    read = [smiles.strip() != "" and MolFromSmiles(smiles) is not None for smiles in molecules]
    return torch.tensor(read, dtype=torch.bool).nonzero()[:, 0]


class MoleculeEncoder:
    """Morgan fingerprints with counts (Rogers & Hahn, 2010), followed by RDKit's descriptors on a logarithmic scale.

    https://doi.org/10.1021/ci100050t

    Raises:
        ImportError: RDKit is not installed.
    """

    def __init__(self):
        try:
            from rdkit import RDLogger
            from rdkit.Chem import Descriptors, rdFingerprintGenerator
        except ImportError:
            raise ImportError("molecules need RDKit: pip install 'quickstudy[molecules]'.") from None
        RDLogger.DisableLog("rdApp.*")  # pyright: ignore[reportAttributeAccessIssue]
        self.fingerprints = rdFingerprintGenerator.GetMorganGenerator(radius=RADIUS, fpSize=BITS)
        quick = {"Ipc": partial(information, average=False), "AvgIpc": partial(information, average=True)}
        self.descriptors = [quick.get(name) or compute for name, compute in Descriptors.descList]
        self.kept = Kept(self._embed)

    def __reduce__(self) -> tuple[type, tuple]:
        return type(self), ()  # RDKit's generator cannot be pickled: it is made anew

    def __call__(self, molecules: Sequence[Any]) -> Float[Tensor, "molecule d"]:
        """Vectors of molecules given as SMILES: 2,048 counts, then the descriptors.

        Raises:
            WrongItem: An item that is no SMILES of a molecule.
        """
        from rdkit.Chem import MolFromSmiles

        read = []
        for place, smiles in enumerate(molecules):
            molecule = MolFromSmiles(smiles) if isinstance(smiles, str) and smiles.strip() else None
            if molecule is None:
                raise WrongItem(place, f"{smiles!r} is no SMILES of a molecule. Leave it out, or mend it.")
            read.append(molecule)
        return self.kept(read, [smiles.encode() for smiles in molecules])

    def _embed(self, molecules: Sequence[Any]) -> Float[Tensor, "molecule d"]:
        counts = np.stack([self.fingerprints.GetCountFingerprintAsNumPy(molecule) for molecule in molecules])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # some descriptors are not defined for some molecules, and become NaN
            told = np.array([[told_by(compute, m) for compute in self.descriptors] for m in molecules], float)
        told = np.nan_to_num(told, nan=0, posinf=0, neginf=0)
        return torch.from_numpy(np.concatenate([counts, np.sign(told) * np.log1p(np.abs(told))], 1)).float()


def information(molecule: Any, average: bool) -> float:
    """RDKit's Ipc and AvgIpc: the information content of the coefficients of a molecule's characteristic polynomial.

    Bonchev & Trinajstic (1977), eqs. 6 and 7. https://doi.org/10.1063/1.434593

    The coefficients of a large molecule are interpolated from values on the unit circle, where these are products over
    eigenvalues: errors are then small beside the coefficients' sum.
    """
    from rdkit.Chem import GetAdjacencyMatrix
    from rdkit.Chem.GraphDescriptors import Ipc

    if molecule.GetNumAtoms() <= LARGE:
        return Ipc(molecule, avg=average)
    roots = np.linalg.eigvalsh(GetAdjacencyMatrix(molecule).astype(float))
    circle = np.exp(2j * np.pi * np.arange(len(roots) + 1) / (len(roots) + 1))
    with np.errstate(divide="ignore", over="ignore"):
        logs = np.log(circle[:, None] - roots).sum(1)
        scale = logs.real.max()
        coefficients = np.abs(np.fft.ifft(np.exp(logs - scale)))
        total = 1.0 if average else np.exp(scale) * coefficients.sum()
    return float(entropy(coefficients, base=2) * total)


def told_by(descriptor: Callable[[Any], int | float], molecule: Any) -> int | float:
    """What a descriptor tells of a molecule; NaN where it divides by its number of heavy atoms, and there are none."""
    try:
        return descriptor(molecule)
    except ZeroDivisionError:
        return float("nan")

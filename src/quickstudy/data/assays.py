"""Assays of molecules: which compounds were measured in each, and which were active."""

import csv
import gzip
import io
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from quickstudy.data.files import data_directory
from quickstudy.seeds import seeded

PLACES = ("", "molecules", "moleculenet")
TESTS = {"tox21": 3, "sider": 6, "muv": 5}
"""MoleculeNet's data, and on how many assays, the last ones, the literature tests (Altae-Tran et al., 2017)."""
NO_ASSAY = ("smiles", "mol_id")
ACTIVE = {"0": 0, "1": 1, "0.0": 0, "1.0": 1}


class Assay(NamedTuple):
    """One assay: what was measured in it.

    Args:
        name: Of the assay.
        molecules: The numbers of the molecules that were measured.
        active: Whether each was active: 1, else 0.
    """

    name: str
    molecules: Int[Tensor, " measured"]
    active: Int[Tensor, " measured"]


@dataclass(frozen=True)
class Assays:
    """Molecules, and assays to train on, to choose settings on and to test on.

    Args:
        name: Of the data.
        smiles: The molecules.
        train: Assays to train on.
        validation: Assays to choose settings on; where the source names none, see `to_choose`.
        test: Assays to test on.
    """

    name: str
    smiles: Sequence[str]
    train: tuple[Assay, ...]
    validation: tuple[Assay, ...]
    test: tuple[Assay, ...]

    def to_choose(self, count: int = 2) -> "Assays":
        """The same without its tests: the validation assays, or else the last training assays, are tested on.

        Raises:
            ValueError: So many assays are not there to be held out.
        """
        if self.validation:
            return replace(self, validation=(), test=self.validation)
        if not 1 <= count < len(self.train):
            raise ValueError(f"{count} of the {len(self.train)} training assays cannot be held out; some must remain.")
        return replace(self, train=self.train[:-count], test=self.train[-count:])

    def apart(self, share: float = 0.5, seed: int = 0) -> "Assays":
        """The same, but a random share of the molecules is for training alone, and the others for all else.

        Else most molecules of a test are known from training assays: what is active in one is often so in others.

        Raises:
            ValueError: No share between 0 and 1.
        """
        if not 0 < share < 1:
            raise ValueError(f"the share of molecules to train on lies between 0 and 1; it is {share}.")
        training = torch.rand(len(self.smiles), generator=seeded(seed, "molecules")) < share
        numbers = torch.arange(len(self.smiles))
        train = tuple(measured(one, numbers.where(training, -1)) for one in self.train)
        parts = (self.validation, self.test)
        validation, test = (tuple(measured(one, numbers.where(~training, -1)) for one in part) for part in parts)
        return replace(self, train=train, validation=validation, test=test)

    def keep(self, molecules: Int[Tensor, " molecule"]) -> "Assays":
        """The same of some molecules alone, given by number; they are numbered anew in the order given."""
        numbers = torch.full([len(self.smiles)], -1)
        numbers[molecules] = torch.arange(len(molecules))
        parts = (self.train, self.validation, self.test)
        train, validation, test = (tuple(measured(one, numbers) for one in part) for part in parts)
        smiles = [str(self.smiles[number]) for number in molecules.tolist()]
        return Assays(self.name, smiles, train, validation, test)


def measured(assay: Assay, numbers: Int[Tensor, " molecule"]) -> Assay:
    """The assay with new numbers of its molecules, without those whose new number is -1."""
    new = numbers[assay.molecules]
    return Assay(assay.name, new[new >= 0], assay.active[new >= 0])


def molecule_net(name: str, data_dir: str | Path | None = None) -> Assays:
    """Tox21's, SIDER's or MUV's assays (Wu et al., 2018), of which the last 3, 6 or 5 are tested on.

    Nothing is downloaded. https://doi.org/10.1039/C7SC02664A

    Args:
        name: "tox21": 7,831 molecules and 12 assays of toxicity; "sider": 1,427 drugs and 27 groups of side effects;
            "muv": 93,087 compounds and 17 assays, with some 30 actives each. Rows of one SMILES are one molecule; in
            assays in which they disagree, it was not measured.
        data_dir: A folder that holds NAME.csv.gz or NAME.csv, or a folder molecules or moleculenet with it; the
            variable QUICKSTUDY_DATA unless given.

    Raises:
        FileNotFoundError: No folder, or not the file.
        ValueError: Another name, a row that is none of such a file, or too few assays.
    """
    if name not in TESTS:
        raise ValueError(f"MoleculeNet's assays are those of {', '.join(TESTS)}; not {name!r}.")
    folder = data_directory(data_dir)
    places = [folder / place / f"{name}.csv{end}" for place in PLACES for end in (".gz", "")] if folder else []
    path = next((path for path in places if path.is_file()), None)
    if path is None:
        raise FileNotFoundError(
            f"{name}.csv.gz is not in {folder or 'any folder, as none was named'}. Fetch it from MoleculeNet "
            f"(https://moleculenet.org/datasets-1), and name its folder by --data-dir or QUICKSTUDY_DATA."
        )
    smiles, assays = table(path)
    if len(assays) <= TESTS[name]:
        raise ValueError(f"{path} has {len(assays)} assays; the last {TESTS[name]} are tested on, and more are needed.")
    return Assays(name, smiles, assays[: -TESTS[name]], (), assays[-TESTS[name] :])


def table(path: Path) -> tuple[list[str], tuple[Assay, ...]]:
    """The molecules and assays of a file with a column `smiles`, and one of 0, 1 or nothing for each assay.

    Raises:
        ValueError: No such file.
    """
    rows = [*of_lines(path, lambda lines: csv.DictReader(lines))]
    if not rows or "smiles" not in rows[0]:
        raise ValueError(f"{path} has no column 'smiles', or no rows. Needed is a row for each molecule.")
    for number, row in enumerate(rows, 2):
        if None in row or None in row.values() or not row["smiles"]:
            raise ValueError(f"{path}, row {number} has too few or too many values, or no SMILES. Mend it, or drop it.")
    names = [name for name in rows[0] if name not in NO_ASSAY]
    known: dict[str, int] = {}
    numbers = [known.setdefault(row["smiles"], len(known)) for row in rows]
    assays = []
    for name in names:
        told = [(number, row[name]) for number, row in enumerate(rows) if row[name] != ""]
        wrong = next((row for row in told if row[1] not in ACTIVE), None)
        if wrong:
            raise ValueError(
                f"{path}, row {wrong[0] + 2}: {name} is {wrong[1]!r}; needed is 1 (active), 0 (inactive) or nothing."
            )
        assays.append(agreed(name, ((numbers[row], ACTIVE[value]) for row, value in told)))
    return [*known], tuple(assays)


def agreed(name: str, told: Iterable[tuple[int, int]]) -> Assay:
    """The assay of measurements, molecule and answer: each molecule once, without those with both answers."""
    answers: dict[int, int | None] = {}
    for molecule, active in told:
        answers[molecule] = active if answers.setdefault(molecule, active) == active else None
    measurements = torch.tensor([pair for pair in answers.items() if pair[1] is not None], dtype=torch.long)
    return Assay(name, *measurements.view(-1, 2).unbind(1))


def of_lines(path: Path, read: Callable[[io.TextIOBase], Iterator]) -> Iterator:
    """What is read from the lines of a text file, gzipped if its name ends so.

    Raises:
        ValueError: A broken file.
    """
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8-sig", newline="") as lines:
            yield from read(lines)
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} cannot be read ({type(error).__name__}: {error}). Fetch it again.") from None

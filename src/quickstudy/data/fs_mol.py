"""FS-Mol, thousands of small assays from ChEMBL (Stanley et al., 2021). https://openreview.net/forum?id=701FtuyLlAd"""

import gzip
import json
import zlib
from collections.abc import Iterable
from pathlib import Path

from quickstudy.data.assays import Assay, Assays, agreed, of_lines
from quickstudy.data.files import data_directory

PARTS = ("train", "valid", "test")
PLACES = ("", "fs-mol", "FS-Mol")
END = ".jsonl.gz"


def fs_mol(data_dir: str | Path | None = None, listed: str | Path | None = None) -> Assays:
    """The assays of FS-Mol's own files: folders train, valid and test, which hold ASSAY.jsonl.gz.

    Of each line the keys SMILES and Property (1 is active) are read. Nothing is downloaded: the files are 1.5 GB.

    Args:
        data_dir: A folder that holds these folders, or a folder fs-mol with them; the variable QUICKSTUDY_DATA unless
            given.
        listed: A file of FS-Mol's lists, such as fsmol-0.1.json: of each folder, the assays to read; all unless given.

    Raises:
        FileNotFoundError: No folder, no assay in it, or one that is listed and absent.
        ValueError: A file that is none of such.
    """
    folder = data_directory(data_dir)
    places = [folder / place for place in PLACES] if folder else []
    root = next((place for place in places if all((place / part).is_dir() for part in PARTS)), None)
    if root is None:
        raise FileNotFoundError(
            f"FS-Mol's folders train, valid and test are not in {folder or 'any folder, as none was named'}. Unpack "
            f"fsmol.tar of https://github.com/microsoft/FS-Mol, and name the folder with --data-dir or the variable "
            f"QUICKSTUDY_DATA."
        )
    lists = lists_of(Path(listed)) if listed else None
    known: dict[str, int] = {}
    train, validation, test = (
        tuple(assay(path, known) for path in paths(root / part, lists and lists[part])) for part in PARTS
    )
    return Assays("FS-Mol", [*known], train, validation, test)


def lists_of(path: Path) -> dict[str, list[str]]:
    """Names of assays by folder.

    Raises:
        ValueError: No such lists.
    """
    try:
        lists = json.loads(gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_text())
        return {part: [str(name) for name in lists[part]] for part in PARTS}
    except (ValueError, KeyError, TypeError, OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path} has no lists of {', '.join(PARTS)} ({type(error).__name__}: {error}).") from None


def paths(folder: Path, names: Iterable[str] | None) -> list[Path]:
    """The files of assays in a folder, in the order of their names.

    Raises:
        FileNotFoundError: None, or one that is listed is absent.
    """
    wanted = sorted(folder.glob(f"*{END}")) if names is None else [folder / f"{name}{END}" for name in sorted(names)]
    if names is not None and not wanted:
        raise FileNotFoundError(f"the lists name no assay of {folder.name}. Fetch them again.")
    absent = next((path for path in wanted if not path.is_file()), None)
    if absent or not wanted:
        raise FileNotFoundError(f"{absent or folder / f'*{END}'} is not there. Unpack FS-Mol's files again.")
    return wanted


def assay(path: Path, known: dict[str, int]) -> Assay:
    """The assay of one file; its molecules are numbered, and those that are new are added.

    Raises:
        ValueError: A line without SMILES or Property, or no lines.
    """
    told = []
    for place, line in enumerate(of_lines(path, iter), 1):
        try:
            row = json.loads(line)
            told.append((known.setdefault(row["SMILES"], len(known)), {0.0: 0, 1.0: 1}[float(row["Property"])]))
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{path}, line {place} is none of FS-Mol's ({type(error).__name__}: {error}); needed are SMILES and "
                f"Property, which is 1 or 0."
            ) from None
    if not told:
        raise ValueError(f"{path} is empty. Unpack FS-Mol's files again.")
    return agreed(path.name.removesuffix(END), told)

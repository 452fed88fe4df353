"""Small real tables of the Penn Machine Learning Benchmarks (Olson et al., 2017), each a classification of its rows.

https://arxiv.org/abs/1703.00512
"""

import gzip
import io
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple
from zlib import error as ZlibError  # noqa: N812 (an exception's usual name)

import numpy as np
from jaxtyping import Float, Int

from quickstudy.data.files import data_directory

SUFFIX = ".tsv.gz"
SPLITS = {
    "train": (
        "analcatdata_asbestos", "analcatdata_boxing2", "analcatdata_creditscore", "analcatdata_cyyoung8092",
        "analcatdata_cyyoung9302", "analcatdata_lawsuit", "balance_scale", "cmc", "collins", "glass2", "iris", "irish",
        "mfeat_pixel", "page_blocks", "postoperative_patient_data", "profb", "satimage", "segmentation", "sonar",
        "soybean", "tae", "tokyo1", "wine_recognition",
    ),
    "test": (
        "agaricus_lepiota", "allbp", "analcatdata_dmft", "australian", "backache", "biomed", "breast_cancer",
        "breast_w", "calendarDOW", "car_evaluation", "cars", "dis", "ecoli", "haberman", "heart_h", "ionosphere",
        "krkopt", "lupus", "mfeat_morphological", "titanic", "vowel", "wine_quality_white", "yeast",
    ),
}  # fmt: skip
"""Of 46 tables; mfeat_pixel and mfeat_morphological describe the same digits, by other columns."""


class Table(NamedTuple):
    """A table's columns as numbers, the class of each row as a number from 0, and its name."""

    name: str
    x: Float[np.ndarray, "row column"]
    y: Int[np.ndarray, " row"]


def tables(data_dir: str | Path | None = None) -> tuple[list[Table], list[Table]]:
    """Tables to meta-train on, and others to test on.

    Args:
        data_dir: A folder that holds each NAME.tsv.gz of the benchmark, somewhere in it or in a tar file; the variable
            QUICKSTUDY_DATA unless given.

    Raises:
        FileNotFoundError: No folder, or a table that is not in it.
        ValueError: A file that is no such table.
    """
    folder = data_directory(data_dir)
    if folder is None:
        raise FileNotFoundError(
            "which folder holds the tables? Clone github.com/EpistasisLab/pmlb, and name the clone with --data-dir or "
            "the variable QUICKSTUDY_DATA."
        )
    found = dict(files(folder))
    for name in (name for names in SPLITS.values() for name in names):
        if name not in found:
            raise FileNotFoundError(f"{name}{SUFFIX} is not in {folder}, nor in a tar file there.")
    train, test = ([read_table(name, found[name]) for name in names] for names in SPLITS.values())
    return train, test


def files(folder: Path) -> Iterator[tuple[str, bytes]]:
    """The compressed tables of a folder by name, those in tar files too."""
    wanted = {f"{name}{SUFFIX}" for names in SPLITS.values() for name in names}
    for path in sorted(folder.rglob(f"*{SUFFIX}")):
        if path.name in wanted:
            yield path.name.removesuffix(SUFFIX), path.read_bytes()
    for path in sorted(folder.rglob("*.tar")):
        try:
            with tarfile.open(path) as archive:
                for member in archive:
                    file = archive.extractfile(member) if Path(member.name).name in wanted else None
                    if file is not None:
                        yield Path(member.name).name.removesuffix(SUFFIX), file.read()
        except tarfile.TarError as error:
            said = str(error).partition(":")[0]  # what each kind of compression has to say would follow
            raise ValueError(f"{path} is no whole tar file ({said}). Fetch it again, or put it elsewhere.") from None


def read_table(name: str, compressed: bytes) -> Table:
    """One table: tab-separated numbers under names of columns, of which one is the target.

    Raises:
        ValueError: Something else.
    """
    try:
        lines: Iterable[str] = io.StringIO(gzip.decompress(compressed).decode())
        columns = next(iter(lines)).rstrip("\n").split("\t")
        rows = np.array([[float(value) for value in line.split("\t")] for line in lines])
        target = columns.index("target")
        return Table(name, np.delete(rows, target, 1), np.unique(rows[:, target], return_inverse=True)[1])
    except (OSError, EOFError, ZlibError, ValueError, StopIteration, IndexError) as error:
        raise ValueError(f"{name}{SUFFIX} is no table of numbers with a target ({error}). Fetch it again.") from None

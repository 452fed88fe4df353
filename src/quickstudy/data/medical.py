"""Pictures of three clinics, as MetaMed has them (Singh et al., 2021): breast tissue, skin lesions, cervical smears.

https://doi.org/10.1016/j.patcog.2021.108111
"""

import csv
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch

from quickstudy.data.files import data_directory, open_zip, read_image, read_member
from quickstudy.data.labelled import LabelledData

FEW = 4
"""Origins that a class needs to be tested on: with fewer, few ways are left to keep support and query apart."""
RARE = 3
"""How many classes are tested on."""


class Source(NamedTuple):
    """Where pictures come from.

    Args:
        title: In tables.
        places: What may hold them, the first of which that is there is read: zips or folders.
        pictures: What the path of a picture may match, with the groups "label" and "origin", or with "image", by which
            the table knows it.
        table: A file that tells the classes and origins, where paths do not.
        home: Where they are to be had.
    """

    title: str
    places: tuple[tuple[str, ...], ...]
    pictures: tuple[str, ...]
    table: str | None
    home: str


TUMOURS = (
    "adenosis|fibroadenoma|phyllodes_tumor|tubular_adenoma|"
    "ductal_carcinoma|lobular_carcinoma|mucinous_carcinoma|papillary_carcinoma"
)
SOURCES: Mapping[str, Source] = {
    "breakhis": Source(
        "BreakHis, 200x",
        (("breakhis200x_224.zip",), ("BreaKHis_v1",)),
        (
            rf"/(?P<label>{TUMOURS})/SOB_.*/200X/SOB_\w+-\d+-(?P<origin>\d+)[A-Z]*-200-\d+\.png$",
            rf"/(?P<label>{TUMOURS})/[a-z]+_(?P<origin>\d+)[A-Z]*_\d+\.jpg$",
        ),
        None,
        "https://web.inf.ufpr.br/vri/databases/breast-cancer-histopathological-database-breakhis",
    ),
    "ham10000": Source(
        "HAM10000",
        (("ham10000_224_cap200.zip",), ("HAM10000_images_part_1.zip", "HAM10000_images_part_2.zip"), ("HAM10000",)),
        (r"(?:^|/)(?P<image>ISIC_\d+)\.jpg$",),
        "HAM10000_metadata.csv",
        "https://doi.org/10.7910/DVN/DBW86T",
    ),
    "herlev": Source(
        "Herlev",
        (("herlev_papsmear.zip",), ("smear2005.zip",), ("smear2005",)),
        (r"/(?P<label>(?:carcinoma_in|light|moderate|severe|normal)_\w+)/(?P<origin>\d+)-[\d-]+\.(?:jpg|BMP)$",),
        None,
        "https://mde-lab.aegean.gr/index.php/downloads",
    ),
}


class Medical(NamedTuple):
    """Classes to learn from, and classes to be tested on."""

    common: LabelledData
    rare: LabelledData


def medical(source: str, data_dir: str | Path | None = None, *, size: int = 84) -> Medical:
    """Pictures of one clinic: its common classes, and the three rarest ones, of which a clinic has few cases.

    Rarest by their number of pictures, among those whose pictures come from at least four origins: else whoever is
    learned from is asked about too. Origins are patients ("breakhis": the numbers of slides, without the letters that
    follow some), lesions ("ham10000"), or photographs of which several cells were cut ("herlev", from the names of
    files). Of common classes those pictures are left out whose origin has pictures of a rare one.

    Args:
        source: "breakhis" (breast tumours, 8 types; Spanhol et al., 2016), "ham10000" (skin lesions, 7 diagnoses;
            Tschandl et al., 2018) or "herlev" (cervical cells, 7 classes; Jantzen et al., 2005).
        data_dir: The folder that holds the source's zip or what it unpacks to, or that has a folder `medical` which
            does; else the variable QUICKSTUDY_DATA.
        size: Height and width that pictures are resized to, in pixels.

    Raises:
        ValueError: No such source, pictures without a class, or a broken file.
        FileNotFoundError: The folder does not hold it, or none is named: there is nothing to download it from.
    """
    if source not in SOURCES:
        raise ValueError(f"no medical source {source!r}; there are {', '.join(SOURCES)}.")
    about = SOURCES[source]
    folder = data_directory(data_dir)
    if folder is None:
        raise FileNotFoundError(
            f"name the folder of {about.title} by data_dir or QUICKSTUDY_DATA; it is at {about.home}."
        )
    paths = find(about, folder)
    return divided(read(about, paths, size))


def find(about: Source, folder: Path) -> list[Path]:
    """The zips or the folder that hold a source's pictures."""
    for place in (folder, folder / "medical"):
        for names in about.places:
            if all((place / name).exists() for name in names):
                return [place / name for name in names]
    looked = ", ".join(" and ".join(names) for names in about.places)
    raise FileNotFoundError(
        f"no {about.title} in {folder}, nor in its folder medical; looked for {looked}: {about.home}"
    )


def told(about: Source, folder: Path) -> Callable[[re.Match], tuple[str, str]]:
    """What tells the class and the origin of a picture: its path, or a table beside it."""
    if about.table is None:
        return lambda match: (match["label"], match["origin"])
    path = folder / about.table
    if not path.is_file():
        raise FileNotFoundError(f"{about.table} tells the classes of {about.title}, and is not in {folder}.")
    with path.open(newline="", encoding="utf-8-sig") as file:
        table = csv.DictReader(file)
        if lacking := {"image_id", "dx", "lesion_id"} - set(table.fieldnames or ()):
            raise ValueError(f"{path} has no column {min(lacking)!r}, separated by commas. Fetch it again.")
        rows = {row["image_id"]: (row["dx"], row["lesion_id"]) for row in table}

    def diagnosis(match: re.Match) -> tuple[str, str]:
        if match["image"] not in rows:
            raise ValueError(f"{path} tells no class of {match['image']}; fetch both again.")
        return rows[match["image"]]

    return diagnosis


def read(about: Source, paths: list[Path], size: int) -> LabelledData:
    """All pictures of a source."""
    pictures, labels, origins = [], [], []
    tell, seen = told(about, paths[0].parent), set()
    for name, content in contents(paths, about.title):
        file = Path(name).name  # which archives hold twice, in folders whose names differ by capitals
        match = next(filter(None, (re.search(picture, name) for picture in about.pictures)), None)
        if match and not (about.table and file in seen):
            seen.add(file)
            label, origin = tell(match)
            pictures.append(read_image(content(), name, size, "RGB"))
            labels.append(label)
            origins.append(origin)
    if not pictures:
        raise ValueError(f"{paths[0]} holds no picture of {about.title}; needed as it comes from {about.home}.")
    classes, known = sorted(set(labels)), {origin: n for n, origin in enumerate(sorted(set(origins)))}
    y = torch.tensor([classes.index(name) for name in labels])
    numbers = torch.tensor([known[origin] for origin in origins])
    return LabelledData(about.title, torch.stack(pictures), y, tuple(classes), origins=numbers)


def contents(paths: list[Path], needed: str) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """The names of all files in zips or folders, with what reads each."""
    for path in paths:
        if path.is_dir():
            for file in sorted(file for file in path.rglob("*") if file.is_file()):
                yield file.as_posix(), file.read_bytes
        else:
            with open_zip(path, needed) as archive:
                for name in sorted(archive.namelist()):
                    yield name, partial(read_member, archive, name)


def divided(data: LabelledData) -> Medical:
    """Its common and its rare classes."""
    assert data.origins is not None
    of_each = [len(data.origins[data.y == c].unique()) for c in range(len(data.classes))]
    rising = sorted(range(len(data.classes)), key=lambda c: (int(data.counts[c]), c))
    rare = data.select([c for c in rising if of_each[c] >= FEW][:RARE], f"{data.name}, rare")
    assert rare.origins is not None
    free = ~torch.isin(data.origins, rare.origins)
    rest = replace(data, x=data.x[free], y=data.y[free], origins=data.origins[free])
    common = [c for c in rising[::-1] if data.classes[c] not in rare.classes and rest.counts[c]]
    return Medical(rest.select(common, f"{data.name}, common"), rare)

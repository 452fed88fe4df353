"""MovieLens, ratings of films by people (Harper & Konstan, 2015). https://doi.org/10.1145/2827872"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch

from quickstudy.data.files import data_directory
from quickstudy.data.ratings import Ratings

PLACES = ("", "movielens", "ml-100k", "ml-1m")
GENRES = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
    "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip
AGES = (18, 25, 35, 45, 50, 56)
"""Where MovieLens-1M's groups of ages begin, but for the first; the ages of the other are put into the same."""
DECADES = range(1920, 2000, 10)
"""Films from before the first are counted to it, and films from after the last to that one."""


class Layout(NamedTuple):
    """Files of one edition: their names, what separates their fields, and where the fields are.

    Args:
        files: Of ratings, of users, of films.
        separators: Of each file.
        user: Places of gender, age, occupation and zip code, in a line of a user.
        heads: Whether the first line of a file names its fields.
    """

    files: tuple[str, str, str]
    separators: tuple[str, str, str]
    user: tuple[int, int, int, int]
    heads: bool = False


LAYOUTS: dict[str, tuple[Layout, ...]] = {
    "100k": (
        Layout(("u.data", "u.user", "u.item"), ("\t", "|", "|"), (2, 1, 3, 4)),
        Layout(("ml-100k.inter", "ml-100k.user", "ml-100k.item"), ("\t", "\t", "\t"), (2, 1, 3, 4), heads=True),
    ),
    "1m": (Layout(("ratings.dat", "users.dat", "movies.dat"), ("::", "::", "::"), (1, 2, 3, 4)),),
}
"""GroupLens's own files, and for 100k RecBole's atomic files of the same ratings too."""


def movielens(data_dir: str | Path | None = None, size: str = "100k") -> Ratings:
    """The ratings of one edition, with what it tells of users and films.

    Of a user these are gender, group of age, occupation and the first character of the zip code; of a film its decade
    and its genres. Nothing is downloaded: the terms ask everyone to fetch the files, and not to pass them on.

    Args:
        data_dir: A folder that holds the unpacked files, or a folder movielens, ml-100k or ml-1m with them; the
            variable QUICKSTUDY_DATA unless given.
        size: "100k": 100,000 ratings by 943 users of 1,682 films; "1m": 1,000,209 by 6,040 of 3,883.

    Raises:
        FileNotFoundError: No folder, or not its files.
        ValueError: Another size, or a line that is none of such a file.
    """
    if size not in LAYOUTS:
        raise ValueError(f"the size of MovieLens is one of {', '.join(LAYOUTS)}; not {size!r}.")
    folder = data_directory(data_dir)
    for layout in LAYOUTS[size]:
        for place in [folder / name for name in PLACES] if folder else []:
            if all((place / name).is_file() for name in layout.files):
                return read(place, layout, f"MovieLens-{size}")
    wanted = " or ".join(", ".join(layout.files) for layout in LAYOUTS[size])
    raise FileNotFoundError(
        f"MovieLens-{size} is not in {folder or 'any folder, as none was named'}: needed are {wanted}. Unpack "
        f"ml-{size}.zip of https://grouplens.org/datasets/movielens/ and name the folder with --data-dir or the "
        f"variable QUICKSTUDY_DATA."
    )


def read(folder: Path, layout: Layout, name: str) -> Ratings:
    """The ratings in a folder of this layout.

    Raises:
        ValueError: A line that is none of such a file, or a rating by nobody, or of nothing.
    """
    rated, people, films = (
        [*lines(folder / file, separator, layout.heads)]
        for file, separator in zip(layout.files, layout.separators, strict=True)
    )
    try:
        users = {fields[0]: [fields[place] for place in layout.user] for fields in people}
        items = {fields[0]: film(fields) for fields in films}
        user_of, item_of = ({key: number for number, key in enumerate(keys)} for keys in (users, items))
        rows = [(user_of[user], item_of[item], stars(value)) for user, item, value, *_ in rated]
        groups = [str(sum(int(age) >= begin for begin in AGES)) for _, age, *_ in users.values()]
        user, item, value = zip(*rows, strict=True)
    except (KeyError, IndexError, ValueError) as error:
        raise ValueError(
            f"{folder} holds {', '.join(layout.files)}, but not as MovieLens has them ({type(error).__name__}: "
            f"{error}). Unpack them again."
        ) from None
    genders, _, occupations, zips = zip(*users.values(), strict=True)
    known = (genders, groups, occupations, [code[:1] for code in zips])  # of users; of their region the first digit
    titles, years, genres = zip(*items.values(), strict=True)
    return Ratings(
        name,
        torch.tensor(user),
        torch.tensor(item),
        torch.tensor(value),
        torch.stack([codes(list(words)) for words in known], 1),
        torch.tensor([[decade(year)] for year in years]),
        torch.tensor([[genre in those for genre in GENRES] for those in genres]),
        torch.tensor(years),
        titles,
        GENRES,
    )


def stars(value: str) -> float:
    """A rating.

    Raises:
        ValueError: What is none of 0.5 to 5 stars.
    """
    if not 0.5 <= float(value) <= 5:
        raise ValueError(f"a rating of {value}")
    return float(value)


def lines(path: Path, separator: str, head: bool) -> Iterator[list[str]]:
    """The fields of each line."""
    content = path.read_text(encoding="utf-8" if head else "latin-1").splitlines()
    return (line.split(separator) for line in content[head:] if line)


def film(fields: list[str]) -> tuple[str, int, set[str]]:
    """Title, year (0 where nobody knows) and genres, from the line of a film in any of the layouts.

    Raises:
        ValueError: No such line.
    """
    year = re.search(r"\((\d{4})\)\s*$", fields[1])
    title = fields[1][: year.start()].strip() if year else fields[1]
    if len(fields) == 3:  # id, title (year), genre|genre
        return title, int(year[1]) if year else 0, set(fields[2].split("|"))
    if len(fields) == 4:  # id, title, year, genre genre
        told = fields[2] if fields[2].isdigit() else year[1] if year else "0"
        return title, int(told), set(fields[3].split(" "))
    flags = fields[5:]  # id, title (year), two dates, address, flags
    return title, int(year[1]) if year else 0, {name for name, flag in zip(GENRES, flags, strict=True) if flag == "1"}


def decade(year: int) -> int:
    """A number from 1 for each decade, and 0 for an unknown year."""
    return 0 if not year else 1 + DECADES.index(min(max(year, DECADES[0]) // 10 * 10, DECADES[-1]))


def codes(words: list[str]) -> torch.Tensor:
    """A number from 1 for each different word, in the order of the alphabet."""
    known = {word: number for number, word in enumerate(sorted(set(words)), 1)}
    return torch.tensor([known[word] for word in words])

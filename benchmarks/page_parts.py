"""Pages of docs/ whose tables are written into their places: between two comments with a table's name."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from quickstudy.atomic import write_atomically

DOCS = Path(__file__).parent.parent / "docs"


def results(paths: Mapping[str, Path], missing: str) -> dict[str, dict]:
    """What was written of each method, by its name; methods without a file are left out.

    Raises:
        FileNotFoundError: Nothing was; its message is `missing`.
    """
    found = {name: json.loads(path.read_text()) for name, path in paths.items() if path.exists()}
    if not found:
        raise FileNotFoundError(missing)
    return found


def in_common(abouts: Mapping[str, dict], key: str) -> None:
    """Leaves out of each method's parts under this key, such as folds, those that not all methods have."""
    common = set.intersection(*(set(about[key]) for about in abouts.values()))
    for about in abouts.values():
        about[key] = {part: about[key][part] for part in sorted(common)}


def machines(abouts: Iterable[dict]) -> str:
    """Those that the rows of a table were made on."""
    return ", ".join(sorted({about["machine"] for about in abouts}))


def on_the_same(abouts: Mapping[str, dict]) -> None:
    """Sees to it that all methods were tested on the same tasks, which other machines may round otherwise.

    Raises:
        ValueError: One was not, so that its row cannot be compared.
    """
    first, *others = abouts
    for name in others:
        if abouts[name]["hash"] != abouts[first]["hash"]:
            raise ValueError(f"{name} was tested on other tasks than {first}; run both on one machine.")


def fill(page: Path, parts: Mapping[str, str]) -> None:
    """Puts each part between `<!-- NAME -->` and `<!-- end of NAME -->`, in place of what is there.

    Raises:
        ValueError: A page without such a place; nothing is written.
    """
    text = page.read_text()
    for name, part in parts.items():
        begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
        if begin not in text or end not in text:
            raise ValueError(f"{page} has no place between {begin} and {end}; put these two lines where it shall be.")
        before, after = text.split(begin)[0], text.split(end)[1]
        text = f"{before}{begin}\n{part}\n{end}{after}"
    write_atomically(page, text.encode())

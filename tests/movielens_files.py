"""Small files in the layouts of MovieLens, with made-up ratings."""

from pathlib import Path

import numpy as np


def written(folder: Path, users: int = 40, items: int = 60, most: int = 52, seed: int = 0) -> Path:
    """GroupLens's files of MovieLens-100k: films from 1990 to 1999, of which a user has rated 28 or more."""
    draw = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    quality, taste = draw.normal(size=items), draw.normal(size=users)
    rated = [
        f"{u + 1}\t{i + 1}\t{int(np.clip(round(3.5 + quality[i] + taste[u]), 1, 5))}\t88{u}{i}"
        for u in range(users)
        for i in draw.choice(items, size=draw.integers(28, most + 1), replace=False)
    ]
    (folder / "u.data").write_text("\n".join(rated) + "\n")
    people = [f"{u + 1}|{18 + u}|{'MF'[u % 2]}|{['artist', 'writer'][u % 3 == 0]}|{u % 10}5711" for u in range(users)]
    (folder / "u.user").write_text("\n".join(people) + "\n")
    films = [f"{i + 1}|Film {i} ({1990 + i % 10})|01-Jan-1990||no|" + "|".join(flags(i)) for i in range(items)]
    (folder / "u.item").write_text("\n".join(films) + "\n", encoding="latin-1")
    return folder


def flags(item: int) -> list[str]:
    return ["1" if genre in (1 + item % 5, 8) else "0" for genre in range(19)]

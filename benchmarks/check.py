"""What `quickstudy check` finds of faults that were put in, and what it says of examples without any.

    python benchmarks/check.py labels --data-dir DIR       wrong labels of rows, texts and molecules
    python benchmarks/check.py pictures --data-dir DIR     pictures saved again, beside different ones of other classes
    python benchmarks/check.py items --data-dir DIR        likewise texts and molecules that were written otherwise

Each prints a table of docs/check.md.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from grid import grid
from machine import measured
from PIL import Image, ImageEnhance
from rdkit.Chem import MolFromSmiles, MolToSmiles
from rdkit.Chem.MolStandardize.rdMolStandardize import TautomerEnumerator
from sklearn.datasets import load_breast_cancer, load_iris, load_wine

import quickstudy as qs
from quickstudy.checks.findings import Checked
from quickstudy.checks.items import check_items, near
from quickstudy.checks.pictures import Picture, looked_at
from quickstudy.checks.pictures import near as near_pictures
from quickstudy.checks.rows import check_rows
from quickstudy.data.rows import RowsRead
from quickstudy.encoders.molecules import readable
from quickstudy.ready import Ready

TABLES = {"iris": load_iris, "wine": load_wine, "breast cancer": load_breast_cancer}
DRAWS, FLIPPED, PICTURES, CHANGED = 20, 0.1, 400, 100
THRESHOLDS = (0.85, 0.9, 0.95)
INTENTS, ASSAY = 5, "SR-MMP"
"""Classes of a draw of texts; and the assay of the molecules."""


class Labelled(NamedTuple):
    """Examples that a check is tried on, and the check of some of them under some labels."""

    x: np.ndarray
    y: np.ndarray
    ways: int
    check: Callable[[np.ndarray, np.ndarray], Checked]


def labels(data_dir: Path | None) -> None:
    """Wrong labels found, and right labels doubted, with and without wrong ones among them."""
    head = ("examples", "of a class", "wrong labels found", "right labels doubted", "where all are right")
    rows = []
    for name, one in labelled(data_dir):
        for shots in (5, 20):
            found = np.array([named(one, shots, FLIPPED, seed) for seed in range(DRAWS)])
            clean = np.array([named(one, shots, 0, seed) for seed in range(DRAWS)])
            shares = (qs.interval(torch.from_numpy(v)) for v in (found[:, 0], found[:, 1], clean[:, 1]))
            rows.append((name, str(shots), *map(str, shares)))
    print(grid(head, rows))


def labelled(data_dir: Path | None) -> Iterator[tuple[str, Labelled]]:
    for name, load in TABLES.items():
        x, y = map(np.asarray, load(return_X_y=True))
        yield name, Labelled(x.astype(object), y, int(y.max()) + 1, rows_checked)
    (texts, intents), (smiles, active) = questions(data_dir), assay(data_dir)
    yield "Banking77", Labelled(texts, intents, INTENTS, partial(items_checked, qs.load("text")))
    yield f"Tox21, {ASSAY}", Labelled(smiles, active, 2, partial(items_checked, qs.load("molecules")))


def questions(data_dir: Path | None) -> tuple[np.ndarray, np.ndarray]:
    """Banking77's texts and their intents."""
    intents = qs.banking77(data_dir)
    rows = intents.rows.x.index_select(0, torch.arange(len(intents.rows)))
    return np.array(intents.texts, dtype=object)[rows.numpy()], intents.rows.y.numpy()


def assay(data_dir: Path | None) -> tuple[np.ndarray, np.ndarray]:
    """The molecules of one assay that RDKit reads, and whether they are active."""
    assays = qs.molecule_net("tox21", data_dir)
    assays = assays.keep(readable(assays.smiles))
    one = next(one for one in assays.test if one.name == ASSAY)
    return np.array(assays.smiles, dtype=object)[one.molecules.numpy()], one.active.numpy().astype(int)


def rows_checked(x: np.ndarray, y: np.ndarray) -> Checked:
    values = np.concatenate([x, y.astype(str)[:, None]], 1)
    return check_rows(RowsRead([*map(str, range(x.shape[1])), "label"], values), "label")


def items_checked(ready: Ready, x: np.ndarray, y: np.ndarray) -> Checked:
    return check_items(x.tolist(), y.tolist(), ready)


def named(one: Labelled, shots: int, share: float, seed: int) -> tuple[float, float]:
    """The share of wrong labels that are doubted, and that of right ones, in one draw of examples."""
    draw = np.random.default_rng(seed)
    classes = draw.permutation(np.unique(one.y))[: one.ways] if one.ways <= one.y.max() else np.arange(one.ways)
    rows = np.concatenate([draw.permutation(np.flatnonzero(one.y == c))[:shots] for c in classes])
    label, wrong = np.repeat(np.arange(one.ways), shots), draw.permutation(len(rows))[: round(share * len(rows))]
    label[wrong] = (label[wrong] + draw.integers(1, one.ways, len(wrong))) % one.ways
    checked = one.check(one.x[rows], label)
    doubted = {int(f.items[0].split()[1]) - 1 for f in checked.findings if f.kind == "doubtful"}
    mistaken = set(wrong.tolist())
    return len(doubted & mistaken) / max(1, len(mistaken)), len(doubted - mistaken) / (len(rows) - len(mistaken))


def items(data_dir: Path | None) -> None:
    """Pairs of other classes taken for nearly the same, and changed ones recognised, for some thresholds."""
    (texts, intents), (smiles, active) = questions(data_dir), assay(data_dir)
    rows = []
    for name, ready, x, y, changes in (
        ("Banking77", qs.load("text"), texts, intents, TEXT_CHANGES),
        (f"Tox21, {ASSAY}", qs.load("molecules"), smiles, active, MOLECULE_CHANGES),
    ):
        some = np.random.default_rng(0).permutation(len(x))[:PICTURES]
        x, y = x[some].tolist(), y[some]
        pairs = int((y[:, None] != y).sum()) // 2
        for least in THRESHOLDS:
            same = sum(y[i] != y[j] for i, j in near(ready, x, x, least))
            cells = [f"{change}: {recognised(ready, x[:CHANGED], make, least)}" for change, make in changes.items()]
            rows.append((name, str(least), f"{pairs:,}", str(same), ", ".join(cells)))
    print(grid(("examples", "from", "pairs", "taken for the same", "recognised where changed"), rows))


def recognised(ready: Ready, x: Sequence[str], change: Callable[[str], str], least: float) -> str:
    """The share of those that are taken for nearly the same as they were before, of those that change at all."""
    both = [(one, other) for one in x if (other := change(one)) != one]
    found = sum(bool([*near(ready, pair, pair, least)]) for pair in both)
    return f"{found} of {len(both)}"


def swapped(text: str) -> str:
    """Two letters in its middle the wrong way round."""
    middle = len(text) // 2
    return text[:middle] + text[middle : middle + 2][::-1] + text[middle + 2 :]


def flat(smiles: str) -> str:
    """Without what is left or right."""
    return MolToSmiles(MolFromSmiles(smiles), isomericSmiles=False)


def tautomer(smiles: str) -> str:
    return MolToSmiles(TautomerEnumerator().Canonicalize(MolFromSmiles(smiles)))


TEXT_CHANGES: dict[str, Callable[[str], str]] = {
    "two letters swapped": swapped,
    "a word before": lambda text: f"Hello, {text}",
    "without the last word": lambda text: text.rsplit(maxsplit=1)[0],
    "half of the words": lambda text: " ".join(text.split()[: max(1, len(text.split()) // 2)]),
}
MOLECULE_CHANGES: dict[str, Callable[[str], str]] = {
    "as a salt": lambda smiles: f"{smiles}.Cl",
    "without stereochemistry": flat,
    "another tautomer": tautomer,
    "one carbon more": lambda smiles: f"C{smiles}" if MolFromSmiles(f"C{smiles}") else smiles,
}


def pictures(data_dir: Path | None) -> None:
    """Pairs of different pictures of different classes taken for nearly the same, and changed pictures recognised."""
    changes = ["JPEG, quality 75", "half size", "double size", "15% brighter", "3% cropped"]
    rows = []
    for data in (qs.tiny_imagenet(data_dir)[2], qs.omniglot(data_dir)[2], qs.digits()):
        drawn_rows = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))[:PICTURES]
        with tempfile.TemporaryDirectory() as folder:
            drawn = zip(data.x.index_select(0, drawn_rows).numpy(), data.y[drawn_rows].tolist(), strict=True)
            some = [seen(picture(x), folder, str(y), f"{i}.png") for i, (x, y) in enumerate(drawn)]
            pairs = sum(a.label != b.label for i, a in enumerate(some) for b in some[:i])
            same = sum(some[i].label != some[j].label for i, j in near_pictures(some))
            known = np.array([
                [bool([*near_pictures([one, other])]) or one.content == other.content for other in changed(one, folder)]
                for one in some[:CHANGED]
            ])  # fmt: skip
        cells = [data.name, f"{pairs:,}", str(same), *(f"{share:.0%}" for share in known.mean(0))]
        rows.append(cells)
    print(grid(("pictures", "pairs", "taken for the same", *changes), rows))


def picture(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0))


def seen(image: Image.Image, folder: str, label: str, name: str = "changed.png") -> Picture:
    """What the check keeps of a picture that was saved."""
    path = Path(folder) / name
    image.save(path)  # a JPEG at quality 75
    return looked_at(path, path.name, label)


def changed(one: Picture, folder: str) -> Iterator[Picture]:
    """The picture saved again in other ways."""
    with Image.open(one.path) as opened:
        image = opened.convert("RGB")
    width, height = image.size
    rim = max(1, round(0.03 * width))
    yield seen(image, folder, one.label, "changed.jpg")
    yield seen(image.resize((width // 2, height // 2)), folder, one.label)
    yield seen(image.resize((2 * width, 2 * height)), folder, one.label)
    yield seen(ImageEnhance.Brightness(image).enhance(1.15), folder, one.label)
    yield seen(image.crop((rim, rim, width - rim, height - rim)), folder, one.label)


COMMANDS = {"labels": labels, "pictures": pictures, "items": items}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("--data-dir", type=Path, help="folder of the data; else QUICKSTUDY_DATA")
    asked = parser.parse_args()
    start = time.monotonic()
    COMMANDS[asked.command](asked.data_dir)
    print(f"\nSeeds from 0; {torch.get_num_threads()} threads, {measured(start)}")


if __name__ == "__main__":
    sys.exit(main())

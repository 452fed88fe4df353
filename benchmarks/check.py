"""What `quickstudy check` finds of faults that were put in, and what it says of examples without any.

    python benchmarks/check.py labels                      wrong labels in rows of scikit-learn's real tables
    python benchmarks/check.py pictures --data-dir DIR     pictures saved again, beside different ones of other classes

Both print docs/check.md's tables.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageEnhance
from sklearn.datasets import load_breast_cancer, load_iris, load_wine

import quickstudy as qs
from quickstudy.checks.pictures import Picture, looked_at, near
from quickstudy.checks.rows import check_rows
from quickstudy.data.rows import RowsRead

TABLES = {"iris": load_iris, "wine": load_wine, "breast cancer": load_breast_cancer}
DRAWS, FLIPPED, PICTURES, CHANGED = 20, 0.1, 400, 100


def labels() -> None:
    """Wrong labels found, and right labels doubted, with and without wrong ones among them."""
    print(
        "| table | rows per class | wrong labels found | right labels doubted | where all are right |\n"
        + "|---" * 5
        + "|"
    )
    for name, load in TABLES.items():
        x, y = map(np.asarray, load(return_X_y=True))
        for shots in (5, 20):
            found = np.array([named(x, y, shots, FLIPPED, seed) for seed in range(DRAWS)])
            clean = np.array([named(x, y, shots, 0, seed) for seed in range(DRAWS)])
            wrong, right, none = (qs.interval(torch.from_numpy(v)) for v in (found[:, 0], found[:, 1], clean[:, 1]))
            print(f"| {name} | {shots} | {wrong} | {right} | {none} |", flush=True)


def named(x: np.ndarray, y: np.ndarray, shots: int, share: float, seed: int) -> tuple[float, float]:
    """The share of wrong labels that are doubted, and that of right ones, in one draw of rows."""
    draw, ways = np.random.default_rng(seed), int(y.max()) + 1
    rows = np.concatenate([draw.permutation(np.flatnonzero(y == c))[:shots] for c in range(ways)])
    label, wrong = y[rows].copy(), draw.permutation(len(rows))[: round(share * len(rows))]
    label[wrong] = (label[wrong] + draw.integers(1, ways, len(wrong))) % ways
    values = np.concatenate([x[rows].astype(object), label.astype(str)[:, None]], 1)
    checked = check_rows(RowsRead([*map(str, range(x.shape[1])), "label"], values), "label")
    doubted = {int(f.items[0].split()[1]) - 1 for f in checked.findings if f.kind == "doubtful"}
    mistaken = set(wrong.tolist())
    return len(doubted & mistaken) / max(1, len(mistaken)), len(doubted - mistaken) / (len(rows) - len(mistaken))


def pictures(data_dir: Path | None) -> None:
    """Pairs of different pictures of different classes taken for nearly the same, and changed pictures recognised."""
    changes = ["JPEG, quality 75", "half size", "double size", "15% brighter", "3% cropped"]
    print("| pictures | " + " | ".join(["pairs", "taken for the same", *changes]) + " |\n" + "|---" * 8 + "|")
    for data in (qs.tiny_imagenet(data_dir)[2], qs.omniglot(data_dir)[2], qs.digits()):
        rows = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))[:PICTURES]
        with tempfile.TemporaryDirectory() as folder:
            drawn = zip(data.x.index_select(0, rows).numpy(), data.y[rows].tolist(), strict=True)
            some = [seen(picture(x), folder, str(y), f"{i}.png") for i, (x, y) in enumerate(drawn)]
            pairs = sum(a.label != b.label for i, a in enumerate(some) for b in some[:i])
            same = sum(some[i].label != some[j].label for i, j in near(some))
            known = np.array([
                [bool([*near([one, other])]) or one.content == other.content for other in changed(one, folder)]
                for one in some[:CHANGED]
            ])  # fmt: skip
        cells = [data.name, f"{pairs:,}", str(same), *(f"{share:.0%}" for share in known.mean(0))]
        print("| " + " | ".join(cells) + " |", flush=True)


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["labels", "pictures"])
    parser.add_argument("--data-dir", type=Path, help="folder of the pictures; else QUICKSTUDY_DATA")
    asked = parser.parse_args()
    labels() if asked.command == "labels" else pictures(asked.data_dir)


if __name__ == "__main__":
    sys.exit(main())

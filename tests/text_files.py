"""Small files in the layouts of CLINC150, Banking77 and FewRel, with made-up sentences."""

import csv
import gzip
import json
from pathlib import Path

WORDS = tuple("aeioubcdfghklmnprstv")


def sentence(c: int, n: int) -> str:
    return f"please {WORDS[c % 20]}x {WORDS[(7 * c + 3) % 20]}y the {WORDS[n % 20]}z thing {n}"


def clinc(folder: Path, classes: int = 18, of_each: int = 12) -> Path:
    """CLINC150's two files, of which the larger one is compressed."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = {"oos_val": [["who wins", "oos"]], "val": [], "train": [], "oos_test": [["what is art", "oos"]] * 3}
    for c in range(classes):
        rows = [[sentence(c, n), f"intent_{c:02d}"] for n in range(of_each)]
        parts["val"] += rows[:4]
        parts["train"] += rows[4:]
    (folder / "data_full.json.gz").write_bytes(gzip.compress(json.dumps(parts).encode()))
    domains = {f"domain {d}": [f"intent_{c:02d}" for c in range(d, classes, 3)] for d in range(3)}
    (folder / "domains.json").write_text(json.dumps(domains))
    return folder


def banking(folder: Path, classes: int = 18, of_each: int = 12) -> Path:
    """Banking77's two files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, some in (("test.csv", range(4)), ("train.csv", range(4, of_each))):
        with (folder / name).open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["text", "category"])
            writer.writerows([sentence(c, n) + ", sir", f"wish_{c:02d}"] for n in some for c in range(classes))
    return folder


def fewrel(folder: Path, classes: int = 18, of_each: int = 12) -> Path:
    """FewRel's four public domains, and the names of its relations; those of the first are in the second too."""
    folder.mkdir(parents=True, exist_ok=True)
    for domain, some in (
        ("wiki", range(classes)),
        ("nyt", range(classes + 6)),
        ("pubmed", range(90, 96)),
        ("semeval", range(80, 86)),
    ):
        rows = {f"P{c}": [relation(c, n) for n in range(of_each)] for c in some}
        (folder / f"val_{domain}.json").write_text(json.dumps(rows))
    (folder / "pid2name.json").write_text(json.dumps({f"P{c}": [f"relation {c:02d}", "no more"] for c in range(30)}))
    return folder


def relation(c: int, n: int) -> dict:
    tokens = [*sentence(c, n).split(), "of", "New", "York"]
    return {"tokens": tokens, "h": ["new york", "Q1", [[8, 9]]], "t": ["thing", "Q2", [[5]]]}


def written(folder: Path) -> Path:
    """All three in one folder."""
    for name, write in (("clinc150", clinc), ("banking77", banking), ("fewrel", fewrel)):
        write(folder / name)
    return folder

"""Texts for benchmarks/language.py: embedded once, split by class, drawn into tasks."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from ready_data import TEXTS_OF_A_CLASS, of_texts
from ready_data import embedded as kept_embeddings
from torch import Tensor

import quickstudy as qs
from quickstudy.data.fewrel import DOMAINS
from quickstudy.inputs import TEXTS

SHARES = {"clinc150": (50, 50, 50), "banking77": (25, 25, 27), "fewrel": (6, 5, 5)}
"""Classes to train on, to choose by, to test on."""
WAYS, SHOTS, QUERIES = 5, (1, 5), 5


class Part(NamedTuple):
    """Some classes twice: with embeddings for examples, and with the numbers of their texts."""

    embedded: qs.LabelledData
    rows: qs.LabelledData


class Split(NamedTuple):
    """What one split of the classes is.

    Args:
        texts: All texts of a test by its name, which `Part.rows` numbers.
        train, validation: Classes to train on, and to choose by.
        tests: By name.
        outside: Texts of no class, and their embeddings; none but in CLINC150.
    """

    texts: dict[str, tuple[str, ...]]
    train: Part
    validation: Part
    tests: dict[str, Part]
    outside: tuple[tuple[str, ...], Tensor] | None = None


def corpus(name: str, read: Callable[[], qs.LabelledTexts], kept: Path) -> tuple[qs.LabelledTexts, Part]:
    """The first texts of every class, with their embeddings."""
    texts = read().first(TEXTS_OF_A_CLASS)
    rows = replace(texts.rows, groups=None)  # classes are dealt one by one
    return texts, Part(replace(rows, x=kept_embeddings(name, kept, lambda: of_texts(texts)).x), rows)


def splits(course: str, data_dir: Path | None, kept: Path) -> Callable[[int], Split]:
    """From a seed to a split of a course's classes."""
    domain = "wiki" if course == "fewrel" else None
    readers: dict[str, Callable[[], qs.LabelledTexts]] = {
        "clinc150": lambda: qs.clinc150(data_dir),
        "banking77": lambda: qs.banking77(data_dir),
        "fewrel": lambda: qs.fewrel(data_dir),
    }
    texts, whole = corpus(course if domain is None else f"{course}-{domain}", readers[course], kept)
    outside, others = None, {}
    if texts.outside:
        found = kept_embeddings(f"{course}-outside", kept, lambda: embedded_alone(texts.outside))
        outside = texts.outside, found.examples(found.y)
    if domain:
        for other in DOMAINS.keys() - {domain}:
            read = qs.fewrel(data_dir, other).keep(lambda relation: relation not in whole.rows.classes)
            others[other] = corpus(f"{course}-{other}", lambda read=read: read, kept)

    def split(seed: int) -> Split:
        counts = SHARES[course]
        parts = [
            Part(*both)
            for both in zip(*(data.split(*(n / sum(counts) for n in counts), seed=seed) for data in whole), strict=True)
        ]
        first = DOMAINS[domain] if domain else texts.rows.name
        named = {first: texts.texts} | {DOMAINS[name]: one.texts for name, (one, _) in others.items()}
        tests = {first: parts[2]} | {DOMAINS[name]: part for name, (_, part) in others.items()}
        order = [name for name in (first, *DOMAINS.values()) if name in tests]
        return Split(named, parts[0], parts[1], {name: tests[name] for name in dict.fromkeys(order)}, outside)

    return split


def embedded_alone(texts: tuple[str, ...]) -> tuple[Tensor, Tensor, tuple[str, ...]]:
    """As classes of one text each."""
    x = TEXTS.encode(list(texts))
    return x, x.new_zeros(len(x)).long().add(1).cumsum(0) - 1, tuple(map(str, range(len(texts))))

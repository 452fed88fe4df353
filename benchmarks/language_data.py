"""Texts for benchmarks/language.py: embedded once, split by class, drawn into tasks."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
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

    def seen(self, words: bool) -> qs.LabelledData:
        """The examples that a method sees: texts, by their numbers, or embeddings."""
        return self.rows if words else self.embedded


class Split(NamedTuple):
    """What one split of the classes is.

    Args:
        texts: All texts, which `Part.rows` numbers; those of no class at the end.
        train, validation: Classes to train on, and to choose by.
        tests: By name.
        outside: Embeddings of texts of no class; none but in CLINC150.
    """

    texts: tuple[str, ...]
    train: Part
    validation: Part
    tests: dict[str, Part]
    outside: Tensor | None = None


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
    every, outside, others = list(texts.texts), None, {}
    if texts.outside:
        found = kept_embeddings(f"{course}-outside", kept, lambda: embedded_alone(texts.outside))
        outside = found.examples(found.y)
    for other in [name for name in DOMAINS if name != domain] if domain else []:
        read = qs.fewrel(data_dir, other).keep(lambda relation: relation not in whole.rows.classes)
        more, part = corpus(f"{course}-{other}", lambda read=read: read, kept)
        rows = replace(part.rows, x=part.rows.examples(torch.arange(len(part.rows))) + len(every))
        others[DOMAINS[other]] = part._replace(rows=rows)
        every += more.texts

    def split(seed: int) -> Split:
        counts = SHARES[course]
        train, validation, test = (
            Part(*both)
            for both in zip(*(data.split(*(n / sum(counts) for n in counts), seed=seed) for data in whole), strict=True)
        )
        tests = {DOMAINS[domain] if domain else texts.rows.name: test} | others
        return Split((*every, *texts.outside), train, validation, tests, outside)

    return split


def embedded_alone(texts: tuple[str, ...]) -> tuple[Tensor, Tensor, tuple[str, ...]]:
    """As classes of one text each."""
    return TEXTS.encode(list(texts)), torch.arange(len(texts)), tuple(map(str, range(len(texts))))

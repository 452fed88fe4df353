"""Texts and molecules with labels: which cannot be read, and which are there twice or nearly."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from torch.nn.functional import normalize

from quickstudy.checks.findings import (
    Checked,
    Finding,
    counted,
    first_of_each,
    of_classes,
    of_near,
    of_same,
    with_doubts,
)
from quickstudy.encoders.molecules import MoleculeEncoder
from quickstudy.encoders.table import labels_of, missing
from quickstudy.ready import Ready, opened

NEAR = {"texts": 0.9, "molecules": 0.9}
"""From which likeness on two are nearly the same: the cosine of embeddings, Tanimoto's coefficient of fingerprints."""
AT_A_TIME = 1000


def check_items(contents: Sequence[Any], labels: Sequence[Any], learner: Any) -> Checked:
    """What is wrong with labelled texts or molecules; row 1 is the first.

    Args:
        contents: Texts, or molecules as SMILES.
        labels: Of each its class, or nothing.
        learner: Of texts or molecules, which says what they are and which labels it doubts: "text", "molecules", or a
            `Ready` one.

    Raises:
        ValueError: A learner of something else.
        ImportError: The packages of its encoder are not installed.
    """
    ready = opened(learner)
    kind = ready.inputs.kind
    if kind not in NEAR:
        raise ValueError(f"{learner!r} takes {kind}, and neither texts nor molecules; take 'text' or 'molecules'.")
    texts = ["" if missing(one) else str(one).strip() for one in contents]
    names = [(name or "").strip() for name in labels_of(np.array(labels, dtype=object))]
    keys = [folded(text) for text in texts] if kind == "texts" else canonical(texts)
    findings = [Finding("blank", (f"row {n}",), (name,)) for n, (text, name) in told(texts, names) if not text]
    findings += [Finding("unlabelled", (f"row {n}",), ("",)) for n, (_, name) in told(texts, names) if not name]
    for n, (text, name) in told(texts, names):
        if text and not keys[n - 1]:
            findings.append(Finding("broken", (f"row {n}",), (name,), f"{text!r} is no SMILES of a molecule"))
    kept = [i for i, (key, name) in enumerate(zip(keys, names, strict=True)) if key and name]
    items = [f"row {i + 1}" for i in kept]
    classes, texts, keys = ([of[i] for i in kept] for of in (names, texts, keys))
    counts = counted(sorted(set(filter(None, names))), classes)
    findings += of_classes(counts) + of_same(keys, items, classes)
    findings += of_near(near(ready, texts, keys, NEAR[kind]), items, classes)
    once = first_of_each(keys, classes)
    x, items, classes = ([of[i] for i in once] for of in (texts, items, classes))
    return with_doubts(Checked(counts, findings), ready, x, items, classes)


def told(texts: Sequence[str], names: Sequence[str]) -> Iterator[tuple[int, tuple[str, str]]]:
    return enumerate(zip(texts, names, strict=True), 1)


def folded(text: str) -> str:
    """The text without differences of spaces and capitals."""
    return " ".join(text.split()).casefold()


def canonical(smiles: Sequence[str]) -> list[str]:
    """RDKit's canonical SMILES of each molecule, which is the same however it was written; empty where it is none.

    Raises:
        ImportError: RDKit is not installed.
    """
    MoleculeEncoder()  # says what to install, and silences RDKit
    from rdkit.Chem import MolFromSmiles, MolToSmiles

    read = [MolFromSmiles(one) if one else None for one in smiles]
    return ["" if molecule is None else MolToSmiles(molecule) for molecule in read]


def near(ready: Ready, texts: Sequence[str], keys: Sequence[str], least: float) -> Iterator[tuple[int, int]]:
    """Pairs that are nearly, but not quite, the same: alike by this much at least."""
    if not texts:
        return
    kind = ready.inputs.kind
    rows = fingerprints(texts) if kind == "molecules" else embedded(ready, texts)
    own = (rows * rows).sum(1)
    for start in range(0, len(rows), AT_A_TIME):
        both = rows[start : start + AT_A_TIME] @ rows.T
        alike = both / (own[start : start + AT_A_TIME, None] + own - both) if kind == "molecules" else both
        for i, j in zip(*np.nonzero(alike >= least), strict=True):
            if start + i < j and keys[start + i] != keys[j]:
                yield int(start + i), int(j)


def embedded(ready: Ready, texts: Sequence[str]) -> Float[np.ndarray, "text d"]:
    """Embeddings of length 1."""
    return normalize(ready.inputs.fit(texts)(texts).double().flatten(1), dim=1).numpy()


def fingerprints(smiles: Sequence[str]) -> Float[np.ndarray, "molecule bit"]:
    """Morgan fingerprints, of which the shares in common over those in either are Tanimoto's coefficient."""
    from rdkit.Chem import MolFromSmiles

    generator = MoleculeEncoder().fingerprints
    return np.array([generator.GetFingerprintAsNumPy(MolFromSmiles(one)) for one in smiles], dtype=float)

"""What a check finds, of examples of any kind: how classes are filled and called, and what is there twice."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeVar

import numpy as np

from quickstudy.checks.labels import LeftOut, doubtful, of_others
from quickstudy.data.folder import READ
from quickstudy.encoders.table import meant
from quickstudy.ready import Ready

Value = TypeVar("Value")

UNEVEN = 5
"""Times as many examples of the largest class as of the smallest from which on classes are called uneven.

A rule of thumb: from there on, always naming the largest of two classes is right five times in six.
"""


MOST = 200
"""Examples that are left out in turn at most, drawn at random: time grows with the cube of their number, or faster."""


class Kind(NamedTuple):
    """A kind of finding: what it is, and what to do about it."""

    title: str
    advice: str


KINDS = {
    "broken": Kind("cannot be read", "Remove them, or save them again."),
    "unread": Kind("pictures of a kind that is not read", f"Save them as {READ}."),
    "nested": Kind(
        "pictures in folders within a class's folder, which are not read",
        "Move them up, or name the folder of the classes.",
    ),
    "blank": Kind("rows without any value", "Fill them in, or remove them."),
    "unlabelled": Kind("rows without a label", "Label them, or remove them."),
    "empty": Kind("classes without examples", "Add some, or remove the folder."),
    "only": Kind("a single class", "Add examples of another: there is nothing to tell apart."),
    "single": Kind("classes with one example", "Add others: all that is known of such a class hangs on it."),
    "uneven": Kind("uneven classes", "Add examples of the small ones, or leave some of the large ones out."),
    "spelling": Kind(
        "classes whose names differ by spaces, capitals or how a number is written", "Give them one name."
    ),
    "conflict": Kind("the same example under different classes", "Keep it under the right one."),
    "repeated": Kind("the same example several times", "Keep one, unless they were observed apart."),
    "near": Kind("nearly the same example under different classes", "Look which class is right."),
    "odd": Kind("pictures unlike the others in size or colour", "See whether they were taken or saved in another way."),
    "doubtful": Kind("labels that the other examples speak against", "Look at each: the label may be wrong."),
}
"""All kinds of findings, in the order in which they are told."""


@dataclass(frozen=True)
class Finding:
    """Something that needs attention.

    Args:
        kind: A name of `KINDS`.
        items: The examples it is about, files or rows; or classes.
        labels: The class of each item; of a class, itself.
        detail: What more there is to say.
    """

    kind: str
    items: tuple[str, ...]
    labels: tuple[str, ...]
    detail: str = ""


@dataclass(frozen=True)
class Checked:
    """What a check found.

    Args:
        counts: How many examples each class has that can be learned from.
        findings: What needs attention.
        left_out: How a learner did that was shown all examples but one, each in turn; None where that was not tried.
        note: Why it was not, or what was left out of it.
    """

    counts: Mapping[str, int]
    findings: Sequence[Finding] = field(default_factory=list)
    left_out: LeftOut | None = None
    note: str = ""


def with_doubts(checked: Checked, ready: Ready, x: Any, items: Sequence[str], labels: Sequence[str]) -> Checked:
    """What was found, and the labels that a learner doubts when it is shown the other examples only.

    Args:
        checked: What was found before.
        ready: The learner.
        x: The examples, each but once.
        items: What they are called.
        labels: Their classes.

    Raises:
        ValueError: More classes than the learner was built for.
    """
    drawn: list[int] = sorted(np.random.default_rng(0).permutation(len(items))[:MOST].tolist())
    kept, theirs = [items[i] for i in drawn], [labels[i] for i in drawn]
    if len(counts := Counter(theirs)) < 2 or max(counts.values()) < 2:
        return replace(checked, note="labels can be doubted where there are two classes, and two examples of one.")
    found = of_others(ready, x[drawn] if isinstance(x, np.ndarray) else [x[i] for i in drawn], kept, theirs)
    findings = [*checked.findings]
    for i, other in doubtful(found):
        p, label = dict(zip(found.classes, found.probabilities[i], strict=True)), found.labels[i]
        findings.append(
            Finding("doubtful", (found.items[i],), (label,), f"{other} {p[other]:.1%}, {label} {p[label]:.1%}")
        )
    note = f"labels of {MOST} examples were looked at, drawn at random from {len(x)}." if len(x) > MOST else ""
    return replace(checked, findings=findings, left_out=found, note=note)


def of_classes(counts: Mapping[str, int]) -> list[Finding]:
    """What is wrong with how many examples there are of each class, and how classes are called."""
    found = [Finding("empty", (name,), (name,)) for name, count in counts.items() if not count]
    found += [Finding("single", (name,), (name,)) for name, count in counts.items() if count == 1]
    filled = {name: count for name, count in counts.items() if count}
    found += [Finding("only", (name,), (name,)) for name in filled if len(filled) == 1]
    if filled and max(filled.values()) >= UNEVEN * min(filled.values()):
        ends = tuple(end(filled, key=lambda name: filled[name]) for end in (max, min))
        found.append(
            Finding("uneven", ends, ends, f"{filled[ends[0]]} examples of one, {filled[ends[1]]} of the other")
        )
    alike = grouped((meant(" ".join(name.split())).casefold(), name) for name in counts)
    return found + [Finding("spelling", names, names) for names in alike if len(names) > 1]


def of_same(keys: Sequence[object], items: Sequence[str], labels: Sequence[str]) -> list[Finding]:
    """Examples with equal keys: within a class they are repeated, across classes in conflict."""
    found = []
    for group in grouped(zip(keys, range(len(items)), strict=True)):
        classes = tuple(labels[i] for i in group)
        if len(group) > 1:
            kind = "conflict" if len(set(classes)) > 1 else "repeated"
            found.append(Finding(kind, tuple(items[i] for i in group), classes))
    return found


def of_near(pairs: Iterable[tuple[int, int]], items: Sequence[str], labels: Sequence[str]) -> list[Finding]:
    """Pairs of examples that are nearly the same, where their classes differ."""
    return [Finding("near", (items[i], items[j]), (labels[i], labels[j])) for i, j in pairs if labels[i] != labels[j]]


def first_of_each(keys: Sequence[object], labels: Sequence[str]) -> list[int]:
    """Which examples are left when of those that are equal in content and label only the first is kept."""
    return [group[0] for group in grouped((pair, i) for i, pair in enumerate(zip(keys, labels, strict=True)))]


def counted(names: Iterable[str], labels: Sequence[str]) -> dict[str, int]:
    """The number of examples of each class."""
    counts = Counter(labels)
    return {name: counts[name] for name in names}


def grouped(pairs: Iterable[tuple[object, Value]]) -> list[tuple[Value, ...]]:
    """Values of equal keys together, in the order in which each key first came."""
    groups: dict[object, list[Value]] = defaultdict(list)
    for key, value in pairs:
        groups[key].append(value)
    return [tuple(values) for values in groups.values()]

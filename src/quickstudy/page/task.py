"""The task of one session: its examples, encoded, and what a learner makes of them."""

import copy
import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from quickstudy.checks.labels import LeftOut, of_others
from quickstudy.encoders.kept import Kept
from quickstudy.estimators import FewShotClassifier
from quickstudy.export import classifier_graph, front_of
from quickstudy.inputs import Encode, Fixed
from quickstudy.none_of_these import embeddings, sees_embeddings
from quickstudy.page.apart import graph_apart
from quickstudy.page.safe import Limits, Refused
from quickstudy.ready import Ready

NEAREST = 3
"""Examples that are shown beside an answer."""
KEPT = 256
"""Encodings that a session keeps, of examples and of queries, so that each is computed once."""


class Item(NamedTuple):
    """A user's picture or text, and the bytes that it came as."""

    content: Any
    data: bytes

    @property
    def key(self) -> bytes:
        """What its encoding is kept by."""
        return hashlib.sha256(self.data).digest()


class Example(NamedTuple):
    """A labelled example."""

    number: int
    label: str
    key: bytes
    x: Tensor


class Answer(NamedTuple):
    """What is answered for one query: see `FewShotClassifier`; and the nearest examples, each with its distance."""

    probabilities: np.ndarray
    within: np.ndarray
    none_of_these: float
    nearest: list[tuple[Example, float]]


class Task:
    """What one session showed; changed by one thread at a time.

    Args:
        ready: The learner.
        limits: How much it may be shown.
    """

    def __init__(self, ready: Ready, limits: Limits):
        self.encode = Kept(without_memory(ready.inputs.fit([])), most=KEPT)
        kind: Any = ready.inputs.kind
        inputs = Fixed(kind, lambda: torch.stack)  # items are encoded once, when they come
        self.whole, self.ready, self.limits = ready, replace(ready, inputs=inputs), limits
        self.examples: list[Example] = []
        self.count = 0
        self.classifier: FewShotClassifier | None = None
        self.left_out: LeftOut | None = None
        self.seen_: Tensor | None = None

    def add(self, labels: Sequence[str], items: Sequence[Item]) -> list[int]:
        """Learns from more examples; their numbers come back.

        Raises:
            Refused: More than may be (413), or what the learner cannot learn (422); then nothing is changed.
        """
        self.check_room(labels)
        found = self.encoded(items)
        numbers = range(self.count + 1, self.count + 1 + len(items))
        new = map(Example, numbers, labels, [item.key for item in items], found)
        self.learn([*self.examples, *new])
        self.count += len(items)
        return list(numbers)

    def check_room(self, labels: Sequence[str]) -> None:
        """Checks that examples of these classes may be added.

        Raises:
            Refused: They are too many (413).
        """
        most = self.limits.per_class(self.ready.inputs.kind)
        counts = Counter([*(example.label for example in self.examples), *labels])
        if len(counts) > self.limits.classes:
            raise Refused(413, f"there would be {len(counts)} classes, and {self.limits.classes} are allowed.")
        label, count = counts.most_common(1)[0]
        if count > most:
            raise Refused(413, f"class {label!r} would have {count} examples, and {most} are allowed.")

    def forget(self, numbers: Sequence[int]) -> None:
        """Learns anew, without some of the examples.

        Raises:
            Refused: There is no example of a number (404); then nothing is changed.
        """
        missing = set(numbers) - {example.number for example in self.examples}
        if missing:
            raise Refused(404, f"this session has no example {min(missing)}.")
        gone = [example for example in self.examples if example.number in numbers]
        self.learn([example for example in self.examples if example.number not in numbers])
        for example in gone:
            self.encode.known.pop(example.key, None)

    def learn(self, examples: list[Example]) -> None:
        labels = [example.label for example in examples]
        classifier, left_out = None, None
        if len(set(labels)) > 1:
            x = [example.x for example in examples]
            try:
                classifier = FewShotClassifier(self.ready).fit(x, labels)
                left_out = of_others(self.ready, x, [str(example.number) for example in examples], labels)
            except ValueError as error:
                raise Refused(422, f"the learner cannot learn this: {error}") from None
        self.examples, self.classifier, self.left_out, self.seen_ = examples, classifier, left_out, None

    def answers(self, items: Sequence[Item], missed: float) -> tuple[list[str], list[Answer]]:
        """The classes, and what is answered for each query.

        Raises:
            Refused: Nothing has been learned yet (409).
        """
        classifier = self.learned()
        x = self.encoded(items)
        found = classifier.answer(list(x), missed)
        near = self.nearest(x if found.embeddings is None else found.embeddings)
        each = map(Answer, found.probabilities, found.sets, found.none_of_these.tolist(), near)
        return found.classes.tolist(), list(each)

    def learned(self) -> FewShotClassifier:
        """The fitted classifier."""
        if self.classifier is None:
            raise Refused(409, "there is nothing to tell apart yet; show examples of two classes at least.")
        return self.classifier

    @torch.no_grad()
    def seen(self) -> Tensor:
        """The examples as the learner sees them: their embeddings where it has them. Found when first asked for."""
        if self.seen_ is None:
            learner, shown = self.ready.learner, torch.stack([example.x for example in self.examples])
            self.seen_ = embeddings(learner, shown[None])[0] if sees_embeddings(learner) else shown
        return self.seen_

    def graph(self) -> bytes:
        """What was learned, as an ONNX file, made beside whatever else goes on.

        Raises:
            Refused: Nothing has been learned yet (409); it cannot be exported (422); or the server lacks the packages
                for it (424).
        """
        classifier, whole = copy.copy(self.learned()), self.whole
        assert classifier.support_ is not None
        classifier.ready_, classifier.encode_ = whole, whole.inputs.fit([])
        shape = None if front_of(whole)[1] else tuple(classifier.support_[0].shape[1:])
        try:
            return classifier_graph(
                classifier, shape=shape, make=partial(graph_apart, seconds=self.limits.export_seconds)
            )
        except ValueError as error:
            raise Refused(422, str(error)) from None
        except ImportError as error:
            raise Refused(424, str(error)) from None

    def nearest(self, x: Tensor) -> list[list[tuple[Example, float]]]:
        """For each query, as the learner sees it, the nearest examples."""
        distances = torch.cdist(x.flatten(1).double(), self.seen().flatten(1).double())
        values, order = distances.topk(min(NEAREST, len(self.examples)), largest=False)
        return [
            [(self.examples[place], distance) for place, distance in zip(places, near, strict=True)]
            for places, near in zip(order.tolist(), values.tolist(), strict=True)
        ]

    def encoded(self, items: Sequence[Item]) -> Tensor:
        try:
            return self.encode([item.content for item in items], [item.key for item in items])
        except ValueError as error:
            raise Refused(422, str(error)) from None


def without_memory(encode: Encode) -> Encode:
    """The same encoder where it keeps what it has embedded, but it forgets: what is kept is one session's own."""
    kept = getattr(encode, "kept", None)
    if not isinstance(kept, Kept):
        return encode
    own = copy.copy(encode)
    own.kept = Kept(kept.embed, kept.at_once, most=0)  # pyright: ignore[reportFunctionMemberAccess]
    return own

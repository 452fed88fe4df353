"""Learners as ONNX files: what was learned of one task, or the learning itself, for devices without PyTorch.

An ONNX file is a graph of plain operators. It has neither gradients nor Python, so a method that learns a task by
gradient descent can be exported once it has learned, and not before.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from quickstudy.atomic import write_atomically
from quickstudy.checkpoint import name_of
from quickstudy.contract import Examples, Memory, MetaLearner, memory_of, parts_of
from quickstudy.encoders.molecules import MoleculeEncoder
from quickstudy.encoders.pictures import PictureEncoder
from quickstudy.encoders.texts import TextEncoder
from quickstudy.estimator_inputs import as_json
from quickstudy.estimators import FewShotClassifier
from quickstudy.inputs import Drawings, Fixed, Pixels
from quickstudy.onnx_graph import Unexportable, graph
from quickstudy.ready import Ready, opened
from quickstudy.scores import tempered
from quickstudy.tensors import known, out_features, widest

Shape = Sequence[int | None]
"""Of one example; None for an axis of any length."""
TAKES = {
    "rows": "rows that quickstudy's TableEncoder encoded",
    "arrays": "arrays, as in training",
    "pictures": "pictures of this size, with pixels in [0, 1]",
    "texts": "embeddings of texts, as quickstudy's TextEncoder makes them",
    "molecules": "vectors of molecules, as quickstudy's MoleculeEncoder makes them",
}
"""What a file takes, by the kind of a learner's inputs."""


class Answers(nn.Module):
    """From queries to the probabilities of a task's classes, with what was remembered of the task inside."""

    def __init__(self, front: nn.Module, learner: MetaLearner, memory: Memory, temperature: float, classes: int):
        super().__init__()
        self.front, self.learner, self.memory = front, learner, memory
        self.temperature, self.classes = temperature, classes

    def forward(self, x: Shaped[Tensor, "query *x"]) -> Float[Tensor, "query way"]:
        predicted = self.learner.predict(self.memory, self.front(x)[None])
        return known(tempered(predicted, self.temperature), self.classes)[0].exp()


class Adaptation(nn.Module):
    """From a support set and queries to the probabilities of the task's classes."""

    def __init__(self, front: nn.Module, learner: MetaLearner, temperature: float, classes: int, ways: int):
        super().__init__()
        self.front, self.learner, self.temperature = front, learner, temperature
        self.classes, self.ways = classes, ways

    def forward(
        self, support_x: Shaped[Tensor, "support *x"], support_y: Int[Tensor, " support"], x: Shaped[Tensor, "query *x"]
    ) -> Float[Tensor, "query way"]:
        memory = self.learner.adapt(Examples(self.front(support_x)[None], support_y[None], self.ways))
        return Answers(self.front, self.learner, memory, self.temperature, self.classes)(x)


def export_classifier(classifier: FewShotClassifier, path: str | Path, *, shape: Sequence[int] | None = None) -> None:
    """Writes a fitted classifier as an ONNX file, from queries `x` `[query, *x]` to `probabilities` [query, class].

    Any number of queries may be asked at once. The memory is in the file, and with it the examples, where these are
    what the method remembers. The file's metadata are JSON: the names of the `classes`, in the order of the
    probabilities; the `temperature`, which is applied already; and what the file `takes`. For arrays that is what the
    classifier takes, in float32. Rows of tables are encoded by numpy, which is no part of the file: it takes encoded
    rows, as `classifier.encode_` makes them, and `encoding` describes how (see `TableEncoder`).

    Args:
        classifier: Fitted.
        path: The file.
        shape: Of one example, such as (1, 28, 28); known without it for rows and for the learner of a run.

    Raises:
        NotFittedError: It has not been fitted.
        TypeError: No classifier, or labels that are neither text nor numbers.
        ValueError: No shape where none is known, or another than the learner takes; or a method that cannot be
            exported, with the reason. Then nothing is written.
        ImportError: The packages for ONNX are not installed.
    """
    write_atomically(Path(path), classifier_graph(classifier, shape=shape))


def classifier_graph(
    classifier: FewShotClassifier, *, shape: Sequence[int] | None = None, make: Callable[..., bytes] = graph
) -> bytes:
    """The content of the file that `export_classifier` writes.

    Args:
        classifier, shape: See there.
        make: What makes it of a module; `graph`, or something that does the same elsewhere.

    Raises:
        NotFittedError, TypeError, ValueError, ImportError: See there.
    """
    if not isinstance(classifier, FewShotClassifier):
        raise TypeError(
            f"what is exported are probabilities of classes, by a FewShotClassifier; a {type(classifier).__name__} has "
            f"none. Write what it has learned with save_task."
        )
    check_is_fitted(classifier, "memory_")
    ready, count = classifier.ready_, len(classifier.classes_)
    if ready.inputs.kind == "rows":
        front, x = nn.Identity(), classifier.encode_(np.full((7, classifier.n_features_in_), None, dtype=object))
    else:
        front, known_shape = front_of(ready)
        x = drawn(7, shape or known_shape)
    names = getattr(classifier, "feature_names_in_", None)
    about = {
        "classes": as_json(classifier.classes_),
        "temperature": classifier.temperature_,
        "encoding": ready.inputs.about(classifier.encode_),
        "feature_names": None if names is None else names.tolist(),
    }
    kind, parts = parts_of(classifier.memory_)
    memory = memory_of(kind, {name: tensor.detach() for name, tensor in parts.items()})
    net = Answers(front, ready.learner, memory, classifier.temperature_, count)
    try:
        return made(make, net, {"x": x}, {"x": {0: "query"}}, ready, about)
    except Unexportable as why:
        raise ValueError(f"what this {name_of(ready.learner)} has learned cannot be exported: {why}.") from None


def export_adaptation(
    learner: Any,
    path: str | Path,
    *,
    ways: int,
    shots: float | int | None = None,
    temperature: float | None = None,
    shape: Shape | None = None,
) -> None:
    """Writes a learner as an ONNX file that learns: from a support set and queries to `probabilities` [query, way].

    The file's inputs are `support_x` `[support, *x]`, `support_y` [support], whole numbers from 0 to ways - 1, which
    nothing checks there, and `x` `[query, *x]`; there may be any number of both kinds of examples. Rows of tables are
    to be encoded first, as `TableEncoder.fit` does it on the support set.

    Args:
        learner: What `FewShotClassifier` takes: a `MetaLearner`, the name of one that ships, the folder of a run; or
            a `Ready` one.
        path: The file.
        ways: The number of classes of a task.
        shots: About how many examples of a class there will be, on which the temperature depends.
        temperature: By which logits are divided; the learner's own for so many shots unless given, or else 1.
        shape: Of one example, such as (1, 28, 28), or (None,) for vectors of any length; known without it for rows
            and for the learner of a run.

    Raises:
        ValueError: As `export_classifier`; or fewer than two ways, or more than the learner was built for; or shots or
            a temperature that are not positive.
        ImportError: The packages for ONNX are not installed.
    """
    if ways < 2:
        raise ValueError(f"a task has at least 2 classes to tell apart; ways is {ways}.")
    if any(value is not None and not value > 0 for value in (shots, temperature)):  # so written, it refuses nan too
        raise ValueError(f"shots and temperature are positive where given; they are {shots} and {temperature}.")
    ready = opened(learner)
    if temperature is None:
        told = None if shots is None else ready.calibration(ways, shots)
        temperature = told.temperature if told else 1.0
    if ready.inputs.kind == "rows":
        front, shape = nn.Identity(), shape or (None,)
        numbers = drawn(9 * ways + 2, shape).numpy()
        items = ready.inputs.fit(numbers)(numbers)
    else:
        front, known_shape = front_of(ready)
        items = drawn(9 * ways + 2, shape or known_shape)
        shape = shape or known_shape or ()
    support, query = items[: 5 * ways + 2], items[5 * ways + 2 :]  # in numbers that nothing else has
    labels = torch.arange(len(support)) % ways
    free = {place: f"axis{place}" for place, size in enumerate(shape, 1) if size is None}
    axes = {"support_x": {0: "support"} | free, "support_y": {0: "support"}, "x": {0: "query"} | free}
    with shape_told(support):
        net = Adaptation(front, ready.learner, temperature, ways, widest(ready.learner, front(support[:1]), ways))
    inputs = {"support_x": support, "support_y": labels, "x": query}
    try:
        content = made(graph, net, inputs, axes, ready, {"ways": ways, "temperature": temperature})
    except Unexportable as why:
        raise ValueError(
            f"how this {name_of(ready.learner)} learns cannot be exported: {why}. Learn a task here and export that, "
            f"with export_classifier(FewShotClassifier(learner).fit(x, y), path), or take another method."
        ) from None
    write_atomically(Path(path), content)


def made(
    make: Callable[..., bytes],
    net: nn.Module,
    inputs: Mapping[str, Tensor],
    axes: Mapping[str, Mapping[int, str]],
    ready: Ready,
    about: Mapping[str, Any],
) -> bytes:
    """The file of one of the modules above, with what both say of themselves."""
    about = {"learner": name_of(ready.learner), "takes": TAKES[ready.inputs.kind], **about}
    with shape_told(inputs["x"]), torch.no_grad():
        net(*inputs.values())
    return make(net.eval(), inputs, axes, "probabilities", about)


@contextmanager
def shape_told(x: Tensor) -> Iterator[None]:
    """What PyTorch says of shapes that do not fit, as an error that says which shape that was."""
    try:
        yield
    except RuntimeError as error:
        said = str(error).splitlines()[0]
        raise ValueError(
            f"this learner takes no examples of shape {list(x.shape[1:])} ({said}); pass shape=."
        ) from None


def drawn(examples: int, shape: Shape | None) -> Float[Tensor, "example *x"]:
    """Some numbers in the shape of examples.

    Raises:
        ValueError: No shape.
    """
    if shape is None:
        raise ValueError("which shape has one example? Pass shape=, such as shape=(1, 28, 28).")
    sizes = [11 if size is None else size for size in shape]
    return torch.rand(examples, *sizes, generator=torch.Generator().manual_seed(0))


def front_of(ready: Ready) -> tuple[nn.Module, Shape | None]:
    """What of the encoding is a network, and so part of the file, and the shape of what that takes, if known."""
    encode = ready.inputs.encode if isinstance(ready.inputs, Fixed) else None
    if isinstance(encode, PictureEncoder):
        return encode.network, (3, encode.network.size, encode.network.size)
    if isinstance(encode, Pixels):
        return nn.Identity(), (encode.channels, encode.size, encode.size)
    if isinstance(encode, Drawings):
        return nn.Identity(), (1, encode.size, encode.size)
    if isinstance(encode, (TextEncoder, MoleculeEncoder)):
        assert isinstance(ready.learner.encoder, nn.Module)
        return nn.Identity(), (out_features(ready.learner.encoder),)
    return nn.Identity(), None

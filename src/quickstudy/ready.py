"""Learners that are ready for use: trained, with what turns a user's own items into what they learn from."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor, nn

from quickstudy.checkpoint import fill, load_tensors
from quickstudy.contract import MetaLearner
from quickstudy.encoders.table import TableEncoder
from quickstudy.methods.bayesian.deep_kernel_mixture import DeepKernelMixture
from quickstudy.runs import open_run

Encode = Callable[[Any], Shaped[Tensor, "item *x"]]
"""From a user's items to the tensors that a learner takes."""


@runtime_checkable
class Inputs(Protocol):
    """How items of one kind become tensors."""

    rectangular: bool
    """Whether items are rows with the same columns."""

    def fit(self, items: Any) -> Encode:
        """What encodes items as this task's support set has them."""
        ...

    def about(self, encode: Any) -> dict[str, Any]:
        """What was fitted, as JSON can hold it."""
        ...

    def of(self, about: Mapping[str, Any]) -> Encode:
        """What was fitted, from its description."""
        ...


class Rows:
    """Rows of tables, of numbers and categories, some of them missing; see `TableEncoder`."""

    rectangular = True

    def fit(self, items: np.ndarray) -> TableEncoder:
        return TableEncoder.fit(items)

    def about(self, encode: TableEncoder) -> dict[str, Any]:
        return encode.about()

    def of(self, about: Mapping[str, Any]) -> TableEncoder:
        return TableEncoder.of(about)


class Arrays:
    """Arrays that are what the learner was trained on already, such as images as floats in [0, 1]."""

    rectangular = False

    def fit(self, items: np.ndarray) -> Encode:
        return encode_array

    def about(self, encode: Encode) -> dict[str, Any]:
        return {}

    def of(self, about: Mapping[str, Any]) -> Encode:
        return encode_array


def encode_array(items: np.ndarray) -> Shaped[Tensor, "item *x"]:
    return torch.as_tensor(np.asarray(items), dtype=torch.float32)


@dataclass(frozen=True)
class Ready:
    """A trained learner that takes a user's own items.

    Args:
        learner: In evaluation mode.
        inputs: What its items are.
        temperatures: By which its logits are divided, so that its confidence is worth what it says: for each of some
            numbers of examples of a class. Without any, by 1.
        source: What it can be had from again: the name that it ships under, or a run's method and setting.
    """

    learner: MetaLearner
    inputs: Inputs
    temperatures: Mapping[int, float] = field(default_factory=dict)
    source: Mapping[str, Any] = field(default_factory=dict)

    def temperature(self, shots: float) -> float:
        """The temperature for so many examples of each class: between known ones along a line in logarithms."""
        if not self.temperatures:
            return 1.0
        known = sorted(self.temperatures)
        logs = np.log([self.temperatures[count] for count in known])
        return float(np.exp(np.interp(np.log(shots), np.log(known), logs)))


def table_head() -> MetaLearner:
    """Gaussian processes over a table's columns, together, each by itself, and along lines."""
    return DeepKernelMixture(nn.Identity(), kernels=12, kernel=("linear", "rbf", "additive")).double()


def number_head() -> MetaLearner:
    """The same processes, of one number."""
    return DeepKernelMixture(nn.Identity(), kernels=12, kernel=("linear", "rbf", "additive"), targets=1).double()


SHIPPED: Mapping[str, tuple[Callable[[], MetaLearner], Inputs]] = {
    "table": (table_head, Rows()),
    "table-regression": (number_head, Rows()),
}
"""Learners that ship with the package: how each is built, and what it takes."""


def load(name: str) -> Ready:
    """The learner of a name that ships with quickstudy, trained.

    Args:
        name: "table": rows of numbers and categories, for their classes; "table-regression": such rows, for a number.

    Raises:
        ValueError: No such learner.
    """
    if name not in SHIPPED:
        raise ValueError(f"no learner {name!r} ships with quickstudy; there are {', '.join(SHIPPED)}.")
    build, inputs = SHIPPED[name]
    with as_file(files("quickstudy") / "learners" / f"{name}.safetensors") as path:
        tensors, about = load_tensors(path)
        learner = build()
        fill(learner, tensors, about, path)
    temperatures = {int(shots): temperature for shots, temperature in about.get("temperatures", {}).items()}
    return Ready(learner.eval(), inputs, temperatures, {"shipped": name})


def opened(learner: Any) -> Ready:
    """A learner ready for use, from whatever names one.

    Args:
        learner: A `Ready` one; a trained `MetaLearner`, which takes arrays; the name of one that ships; or the folder
            of a run.

    Raises:
        TypeError: None of these.
        ValueError, FileNotFoundError: A name that is neither, or a broken run.
    """
    if isinstance(learner, Ready):
        return learner
    if isinstance(learner, MetaLearner):
        return Ready(learner.eval(), Arrays())
    if not isinstance(learner, (str, Path)):
        raise TypeError(
            f"a learner is a MetaLearner, the name of one that ships with quickstudy ({', '.join(SHIPPED)}) or the "
            f"folder of a run; not {learner!r}."
        )
    if str(learner) in SHIPPED:
        return load(str(learner))
    if not Path(learner).is_dir():
        raise ValueError(
            f"{str(learner)!r} is neither a learner that ships with quickstudy ({', '.join(SHIPPED)}) nor the folder "
            f"of a run. Train one with `quickstudy train --out`."
        )
    trained, setting, about = open_run(Path(learner))
    return Ready(trained, Arrays(), source={"method": about["method"], "setting": asdict(setting)})

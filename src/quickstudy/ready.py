"""Learners that are ready for use: trained, with what turns a user's own items into what they learn from."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from quickstudy.catalogue import Setting
from quickstudy.checkpoint import fill, load_tensors
from quickstudy.contract import MetaLearner
from quickstudy.inputs import ARRAYS, Inputs, Rows, pixels
from quickstudy.methods.bayesian.deep_kernel_mixture import DeepKernelMixture
from quickstudy.runs import open_run


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


SHIPPED: Mapping[str, tuple[Callable[[], MetaLearner], Inputs]] = {"table": (table_head, Rows())}
"""Learners that ship with the package: how each is built, and what it takes."""


def load(name: str) -> Ready:
    """The learner of a name that ships with quickstudy, trained.

    Args:
        name: "table": rows of numbers and categories.

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
    temperatures = {int(shots): temperature for shots, temperature in about["temperatures"].items()}
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
        return Ready(learner.eval(), ARRAYS)
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
    return of_run(trained, setting, about["method"])


def of_run(learner: MetaLearner, setting: Setting, method: str) -> Ready:
    """A learner that the catalogue built: it takes pictures, which are brought to the size that it was trained on."""
    inputs = pixels(setting.channels, setting.size)
    return Ready(learner.eval(), inputs, source={"method": method, "setting": asdict(setting)})

"""Learners that are ready for use: trained, with what turns a user's own items into what they learn from."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import torch

from quickstudy.calibration import Calibration, between
from quickstudy.catalogue import Setting
from quickstudy.checkpoint import fill, load_tensors
from quickstudy.contract import MetaLearner
from quickstudy.inputs import ARRAYS, Inputs, pixels
from quickstudy.runs import open_run
from quickstudy.shipped import SHIPPED


@dataclass(frozen=True)
class Ready:
    """A trained learner that takes a user's own items.

    Args:
        learner: In evaluation mode.
        inputs: What its items are.
        calibrations: What its answers are worth, for each of some numbers of classes and then of examples of each;
            perhaps for none.
        source: What it can be had from again: the name that it ships under, or a run's method and setting.
    """

    learner: MetaLearner
    inputs: Inputs
    calibrations: Mapping[int, Mapping[int, Calibration]] = field(default_factory=dict)
    source: Mapping[str, Any] = field(default_factory=dict)

    def calibration(self, ways: int, shots: float | int) -> Calibration | None:
        """What its answers are worth with so many classes, and examples of each; None where nobody has measured it."""
        known = {number: between(measured, shots) for number, measured in self.calibrations.items()}
        return between({number: found for number, found in known.items() if found}, ways)


def load(name: str) -> Ready:
    """The learner of a name that ships with quickstudy, trained.

    Args:
        name: "table": rows of numbers and categories, for their classes; "table-regression": such rows, for a number;
            "images": photographs and the like; "handwriting": drawn characters; "text": sentences; "molecules": SMILES.

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
    calibrations = {
        int(ways): {int(shots): Calibration(**found) for shots, found in measured.items()}
        for ways, measured in about.get("calibrations", {}).items()
    }
    return Ready(learner.eval(), inputs, calibrations, {"shipped": name})


def opened(learner: Any) -> Ready:
    """A learner ready for use, from whatever names one.

    Args:
        learner: A `Ready` one; a trained `MetaLearner`, which takes arrays; the name of one that ships; or the folder
            of a run.

    Raises:
        TypeError: None of these.
        ValueError, FileNotFoundError: A name that is neither, or a broken run, or weights elsewhere than on the CPU.
    """
    if isinstance(learner, Ready):
        return learner
    if isinstance(learner, MetaLearner):
        for weight in (p for p in learner.parameters() if p.is_floating_point()):
            if weight.dtype != torch.float32 or weight.device.type != "cpu":
                raise ValueError(
                    f"this {type(learner).__name__} has weights of {weight.dtype} on {weight.device}, and a user's "
                    f"items come as float32 on the CPU; pass learner.cpu().float()."
                )
        return Ready(learner.eval(), ARRAYS)
    if not isinstance(learner, (str, Path)):
        raise TypeError(
            f"a learner is a MetaLearner, the name of one that ships with quickstudy ({', '.join(SHIPPED)}) or the "
            f"folder of a run; not {learner!r}."
        )
    if str(learner) in SHIPPED:
        return load(str(learner))
    if not Path(learner).is_dir():
        there = "it is a file" if Path(learner).exists() else "there is no such file or folder"
        raise ValueError(
            f"{str(learner)!r} is neither a learner that ships with quickstudy ({', '.join(SHIPPED)}) nor the folder "
            f"of a run: {there}. Train one with `quickstudy train --out`."
        )
    trained, setting, about = open_run(Path(learner))
    return of_run(trained, setting, about["method"], about.get("tuned", {}))


def of_run(learner: MetaLearner, setting: Setting, method: str, tuned: Mapping[str, Any]) -> Ready:
    """A learner that the catalogue built: it takes pictures, which are brought to the size that it was trained on."""
    inputs = pixels(setting.channels, setting.size)
    return Ready(learner.eval(), inputs, source={"method": method, "setting": asdict(setting), "tuned": dict(tuned)})

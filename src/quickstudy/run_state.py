"""What a run of meta-training keeps beside its learner, as a checkpoint holds it."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from quickstudy.checkpoint import fill, load_tensors, name_of, save_tensors
from quickstudy.contract import MetaLearner
from quickstudy.engine import Engine

COUNTED = "counted"
"""The name under which a counter's numbers are kept, as MultiStepLR's milestones."""


@dataclass
class RunState:
    """Everything that a resumed run needs to go on as if it had never stopped.

    Beside its learner that is where it stands: the curve so far, and the losses since its last row; and what it was
    asked for, which is asked for again when it is resumed, but for the number of steps, where no schedule counts on it.
    """

    learner: MetaLearner
    optimizer: Optimizer
    scheduler: LRScheduler | None
    seed: int
    world: int
    asked: dict[str, Any]
    step: int = 0
    best: float | None = None
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    seconds: float = 0.0
    curve: list[list] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    engines: dict[str, Engine] = field(default_factory=dict)

    def save(self, path: Path) -> None:
        tensors = {f"learner.{k}": v for k, v in self.learner.state_dict().items()}
        tensors |= {f"best.{k}": v for k, v in self.best_weights.items()}
        state, numbers = self.optimizer.state_dict(), {}
        for i, values in state["state"].items():
            for name, value in values.items():
                if isinstance(value, Tensor):
                    tensors[f"optimizer.{i}.{name}"] = value
                elif value is not None:
                    numbers[f"{i}.{name}"] = value
        about = {
            "learner": name_of(self.learner),
            "seed": self.seed,
            "asked": self.asked,
            "world": self.world,
            "step": self.step,
            "best": self.best,
            "seconds": self.seconds,
            "curve": self.curve,
            "losses": self.losses,
            "engines": {use: asdict(engine) for use, engine in self.engines.items()},
            "groups": state["param_groups"],
            "numbers": numbers,
            "scheduler": self.scheduler and _plain(self.scheduler.state_dict()),
        }
        save_tensors(path, tensors, about)

    def load(self, path: Path) -> None:
        tensors, about = load_tensors(path)
        if about["seed"] != self.seed or (about["scheduler"] is None) != (self.scheduler is None):
            raise ValueError(f"{path} is of a run with seed {about['seed']} or another schedule; resume with its own.")
        for name, value in about.get("asked", self.asked).items():
            now = self.asked[name]
            if value != now and (name != "steps" or self.scheduler):
                raise ValueError(f"{path} is of a run with {name} {value}, not {now}; resume with its own.")
        fill(self.learner, tensors, about, path)
        self.step, self.best, self.world = about["step"], about["best"], about["world"]
        self.seconds, self.curve, self.losses = about["seconds"], about["curve"], about.get("losses", [])
        self.engines = {use: Engine(**engine) for use, engine in about["engines"].items()}
        self.best_weights = {k[5:]: v for k, v in tensors.items() if k.startswith("best.")}
        state: dict[int, dict] = {}
        named = {k.removeprefix("optimizer."): v for k, v in tensors.items() if k.startswith("optimizer.")}
        for key, value in {**named, **about["numbers"]}.items():
            i, name = key.split(".")
            state.setdefault(int(i), {})[name] = value
        self.optimizer.load_state_dict({"state": state, "param_groups": about["groups"]})
        if self.scheduler:
            self.scheduler.load_state_dict(_rich(about["scheduler"]))


def _plain(value: Any) -> Any:
    """What JSON can hold of a schedule's state: functions are given anew when a run is resumed."""
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    if isinstance(value, Counter):  # its keys are numbers, which JSON would turn into text
        return {COUNTED: sorted(value.elements())}
    return {name: _plain(item) for name, item in value.items() if not _opaque(item)}


def _rich(value: Any) -> Any:
    """The state that was made plain."""
    if isinstance(value, list):
        return [_rich(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    return Counter(value[COUNTED]) if COUNTED in value else {name: _rich(item) for name, item in value.items()}


def _opaque(value: Any) -> bool:
    return callable(value) or (isinstance(value, list) and any(callable(item) for item in value))

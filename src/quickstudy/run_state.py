"""What a run of meta-training keeps beside its learner, as a checkpoint holds it."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from quickstudy.checkpoint import fill, load_tensors, name_of, save_tensors
from quickstudy.contract import MetaLearner
from quickstudy.engine import Engine


@dataclass
class RunState:
    """Everything that a resumed run needs to go on as if it had never stopped."""

    learner: MetaLearner
    optimizer: Optimizer
    scheduler: LRScheduler | None
    seed: int
    world: int
    step: int = 0
    best: float | None = None
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    seconds: float = 0.0
    curve: list[list] = field(default_factory=list)
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
            "world": self.world,
            "step": self.step,
            "best": self.best,
            "seconds": self.seconds,
            "curve": self.curve,
            "engines": {use: asdict(engine) for use, engine in self.engines.items()},
            "groups": state["param_groups"],
            "numbers": numbers,
            "scheduler": self.scheduler and _plain(self.scheduler.state_dict()),
        }
        save_tensors(path, tensors, about)

    def load(self, path: Path) -> None:
        tensors, about = load_tensors(path)
        fill(self.learner, tensors, about, path)
        if about["seed"] != self.seed or (about["scheduler"] is None) != (self.scheduler is None):
            raise ValueError(f"{path} is of a run with seed {about['seed']} or another schedule; resume with its own.")
        self.step, self.best, self.world = about["step"], about["best"], about["world"]
        self.seconds, self.curve = about["seconds"], about["curve"]
        self.engines = {use: Engine(**engine) for use, engine in about["engines"].items()}
        self.best_weights = {k[5:]: v for k, v in tensors.items() if k.startswith("best.")}
        state: dict[int, dict] = {}
        named = {k.removeprefix("optimizer."): v for k, v in tensors.items() if k.startswith("optimizer.")}
        for key, value in {**named, **about["numbers"]}.items():
            i, name = key.split(".")
            state.setdefault(int(i), {})[name] = value
        self.optimizer.load_state_dict({"state": state, "param_groups": about["groups"]})
        if self.scheduler:
            self.scheduler.load_state_dict(about["scheduler"])


def _plain(state: dict) -> dict:
    """The part of a schedule's state that JSON can hold: functions are given anew when a run is resumed."""
    return json.loads(json.dumps({k: v for k, v in state.items() if not _opaque(v)}))


def _opaque(value) -> bool:
    return callable(value) or (isinstance(value, list) and any(callable(item) or item is None for item in value))

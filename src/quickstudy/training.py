"""Meta-training: a function that yields its progress, on one process or many, and can be stopped and resumed."""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from lightning_fabric import Fabric
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from quickstudy.checkpoint import save_learner
from quickstudy.contract import Episodes, MetaLearner
from quickstudy.data.labelled import refuse_data
from quickstudy.engine import Engine, channels_last, probe
from quickstudy.evaluation import VALIDATION, evaluate
from quickstudy.processes import Averages, together
from quickstudy.run_state import RunState
from quickstudy.seeds import drawing_from, seeded
from quickstudy.tasks import Tasks
from quickstudy.tasks.ahead import Ahead
from quickstudy.tuning import at_its_best

LAST, KEPT = "last.safetensors", "learner.safetensors"
ROWS = 200
"""Of a whole run's curve, at which losses are read from the device."""


@dataclass(frozen=True)
class Progress:
    """Where a training run stands, after a step.

    Args:
        step: Steps done.
        steps: Steps to do.
        mean: The meta-training loss of this step, as a tensor where it was computed.
        tasks_per_second: Since the run was started or resumed, validation left out.
        validation: The score on the meta-validation tasks where one was taken at this step: accuracy, or minus the
            squared error.
        best: The highest of those so far, whose weights are kept.
        seconds: Spent on the run so far, before it was resumed too, validation included.
        curve: Some 200 rows of (step, mean loss since the row before, validation score or None) of the run so far.
        engine: How its steps are computed.
    """

    step: int
    steps: int
    mean: Float[Tensor, ""]
    tasks_per_second: float
    validation: float | None
    best: float | None
    seconds: float
    curve: list[list]
    engine: Engine

    @property
    def loss(self) -> float:
        """The meta-training loss of this step, nats per query for most methods; reading it waits for a GPU."""
        return self.mean.item()


@dataclass(frozen=True)
class Validation:
    """Which weights are kept: those with the best score on tasks of held-out classes.

    Args:
        tasks: Meta-validation tasks.
        every: Steps from one validation to the next; the last step is always one.
        episodes: How many tasks.

    Raises:
        ValueError: Never, or on fewer tasks than an interval needs.
    """

    tasks: Tasks
    every: int = 500
    episodes: int = 200

    def __post_init__(self):
        if self.every < 1 or self.episodes < 2:
            raise ValueError(
                f"validation is every so many steps, at least 1, on at least 2 tasks; got every={self.every}, "
                f"episodes={self.episodes}."
            )


def adam(learner: MetaLearner, lr: float, steps: int) -> tuple[Optimizer | None, LRScheduler | None]:
    """Adam over what is trainable of a learner, and a schedule that takes its step size to zero along a cosine."""
    trainable = [p for p in learner.parameters() if p.requires_grad]
    if not trainable:
        return None, None
    optimizer = torch.optim.Adam(trainable, lr=lr)
    return optimizer, torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)


def train(
    learner: MetaLearner,
    tasks: Tasks,
    *,
    steps: int,
    batch: int = 16,
    optimizer: Optimizer | None = None,
    scheduler: LRScheduler | None = None,
    clip: float | None = 10.0,
    validate: Tasks | Validation | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    checkpoint_seconds: float = 60.0,
    resume: bool = False,
    engine: Engine | None = None,
    fabric: Fabric | None = None,
) -> Iterator[Progress]:
    """Meta-trains a learner, yielding its progress after every step; no step is done until it is iterated.

    The batch of tasks at a step is a function of (seed, step) alone, so that a run resumed from its last checkpoint
    ends with the same bits as one that was never stopped. When it ends, the learner holds the weights kept.

    Args:
        learner: Trained in place; one without trainable parameters is left as it is.
        tasks: Meta-training tasks.
        steps: Outer steps in all.
        batch: Tasks per step, over all processes together.
        optimizer: Over the learner's parameters; Adam with a step size of 0.001 unless given.
        scheduler: A schedule of that optimizer, advanced at every step.
        clip: The largest norm of the outer gradient; None for no limit.
        validate: Tasks of held-out classes that choose the weights to keep; without them, the last ones are kept.
        seed: Of the stream of tasks.
        out: A folder for `last.safetensors`, to resume from, and in the end `learner.safetensors`.
        checkpoint_seconds: Time from one checkpoint to the next; one more is written when the iterator is closed.
        resume: Go on from the folder's last checkpoint; from the beginning where there is none.
        engine: How to compute a batch; found by a short probe at the first step unless given, and kept by the run.
        fabric: Launched; one process on the CPU unless given. Tasks are shared out over its processes.

    Raises:
        TypeError: Labelled data in place of tasks.
        ValueError: A batch that cannot be shared out, or a checkpoint that does not fit, or of other settings.
        ProcessLost: Another process of the run has stopped.
        FloatingPointError: The loss or its gradient is no longer a finite number.
    """
    refuse_data(tasks)
    refuse_data(validate.tasks if isinstance(validate, Validation) else validate)
    fabric = fabric or Fabric(accelerator="cpu", devices=1)
    if steps < 1 or batch < 1 or batch % fabric.world_size:
        raise ValueError(
            f"steps and batch are at least 1, and the batch divides by the number of processes; got steps={steps}, "
            f"batch={batch} and {fabric.world_size} processes."
        )
    if isinstance(validate, Tasks):
        validate = Validation(validate)
    fabric.to_device(learner)
    trainable = [p for p in learner.parameters() if p.requires_grad]
    if not trainable:
        return iter(())
    optimizer = optimizer or torch.optim.Adam(trainable, lr=1e-3)
    channels_last(learner)
    rates = [group.get("initial_lr", group["lr"]) for group in optimizer.param_groups]
    asked = {"steps": steps, "batch": batch, "step sizes": [float(rate) for rate in rates]}
    run = RunState(learner, optimizer, scheduler, seed, fabric.world_size, asked)
    folder = None if out is None else Path(out)
    if folder and resume and (folder / LAST).exists():
        run.load(folder / LAST)
        if run.world != fabric.world_size and run.step < steps:  # other shares and threads: probe again
            run.world, run.engines = fabric.world_size, {}
    if engine:
        run.engines = {"train": engine, "validate": engine}
    return _steps(run, tasks, steps, batch, clip, validate, folder, checkpoint_seconds, fabric)


def _steps(
    run: RunState,
    tasks: Tasks,
    steps: int,
    batch: int,
    clip: float | None,
    validate: Validation | None,
    folder: Path | None,
    checkpoint_seconds: float,
    fabric: Fabric,
) -> Iterator[Progress]:
    first, busy, saved, unread = run.step, 0.0, time.monotonic(), []

    def read() -> None:  # what a GPU is waited for, and so not at every step
        for loss in torch.stack(unread).tolist() if unread else []:
            run.losses.append(loss)
            _require_finite("loss", loss, run.step - len(unread) + 1, run.seed, folder)
            del unread[0]

    def save() -> None:
        read()
        if folder and fabric.is_global_zero:
            run.save(folder / LAST)

    def progress(mean: Tensor, rate: float, validation: float | None) -> Progress:
        return Progress(run.step, steps, mean, rate, validation, run.best, run.seconds, run.curve, run.engines["train"])

    if run.step >= steps:  # it was finished before: tell where it stands
        _, loss, score = run.curve[-1] if run.curve else (run.step, run.losses[-1], None)
        yield progress(torch.tensor(loss), 0.0, score)
    ahead = Ahead(lambda step: tasks.sample(batch, seeded(run.seed, "train", step)), getattr(tasks, "early", True))
    if run.step < steps and "train" not in run.engines:
        run.engines["train"] = _probe(run, ahead.batch(run.step), fabric)
        save()  # so that a run that is killed goes on by the same engine, to the same bits; as after "validate"
    while run.step < steps:
        start = time.monotonic()
        run.learner.progress = run.step / steps
        mean = _outer_step(run, ahead.batch(run.step), clip, folder, fabric)
        unread.append(mean)
        last, validation = run.step == steps, None
        judged = validate and (last or run.step % validate.every == 0)
        if row := last or judged or run.step % max(1, steps // ROWS) == 0:
            read()
        busy += time.monotonic() - start
        probed = bool(judged) and "validate" not in run.engines
        if validate and judged:
            validation = _validate(run, validate, fabric)
        run.seconds += time.monotonic() - start
        if row:
            run.curve.append([run.step, sum(run.losses) / len(run.losses), validation])
            run.losses.clear()
        if last or probed or time.monotonic() - saved >= checkpoint_seconds:
            save()
            saved = time.monotonic()
        try:
            yield progress(mean, (run.step - first) * batch / busy, validation)
        except GeneratorExit:  # the caller stops here, between two steps
            save()
            raise
    run.learner.progress = 1.0
    if run.best_weights:
        run.learner.load_state_dict(run.best_weights)
    if folder and fabric.is_global_zero:
        save_learner(run.learner, folder / KEPT, {"steps": steps, "seed": run.seed, "validation": run.best})


def _require_finite(what: str, value: float, step: int, seed: int, folder: Path | None) -> None:
    if not math.isfinite(value):
        saved = folder and (folder / LAST).exists()
        last = f"the last good checkpoint is {folder / LAST}" if folder and saved else "none was saved"
        raise FloatingPointError(
            f"the {what} is {value} at step {step} (tasks of seed {seed}, step {step - 1}); {last}. "
            f"Lower the step size, or clip the gradient."
        )


def _validate(run: RunState, validate: Validation, fabric: Fabric) -> float:
    """The validation score at this step; the weights are kept if it is the best so far.

    A method that has settings to choose is judged with those that are best now, by a tenth of the tasks: a step that
    suits an encoder in the beginning may diverge when it has learned.
    """
    engine, some = run.engines.get("validate"), max(2, validate.episodes // 10)
    with together(), at_its_best(run.learner, validate.tasks, episodes=some, engine=engine, fabric=fabric):
        found = evaluate(
            run.learner, validate.tasks, episodes=validate.episodes, stream=VALIDATION, engine=engine, fabric=fabric
        )
    run.engines["validate"], score = found.engine, found.goodness
    if run.best is None or score > run.best:
        run.best = score
        run.best_weights = {k: v.detach().clone() for k, v in run.learner.state_dict().items()}
    return score


def _probe(run: RunState, episodes: Episodes, fabric: Fabric) -> Engine:
    """The engine that is fastest on the first process; what was probed leaves no trace."""
    run.learner.train()
    before = [buffer.clone() for buffer in run.learner.buffers()]
    with torch.random.fork_rng(devices=[]):
        engine = probe(
            run.learner,
            _share(episodes, fabric),
            lambda engine, some: engine.gradient(run.learner, some, fabric.autocast),
        )
    run.learner.zero_grad()
    for buffer, kept in zip(run.learner.buffers(), before, strict=True):
        buffer.copy_(kept)
    return fabric.broadcast(engine)


def _share(episodes: Episodes, fabric: Fabric) -> Episodes:
    """This process's part of a batch."""
    return fabric.to_device(episodes[fabric.global_rank :: fabric.world_size])


def _outer_step(
    run: RunState, episodes: Episodes, clip: float | None, folder: Path | None, fabric: Fabric
) -> Float[Tensor, ""]:
    """One step of the optimizer on one batch of tasks; the loss comes back, without waiting for a GPU to find it."""
    run.learner.train()
    run.learner.zero_grad()
    engine, share, world = run.engines["train"], _share(episodes, fabric), fabric.world_size
    averages = Averages(run.learner, world) if world > 1 else None
    apart = [fabric.global_rank] if fabric.global_rank else []
    own = seeded(run.seed, "loss", run.step, *apart).initial_seed()  # of the step and the process alone
    with drawing_from(own), together():
        if averages is None:
            mean = engine.gradient(run.learner, share, fabric.autocast)
        else:
            mean = averages.finish(engine.gradient(run.learner, share, fabric.autocast, averages.listen))
    if mean.device.type == "cpu":  # nothing to wait for: stop before the weights are spoilt
        _require_finite("loss", mean.item(), run.step + 1, run.seed, folder)
    moved = (p for group in run.optimizer.param_groups for p in group["params"])
    norm = torch.nn.utils.clip_grad_norm_(moved, math.inf if clip is None else clip)
    if norm.device.type == "cpu":
        _require_finite("norm of the gradient", norm.item(), run.step + 1, run.seed, folder)
    else:  # read later, with the losses, before anything is saved
        mean = mean.where(norm.isfinite(), math.nan)
    run.optimizer.step()
    if run.scheduler:
        run.scheduler.step()
    run.step += 1
    return mean

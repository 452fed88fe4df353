"""The commands of one method: train, and evaluate what was trained."""

import shlex
from pathlib import Path
from typing import Annotated

import torch
import typer
from lightning_fabric import Fabric
from rich.text import Text

from quickstudy.allocator import keep_freed_memory
from quickstudy.catalogue import METHODS, build, find
from quickstudy.commands import options
from quickstudy.commands.console import err, json_option, out, write_json
from quickstudy.data.sources import unseen_classes
from quickstudy.evaluation import evaluate
from quickstudy.plan import most_queries, plan
from quickstudy.processes import accelerator
from quickstudy.progress import Bars
from quickstudy.runs import begin, keep_tuned, learner_about, open_run
from quickstudy.tasks import FewShot
from quickstudy.training import Validation, adam, train
from quickstudy.tuning import tune


def train_command(
    method: Annotated[str, typer.Argument(help=f"One of {', '.join(METHODS)}.")],
    folder: Annotated[Path, typer.Option("--out", help="Folder of the run.")],
    data: options.Data = "glyphs",
    data_dir: options.DataDir = None,
    ways: options.Ways = 5,
    shots: options.Shots = 1,
    queries: options.Queries = 5,
    image_size: options.Size = None,
    within_groups: options.Within = False,
    validation_episodes: options.Validate = 200,
    steps: options.Steps = 2000,
    batch: options.Batch = 16,
    seed: options.Seed = 0,
    lr: options.Rate = 1e-3,
    encoder: options.Encoder = "conv4-strided",
    devices: options.Devices = 1,
    precision: options.Precision = "float32",
    engine: options.EngineName = "auto",
    checkpoint_seconds: options.Every = 60.0,
    resume: options.Resume = False,
) -> None:
    """Meta-train one method. Ctrl-C keeps a checkpoint; --resume goes on to the same bits.

    Example: quickstudy train protonet --data omniglot --data-dir DIR --ways 20 --out runs/protonet
    """
    title, how = find(method).title, options.engine_named(engine)
    task = {"ways": ways, "shots": shots, "queries": queries, "within_groups": within_groups}
    made = plan(data, data_dir, encoder=encoder, image_size=image_size, **task)
    torch.manual_seed(seed)
    learner = build(method, made.setting)
    about = learner_about(method, made.setting) | {"data": data, "queries": queries, "within_groups": within_groups}
    about |= {"validation_episodes": validation_episodes}
    about |= {"steps": steps, "batch": batch, "seed": seed, "lr": lr, "precision": precision}
    fabric = options.launcher(devices, batch, precision)
    if fabric.is_global_zero:
        begin(folder, about, resume=resume)
    fabric.launch()
    optimizer, scheduler = adam(learner, lr, steps)
    progress = train(
        learner,
        made.tasks,
        steps=steps,
        batch=batch,
        optimizer=optimizer,
        scheduler=scheduler,
        validate=Validation(made.validation, every=max(1, steps // 20), episodes=validation_episodes),
        seed=seed,
        out=folder,
        checkpoint_seconds=checkpoint_seconds,
        resume=resume,
        engine=how,
        fabric=fabric,
    )
    with Bars(err, steps, fabric.world_size) as bars:
        best = [p.best for p in bars.watch(method, progress)][-1:]
        tuned = tune(learner, made.validation, episodes=validation_episodes, engine=how, fabric=fabric)
    if fabric.is_global_zero:
        keep_tuned(folder, tuned)
    accuracy = f", meta-validation accuracy {best[0]:.2%}" if best and best[0] is not None else ""
    settings = "".join(f", {name} {value} chosen on validation tasks" for name, value in tuned.items())
    out.print(f"trained {title}{accuracy}{settings}: {folder}", soft_wrap=True)
    out.print(f"next: quickstudy evaluate {shlex.quote(str(folder))}", soft_wrap=True)


def evaluate_command(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    data: Annotated[str | None, typer.Option(help="Other data than the run's own; its test classes are used.")] = None,
    data_dir: options.DataDir = None,
    ways: Annotated[int | None, typer.Option(help="Classes of a task; the run's own unless given.")] = None,
    shots: Annotated[int | None, typer.Option(help="Support examples per class; likewise.")] = None,
    queries: options.TestQueries = None,
    within_groups: options.Within = False,
    episodes: options.Episodes = 1000,
    seed: options.Seed = 0,
    engine: options.EngineName = "auto",
    json_file: Annotated[Path | None, json_option("every per-episode score")] = None,
) -> None:
    """Test a trained learner on fixed episodes of classes that it has never seen.

    Example: quickstudy evaluate runs/protonet --ways 5 --shots 1 --episodes 1000 --json scores.json
    """
    keep_freed_memory()
    how = options.engine_named(engine)
    learner, setting, about = open_run(run)
    classes = unseen_classes(data or about["data"], data_dir, size=setting.size, channels=setting.channels)
    ways, shots = setting.ways if ways is None else ways, setting.shots if shots is None else shots
    asked = most_queries(classes, shots) if queries is None else queries
    tasks = FewShot(classes, ways, shots, asked, within_groups=within_groups)
    fabric = Fabric(accelerator=accelerator(), devices=1)
    with err.status(f"{episodes} episodes of {classes.name}"):
        found = evaluate(learner, tasks, episodes=episodes, seed=seed, engine=how, fabric=fabric)
    test = f"{about['method']} on {classes.name}, {tasks.ways[0]}-way {tasks.shots[0]}-shot: "
    out.print(Text.assemble(test, (str(found), "bold")))
    out.print(
        f"{episodes} episodes {found.episodes_hash[:12]}, chance {found.chance:.0%}, "
        f"ECE {found.calibration_error:.3f}, {found.adapt_seconds * 1000:.1f} ms to adapt, "
        f"transductive {'yes' if found.transductive else 'no'}, computed by {found.engine}"
    )
    write_json(json_file, found.results() | {"episodes_hash": found.episodes_hash}, indent=None)

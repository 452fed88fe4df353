"""The command line: compare, train, evaluate, check, adapt, predict, export, serve, data."""

import json
import os
import shlex
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import torch
import typer
from lightning_fabric import Fabric
from rich.console import Console
from rich.table import Table

from quickstudy import options
from quickstudy.allocator import keep_freed_memory
from quickstudy.atomic import write_atomically
from quickstudy.catalogue import METHODS, SOME, Setting, build, find
from quickstudy.check_command import check_command
from quickstudy.comparison import Comparison, compare
from quickstudy.data.arrow import pack_folder
from quickstudy.data.digits import digits
from quickstudy.data.sources import SOURCES, splits, unseen_classes
from quickstudy.evaluation import evaluate
from quickstudy.export_command import export_command
from quickstudy.plan import plan, tests, tests_by_shots
from quickstudy.processes import ProcessLost, processes
from quickstudy.progress import Bars, Stopped
from quickstudy.runs import ABOUT, begin, keep_tuned, learner_about, open_run
from quickstudy.serve_command import serve_command
from quickstudy.tasks import FewShot
from quickstudy.tasks_command import adapt_command, json_option, out, predict_command, write_json
from quickstudy.training import Validation, adam, train
from quickstudy.tuning import tune

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
err = Console(stderr=True)
app.command("check")(check_command)
app.command("adapt")(adapt_command)
app.command("predict")(predict_command)
app.command("export")(export_command)
app.command("serve")(serve_command)


def show_version(wanted: bool) -> bool:
    if wanted:
        out.print(f"quickstudy {version('quickstudy')}")
        raise typer.Exit
    return wanted


@app.callback()
def quickstudy(
    show: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Meta-learning: train over many small tasks, so that a new task is learned from a handful of examples."""


def launcher(devices: int, batch: int, precision: str) -> Fabric:
    """The processes of this command, of which only the first speaks; they are not started yet."""
    keep_freed_memory()
    fabric = processes(devices, batch, precision)
    if not fabric.is_global_zero:
        out.quiet = err.quiet = True
    return fabric


def methods_of(names: str) -> list[str]:
    """The names in a comma-separated list, each a method's; or those of "some", or "all"."""
    listed = {"some": SOME}.get(names, [name.strip() for name in names.split(",") if name.strip()])
    if not (chosen := list(buildable() if names == "all" else listed)):
        raise ValueError(f"--methods names none; there are {', '.join(METHODS)}, and some, and all.")
    for name in chosen:
        find(name)
    return list(dict.fromkeys(chosen))


def buildable() -> Iterator[str]:
    """Every method whose libraries are installed; the others are named."""
    for name in METHODS:
        try:
            build(name, Setting())
            yield name
        except ImportError as error:
            err.print(f"without {name}: {error}", soft_wrap=True, markup=False)


@app.command("compare")
def compare_command(
    data: options.Data = "glyphs",
    data_dir: options.DataDir = None,
    methods: Annotated[
        str, typer.Option(help=f"Comma-separated; all, or some of each family: {', '.join(METHODS)}.")
    ] = "some",
    ways: options.Ways = 5,
    shots: options.Shots = 1,
    queries: options.Queries = 5,
    image_size: options.Size = None,
    within_groups: options.Within = False,
    validation_episodes: options.Validate = 100,
    steps: options.Steps = 500,
    batch: options.Batch = 8,
    episodes: options.Episodes = 1000,
    seed: options.Seed = 0,
    lr: options.Rate = 1e-3,
    encoder: options.Encoder = "conv4-strided",
    devices: options.Devices = 1,
    precision: options.Precision = "float32",
    engine: options.EngineName = "auto",
    folder: Annotated[
        Path, typer.Option("--out", help="Folder for results.json, report.html and the learners.")
    ] = Path("quickstudy-out"),
    resume: options.Resume = False,
) -> None:
    """Meta-train methods on the same tasks with the same budget, and test them on the same unseen episodes.

    Writes results.json (every per-episode score) and report.html (a page to look at), and prints the table.
    On glyphs, the default, methods are tested on unseen generated characters and on real handwritten digits.

    Example: quickstudy compare --data omniglot --data-dir DIR --methods protonet,maml,fine-tune --out runs/omniglot
    """
    chosen, how = methods_of(methods), options.engine_named(engine)
    task = {"ways": ways, "shots": shots, "within_groups": within_groups}
    made = plan(data, data_dir, encoder=encoder, image_size=image_size, queries=queries, **task)
    tested = tests(data, made.unseen, ways, shots, within_groups)
    by_shots = tests_by_shots(data, made.unseen, ways, within_groups)
    learners = {}
    for name in chosen:
        torch.manual_seed(seed)
        learners[name] = build(name, made.setting)
    settings = {"data": data, "methods": chosen, "encoder": encoder, "queries": queries, **task}
    settings |= {"steps": steps, "batch": batch, "seed": seed, "lr": lr, "episodes": episodes, "precision": precision}
    fabric = launcher(devices, batch, precision)
    if fabric.is_global_zero:
        begin(folder, settings, resume=resume)
        for name in chosen:
            about = learner_about(name, made.setting) | {"data": data}
            write_atomically(folder / name / ABOUT, json.dumps(about).encode())
    fabric.launch()
    with Bars(err, steps, devices) as bars:
        found = compare(
            learners,
            made.tasks,
            tested,
            steps=steps,
            batch=batch,
            validate=Validation(made.validation, every=max(1, steps // 5), episodes=validation_episodes),
            episodes=episodes,
            shots=by_shots,
            shot_episodes=max(2, min(episodes // 4, 200)),
            lr=lr,
            seed=seed,
            out=folder,
            resume=True,
            settings=settings,
            watch=bars.watch,
            engine=how,
            fabric=fabric,
        )
    if fabric.is_global_zero:
        for name, entry in found.entries.items():
            keep_tuned(folder / name, entry.tuned)
        finish(found, folder)


def finish(found: Comparison, folder: Path) -> None:
    """Writes and prints what was found."""
    from quickstudy.report import report, table  # here, as plotting takes a second to import

    write_atomically(folder / "results.json", json.dumps(found.results()).encode())
    report(found, folder / "report.html")
    for test in found.strip:
        out.print(table(found, test))
    out.print(f"report: {folder / 'report.html'}\nscores: {folder / 'results.json'}", soft_wrap=True)


@app.command("train")
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
    about |= {"steps": steps, "batch": batch, "seed": seed, "lr": lr, "precision": precision}
    fabric = launcher(devices, batch, precision)
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
    with Bars(err, steps, devices) as bars:
        best = [p.best for p in bars.watch(method, progress)][-1:]
    tuned = tune(learner, made.validation, episodes=validation_episodes, engine=how, fabric=fabric)
    if fabric.is_global_zero:
        keep_tuned(folder, tuned)
    accuracy = f", meta-validation accuracy {best[0]:.2%}" if best and best[0] is not None else ""
    settings = "".join(f", {name} {value} chosen on validation tasks" for name, value in tuned.items())
    out.print(f"trained {title}{accuracy}{settings}: {folder}", soft_wrap=True)
    out.print(f"next: quickstudy evaluate {shlex.quote(str(folder))}", soft_wrap=True)


@app.command("evaluate")
def evaluate_command(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    data: Annotated[str | None, typer.Option(help="Other data than the run's own; its test classes are used.")] = None,
    data_dir: options.DataDir = None,
    ways: Annotated[int | None, typer.Option(help="Classes of a task; the run's own unless given.")] = None,
    shots: Annotated[int | None, typer.Option(help="Support examples per class; likewise.")] = None,
    queries: options.TestQueries = 15,
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
    tasks = FewShot(classes, ways or setting.ways, shots or setting.shots, queries, within_groups=within_groups)
    with err.status(f"{episodes} episodes of {classes.name}"):
        found = evaluate(learner, tasks, episodes=episodes, seed=seed, engine=how)
    write_json(json_file, found.results() | {"episodes_hash": found.episodes_hash}, indent=None)
    out.print(f"{about['method']} on {classes.name}, {tasks.ways[0]}-way {tasks.shots[0]}-shot: [bold]{found}[/bold]")
    out.print(
        f"{episodes} episodes {found.episodes_hash[:12]}, chance {found.chance:.0%}, "
        f"ECE {found.calibration_error:.3f}, {found.adapt_seconds * 1000:.1f} ms to adapt, "
        f"transductive {'yes' if found.transductive else 'no'}, computed by {found.engine}"
    )


@app.command("data")
def data_command(
    action: Annotated[str, typer.Argument(help="list, get, check or pack.")],
    source: Annotated[str | None, typer.Argument(help=f"{', '.join(SOURCES)}, or a folder.")] = None,
    data_dir: options.DataDir = None,
    image_size: options.Size = None,
    file: Annotated[Path | None, typer.Option("--out", help="The .arrow file to pack into.")] = None,
) -> None:
    """List the data there is, get it, check that what lies on disk is whole, or pack a folder that outgrows memory.

    Example: quickstudy data check omniglot --data-dir DIR

    Example: quickstudy data pack PICTURES --out pictures.arrow
    """
    if action not in ("list", "get", "check", "pack"):
        raise ValueError(f"no action {action!r}; there are list, get, check and pack.")
    if action == "list":
        rows = Table("data", "what it is", box=None)
        for name, what in SOURCES.items():
            rows.add_row(name, what)
        rows.add_row("PATH", "a folder of CLASS folders with pictures, or train, val and test folders of such")
        rows.add_row("FILE.arrow", "such a folder, packed into a file that is memory-mapped (quickstudy data pack)")
        out.print(rows)
        return
    if source is None:
        raise ValueError(f"which data to {action}? Name one of {', '.join(SOURCES)}, or a folder.")
    if action == "pack":
        if file is None or file.suffix != ".arrow":
            raise ValueError(f"pack into which file? Pass --out with a name that ends in .arrow, not {file}.")
        pack_folder(source, file, size=image_size or 84)
        source = str(file)
    parts = [digits()] if source == "digits" else splits(source, data_dir, size=image_size)
    rows = Table("part", "classes", "examples", "fewest per class", "pixels", box=None)
    for part in parts:
        pixels = "x".join(str(n) for n in part.x.shape[1:])
        rows.add_row(part.name, f"{len(part.classes):,}", f"{len(part):,}", str(int(part.counts.min())), pixels)
    out.print(rows)


def main() -> None:
    """Runs a command: 0 is success, 1 a failed training or a check's findings, 2 wrong input, 130 an interruption."""
    try:
        app()
    except Stopped as stopped:
        command = [word for word in sys.argv[1:] if word != "--resume"]
        err.print(
            f"\n{stopped} Go on with: quickstudy {shlex.join([*command, '--resume'])}", soft_wrap=True, markup=False
        )
        sys.exit(130)
    except KeyboardInterrupt:
        err.print("\nstopped.")
        sys.exit(130)
    except ProcessLost as lost:
        command = [word for word in sys.argv[1:] if word != "--resume"]
        sys.stderr.write(f"quickstudy: {lost} Go on with: quickstudy {shlex.join([*command, '--resume'])}\n")
        sys.stderr.flush()
        os._exit(1)  # at once: what else there is to close would wait for the process that is gone
    except FloatingPointError as error:
        err.print(f"quickstudy: {error}", soft_wrap=True, markup=False)
        sys.exit(1)
    except (ValueError, OSError, ImportError) as error:
        err.print(f"quickstudy: {error}", soft_wrap=True, markup=False)
        sys.exit(2)


if __name__ == "__main__":
    main()

"""The command that trains and tests many methods side by side: compare."""

import json
from pathlib import Path
from typing import Annotated

import torch
import typer

from quickstudy.atomic import write_atomically
from quickstudy.catalogue import METHODS, SOME, build, find
from quickstudy.commands import options
from quickstudy.commands.console import err, out
from quickstudy.comparison import Comparison, compare
from quickstudy.plan import plan, tests, tests_by_shots
from quickstudy.progress import Bars
from quickstudy.runs import ABOUT, begin, keep_tuned, learner_about
from quickstudy.training import Validation


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
    settings |= {"size": made.setting.size, "validation_episodes": validation_episodes}
    fabric = options.launcher(devices, batch, precision)
    if fabric.is_global_zero:
        begin(folder, settings, resume=resume)
        for name in chosen:
            about = learner_about(name, made.setting) | {"data": data, "seed": seed}
            write_atomically(folder / name / ABOUT, json.dumps(about).encode())
    fabric.launch()
    with Bars(err, steps, fabric.world_size) as bars:
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


def methods_of(names: str) -> list[str]:
    """The names in a comma-separated list, each a method's; or those of "some", or "all"."""
    listed = [name.strip() for name in names.split(",") if name.strip()]
    if not (chosen := {"some": SOME, "all": METHODS}.get(names, listed)):
        raise ValueError(f"--methods names none; there are {', '.join(METHODS)}, and some, and all.")
    for name in chosen:
        find(name)
    return list(dict.fromkeys(chosen))

"""Run folders: `run.json` says what a run is, beside the checkpoints that training writes."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from quickstudy.atomic import write_atomically
from quickstudy.catalogue import Setting, build
from quickstudy.checkpoint import load_learner
from quickstudy.contract import MetaLearner
from quickstudy.seeds import drawing_from
from quickstudy.training import KEPT, LAST
from quickstudy.tuning import give

ABOUT = "run.json"


def begin(folder: Path, about: dict, *, resume: bool) -> None:
    """Claims a folder for a run, new or resumed.

    Raises:
        ValueError: A folder that holds something else, or a run of other settings.
    """
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file; name a folder.")
    held = [path for path in folder.iterdir() if not is_left_behind(path)] if folder.exists() else []
    if not held:
        write_atomically(folder / ABOUT, (json.dumps(about, indent=1) + "\n").encode())
        return
    if not resume:
        go_on = "Pass --resume to go on with the run in it, or name" if (folder / ABOUT).is_file() else "Name"
        raise ValueError(f"{folder} is not empty. {go_on} another folder.")
    if not (folder / ABOUT).is_file():
        raise ValueError(
            f"{folder} holds {held[0].name}, and no run to go on with. Name the folder of one, or another."
        )
    before = describe(folder)
    for name, value in about.items():
        if before.get(name) != value:
            raise ValueError(
                f"{folder} holds a run with {name} {before.get(name)!r}, not {value!r}. "
                f"Resume it with its own settings, or name another folder."
            )
    for part in folder.rglob(".*.part"):  # left by a process that was killed while writing
        part.unlink(missing_ok=True)


def is_left_behind(path: Path) -> bool:
    """Whether a file is one that systems leave in folders, or a process that was killed while writing."""
    return path.name.startswith(".") and path.is_file()


def describe(folder: Path) -> dict:
    """What the run of a folder is.

    Raises:
        FileNotFoundError: No such folder, or no run in it.
        ValueError: Its description is not one that quickstudy wrote.
    """
    path = folder / ABOUT
    if not path.is_file():
        why = "it is a file" if folder.is_file() else f"it has no {ABOUT}" if folder.is_dir() else "no such folder"
        raise FileNotFoundError(f"no run in {folder}: {why}. Train one with `quickstudy train --out`.")
    try:
        about = json.loads(path.read_text())
        return about if isinstance(about, dict) else {}
    except ValueError as error:
        raise ValueError(f"{path} is no description of a run ({error}).") from None


def learner_about(method: str, setting: Setting) -> dict:
    """The part of a description that a learner is built anew from."""
    return {"method": method, "setting": asdict(setting)}


def keep_tuned(folder: Path, tuned: Mapping[str, Any]) -> None:
    """Adds to a description what was chosen once training was over; see `tune`."""
    if tuned:
        about = describe(folder) | {"tuned": dict(tuned)}
        write_atomically(folder / ABOUT, (json.dumps(about, indent=1) + "\n").encode())


def open_run(folder: Path) -> tuple[MetaLearner, Setting, dict]:
    """The learner that a run ended with, what it was built for, and the run's description.

    Raises:
        FileNotFoundError: No run, or one that has not ended.
        ValueError: A broken checkpoint, or one of another method.
    """
    about = describe(folder)
    try:
        method, setting, tuned = about["method"], Setting(**about["setting"]), dict(about.get("tuned", {}))
    except (KeyError, TypeError):
        raise ValueError(
            f"{folder / ABOUT} does not tell the method and its setting; is it a run of one method?"
        ) from None
    with drawing_from(about.get("seed", 0)):  # what is not trained begins as it was tested
        learner = build(method, setting)
    if learner.choices and "tuned" not in about:
        raise FileNotFoundError(f"the run in {folder} has not chosen its settings yet; go on with it by --resume.")
    give(learner, {name: value for name, value in tuned.items() if name in learner.choices})
    if any(p.requires_grad for p in learner.parameters()):
        if not (folder / KEPT).exists() and (folder / LAST).exists():
            raise FileNotFoundError(f"the run in {folder} has not ended; go on with it by --resume.")
        load_learner(learner, folder / KEPT)
    return learner.eval(), setting, about

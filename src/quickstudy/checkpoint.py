"""Learners and memories on disk: safetensors with a JSON description in the header, written whole or not at all."""

import json
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from quickstudy.atomic import write_atomically
from quickstudy.contract import Memory, MetaLearner, memory_of, parts_of


def save_tensors(path: Path, tensors: Mapping[str, Tensor], about: dict) -> None:
    """Writes named tensors and a description that JSON can hold."""
    write_atomically(path, packed(tensors, about))


def packed(tensors: Mapping[str, Tensor], about: dict) -> bytes:
    """The content of such a file; equal tensors and descriptions make equal bytes."""
    contiguous, known = {}, set()
    for name, tensor in tensors.items():
        plain = tensor.detach().cpu().contiguous()
        place = plain.untyped_storage().data_ptr()
        contiguous[name] = plain.clone() if place in known else plain  # what is tied is written twice
        known.add(place)
    return save(contiguous, metadata={"quickstudy": json.dumps(about, sort_keys=True)})


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict]:
    """The tensors of a file and their description.

    Raises:
        FileNotFoundError: No such file.
        ValueError: Not a file that quickstudy wrote; a pickle is never opened.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path}.")
    try:
        with safe_open(path, "pt") as file:
            about = json.loads((file.metadata() or {})["quickstudy"])
            return {name: file.get_tensor(name) for name in file.keys()}, about  # noqa: SIM118 (not a dict)
    except (SafetensorError, KeyError, ValueError):
        with path.open("rb") as file:
            pickled = file.read(2) in (b"PK", b"\x80\x02", b"\x80\x04", b"\x80\x05")
        looks = " It looks like a pickle, which can run code when opened." if pickled else ""
        raise ValueError(f"{path} is no checkpoint of quickstudy, or a broken one.{looks} It was not loaded.") from None


def name_of(learner: MetaLearner) -> str:
    """The name of a learner's class, and of that of a learner inside it."""
    inside, name = getattr(learner, "learner", None), type(learner).__name__
    return f"{name}({name_of(inside)})" if isinstance(inside, MetaLearner) else name


def save_learner(learner: MetaLearner, path: str | Path, about: dict | None = None) -> None:
    """Writes a learner's weights, with the name of its class and whatever else is worth saying about it."""
    description = {**(about or {}), "learner": name_of(learner)}
    save_tensors(Path(path), {f"learner.{k}": v for k, v in learner.state_dict().items()}, description)


def load_learner(learner: MetaLearner, path: str | Path) -> dict:
    """Fills a learner of the same making with saved weights; what was said about them comes back.

    Raises:
        FileNotFoundError: No such file.
        ValueError: No checkpoint, one of another method, or one of other sizes.
    """
    tensors, about = load_tensors(Path(path))
    fill(learner, tensors, about, Path(path))
    return about


def fill(learner: MetaLearner, tensors: Mapping[str, Tensor], about: dict, path: Path) -> None:
    """Loads the tensors named `learner.*` into a learner, after checking that they are its own."""
    mine, saved = name_of(learner), about.get("learner")
    if saved != mine:
        raise ValueError(f"{path} holds a {saved}, not a {mine}. Load it into the learner that it was saved from.")
    state = {k.removeprefix("learner."): v for k, v in tensors.items() if k.startswith("learner.")}
    expected = {name: list(tensor.shape) for name, tensor in learner.state_dict().items()}
    found = {name: list(tensor.shape) for name, tensor in state.items()}
    for name in [*expected, *found]:
        if expected.get(name) != found.get(name):
            raise ValueError(
                f"{path} does not fit this {mine}: {name!r} has shape {found.get(name, 'none')}, "
                f"needed {expected.get(name, 'none')}. Build the learner with the options it was trained with."
            )
    learner.load_state_dict(state)


def save_memory(memory: Memory, path: str | Path) -> None:
    """Writes what a learner remembers of its tasks."""
    kind, parts = parts_of(memory)
    save_tensors(Path(path), parts, {"memory": kind})


def load_memory(path: str | Path) -> Memory:
    """A memory as it was saved.

    Raises:
        FileNotFoundError: No such file.
        ValueError: Not a saved memory.
    """
    tensors, about = load_tensors(Path(path))
    try:
        return memory_of(about["memory"], tensors)
    except KeyError:
        raise ValueError(f"{path} holds no memory of a learner.") from None

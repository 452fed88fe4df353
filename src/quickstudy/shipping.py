"""Adapted tasks on disk: what a learner remembers of some examples, with all that is needed to ask it.

A file is safetensors with a JSON description: the memory, the names of the classes or the mean and scale of the
numbers, how items are encoded, what the examples told of those to come, and the learner's weights, or for one that
ships with quickstudy its name and the hash of its weights. Examples are in it, encoded, only where they are what the
method remembers; the description says which.
"""

import hashlib
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Shaped
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from quickstudy.atomic import write_atomically
from quickstudy.calibration import Calibration
from quickstudy.catalogue import Setting, build
from quickstudy.checkpoint import load_tensors, packed
from quickstudy.conformal import Own
from quickstudy.contract import MetaLearner, memory_of, parts_of
from quickstudy.estimator_inputs import as_json
from quickstudy.estimators import FewShotClassifier
from quickstudy.inputs import ARRAYS
from quickstudy.none_of_these import embeddings, sees_embeddings
from quickstudy.ready import Ready, load, of_run
from quickstudy.regressor import FewShotRegressor
from quickstudy.tuning import give

FIRST = 8
"""Numbers of a row that are looked for one by one, before the whole row is compared where they stand."""

MEMORY, LEARNER, OWN = "memory.", "learner.", "own."


Fitted = FewShotClassifier | FewShotRegressor
"""What has learned a task."""


def save_task(fitted: Fitted, path: str | Path) -> None:
    """Writes what a fitted classifier or regressor has learned, as one file that `load_task` reads; a pickle never.

    Its description says under "holds_examples" whether the memory is the examples, encoded or embedded.

    Raises:
        NotFittedError: It has not been fitted.
        TypeError: Labels that are neither text nor numbers.
        OSError: The file cannot be written; then none is left behind.
    """
    write_atomically(Path(path), task_bytes(fitted))


def task_bytes(fitted: Fitted) -> bytes:
    """The content of the file that `save_task` writes.

    Raises:
        NotFittedError, TypeError: See there.
    """
    check_is_fitted(fitted, "memory_")
    ready = fitted.ready_
    kind, parts = parts_of(fitted.memory_)
    tensors = {MEMORY + name: tensor for name, tensor in parts.items()}
    if "shipped" not in ready.source:
        tensors |= {LEARNER + name: tensor for name, tensor in ready.learner.state_dict().items()}
    names = getattr(fitted, "feature_names_in_", None)
    about = {
        "task": kind,
        "holds_examples": holds_examples(fitted),
        "source": ready.source,
        "hash": fingerprint(ready.learner),
        "inputs": ready.inputs.about(fitted.encode_),
        "features": getattr(fitted, "n_features_in_", None),
        "feature_names": None if names is None else names.tolist(),
        "label": getattr(fitted, "label_name_", None),
    }
    if isinstance(fitted, FewShotRegressor):
        return packed(tensors, about | {"mean": float(fitted.mean_), "scale": float(fitted.scale_)})
    own, told = fitted.own()._asdict(), fitted.calibration_
    about |= {"classes": as_json(fitted.classes_), "calibration": None if told is None else told._asdict()}
    about["temperature"] = own.pop("temperature")
    tensors |= {OWN + name: torch.as_tensor(value) for name, value in own.items() if value is not None}
    return packed(tensors, about)


def load_task(path: str | Path, learner: MetaLearner | None = None) -> Fitted:
    """A classifier or regressor as it was saved, ready to predict.

    Args:
        path: A file that `save_task` wrote.
        learner: Of the making of the one that was saved, where that was built by hand and not by a name or a run.

    Raises:
        FileNotFoundError: No such file.
        ValueError: Another file; a learner of another making; or one that ships, in another version.
    """
    tensors, about = load_tensors(Path(path))
    if "task" not in about:
        raise ValueError(f"{path} holds no adapted task; write one with save_task, or `quickstudy adapt`.")
    ready = rebuilt(path, tensors, about, learner)
    given = about["source"].get("shipped", ready)
    fitted = FewShotClassifier(given) if "classes" in about else FewShotRegressor(given)
    fitted.ready_, fitted.encode_, fitted.support_ = ready, ready.inputs.of(about["inputs"]), None
    fitted.holds_examples_ = about["holds_examples"]
    parts = {name.removeprefix(MEMORY): tensor for name, tensor in tensors.items() if name.startswith(MEMORY)}
    fitted.memory_ = memory_of(about["task"], parts)
    if about["features"] is not None:
        fitted.n_features_in_ = about["features"]
    if about["feature_names"] is not None:
        fitted.feature_names_in_ = np.array(about["feature_names"], dtype=object)
    if about.get("label") is not None:
        fitted.label_name_ = about["label"]
    if isinstance(fitted, FewShotRegressor):
        fitted.mean_, fitted.scale_ = about["mean"], about["scale"]
        return fitted
    fitted.classes_, told = np.array(about["classes"]), about["calibration"]
    fitted.calibration_ = told and Calibration(**told)
    right, unlike = (tensors[OWN + name].numpy() for name in ("right", "unlike"))
    fitted.own_ = Own(about["temperature"], right, unlike, tensors.get(f"{OWN}centres"))
    return fitted


@torch.no_grad()
def holds_examples(fitted: Fitted) -> bool:
    """Whether every example, encoded or embedded, stands in the memory; of a task from a file, what that said."""
    if fitted.support_ is None:
        return fitted.holds_examples_
    x, learner = fitted.support_[0], fitted.ready_.learner
    forms = [x, embeddings(learner, x[None])[0]] if sees_embeddings(learner) else [x]
    kept = [*parts_of(fitted.memory_)[1].values()]
    if isinstance(fitted, FewShotClassifier) and (centres := fitted.own().centres) is not None:
        kept.append(centres)  # each that of its only example, where a class has one
    return any(stands_in(form, part) for form in forms for part in kept)


def stands_in(rows: Shaped[Tensor, "example *x"], part: Tensor) -> bool:
    """Whether the numbers of each of some rows are somewhere in a tensor, one behind the other."""
    numbers, size = part.flatten(), rows[0].numel()

    def found(row: Tensor) -> bool:
        begins = torch.arange(len(numbers) - size + 1)
        for place in range(min(size, FIRST)):
            begins = begins[numbers[begins + place] == row[place]]
        return any(bool((numbers[begin : begin + size] == row).all()) for begin in begins.tolist())

    return len(numbers) >= size and all(map(found, rows.flatten(1)))


def rebuilt(path: str | Path, tensors: dict, about: dict, learner: MetaLearner | None) -> Ready:
    """The learner of a saved task."""
    source = about["source"]
    if "shipped" in source:
        ready = load(source["shipped"])
    else:
        if learner is None and "method" not in source:
            raise ValueError(f"{path} was adapted by a learner built by hand; pass one of the same making as learner=.")
        own, tuned = learner or build(source["method"], Setting(**source["setting"])), source.get("tuned", {})
        give(own, tuned)
        weights = {name.removeprefix(LEARNER): t for name, t in tensors.items() if name.startswith(LEARNER)}
        try:
            own.load_state_dict(weights)
        except RuntimeError as error:
            raise ValueError(f"{path} was adapted by another learner than this {type(own).__name__}: {error}") from None
        ready = (
            of_run(own, Setting(**source["setting"]), source["method"], tuned)
            if "method" in source
            else Ready(own.eval(), ARRAYS)
        )
    if fingerprint(ready.learner) != about["hash"]:
        raise ValueError(
            f"{path} was adapted by another version of this learner, which would misread it; adapt it again."
        )
    return ready


def fingerprint(learner: MetaLearner) -> str:
    """A hash of a learner's weights."""
    digest = hashlib.sha256()
    for name, tensor in sorted(learner.state_dict().items()):
        digest.update(f"{name} {list(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()

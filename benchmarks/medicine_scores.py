"""What benchmarks/medicine.py measures of a learner: how often it is right and how sure, and what a task costs it."""

import ctypes
import sys
from pathlib import Path

import torch
from torch import Tensor
from torch.distributions import Distribution

import quickstudy as qs
from quickstudy.contract import parts_of
from quickstudy.evaluation import episode_list

MEANS = ("auc", "log_likelihood", "tempered_log_likelihood", "sure")
"""Scores of which the mean over episodes is kept, with its interval; accuracies are kept one by one, to be paired."""


def measured(learner: qs.MetaLearner, tasks: qs.FewShot, episodes: int, temperature: float) -> dict:
    """Scores of each episode, calibration, and the costs of learning one task."""
    found = qs.evaluate(
        learner, tasks, episodes=episodes, temperature=temperature, metrics={"auc": qs.roc_auc, "sure": sure}
    )
    learner.eval()
    support = next(iter(episode_list(tasks, 1))).support
    peak, memory = peak_of(lambda: learner.adapt(support))
    return {
        "accuracy": rounded(found.scores["accuracy"]),
        **{name: qs.interval(found.scores[name]) for name in MEANS},
        "ece": found.calibration_error,
        "tempered_ece": found.tempered_calibration_error,
        "temperature": temperature,
        "adapt_ms": found.adapt_seconds * 1000,
        "remembered_bytes": sum(tensor.nbytes for tensor in parts_of(memory)[1].values()),
        "peak_bytes": peak,
        "hash": found.episodes_hash,
        "transductive": found.transductive,
    }


def rounded(scores: Tensor) -> list[float]:
    return [round(value, 4) for value in scores.tolist()]


def sure(predicted: Distribution, query: qs.Examples) -> Tensor:
    """The mean confidence of each task's right answers; zero where none is right."""
    confidence, answer = predicted.probs.max(-1)  # pyright: ignore[reportAttributeAccessIssue]
    right = answer == query.y
    return confidence.where(right, 0).sum(1) / right.sum(1).clamp(min=1)


def peak_of(work):
    """The bytes by which the process's memory grew at most, on Linux, else None; and what came of the work."""
    status, clear = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if sys.platform != "linux":
        return None, work()

    def kilobytes(name: str) -> int:
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith(name))

    with torch.no_grad():
        ctypes.CDLL(None).malloc_trim(0)  # memory that was freed and not given back would be used again, unseen
        clear.write_text("5")
        before = kilobytes("VmRSS")
        result = work()
    return 1024 * (kilobytes("VmHWM") - before), result

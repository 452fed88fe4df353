"""The demonstrations of benchmarks/robots_imitation.py, which are recorded once and kept in a folder."""

from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

import quickstudy as qs
from quickstudy.checkpoint import load_tensors, save_tensors

NOISE = 0.3
"""The disturbance of training demonstrations."""


class Part(NamedTuple):
    """How many goals, demonstrations of each, and further ones that were disturbed; and the seed of all."""

    goals: int
    per_goal: int
    disturbed: int
    seed: int


class Sizes(NamedTuple):
    """Goals to train on, to choose by and to test on, and the steps of a demonstration."""

    train: Part = Part(150, 1, 2, 0)
    validation: Part = Part(20, 4, 0, 1)
    test: Part = Part(40, 10, 0, 2)
    steps: int = 100


def recorded(environment: str, part: str, folder: Path, sizes: Sizes) -> qs.Demonstrations:
    """A part's demonstrations: read, or else recorded and written."""
    size, about = getattr(sizes, part), {"environment": environment, "noise": NOISE, "steps": sizes.steps}
    about |= size._asdict()
    path = folder / f"{environment}-{part}-{'-'.join(map(str, (*size, sizes.steps)))}.safetensors"
    if not path.exists():
        made = qs.demonstrations(**about)
        tensors = {name: value for name, value in asdict(made).items() if isinstance(value, Tensor)}
        save_tensors(path, tensors, {**about, "tries": made.tries})
    tensors, told = load_tensors(path)
    return qs.Demonstrations(environment, **tensors, undisturbed=size.per_goal, tries=told["tries"])

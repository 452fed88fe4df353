"""Counter-based randomness: what is drawn at a step depends on the seed and the step alone."""

import hashlib
import operator
from collections.abc import Iterator
from contextlib import contextmanager
from typing import SupportsIndex

import torch


def seeded(seed: SupportsIndex, *counters: SupportsIndex | str) -> torch.Generator:
    """A random generator that is a function of a seed and counters, such as the step.

    Example:
        >>> draw = lambda step: torch.rand(2, generator=seeded(0, "train", step))
        >>> bool((draw(7) == draw(7)).all()), bool((draw(7) == draw(8)).all())
        (True, False)
    """
    plain = (one if isinstance(one, str) else operator.index(one) for one in (seed, *counters))  # 1 of NumPy is 1
    digest = hashlib.sha256(repr((*plain,)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little", signed=True))


@contextmanager
def drawing_from(seed: int) -> Iterator[None]:
    """Within it the whole process's random numbers begin at a seed; the CPU's go on after it as if none were drawn."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield

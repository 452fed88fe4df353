"""Drawing the next batch while this one is learned from, which hides the time that reading from a disk takes."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from quickstudy.contract import Episodes


class Ahead:
    """Batches by step, each drawn in a thread while the one before it is in use.

    Args:
        draw: The batch of a step.
        early: Whether in a thread; else each is drawn when it is asked for.
    """

    def __init__(self, draw: Callable[[int], Episodes], early: bool = True):
        self.draw, self.early, self.pool = draw, early, ThreadPoolExecutor(1, "draw")
        self.drawn: dict[int, Future[Episodes]] = {}

    def batch(self, step: int) -> Episodes:
        """The batch of a step; what was drawn for earlier steps is forgotten."""
        if not self.early:
            return self.draw(step)
        self.drawn = {s: self.drawn.get(s) or self.pool.submit(self.draw, s) for s in (step, step + 1)}
        return self.drawn[step].result()

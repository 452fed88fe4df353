"""Sessions in memory: each known by a name that cannot be guessed, and forgotten when it has been still for a while."""

import secrets
import time
from collections.abc import Callable
from threading import Lock
from typing import Generic, TypeVar

from quickstudy.page.safe import Limits, Refused

Kept = TypeVar("Kept")


class Sessions(Generic[Kept]):
    """What is kept of each session.

    Args:
        new: What a session begins with.
        limits: How many there may be, and for how long.
        clock: Seconds since some moment.
    """

    def __init__(self, new: Callable[[], Kept], limits: Limits, clock: Callable[[], float] = time.monotonic):
        self.new, self.limits, self.clock = new, limits, clock
        self.lock = Lock()
        self.kept: dict[str, tuple[float, Kept]] = {}

    def begin(self) -> str:
        """The name of a new session.

        Raises:
            Refused: There are too many (429).
        """
        self.sweep()
        with self.lock:
            if len(self.kept) >= self.limits.sessions:
                raise Refused(429, f"there are {len(self.kept)} sessions already, the most there may be; try later.")
            name = secrets.token_urlsafe(32)
            self.kept[name] = (self.clock(), self.new())
        return name

    def get(self, name: str) -> Kept:
        """What is kept of a session, which thereby lives on.

        Raises:
            Refused: There is no such session, or there was (404).
        """
        self.sweep()
        with self.lock:
            if name not in self.kept:
                raise Refused(404, "there is no such session, or it was still for too long and is forgotten.")
            _, kept = self.kept[name]
            self.kept[name] = (self.clock(), kept)
        return kept

    def end(self, name: str) -> None:
        """Forgets a session."""
        with self.lock:
            self.kept.pop(name, None)

    def sweep(self) -> None:
        """Forgets the sessions that have been still for too long."""
        oldest = self.clock() - self.limits.session_seconds
        with self.lock:
            for name in [name for name, (touched, _) in self.kept.items() if touched < oldest]:
                del self.kept[name]

"""Progress bars of training runs, and stopping them between two steps."""

import math
import signal
import time
from collections.abc import Iterator

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from quickstudy import training

SECONDS = 0.2
"""Between two readings of the loss, which wait for a GPU."""


class Stopped(Exception):
    """Ctrl-C ended a run; the message says what was kept."""


class Bars:
    """A bar for each run, with its loss, its validation score and its rate.

    Ctrl-C ends a run after its step, and what is done between runs at once.

    Args:
        console: Where to draw.
        steps: Steps of each run.
        processes: Of one, the run is closed between two steps, which writes a checkpoint; of several, which
            must not stop at different steps, the last checkpoint written is kept.
    """

    def __init__(self, console: Console, steps: int, processes: int = 1):
        columns = (TextColumn("{task.description:<14}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
        self.bars = Progress(*columns, TextColumn("{task.fields[now]}"), TimeRemainingColumn(), console=console)
        self.steps, self.graceful, self.asked = steps, processes == 1, False

    def __enter__(self) -> "Bars":
        self.before = signal.getsignal(signal.SIGINT)
        self.bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_) -> None:
        self.bars.stop()
        if kind is not None and issubclass(kind, KeyboardInterrupt):
            raise Stopped("stopped; what was trained is kept.") from None

    def _ask(self, *_) -> None:
        self.asked = True
        signal.signal(signal.SIGINT, self.before)  # a second Ctrl-C does not wait for the step

    def watch(self, name: str, run: Iterator[training.Progress]) -> Iterator[training.Progress]:
        """The same progress, shown.

        Raises:
            Stopped: After Ctrl-C.
        """
        bar = self.bars.add_task(name, total=self.steps, now="")
        engine, shown, now = None, -math.inf, ""
        if self.graceful:
            signal.signal(signal.SIGINT, self._ask)
        try:
            for p in run:
                if engine != p.engine:
                    engine = p.engine
                    self.bars.console.print(f"{name}: computed by {engine}", soft_wrap=True, highlight=False)
                if p.validation is not None or time.monotonic() - shown > SECONDS:
                    shown = time.monotonic()
                    best = "" if p.best is None else f"  best {p.best:.1%}" if p.best >= 0 else f"  best {p.best:.3f}"
                    now = f"loss {p.loss:.3f}{best}  {p.tasks_per_second:.0f} tasks/s"
                self.bars.update(bar, completed=p.step, now=now)
                if p.validation is not None and not self.bars.console.is_terminal:  # into a log, a line at a time
                    self.bars.console.print(f"{name} {p.step}/{p.steps}  {now}", soft_wrap=True, highlight=False)
                yield p
                if self.asked:
                    run.close()  # pyright: ignore[reportAttributeAccessIssue] (a generator)
                    raise Stopped(f"stopped {name} after step {p.step} of {p.steps}; a checkpoint is kept.")
        except KeyboardInterrupt:
            raise Stopped(f"stopped {name}; the last checkpoint is kept.") from None
        finally:
            signal.signal(signal.SIGINT, self.before)
        if self.asked:
            raise Stopped(f"stopped after {name}.")
        self.bars.update(bar, completed=self.steps)

"""How a batch of tasks is computed: by which strategy, how many tasks at a time, on how many threads.

Small operations leave little for a second thread inside them to do, so a batch is streamed in chunks over threads that
have one compute thread each, with a backward pass per chunk: memory is that of the chunks, whatever the batch.
"""

import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from threading import BrokenBarrierError
from typing import Any, Literal, TypeVar, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from quickstudy.contract import Episodes, MetaLearner
from quickstudy.encoders.norm import BatchNorm
from quickstudy.functional import twin
from quickstudy.inner_loop import Strategy, running_by
from quickstudy.peers import Team, alone, member_of
from quickstudy.stacked import Unsuited
from quickstudy.tensors import dropping

Item = TypeVar("Item")
Result = TypeVar("Result")
Precision = Callable[[], AbstractContextManager]

RUNS = (4, 20)
"""How often an engine is tried, at least and at most."""
ENOUGH = 0.1
"""Seconds after which it has been tried enough."""
LONG = 0.02
"""Seconds of a chunk beyond which what its operations cost to start no longer shows, and a larger one gains nothing."""
CLEARLY = 1.1
"""How many times as fast a plan must be to be taken in place of an earlier one."""


@dataclass(frozen=True)
class Engine:
    """A way to compute a batch of tasks; all ways give the same numbers, up to rounding.

    Args:
        strategy: How the tasks of a chunk run through an inner loop; see `quickstudy.inner_loop`.
        chunk: Tasks that a thread computes at a time, which bounds the memory; None for its whole share.
        workers: Threads over chunks. With one, PyTorch's own threads share the work inside each operation.

    Example:
        >>> print(Engine("loop", chunk=1, workers=2))
        loop, 1 task at a time on each of 2 threads
    """

    strategy: Strategy = "loop"
    chunk: int | None = 1
    workers: int = 1

    def __post_init__(self):
        if self.strategy not in get_args(Strategy):
            raise ValueError(f"a strategy is one of {', '.join(get_args(Strategy))}; not {self.strategy!r}.")
        if self.workers < 1 or (self.chunk is not None and self.chunk < 1):
            raise ValueError(f"chunk and workers are at least 1; got {self.chunk} and {self.workers}.")

    def __str__(self) -> str:
        if self.chunk is None:
            return f"{self.strategy}, all tasks at once" + f", shared by {self.workers} threads" * (self.workers > 1)
        where = f" on each of {self.workers} threads" if self.workers > 1 else ""
        return f"{self.strategy}, {self.chunk} task{'s' * (self.chunk > 1)} at a time{where}"

    def gradient(
        self,
        learner: MetaLearner,
        episodes: Episodes,
        precision: Precision = nullcontext,
        before_last: Callable[[], None] = lambda: None,
    ) -> Float[Tensor, ""]:
        """The learner's loss on a batch, whose gradient is added to that of its parameters.

        Args:
            learner: In training mode.
            episodes: The batch.
            precision: Makes the context in which losses are computed, such as `Fabric.autocast`.
            before_last: Is called before the backward pass that completes the gradients, where there is such a one.
        """
        limit = undivided(learner)
        engine = replace(self, chunk=None if limit else self.chunk, workers=1 if limit == "whole" else self.workers)
        chunks = engine.split(episodes)
        ordered = engine.workers == 1 or len(chunks) == 1

        def one_chunk(mine: MetaLearner, chunk: Episodes) -> Tensor:
            with precision():
                loss = mine.loss(chunk) * (len(chunk) / len(episodes))
            if ordered and chunk is chunks[-1]:
                before_last()
            loss.backward()
            return loss.detach()

        losses, replicas = engine._spread(learner, one_chunk, chunks)
        for own, *others in zip(*(one.parameters() for one in [learner, *replicas]), strict=True):
            for gradient in (other.grad for other in others if other.grad is not None):
                own.grad = gradient if own.grad is None else own.grad + gradient
        return torch.stack(losses).sum()

    def each(
        self, learner: MetaLearner, f: Callable[[MetaLearner, Item], Result], items: Sequence[Item]
    ) -> list[Result]:
        """The results of f for the learner and each item, spread over the threads; f must not change the learner."""
        return self._spread(learner, f, items)[0]

    def split(self, episodes: Episodes) -> list[Episodes]:
        """The chunks of a batch."""
        chunk = self.chunk or -(-len(episodes) // self.workers)
        return [episodes[start : start + chunk] for start in range(0, len(episodes), chunk)]

    def _spread(
        self, learner: MetaLearner, f: Callable[[MetaLearner, Item], Result], items: Sequence[Item]
    ) -> tuple[list[Result], list[MetaLearner]]:
        workers = min(self.workers, len(items))
        if workers == 1:
            with running_by(self.strategy):
                return [f(learner, item) for item in items], []
        replicas, team = [replica(learner, {}) for _ in range(workers)], Team(workers)
        grad = torch.is_grad_enabled()

        def work(worker: int) -> list[Result]:
            with torch.set_grad_enabled(grad), running_by(self.strategy), member_of(team, worker):
                return [f(replicas[worker], item) for item in items[worker::workers]]

        with one_compute_thread(), ThreadPoolExecutor(workers - 1, "engine", torch.set_num_threads, (1,)) as pool:
            others = [pool.submit(work, worker) for worker in range(1, workers)]
            first: Future[list[Result]] = Future()  # this thread's own share: it is awake, and on a core
            try:
                first.set_result(work(0))
            except Exception as error:
                first.set_exception(error)
        shares = [first, *others]
        errors = [error for error in (share.exception() for share in shares) if error]
        for error in sorted(errors, key=lambda error: isinstance(error, BrokenBarrierError)):
            raise error  # the one for which the others stopped waiting, first
        return [shares[i % workers].result()[i // workers] for i in range(len(items))], replicas


@contextmanager
def one_compute_thread() -> Iterator[None]:
    """While threads compute beside each other, none has helpers of its own."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def channels_last(learner: MetaLearner) -> None:
    """Lays the kernels of convolutions out with their channels last: the same numbers, up to twice as fast."""
    for module in learner.modules():
        weight = module._parameters.get("weight")
        plain = type(module).forward is nn.Conv2d.forward  # others may look at their kernels in another way
        if plain and weight is not None and not isinstance(weight, nn.UninitializedParameter):
            weight.data = weight.data.to(memory_format=torch.channels_last)  # strides too, of a single channel


def replica(module: Any, seen: dict[int, Any]) -> Any:
    """The same module for another thread: it shares the numbers, and has gradients and attributes of its own."""
    return twin(module, seen, _leaf)


def _leaf(parameter: nn.Parameter) -> nn.Parameter:
    leaf = nn.Parameter(parameter.detach(), parameter.requires_grad)
    leaf._backward_hooks = parameter._backward_hooks
    return leaf


class _Known(nn.Identity):
    """Stands where an encoder stood whose embeddings are known, and passes them on; it tells what the encoder told."""

    def __init__(self, encoder: nn.Module):
        super().__init__()
        self.__dict__["encoder"] = encoder

    def __getattr__(self, name: str) -> Any:
        if name == "stacked" or "encoder" not in self.__dict__:
            raise AttributeError(name)
        return getattr(self.__dict__["encoder"], name)


def without_encoder(learner: MetaLearner, embedding: str) -> MetaLearner:
    """The learner without its encoder, of that name: it takes embeddings."""
    encoder = getattr(learner, embedding)
    return replica(learner, {id(encoder): _Known(encoder)})


def undivided(learner: MetaLearner) -> Literal["team", "whole"] | None:
    """What keeps the tasks of a batch from being computed apart while training.

    Returns:
        "whole" where random numbers are drawn, by layers, a loss or for the order of a sequence, or where layers move
        running averages by themselves, or do so on a GPU, whose one thread goes backwards for all: one thread computes
        all;
        "team" where the statistics of batches are summed over threads, each of which computes its share at once.
    """
    coupled = [m for m in learner.modules() if m.training and getattr(m, "running_mean", None) is not None]
    drops = any(learner.get_submodule(name).training for name in dropping(learner))
    draws = any(m.training and (m.sequential or m.stochastic) for m in learner.modules() if isinstance(m, MetaLearner))
    on_gpu = any(buffer.is_cuda for m in coupled for buffer in m.buffers(recurse=False))
    if drops or draws or on_gpu or any(not isinstance(m, BatchNorm) for m in coupled):
        return "whole"
    return "team" if coupled else None


def probe(learner: MetaLearner, episodes: Episodes, compute: Callable[[Engine, Episodes], Any]) -> Engine:
    """The fastest engine for a learner on tasks like these, found by trying a few on some of them.

    Chunks grow as long as that is clearly faster, so that memory is spent only where it buys speed.

    Args:
        learner: In the mode that it will compute in. Its gradients are left for the caller to clear.
        episodes: A batch such as will be computed.
        compute: What an engine shall do with a batch.
    """
    if undivided(learner) and not alone():  # processes that meet inside a loss must all compute it equally often
        return Engine(chunk=None, workers=min(threads(), len(episodes)))
    with running_by("loop") as choice, torch.no_grad():
        learner.adapt(episodes.support[:1])
    enough = math.inf if episodes.support.x.is_cuda else LONG  # it waits for what starts its operations at any size
    best, fastest, random = Engine(chunk=None), 0.0, torch.get_rng_state()
    for engines in candidates(len(episodes), choice.asked, undivided(learner) is not None):
        before = 0.0
        for engine in engines:
            some = episodes[: engine.workers * (engine.chunk or len(episodes))]
            seconds = fewest_seconds(engine, some, compute, 2 * len(some) / fastest if fastest else math.inf)
            rate = len(some) / seconds
            if not torch.equal(random, torch.get_rng_state()):
                return Engine(chunk=None)  # what draws random numbers draws them in one order
            if rate > CLEARLY * fastest:
                best, fastest = engine, rate
            if rate < CLEARLY * before or seconds > enough:
                break
            before = rate
    return best


def candidates(tasks: int, adapts: bool, coupled: bool) -> Iterator[Iterable[Engine]]:
    """Series of engines to try, in each of which the chunks grow.

    Args:
        tasks: Of the batch.
        adapts: Whether an inner loop asks for a strategy.
        coupled: Whether all tasks must be computed at once.
    """
    for strategy in get_args(Strategy) if adapts else ("loop",):
        for workers in sorted({1, min(threads(), tasks)}, reverse=True):
            one_by_one = adapts and strategy == "loop"  # a larger chunk would only take more memory
            most = 1 if one_by_one else -(-tasks // workers)
            yield [Engine(strategy, None, workers)] if coupled else growing(strategy, workers, most)


def growing(strategy: Strategy, workers: int, most: int) -> Iterator[Engine]:
    """Engines with chunks of 1, 4, 16 and so on, up to the most."""
    chunk = 1
    while chunk < most:
        yield Engine(strategy, chunk, workers)
        chunk *= 4
    yield Engine(strategy, most, workers)


def fewest_seconds(
    engine: Engine, episodes: Episodes, compute: Callable[[Engine, Episodes], Any], too_long: float
) -> float:
    """The best of a few runs; of the first alone, if that took too long; infinity if it cannot run."""
    seconds: list[float] = []
    while len(seconds) < RUNS[0] or (len(seconds) < RUNS[1] and sum(seconds) < ENOUGH):
        start = now(episodes)
        try:
            compute(engine, episodes)
        except (Unsuited, torch.cuda.OutOfMemoryError):
            return math.inf
        except Exception:  # what goes wrong task by task too is raised there
            if engine.strategy == "loop":
                raise
            return math.inf
        seconds.append(now(episodes) - start)
        if seconds[0] > too_long:
            break
    return min(seconds)


def now(episodes: Episodes) -> float:
    """Seconds on a clock, after the device of these episodes has done what it was told."""
    if episodes.support.x.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter()


def threads() -> int:
    """How many threads this process may compute on."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(torch.get_num_threads(), allowed)

"""Who else computes on the same batch: other threads of this process, and other processes; and sums over all of them.

Whatever needs the whole batch, such as the statistics of a batch normalisation, is summed over peers, in the forward
and in the backward pass, so that a batch that is divided gives what it gives undivided.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor


class Team:
    """Threads that each compute a part of one batch, and meet wherever the whole of it is needed.

    Args:
        size: How many.
    """

    def __init__(self, size: int):
        self.parts: list[Tensor] = [torch.empty(0)] * size
        self.barrier = threading.Barrier(size, self._add)

    def _add(self) -> None:  # run by the last thread that arrives, while the others wait
        total = self.parts[0].clone()
        for part in self.parts[1:]:
            total += part
        self.total = over_processes(total)

    def sum(self, member: int, part: Tensor) -> Tensor:
        self.parts[member] = part
        self.barrier.wait()
        return self.total  # read before anyone can arrive at the next meeting, at which it is replaced


_place: ContextVar[tuple[Team, int] | None] = ContextVar("place", default=None)


@contextmanager
def member_of(team: Team, member: int) -> Iterator[None]:
    """Makes this thread a member of a team; if it fails, the others stop waiting for it."""
    token = _place.set((team, member))
    try:
        yield
    except BaseException:
        team.barrier.abort()
        raise
    finally:
        _place.reset(token)


def alone() -> bool:
    """Whether nobody else computes on the same batch."""
    return _place.get() is None and not several_processes()


def leads() -> bool:
    """Whether this thread is the one of its process that writes down what all of them have found."""
    place = _place.get()
    return place is None or place[1] == 0


def sum_over_peers(x: Tensor) -> Tensor:
    """The sum of every peer's tensor, without a graph."""
    place = _place.get()
    return over_processes(x.clone()) if place is None else place[0].sum(place[1], x)


def over_processes(x: Tensor) -> Tensor:
    """Every process's tensor added to this one, in place."""
    if several_processes():
        torch.distributed.all_reduce(x)
    return x


def several_processes() -> bool:
    return torch.distributed.is_initialized() and torch.distributed.get_world_size() > 1


class SumOverPeers(torch.autograd.Function):
    """The sum of every peer's tensor; the gradient is the sum of every peer's gradient."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        return sum_over_peers(x).clone()

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        return SumOverPeers.apply(gradient)  # pyright: ignore[reportReturnType]

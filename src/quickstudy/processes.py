"""Several processes as one: how many there are, the average of their gradients, and the loss of one of them."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from torch import Tensor, nn

from quickstudy.contract import MetaLearner

BUCKET = 2**20
"""Numbers that are averaged at a time, while the backward pass goes on."""
SIGNS = ("peer", "remote", "socket", "broken pipe", "timed out", "timeout", "nccl")
"""What a message says when it comes from the connection to another process."""


class ProcessLost(RuntimeError):
    """Another process of this run has stopped, so that this one cannot go on."""


PRECISIONS: dict[str, Literal["32-true", "bf16-mixed"]] = {
    "float32": "32-true",
    "bfloat16": "bf16-mixed",
    "tf32": "32-true",
}
"""By name, as Lightning Fabric calls them: how losses are computed; weights and their updates are float32 always."""


def accelerator() -> Literal["cuda", "cpu"]:
    """What computes: a GPU, where there is one."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def processes(devices: int, batch: int, precision: str = "float32") -> Fabric:
    """The processes of this command, not started yet; under torchrun or SLURM as many as those have started.

    Raises:
        ValueError: A batch that cannot be shared out over them, more of them than cores, or an unknown precision.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"--precision is one of {', '.join(PRECISIONS)}; not {precision!r}.")
    if precision == "tf32":
        if not torch.cuda.is_available():
            raise ValueError("--precision tf32 is a mode of NVIDIA GPUs, and there is none; take float32 or bfloat16.")
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.allow_tf32 = True
    nodes = 1
    for environment in (TorchElasticEnvironment, SLURMEnvironment):
        if environment.detect():
            nodes, devices = machines(environment())
    if batch % (devices * nodes):
        raise ValueError(f"--batch {batch} cannot be shared out evenly over {devices * nodes} processes.")
    kind = accelerator()
    if kind == "cpu" and nodes == 1 and devices > (cores := os.cpu_count() or 1):
        raise ValueError(f"--devices {devices} is more processes than there are cores, {cores}; each needs one.")
    strategy = "ddp" if devices * nodes > 1 else "auto"
    return Fabric(
        accelerator=kind,
        devices=devices,
        num_nodes=nodes,
        strategy=strategy,
        precision=PRECISIONS[precision],
    )


@contextmanager
def together() -> Iterator[None]:
    """Turns what a broken connection raises into one clear error.

    Raises:
        ProcessLost: Another process has stopped.
    """
    try:
        yield
    except RuntimeError as error:
        connection = isinstance(error, torch.distributed.DistError) or any(sign in str(error).lower() for sign in SIGNS)
        if not torch.distributed.is_initialized() or not connection:
            raise
        rank = torch.distributed.get_rank()
        what = re.sub(r"^\[\S*\] ", "", str(error)).split(". ")[0]  # without where in the library it was noticed
        raise ProcessLost(f"another process of this run has stopped, so process {rank} stops too ({what}).") from None


class Averages:
    """The mean over processes of a learner's gradients, bucket by bucket, while the backward pass still goes on.

    Buckets hold the last parameters first, as their gradients are there first, and go out in one order on all
    processes.

    Args:
        learner: Whose gradients.
        world: The number of processes.
    """

    def __init__(self, learner: MetaLearner, world: int):
        self.world, self.buckets = world, buckets([p for p in learner.parameters() if p.requires_grad])
        self.sent: list[tuple[Tensor, torch.distributed.Work]] = []
        self.ready: set[int] = set()
        self.hooks: list[torch.utils.hooks.RemovableHandle] = []

    def listen(self) -> None:
        """To be called before the last backward pass of a step, which completes the gradients."""
        for bucket in self.buckets:
            self.hooks += [p.register_post_accumulate_grad_hook(self._arrived) for p in bucket]

    def finish(self, loss: Tensor) -> Tensor:
        """Waits for all averages, puts them in the gradients' place, and returns the mean loss."""
        for hook in self.hooks:
            hook.remove()
        while len(self.sent) < len(self.buckets):
            self._send()
        total = loss.clone()
        torch.distributed.all_reduce(total)
        for bucket, (flat, work) in zip(self.buckets, self.sent, strict=True):
            work.wait()
            for p, mean in zip(bucket, flat.div_(self.world).split([p.numel() for p in bucket]), strict=True):
                p.grad = mean.view_as(p)
        return total / self.world

    def _arrived(self, parameter: nn.Parameter) -> None:
        self.ready.add(id(parameter))
        while len(self.sent) < len(self.buckets) and all(id(p) in self.ready for p in self.buckets[len(self.sent)]):
            self._send()

    def _send(self) -> None:
        bucket = self.buckets[len(self.sent)]
        flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in bucket])
        work = torch.distributed.all_reduce(flat, async_op=True)
        assert work is not None
        self.sent.append((flat, work))


def buckets(parameters: list[nn.Parameter]) -> list[list[nn.Parameter]]:
    """The parameters, last first, in groups of about `BUCKET` numbers and one type."""
    groups: list[list[nn.Parameter]] = []
    for parameter in reversed(parameters):
        room = groups and sum(p.numel() for p in groups[-1]) + parameter.numel() <= BUCKET
        if not room or groups[-1][0].dtype != parameter.dtype:
            groups.append([])
        groups[-1].append(parameter)
    return groups


def machines(environment: TorchElasticEnvironment | SLURMEnvironment) -> tuple[int, int]:
    """How many machines a launcher has started processes on, and how many on each."""
    if isinstance(environment, TorchElasticEnvironment):
        each = int(os.environ["LOCAL_WORLD_SIZE"])
        return environment.world_size() // each, each
    nodes = int(os.environ.get("SLURM_NNODES", 1))
    return nodes, environment.world_size() // nodes

"""What Conv4's first block takes, beside its layers one after another: forward and backward, one thread, interleaved.

python benchmarks/first_block.py     prints milliseconds: median (fastest to slowest) of 40 rounds

With statistics of the batch the block alone is timed, of which it makes one product. With others the block only sees to
it that the layers after it find their numbers in the order that they keep: so it is a step of MAML that is timed, with
the support set's statistics, as the command line has it.
"""

import copy
import statistics
import time
from collections.abc import Callable
from typing import Literal

import torch
from machine import processor
from torch import nn

import quickstudy as qs
from quickstudy.allocator import keep_freed_memory
from quickstudy.catalogue import Setting, build
from quickstudy.engine import Engine, channels_last

ROUNDS, IMAGES = 40, 75
Downsample = Literal["pool", "stride"]


def blocks(downsample: Downsample) -> dict[str, Callable[[], object]]:
    """The block, and its layers, on the images of a task; kernels lie as training lays them."""
    encoder = qs.Conv4(downsample=downsample, norm="batch").to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    block, x = encoder.get_submodule("blocks.0"), torch.rand(IMAGES, 1, 28, 28)
    layers = nn.Sequential(*block.children())
    return {"layers": lambda: layers(x).square().sum().backward(), "block": lambda: block(x).square().sum().backward()}


def steps(downsample: Downsample) -> dict[str, Callable[[], object]]:
    """A task of a step of MAML, 5 images of a class shown and 10 asked, with the block and with its layers."""
    encoder = {"pool": "conv4", "stride": "conv4-strided"}[downsample]
    block = build("maml", Setting(encoder, 1, 28, ways=5, shots=5, classes=0)).train()
    channels_last(block)
    layers = copy.deepcopy(block)
    found = layers.get_submodule("learner.net.0.blocks")
    assert isinstance(found, nn.Sequential)
    found[0] = nn.Sequential(*found[0].children())
    images, labels = torch.rand(1, IMAGES, 1, 28, 28), torch.arange(IMAGES)[None] % 5
    shown = IMAGES // 3
    episodes = qs.Episodes(
        qs.Examples(images[:, :shown], labels[:, :shown], ways=5),
        qs.Examples(images[:, shown:], labels[:, shown:], ways=5),
    )
    return {"layers": lambda: Engine().gradient(layers, episodes), "block": lambda: Engine().gradient(block, episodes)}


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    keep_freed_memory()
    print(f"{IMAGES} images of 28x28, PyTorch {torch.__version__}, {processor()}")
    for title, pair in (("the block", blocks), ("a step of MAML", steps)):
        for downsample in ("pool", "stride"):
            calls = pair(downsample)
            seconds: dict[str, list[float]] = {name: [] for name in calls}
            for _ in range(ROUNDS):
                for name, call in calls.items():
                    start = time.perf_counter()
                    call()
                    seconds[name].append(1000 * (time.perf_counter() - start))
            medians = {name: statistics.median(taken) for name, taken in seconds.items()}
            spread = ", ".join(
                f"{name} {medians[name]:.1f} ({min(taken):.1f} to {max(taken):.1f})" for name, taken in seconds.items()
            )
            print(f"{title}, {downsample}: {spread} ms, {medians['layers'] / medians['block']:.2f} times as fast")


if __name__ == "__main__":
    main()

"""What Conv4's first block takes, beside its layers one after another: forward and backward, one thread, interleaved.

python benchmarks/first_block.py     prints milliseconds: median (fastest to slowest) of 40 rounds
"""

import statistics
import time

import torch
from machine import processor
from torch import nn

import quickstudy as qs
from quickstudy.allocator import keep_freed_memory

ROUNDS, IMAGES = 40, 75


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    keep_freed_memory()
    print(f"{IMAGES} images of 28x28, batch statistics, PyTorch {torch.__version__}, {processor()}")
    for downsample in ("pool", "stride"):
        block = qs.Conv4(downsample=downsample, norm="batch").get_submodule("blocks.0")
        assert isinstance(block, nn.Sequential)
        layers, x = nn.Sequential(*block), torch.rand(IMAGES, 1, 28, 28)
        seconds: dict[str, list[float]] = {"layers": [], "block": []}
        for _ in range(ROUNDS):
            for name, module in (("layers", layers), ("block", block)):
                start = time.perf_counter()
                module(x).square().sum().backward()
                seconds[name].append(1000 * (time.perf_counter() - start))
        medians = {name: statistics.median(taken) for name, taken in seconds.items()}
        spread = ", ".join(
            f"{name} {medians[name]:.1f} ({min(taken):.1f} to {max(taken):.1f})" for name, taken in seconds.items()
        )
        print(f"{downsample}: {spread} ms, {medians['layers'] / medians['block']:.1f} times as fast")


if __name__ == "__main__":
    main()

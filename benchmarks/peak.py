"""How much of a processor's or a GPU's arithmetic meta-training reaches: tasks/s, memory, share of the float32 peak.

    python benchmarks/peak.py [--device cuda] [--rounds 7] [--tasks 32] [--out benchmarks/results]

The operations of a task are those that the usual network needs, counted by PyTorch; the peak is that of a product of
two large matrices, measured here, on all cores, in turns with the rest. The engine is probed.
"""

import argparse
import json
import resource
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import peers
import torch
from machine import device
from speed import conv4, images
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import quickstudy as qs
from quickstudy.allocator import keep_freed_memory
from quickstudy.engine import channels_last, probe

SIDE = 4096  # of the matrices


def usual(downsample) -> nn.Sequential:
    return peers.usual_conv4(1, 64, 28, 5, downsample)


def anil(net: nn.Module) -> qs.MetaLearner:
    *encoder, head = net.children()
    return qs.ANIL(nn.Sequential(*encoder), head)


WORKLOADS: Mapping[str, tuple[Callable[[], qs.MetaLearner], Callable[[], qs.MetaLearner], int]] = {
    f"MAML, {downsample}, {steps} step{'s' * (steps > 1)}": (
        lambda d=downsample, s=steps: qs.MAML(usual(d), inner_lr=0.4, inner_steps=s),
        lambda d=downsample, s=steps: qs.MAML(conv4(d), inner_lr=0.4, inner_steps=s),
        1,
    )
    for downsample in ("pool", "stride")
    for steps in (1, 5)
} | {
    "ANIL, pool, 5 steps": (lambda: anil(usual("pool")), lambda: anil(conv4("pool")), 1),
    "ProtoNet, pool, 5 shots": (
        lambda: qs.PrototypicalNetwork(usual("pool")[:-1]),
        lambda: qs.PrototypicalNetwork(qs.Conv4(norm="batch")),
        5,
    ),
}
"""The usual network, whose operations are counted; quickstudy's; and the shots."""


def wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def operations(learner: qs.MetaLearner, shots: int) -> float:
    """Floating-point operations of one task's meta-gradient."""
    with FlopCounterMode(display=False) as counter:
        learner.train().loss(images(1, shots=shots).episodes).backward()
    return float(counter.get_total_flops())


def step(make: Callable[[], qs.MetaLearner], shots: int, tasks: int, device: str) -> tuple[Callable[[], object], str]:
    """A meta-gradient of a batch by the engine that is fastest, and what that is."""
    learner, data = make().to(device).train(), images(tasks, shots=shots).episodes.to(device)
    channels_last(learner)
    engine = probe(learner, data, lambda engine, some: engine.gradient(learner, some))

    def unit() -> None:
        learner.zero_grad()
        engine.gradient(learner, data)

    return unit, str(engine)


def seconds(unit: Callable[[], object], device: str) -> float:
    wait(device)
    start = time.perf_counter()
    unit()
    wait(device)
    return time.perf_counter() - start


def gib(device: str) -> float:
    """The peak memory since the last call, on a GPU; of the whole process, elsewhere."""
    if device != "cuda":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    found = torch.cuda.max_memory_allocated() / 1024**3
    torch.cuda.reset_peak_memory_stats()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--tasks", type=int, default=4)
    parser.add_argument("--out", type=Path, help="folder for peak-DEVICE.json")
    asked = parser.parse_args()
    keep_freed_memory()
    torch.manual_seed(0)
    a, b = torch.rand(2, SIDE, SIDE, device=asked.device)
    rows = {}
    for name, (counted, make, shots) in WORKLOADS.items():
        gib(asked.device)
        unit, engine = step(make, shots, asked.tasks, asked.device)
        rates, peaks = [], []
        for _ in range(asked.rounds):
            peaks.append(2 * SIDE**3 / seconds(lambda: a @ b, asked.device))
            rates.append(asked.tasks / seconds(unit, asked.device))
        work = operations(counted(), shots)
        rows[name] = {
            "tasks_per_second": rates,
            "gflop_per_task": work / 1e9,
            "peak_gflops": statistics.median(peaks) / 1e9,
            "share": statistics.median(rate * work / peak for rate, peak in zip(rates, peaks, strict=True)),
            "gib": gib(asked.device),
            "engine": engine,
        }
    where = device(asked.device)
    print(f"{where}, {asked.tasks} tasks a step, medians of {asked.rounds} rounds, slowest to fastest\n")
    print("| | tasks/s | GFLOP a task | peak, GFLOP/s | share of the peak | memory so far, GiB | computed by |")
    print("|---|---|---|---|---|---|---|")
    for name, row in rows.items():
        rates = row["tasks_per_second"]
        spread = f"{statistics.median(rates):.1f} ({min(rates):.1f} to {max(rates):.1f})"
        numbers = f"{row['gflop_per_task']:.2f} | {row['peak_gflops']:.0f} | {row['share']:.0%} | {row['gib']:.2f}"
        print(f"| {name} | {spread} | {numbers} | {row['engine']} |")
    if asked.out:
        about = {"device": where, "tasks": asked.tasks, "torch": torch.__version__, "rows": rows}
        (asked.out / f"peak-{asked.device}.json").write_text(json.dumps(about, indent=1) + "\n")


if __name__ == "__main__":
    main()

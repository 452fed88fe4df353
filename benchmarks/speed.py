"""Tasks per second and peak memory of quickstudy and of its peers, in turns.

    python benchmarks/speed.py WORKLOAD... [--rounds 15] [--out benchmarks/results]
    python benchmarks/speed.py                    prints a row for each workload that was measured

Every contestant is a process of its own, so that its threads, its memory and its allocator are its own; they take
turns, and only one computes at any moment. Peers compute on one thread and on as many as
there are cores. quickstudy is as its command line starts it: the engine probed, freed memory kept by the allocator.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import peers
import torch
from machine import processor
from torch import nn

import quickstudy as qs
from quickstudy.allocator import keep_freed_memory

Unit = Callable[[], object]
TURN = 0.3
"""Seconds that a turn lasts at least, so that a processor that has idled is awake."""
CORES = len(os.sched_getaffinity(0))


@dataclass(frozen=True)
class Fixed:
    """The same tasks at every step, so that what is measured is learning and not drawing."""

    episodes: qs.Episodes

    def sample(self, tasks: int, generator: torch.Generator) -> qs.Episodes:
        return self.episodes[:tasks]


@dataclass(frozen=True)
class Contestant:
    """What is measured: a function that makes one unit of work, how many tasks that is, and on how many threads."""

    make: Callable[[], Unit]
    tasks: int
    threads: int
    peer: bool = True


def images(tasks: int, channels: int = 1, size: int = 28, ways: int = 5, shots: int = 1, queries: int = 15) -> Fixed:
    def examples(count: int) -> qs.Examples:
        y = torch.arange(ways).repeat_interleave(count).expand(tasks, -1)
        return qs.Examples(torch.rand(tasks, ways * count, channels, size, size), y, ways)

    return Fixed(qs.Episodes(examples(shots), examples(queries)))


def batch(fixed: Fixed) -> peers.Batch:
    support, query = fixed.episodes.support, fixed.episodes.query
    return support.x, support.y, query.x, query.y


def training(learner: qs.MetaLearner, fixed: Fixed) -> Unit:
    steps = qs.train(learner, fixed, steps=10**6, batch=len(fixed.episodes), clip=None)
    return lambda: next(steps)


def own_net() -> nn.Sequential:
    """An encoder such as a user writes: convolutions, batch normalisation, and a linear layer."""
    layers: list[nn.Module] = []
    for inputs in (3, 32, 32, 32):
        norm = nn.BatchNorm2d(32, track_running_stats=False)
        layers += [nn.Conv2d(inputs, 32, 3, padding=1), norm, nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(800, 5))


def conv4(downsample) -> nn.Sequential:
    return nn.Sequential(qs.Conv4(norm="batch", downsample=downsample), nn.Linear(64, 5))


def ours(make: Callable[[], Unit], tasks: int, name: str = "quickstudy") -> dict[str, Contestant]:
    return {name: Contestant(make, tasks, CORES, peer=False)}


def theirs(makers: dict[str, Callable[[], Unit]], tasks: int) -> dict[str, Contestant]:
    return {
        f"{name}, {threads} thread{'s' * (threads > 1)}": Contestant(make, tasks, threads)
        for name, make in makers.items()
        for threads in sorted({1, CORES})
    }


def maml(downsample, steps: int, tasks: int) -> dict[str, Contestant]:
    def peer(name: str) -> Callable[[], Unit]:
        def make() -> Unit:
            step, data = peers.MAML[name](peers.usual_conv4(1, 64, 28, 5, downsample), 0.4, steps), images(tasks)
            return lambda: step(batch(data))

        return make

    def mine(net: Callable[[], nn.Module]) -> Callable[[], Unit]:
        return lambda: training(qs.MAML(net(), inner_lr=0.4, inner_steps=steps), images(tasks))

    names = [name for name in peers.MAML if name != "vmap"]  # whose second derivative of batch norm is wrong
    usual = mine(lambda: peers.usual_conv4(1, 64, 28, 5, downsample))
    return (
        ours(mine(lambda: conv4(downsample)), tasks)
        | ours(usual, tasks, "quickstudy, a net of one's own")
        | theirs({name: peer(name) for name in names}, tasks)
        | {f"floor: {k}": v for k, v in theirs({"supervised": lambda: supervised(downsample, tasks)}, tasks).items()}
    )


def supervised(downsample, tasks: int) -> Unit:
    """What cannot be undercut without meta-learning: plain training of the usual network on the query images."""
    net, data = peers.usual_conv4(1, 64, 28, 5, downsample), images(tasks).episodes.query
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)

    def unit() -> None:
        for x, y in zip(data.x, data.y, strict=True):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x), y).backward()
            optimizer.step()

    return unit


def own(tasks: int) -> dict[str, Contestant]:
    def peer(name: str) -> Callable[[], Unit]:
        def make() -> Unit:
            step, data = peers.MAML[name](own_net(), 0.01, 1), images(tasks, 3, 84)
            return lambda: step(batch(data))

        return make

    names = [name for name in peers.MAML if name != "vmap"]
    mine = lambda: training(qs.MAML(own_net(), inner_lr=0.01), images(tasks, 3, 84))  # noqa: E731
    return ours(mine, tasks) | theirs({name: peer(name) for name in names}, tasks)


def evaluation(steps: int) -> dict[str, Contestant]:
    tasks = 20

    def peer(name: str) -> Callable[[], Unit]:
        def make() -> Unit:
            test, data = peers.MAML_EVALUATION[name](peers.usual_conv4(1, 64, 28, 5, "pool"), 0.4, steps), images(tasks)
            return lambda: test(batch(data))

        return make

    def mine() -> Unit:
        learner, data = qs.MAML(conv4("pool"), inner_lr=0.4, inner_steps=steps), images(tasks)
        engine = qs.evaluate(learner, data, episodes=tasks).engine
        return lambda: qs.evaluate(learner, data, episodes=tasks, engine=engine)

    return ours(mine, tasks) | theirs({name: peer(name) for name in peers.MAML_EVALUATION}, tasks)


def sinusoid(tasks: int, steps: int) -> dict[str, Contestant]:
    data = Fixed(qs.Sinusoids(10, 10).sample(tasks, torch.Generator().manual_seed(0)))
    mse = nn.functional.mse_loss

    def peer(name: str) -> Callable[[], Unit]:
        def make() -> Unit:
            step = peers.MAML[name](qs.MLP(1, 40, 40, 1), 0.01, steps, loss=mse)
            return lambda: step(batch(data))

        return make

    def mine() -> Unit:
        return training(qs.MAML(qs.MLP(1, 40, 40, 1), inner_lr=0.01, inner_steps=steps, likelihood=qs.gaussian), data)

    return ours(mine, tasks) | theirs({name: peer(name) for name in peers.MAML}, tasks)


def anil(tasks: int) -> dict[str, Contestant]:
    def peer(name: str) -> Callable[[], Unit]:
        def make() -> Unit:
            *encoder, head = peers.usual_conv4(1, 64, 28, 5, "pool")
            step, data = peers.ANIL[name](nn.Sequential(*encoder), head, 0.1, 5), images(tasks)
            return lambda: step(batch(data))

        return make

    def mine() -> Unit:
        return training(qs.ANIL(qs.Conv4(norm="batch"), nn.Linear(64, 5), inner_lr=0.1, inner_steps=5), images(tasks))

    return ours(mine, tasks) | theirs({name: peer(name) for name in peers.ANIL}, tasks)


def protonet(ways: int, shots: int, evaluate: bool) -> dict[str, Contestant]:
    """End to end, each by its own sampler, from drawings of as many characters as Omniglot has for tests."""
    drawings = qs.glyphs(423)
    x = drawings.x
    assert isinstance(x, torch.Tensor)
    episodes = 1000 if evaluate else 20

    def peer() -> Unit:
        *encoder, _ = peers.usual_conv4(1, 64, 28, 5, "pool")
        for layer in encoder:
            if isinstance(layer, nn.BatchNorm2d):  # the running averages that easyfsl's users have
                layer.__init__(64)
        work = peers.easyfsl_evaluation if evaluate else peers.easyfsl_training
        loader = peers.easyfsl_loader(x, drawings.y, ways, shots, 15, episodes)
        return work(loader, nn.Sequential(*encoder))

    def mine() -> Unit:
        learner, tasks = qs.PrototypicalNetwork(qs.Conv4()), qs.FewShot(drawings, ways, shots, min(15, 20 - shots))
        if evaluate:
            return lambda: qs.evaluate(learner, tasks, episodes=episodes)
        steps = qs.train(learner, tasks, steps=10**6, batch=4, clip=None)
        return lambda: [next(steps) for _ in range(episodes // 4)]

    return ours(mine, episodes) | theirs({"easyfsl": peer}, episodes)


def drawing(shots: int, queries: int) -> dict[str, Contestant]:
    """Nothing but drawing tasks: 5-way, from 1,200 classes of 20 drawings of 28x28 pixels in memory."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (24_000, 1, 28, 28), generator=generator, dtype=torch.uint8)
    data = qs.LabelledData("noise", x, torch.arange(1200).repeat_interleave(20), tuple(map(str, range(1200))))
    count = 256

    def mine() -> Unit:
        tasks = qs.FewShot(data, 5, shots, queries)
        return lambda: tasks.sample(count, generator)

    def peer() -> Unit:
        return peers.easyfsl_episodes(peers.easyfsl_loader(x, data.y, 5, shots, queries, count))

    return ours(mine, count) | theirs({"easyfsl": peer}, count)


def in_context(tasks: int) -> dict[str, Contestant]:
    """A transformer of width 256 and 6 layers on 100 tokens: 5-way 5-shot, 15 queries a class."""
    d, layers, heads = 256, 6, 8

    def peer() -> Unit:
        data = images(tasks, shots=5)
        step = peers.transformer_training(peers.PlainTransformer(784, 5, d, layers, heads))
        return lambda: step(batch(data))

    def mine() -> Unit:
        encoder = nn.Flatten()
        encoder.out_features = 784  # pyright: ignore[reportArgumentType]
        learner = qs.InContextTransformer(encoder, d=d, layers=layers, heads=heads)
        return training(learner, images(tasks, shots=5))

    return ours(mine, tasks) | theirs({"nn.TransformerEncoder": peer}, tasks)


WORKLOADS: dict[str, Callable[[], dict[str, Contestant]]] = {
    f"maml-{downsample}-{steps}-steps-{tasks}-tasks": lambda d=downsample, s=steps, t=tasks: maml(d, s, t)
    for downsample in ("pool", "stride")
    for steps in (1, 5)
    for tasks in (4, 32)
}
WORKLOADS |= {
    "own-encoder-84": lambda: own(4),
    "maml-evaluation-10-steps": lambda: evaluation(10),
    "sinusoid-5-steps-25-tasks": lambda: sinusoid(25, 5),
    "anil-pool-5-steps-4-tasks": lambda: anil(4),
    "protonet-training-5-way": lambda: protonet(5, 5, evaluate=False),
    "protonet-training-60-way": lambda: protonet(60, 5, evaluate=False),
    "protonet-evaluation-1000-episodes": lambda: protonet(5, 5, evaluate=True),
    "in-context-32-tasks": lambda: in_context(32),
    "drawing-1-shot-15-queries": lambda: drawing(1, 15),
    "drawing-1-shot-1-query": lambda: drawing(1, 1),
}


def compete(workload: str, name: str) -> None:
    """One contestant: makes itself ready, works for every line that it reads, and tells the seconds of a unit."""
    contestant = WORKLOADS[workload]()[name]
    torch.manual_seed(0)
    torch.set_num_threads(contestant.threads)
    if not contestant.peer:
        keep_freed_memory()
    unit = contestant.make()
    unit()
    print("ready", flush=True)
    for _ in sys.stdin:
        start, units = time.perf_counter(), 0
        while units == 0 or time.perf_counter() - start < TURN:
            unit()
            units += 1
        print((time.perf_counter() - start) / units, flush=True)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2, flush=True)


def measure(workload: str, rounds: int, only: str) -> dict[str, dict]:
    """The seconds of every contestant's units, taken in turns, and its peak memory in GiB."""
    contestants = {name: c for name, c in WORKLOADS[workload]().items() if only in name or not c.peer}
    running = {}
    for name in contestants:
        command = [sys.executable, "-W", "ignore", __file__, "--compete", name, workload]
        running[name] = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if not answer(running[name]).startswith("ready"):
            raise SystemExit(f"{name} could not begin {workload}.")
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, process in running.items():
            process.stdin.write("\n")
            process.stdin.flush()
            seconds[name].append(float(answer(process)))
    results = {}
    for name, process in running.items():
        process.stdin.close()
        rates = sorted(contestants[name].tasks / s for s in seconds[name])
        results[name] = {
            "tasks_per_second": statistics.median(rates),
            "slowest": rates[0],
            "fastest": rates[-1],
            "peak_gib": float(answer(process)),
            "peer": contestants[name].peer,
        }
        process.wait()
    return results


def answer(process: subprocess.Popen) -> str:
    """The next line of a contestant that is not a peer's own chatter."""
    for line in process.stdout:  # pyright: ignore[reportOptionalIterable]
        if line.startswith("ready") or line[0].isdigit():
            return line
    raise SystemExit("a contestant stopped; what it said stands above.")


def table(results: dict[str, dict]) -> str:
    mine = results["quickstudy"]["tasks_per_second"]
    rows = ["| | tasks/s (slowest to fastest) | peak memory, GiB | quickstudy is |", "|---|---|---|---|"]
    for name, found in sorted(results.items(), key=lambda item: -item[1]["tasks_per_second"]):
        rate, ratio = found["tasks_per_second"], mine / found["tasks_per_second"]
        spread = f"{found['slowest']:.1f} to {found['fastest']:.1f}"
        rows.append(f"| {name} | {rate:.1f} ({spread}) | {found['peak_gib']:.2f} | {ratio:.2f}x |")
    return "\n".join(rows)


def summary(folder: Path) -> str:
    """A row for each workload measured: quickstudy beside the peer that was fastest at its best number of threads."""
    rows = [
        "| workload | quickstudy, tasks/s | fastest peer | its tasks/s | ratio | with the peer's network "
        "| peak memory, GiB | theirs | rounds | machine |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for path in sorted(folder.glob("speed-*.json")):
        about = json.loads(path.read_text())
        results = about["results"]
        mine = results["quickstudy"]
        name, best = max(
            ((name, r) for name, r in results.items() if r["peer"] and not name.startswith("floor")),
            key=lambda item: item[1]["tasks_per_second"],
        )
        same = results.get("quickstudy, a net of one's own")
        ratios = [f"{r['tasks_per_second'] / best['tasks_per_second']:.2f}" if r else "-" for r in (mine, same)]
        rates = [f"{r['tasks_per_second']:.1f} ({r['slowest']:.1f} to {r['fastest']:.1f})" for r in (mine, best)]
        memory = [f"{r['peak_gib']:.2f}" for r in (mine, best)]
        cells = [about["workload"], rates[0], name, rates[1], *ratios, *memory, str(about["rounds"]), about["machine"]]
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workloads", nargs="*", choices=[*WORKLOADS, []])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--only", default="", help="peers whose name contains this")
    parser.add_argument("--out", type=Path, help="folder for a JSON file per workload")
    parser.add_argument("--compete", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.compete:
        compete(asked.workloads[0], asked.compete)
        return
    if not asked.workloads:
        print(summary(asked.out or Path(__file__).parent / "results"))
    for workload in asked.workloads:
        start = time.time()
        results = measure(workload, asked.rounds, asked.only)
        about = {"workload": workload, "rounds": asked.rounds, "machine": processor(), "cores": CORES}
        about |= {"torch": torch.__version__, "minutes": round((time.time() - start) / 60, 1)}
        print(f"\n{workload}: medians of {asked.rounds} rounds, {about['machine']}, {CORES} cores\n{table(results)}")
        if asked.out:
            (asked.out / f"speed-{workload}.json").write_text(
                json.dumps({**about, "results": results}, indent=1) + "\n"
            )


if __name__ == "__main__":
    main()

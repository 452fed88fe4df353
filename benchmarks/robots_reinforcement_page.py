"""Tables and the picture of reinforcement learning in docs/uses/robots.md, from benchmarks/robots_reinforcement.py."""

from pathlib import Path

import torch
from grid import grid
from page_parts import DOCS, fill, machines, results
from robots_reinforcement import ARMS, DRAWN, METHODS, STEPS
from robots_reinforcement_bandits import optimum

import quickstudy as qs

PAGE, PICTURE = DOCS / "uses" / "robots.md", DOCS / "images" / "robots-reinforcement.png"
PAPER = ["-40.4", "-11.7", "-3.3", "-3.2"]
"""Returns of MAML in the paper's figure of 2D navigation, after 0 to 3 steps."""
PICTURED = ("navigation-pretrained", "navigation-maml")


def found(folder: Path, about: str) -> dict[str, dict]:
    """What was written of each method on navigation, or on bandits, in the order of the tables."""
    paths = {name: folder / f"robots-reinforcement-{name}.json" for name in METHODS if name.startswith(about)}
    return results(paths, f"no result of {about} in {folder}; run python benchmarks/robots.py run reinforcement first.")


def head(about: dict) -> str:
    counted = f"{about['iterations']:,}" if about.get("iterations") else "-"
    return f"{counted} | {about['train_seconds']:.0f}" if "train_seconds" in about else "- | -"


def navigation(abouts: dict[str, dict]) -> str:
    rows = []
    for name, about in abouts.items():
        each = [qs.interval(torch.tensor(row)).plain(2) for row in about["returns"]]
        each += ["-"] * (STEPS + 1 - len(each))
        rows.append([METHODS[name].family, METHODS[name].title, *each, *head(about).split(" | ")])
        if name == "navigation-maml":
            rows.append(["optimization", "*MAML, in the paper*", *PAPER, "-", "-"])
    steps = ["before", *(f"after {n}" for n in range(1, STEPS + 1))]
    return grid(["family", "method", *steps, "iterations", "CPU seconds of training"], rows)


def navigation_differences(abouts: dict[str, dict], other: str = "navigation-pretrained") -> str:
    """Paired differences of returns, over the same goals."""
    rows, with_steps = [], {name: about["returns"] for name, about in abouts.items() if len(about["returns"]) > STEPS}
    for name, mine in with_steps.items():
        if name != other:
            gaps = [torch.tensor(a) - torch.tensor(b) for a, b in zip(mine, with_steps[other], strict=True)]
            rows.append([METHODS[name].title, *(qs.interval(gap).plain(2) for gap in gaps)])
    return grid([f"minus {METHODS[other].title.lower()}", "before", *(f"after {n}" for n in (1, 2, 3))], rows)


def sums(abouts: dict[str, dict]) -> str:
    """What was paid in a trial of each length."""
    rows = [["best possible", "Dynamic programming", f"{optimum(ARMS, 10):.2f}", "-", "-", "-", "-"]]
    for name, about in abouts.items():
        cells = [
            qs.interval(torch.tensor(about["pulls"][pulls]["sum"])).plain(2) if pulls in about["pulls"] else "-"
            for pulls in ("10", "40", "100")
        ]
        rows.append([METHODS[name].family, METHODS[name].title, *cells, *head(about).split(" | ")])
    return grid(["family", "method", "10 pulls", "40 pulls", "100 pulls", "iterations", "CPU seconds"], rows)


def blocks(abouts: dict[str, dict]) -> str:
    """The mean payment of a pull, in trials of 40."""
    rows = []
    for name, about in abouts.items():
        each = about["pulls"]["40"]["blocks"]
        cells = [qs.interval(torch.tensor(row)).plain() for row in each]
        gap = "-"
        if name != "bandit-gradient" and "bandit-gradient" in abouts:
            other = abouts["bandit-gradient"]["pulls"]["40"]["sum"]
            gap = qs.interval(torch.tensor(about["pulls"]["40"]["sum"]) - torch.tensor(other)).plain(2)
        rows.append([METHODS[name].title, *cells, gap])
    names = ["before", *(f"after {n}0 pulls" for n in range(1, STEPS + 1))]
    return grid(["method", *names, "sum, minus policy gradient from equal chances"], rows)


def setting(abouts: dict[str, dict]) -> str:
    about = next(iter(abouts.values()))
    hashes = ", ".join(sorted({each["hash"][:12] for each in abouts.values()}))
    return (
        f"{about['tasks']:,} tasks in each test, the same for every method; intervals are over tasks. Seed "
        f"{about['seed']}. SHA-256 of the tasks: {hashes}. {machines(abouts.values())}, "
        f"one thread, PyTorch {about['torch']}."
    )


def picture(abouts: dict[str, dict], path: Path) -> None:
    """Ways towards some goals before adaptation and after a step of it."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    shown = [name for name in PICTURED if name in abouts]
    figure, axes = plt.subplots(
        len(shown), DRAWN, figsize=(9, 2.4 * len(shown)), squeeze=False, sharex=True, sharey=True
    )
    for row, name in zip(axes, shown, strict=True):
        for number, axis in enumerate(row):
            for step, (color, label) in enumerate([("0.7", "before"), ("C0", "after 1 step"), ("C3", "after 3 steps")]):
                for ways in abouts[name]["paths"][(0, 1, 3)[step]][number]:
                    x, y = zip(*ways, strict=True)
                    axis.plot(x, y, color=color, linewidth=0.8, label=label)
                    label = None
            axis.plot(*abouts[name]["goals"][number], "k*", markersize=9)
            axis.set(xlim=(-0.9, 0.9), ylim=(-0.9, 0.9), aspect="equal")
        row[0].set_ylabel(METHODS[name].title.replace(", ", ",\n"), fontsize=9)
    axes[0, 0].legend(fontsize=6, frameon=False)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=80, metadata={"Software": None})
    plt.close(figure)


def write(folder: Path, page: Path = PAGE, image: Path = PICTURE) -> None:
    """Puts tables and picture into their place of the page.

    Raises:
        FileNotFoundError: No result.
        ValueError: A page without such a place.
    """
    ways, arms = found(folder, "navigation"), found(folder, "bandit")
    parts = {"### Navigation: returns\n": navigation(ways)}
    if "navigation-pretrained" in ways:
        parts["### Navigation: paired differences\n"] = navigation_differences(ways)
    parts["### Bandits: what was paid in a trial\n"] = sums(arms)
    in_blocks = {name: about for name, about in arms.items() if "40" in about["pulls"]}
    parts["### Bandits: payment of a pull, in trials of 40\n"] = blocks(in_blocks)
    if any(name in ways for name in PICTURED):
        picture(ways, image)
    tables = [f"{title}\n{table}" for title, table in parts.items()]
    fill(page, {"reinforcement": "\n\n".join([setting({**ways, **arms}), *tables])})

"""Tables and the picture of changed bodies in docs/uses/robots.md, from what benchmarks/robots_bodies.py wrote."""

from pathlib import Path

import torch
from grid import grid
from page_parts import DOCS, fill, machines, on_the_same, results
from robots_bodies_methods import LEARNERS
from robots_bodies_scores import KINDS, SHOTS

import quickstudy as qs

PAGE, PICTURE = DOCS / "uses" / "robots.md", DOCS / "images" / "robots-bodies.png"
OTHERS = {"global": "global", "fine-tune": "fine-tuned", "corrected": "corrected", "ridge": "ridge"}
"""What every method is compared with, and its short name."""
NEW = {"joint": "new crippled joint", "mass": "new mass"}
SHOWN = ("global", "corrected", "alpaca", "anil")
DRAWN = {
    "HalfCheetah-v5": {"pitch, rad": 1, "bshin": 3, "fthigh": 5, "forward, m/s": 8},
    "Ant-v5": {"height, m": 0, "hip_4": 11, "ankle_4": 12, "forward, m/s": 13},
}
"""Numbers of a state that are drawn; of joints, the one that is crippled."""
MIDDLE = 32


def found(folder: Path) -> dict[str, dict]:
    """What was written of each method, in the order of the tables.

    Raises:
        FileNotFoundError: Nothing was.
    """
    paths = {name: folder / f"robots-bodies-{name}.json" for name in LEARNERS}
    return results(paths, f"no result in {folder}; run python benchmarks/robots.py run bodies first.")


def scores(about: dict, kind: str, shots: int, name: str) -> torch.Tensor:
    return torch.tensor(about["tests"][f"{kind} {shots}"][name])


def errors(abouts: dict[str, dict], score: str) -> str:
    """The mean square error of every kind and number of transitions, in bold where no other method's is lower."""
    cells = [(kind, shots) for kind in KINDS for shots in SHOTS]
    least = {cell: min(scores(about, *cell, score).mean() for about in abouts.values()) for cell in cells}
    rows = []
    for name, about in abouts.items():
        row = [LEARNERS[name].family, LEARNERS[name].title]
        for cell in cells:
            values = scores(about, *cell, score)
            bold = "**" if values.mean() == least[cell] else ""
            row.append(f"{bold}{qs.interval(values).plain()}{bold}")
        rows.append(row)
    return grid(["family", "method", *(f"{NEW[kind]}, {shots}" for kind, shots in cells)], rows)


def differences(abouts: dict[str, dict], score: str) -> str:
    """Paired differences over the same bodies."""
    pairs = [(kind, other) for kind in KINDS for other in OTHERS if other in abouts]
    rows = []
    for name, about in abouts.items():
        row = [LEARNERS[name].title]
        for kind, other in pairs:
            gap = scores(about, kind, MIDDLE, score) - scores(abouts[other], kind, MIDDLE, score)
            row.append("-" if name == other else qs.interval(gap).plain())
        rows.append(row)
    return grid(["method", *(f"{NEW[kind]}: minus {OTHERS[other]}" for kind, other in pairs)], rows)


def confidences(abouts: dict[str, dict]) -> str:
    head = ["method", "spread", *(f"{NEW[kind]}: {what}" for kind in KINDS for what in ("nats", "within 90%"))]
    rows = []
    for name, about in abouts.items():
        row = [LEARNERS[name].title, "its own" if LEARNERS[name].spread else "one for all"]
        for kind in KINDS:
            row.append(qs.interval(scores(about, kind, MIDDLE, "nats")).plain(2))
            row.append(f"{scores(about, kind, MIDDLE, 'within').mean():.1%}")
        row.append(f"{about['steps']:,} x {about['batch']}" if about["steps"] else "-")
        row += [f"{about['parameters']:,}", f"{about['train_seconds']:.0f}"]
        rows.append([*row, f"{about['adapt_ms'][f'joint {MIDDLE}']:.2f}"])
    return grid([*head, "steps x bodies", "parameters", "CPU seconds of training", "ms to adapt"], rows)


def setting(abouts: dict[str, dict]) -> str:
    on_the_same(abouts)
    about = next(iter(abouts.values()))
    hashes = sorted(found[:12] for found in about["hash"].values())
    counts = [len(scores(about, kind, MIDDLE, "one")) for kind in KINDS]
    return (
        f"{about['robot']}: {about['bodies']['train']} bodies in training, {about['bodies']['validation']} in "
        f"validation; "
        f"in the test {counts[0]} with a new crippled joint and {counts[1]} with a new mass, {about['draws']} tasks of "
        f"each for every number of transitions; intervals are over bodies. Seed {about['seed']}. SHA-256 of the tasks: "
        f"{', '.join(hashes)}. {machines(abouts.values())}, one thread, PyTorch {about['torch']}."
    )


def picture(abouts: dict[str, dict], path: Path) -> None:
    """Ten steps that were predicted of one body, beside what it did."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    shown = [name for name in SHOWN if name in abouts]
    robot, joint = (abouts[shown[0]][key] for key in ("robot", "example"))
    joint = joint["joint"]
    numbers = {
        f"{name}, rad" if name == joint else name: n for name, n in DRAWN[robot].items() if "," in name or name == joint
    }
    figure, axes = plt.subplots(len(numbers), len(shown), figsize=(9, 5.4), sharex=True, sharey="row", squeeze=False)
    for column, name in zip(axes.T, shown, strict=True):
        example = {key: torch.tensor(abouts[name]["example"][key]) for key in ("truth", "low", "middle", "high")}
        for axis, (label, n) in zip(column, numbers.items(), strict=True):
            truth, steps = example["truth"][:, n], range(len(example["truth"]))
            low, middle, high = (torch.cat([truth[:1], example[key][:, n]]) for key in ("low", "middle", "high"))
            axis.fill_between(steps, low, high, alpha=0.25, linewidth=0)
            axis.plot(steps, middle, label="predicted, 90% band")
            axis.plot(steps, truth, "k.-", linewidth=1, markersize=4, label="what it did")
            if axis in axes[:, 0]:
                axis.set_ylabel(label)
        column[0].set_title(LEARNERS[name].title.replace(", last layer corrected by", ",\n"), fontsize=9)
        column[-1].set_xlabel("steps of 0.05 s")
    axes[0, 0].legend(fontsize=7, frameon=False)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=80, metadata={"Software": None})
    plt.close(figure)


def write(folder: Path, page: Path = PAGE, image: Path = PICTURE) -> None:
    """Puts tables and picture into their place of the page.

    Raises:
        ValueError: A page without such a place.
    """
    abouts = found(folder)
    blocks = {
        "One step": errors(abouts, "one"),
        "Ten steps": errors(abouts, "ten"),
        f"Paired differences after one step, {MIDDLE} transitions": differences(abouts, "one"),
        f"Paired differences after ten steps, {MIDDLE} transitions": differences(abouts, "ten"),
        f"Confidence with {MIDDLE} transitions, and cost": confidences(abouts),
    }
    if any(name in abouts for name in SHOWN):
        picture(abouts, image)
    tables = [f"### {title}\n\n{block}" for title, block in blocks.items()]
    fill(page, {"bodies": "\n\n".join([setting(abouts), *tables])})

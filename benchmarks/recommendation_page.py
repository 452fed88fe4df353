"""Tables, the picture and the example of docs/uses/recommendation.md, from what benchmarks/recommendation.py wrote."""

import statistics
from pathlib import Path

import torch
from grid import grid
from page_parts import DOCS, fill, in_common, machines, on_the_same, results
from recommendation_baselines import BASELINES
from recommendation_methods import LEARNERS

import quickstudy as qs
from quickstudy.data.ratings import CELLS

PAGE, PICTURE = DOCS / "uses" / "recommendation.md", DOCS / "images" / "recommendation.png"
CLASSICAL, GENRES, TRANSFER = "matrix-factorisation", "genres", "fine-tune"
SHOWN = ("both-means", CLASSICAL, "wide-and-deep", TRANSFER, "melu", "cnp", "alpaca")
"""Methods of the picture and of the example."""


def found(folder: Path, size: str) -> dict[str, dict]:
    """What was written of each method, in the order of the tables; folds that not all have are left out.

    Raises:
        FileNotFoundError: Nothing was.
    """
    paths = {name: folder / f"recommendation-{size}-{name}.json" for name in [*BASELINES, *LEARNERS]}
    abouts = results(paths, f"no result in {folder}; run python benchmarks/recommendation.py run first.")
    in_common(abouts, "folds")
    for fold in next(iter(abouts.values()))["folds"]:
        on_the_same({name: about["folds"][fold] for name, about in abouts.items()})
    return abouts


def title(name: str) -> str:
    return BASELINES[name][0] if name in BASELINES else LEARNERS[name].title


def family(name: str) -> str:
    return "classical" if name in BASELINES else LEARNERS[name].family


def scores(about: dict, cell: str, name: str) -> torch.Tensor:
    """Of all users of a cell, each one's mean over the folds: an existing user is in several, with the same queries."""
    found: dict[int, list[float]] = {}
    for fold in about["folds"].values():
        for user, value in zip(fold["users"][cell], fold["tests"][cell][name], strict=True):
            found.setdefault(user, []).append(value)
    return torch.tensor([statistics.mean(values) for values in found.values()])


def errors(abouts: dict[str, dict]) -> str:
    """Mean absolute error in each cell, in bold where no other method's mean is lower."""
    least = {cell: min(scores(about, cell, "mae").mean() for about in abouts.values()) for cell in CELLS}
    rows = []
    for name, about in abouts.items():
        cells = []
        for cell in CELLS:
            mae = scores(about, cell, "mae")
            bold = "**" if mae.mean() == least[cell] else ""
            cells.append(f"{bold}{qs.interval(mae).plain()}{bold}")
        rows.append([family(name), title(name), *cells])
    return grid(["family", "method", *CELLS], rows)


def differences(abouts: dict[str, dict]) -> str:
    """Paired differences of mean absolute error from the classical baselines and from transfer learning."""
    head, rows = ["method"], []
    others = [other for other in (CLASSICAL, GENRES, TRANSFER) if other in abouts]
    pairs = [(other, cell) for other in others for cell in (CELLS[1], CELLS[3])]
    head += [f"{cell}: minus {title(other).split(' (')[0].lower()}" for other, cell in pairs]
    for name, about in abouts.items():
        cells = []
        for other, cell in pairs:
            gap = scores(about, cell, "mae") - scores(abouts[other], cell, "mae")
            cells.append("-" if name == other else qs.interval(gap).plain())
        rows.append([title(name), *cells])
    return grid(head, rows)


def numbers_told(about: dict) -> list[str]:
    """How many ratings are told of a new user, in turn; nothing where no user tells enough."""
    return list(next(iter(about["folds"].values()))["by_known"])


def by_known(about: dict, told: str) -> torch.Tensor:
    """Each user's error where so many ratings are told."""
    return torch.tensor([error for fold in about["folds"].values() for error in fold["by_known"][told]])


def sooner(abouts: dict[str, dict]) -> str:
    """Paired differences of mean absolute error from transfer learning, by how many ratings are told."""
    counts = numbers_told(abouts[TRANSFER]) if TRANSFER in abouts else []
    rows = [
        [
            title(name),
            *(qs.interval(by_known(about, told) - by_known(abouts[TRANSFER], told)).plain() for told in counts),
        ]
        for name, about in abouts.items()
        if counts and name != TRANSFER
    ]
    return grid(["method, minus fine-tuning", *counts], rows)


def rankings(abouts: dict[str, dict]) -> str:
    head = ["method", *(f"{cell}: nDCG@1 / @3" for cell in CELLS)]
    rows = []
    for name, about in abouts.items():
        pairs = [[qs.interval(scores(about, cell, f"ndcg{k}")).plain() for k in (1, 3)] for cell in CELLS]
        rows.append([title(name), *(" / ".join(pair) for pair in pairs)])
    return grid(head, rows)


def confidences(abouts: dict[str, dict]) -> str:
    head = ["method", "spread"]
    head += [f"{cell}: {what}" for cell in (CELLS[1], CELLS[3]) for what in ("nats", "within 90%", "±")]
    head += ["steps x users", "parameters", "CPU seconds"]
    rows = []
    for name, about in abouts.items():
        first = next(iter(about["folds"].values()))
        own = name in LEARNERS and LEARNERS[name].spread
        row = [title(name), "its own" if own else "one for all"]
        for cell in (CELLS[1], CELLS[3]):
            row.append(qs.interval(scores(about, cell, "nats")).plain(2))
            row += [str(qs.interval(scores(about, cell, "within"))), f"{scores(about, cell, 'width').mean():.2f}"]
        row += [f"{first['steps']:,} x {first['batch']}" if first.get("steps") else "-"]
        row += [f"{first['parameters']:,}" if "parameters" in first else "-", f"{first['cpu_seconds']:.0f}"]
        rows.append(row)
    return grid(head, rows)


def example(abouts: dict[str, dict]) -> str:
    """A new user of the first fold: what was told, the ten that were asked for, and what is recommended next."""
    shown = {name: next(iter(abouts[name]["folds"].values()))["example"] for name in SHOWN if name in abouts}
    one = next(iter(shown.values()))
    told = "; ".join(f"{film}: {value:.0f}" for film, value in sorted(one["told"], key=lambda pair: -pair[1]))
    head = ["asked for", "true", *(title(name).split(" (")[0] for name in shown)]
    rows = [
        [film, f"{value:.0f}", *(f"{each['asked'][n][2]:.1f} ± {each['asked'][n][3]:.1f}" for each in shown.values())]
        for n, (film, value, _, _) in enumerate(one["asked"])
    ]
    text = [f"Told were: {told}.", "", grid(head, rows), ""]
    text += ["Recommended next, with 90% intervals in stars:", ""]
    for name, each in shown.items():
        films = "; ".join(f"{film} {mean:.1f} ± {half:.1f}" for film, mean, half in each["next"])
        text.append(f"- *{title(name).split(' (')[0]}*: {films}.")
    return "\n".join(text)


def setting(abouts: dict[str, dict]) -> str:
    about = next(iter(abouts.values()))
    hashes = {fold["hash"][:12] for one in abouts.values() for fold in one["folds"].values()}
    users = ", ".join(f"{len(scores(about, cell, 'mae'))} of {cell}" for cell in CELLS)
    return (
        f"Users in the tests: {users}, each with the mean of ten draws of what is asked for, but of existing users and "
        f"items with one; fold{'s' * (len(about['folds']) > 1)} {', '.join(about['folds'])} of 5, "
        f"seed {about['seed']}; films are new from {about['released']} on. SHA-256 of the tasks: "
        f"{', '.join(sorted(hashes))}. {machines(abouts.values())}, one thread, PyTorch {about['torch']}."
    )


def picture(abouts: dict[str, dict], path: Path) -> None:
    """Error against the number of ratings that are told."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
    for name in (name for name in SHOWN if name in abouts):
        told = [int(k) for k in numbers_told(abouts[name])]
        means = [by_known(abouts[name], str(k)).mean() for k in told]
        style = "--" if name in BASELINES else "-"
        axes.plot(told, means, style, marker="o", markersize=3, label=title(name).split(" (")[0])
    axes.set(xscale="log", xlabel="ratings told of a new user", ylabel="mean absolute error, stars")
    axes.set_xticks(told, [str(k) for k in told], minor=False)
    axes.minorticks_off()
    axes.legend(fontsize=7, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90, metadata={"Software": None})
    plt.close(figure)


def write(folder: Path, size: str, page: Path = PAGE, image: Path = PICTURE) -> None:
    """Puts everything into its places of the page, between two comments with its name.

    Raises:
        ValueError: A page without such a place.
    """
    abouts = found(folder, size)
    parts = (errors, differences, sooner, rankings, confidences, example, setting)
    made = {part.__name__: part(abouts) for part in parts}
    if all(fold["by_known"] for about in abouts.values() for fold in about["folds"].values()):
        picture(abouts, image)
    fill(page, made)

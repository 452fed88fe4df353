"""Tables and pictures of imitation in docs/uses/robots.md, from what benchmarks/robots_imitation.py wrote."""

import textwrap
from pathlib import Path

import torch
from grid import grid
from page_parts import DOCS, fill, machines, on_the_same, results
from robots_imitation import ENVIRONMENTS
from robots_imitation_methods import BASELINES, LEARNERS

import quickstudy as qs

PAGE, PICTURE = DOCS / "uses" / "robots.md", DOCS / "images" / "robots-imitation.png"
OPPONENTS = {
    "ignores": "ignores the demonstration",
    "told": "told the goal",
    "fine-tune": "fine-tuned",
    "nearest": "nearest moment",
}
"""From whom differences are told."""
SHOWN = ("nearest", "ignores", "fine-tune", "maml", "cnp", "alpaca", "tnp")
"""Methods of the picture."""
GOALS, RADIUS = 4, 50
"""The goals of the picture, and how near Meta-World wants the hand or the object to be, in millimetres."""


def found(folder: Path) -> dict[str, dict[str, dict]]:
    """What was written of each environment and method, in the order of the tables.

    Raises:
        FileNotFoundError: Nothing was, of an environment.
        ValueError: Methods that were not tested on the same rollouts.
    """
    every = {}
    for environment in ENVIRONMENTS:
        paths = {name: folder / f"robots-imitation-{environment}-{name}.json" for name in [*BASELINES, *LEARNERS]}
        missing = f"no result of {environment} in {folder}; run python benchmarks/robots.py run imitation first."
        every[environment] = results(paths, missing)
        if len({about["hash"] for about in every[environment].values()}) > 1:
            raise ValueError(
                f"the results of {environment} in {folder} are of different rollouts; remove them and run anew."
            )
    return every


def title(name: str) -> str:
    return BASELINES[name].title if name in BASELINES else LEARNERS[name].title


def family(name: str) -> str:
    return "classical" if name in BASELINES else LEARNERS[name].family


def methods(every: dict[str, dict[str, dict]]) -> list[str]:
    return [name for name in [*BASELINES, *LEARNERS] if any(name in abouts for abouts in every.values())]


def of_goals(about: dict, score: str) -> torch.Tensor:
    """The mean of each goal's rollouts: the goal is what was drawn."""
    return torch.tensor(about[score], dtype=torch.float64).view(about["goals"], -1).mean(1)


def scores(every: dict[str, dict[str, dict]]) -> str:
    """Success, success in the end, and the distance to the goal in the end."""
    head = ["family", "method"]
    for environment in every:
        name = environment.removesuffix("-v3")
        head += [f"{name}: success", f"{name}: in the end", f"{name}: cm from the goal"]
    rows = []
    for method in methods(every):
        row = [family(method), title(method)]
        for abouts in every.values():
            if method not in abouts:
                row += ["-"] * 3
                continue
            row += [str(qs.interval(of_goals(abouts[method], score))) for score in ("success", "last")]
            row.append(qs.interval(100 * of_goals(abouts[method], "distance")).plain(1))
        rows.append(row)
    return grid(head, rows)


def differences(every: dict[str, dict[str, dict]], environment: str) -> str:
    """Paired differences of success, in points."""
    abouts, rows = every[environment], []
    others = {name: words for name, words in OPPONENTS.items() if name in abouts}
    for method, about in abouts.items():
        row = [title(method)]
        for other in others:
            gap = qs.interval(100 * (of_goals(about, "success") - of_goals(abouts[other], "success")))
            row.append("-" if method == other else f"{gap.mean:+.1f} ± {gap.half_width:.1f}")
        rows.append(row)
    return grid(["method", *(f"minus {words}" for words in others.values())], rows)


def costs(every: dict[str, dict[str, dict]]) -> str:
    """Training, and the standard deviations that were predicted of the hand's motion."""
    head = ["method", "steps x tasks", "trained parameters", "CPU seconds to train"]
    head += [f"{environment.removesuffix('-v3')}: spread if it succeeds / fails" for environment in every]
    rows = []
    for method in methods(every):
        if method in BASELINES:
            continue
        known = [abouts[method] for abouts in every.values() if method in abouts]
        seconds = " and ".join(f"{about['training_seconds']:.0f}" for about in known)
        steps = f"{known[0]['steps']:,} x {known[0]['batch']}" if known[0]["steps"] else "-"
        row = [title(method), steps, f"{known[0]['parameters']:,}", seconds]
        for abouts in every.values():
            own = LEARNERS[method].spread and method in abouts
            row.append(spreads(abouts[method]) if own else "-")
        rows.append(row)
    return grid(head, rows)


def spreads(about: dict) -> str:
    """The mean standard deviation of rollouts that succeed and of those that fail, and how many fail."""
    spread, success = torch.tensor(about["spread"]), torch.tensor(about["success"]).bool()
    parts = [f"{spread[which].mean():.3f}" if which.any() else "none" for which in (success, ~success)]
    return f"{' / '.join(parts)} ({int((~success).sum())})"


def setting(every: dict[str, dict[str, dict]]) -> str:
    for abouts in every.values():
        on_the_same(abouts)
    rows = [one for abouts in every.values() for one in abouts.values()]
    about = rows[0]
    hashes = {name: next(iter(abouts.values()))["hash"][:12] for name, abouts in every.items()}
    rollouts = len(about["success"])
    return (
        f"{rollouts} rollouts of each method and environment: {about['goals']} unseen goals, "
        f"{rollouts // about['goals']} of each; the same for every method (SHA-256 of goals and places: "
        f"{', '.join(f'{name} {digest}' for name, digest in hashes.items())}). Seed {about['seed']}, "
        f"{machines(rows)}, one thread, PyTorch {about['torch']}."
    )


def picture(every: dict[str, dict[str, dict]], path: Path) -> None:
    """The first goals' rollouts from above."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.patches import Circle

    shown = [name for name in SHOWN if name in methods(every)]
    figure, axes = plt.subplots(
        len(every), len(shown), figsize=(1.75 * len(shown), 5.8), layout="constrained", squeeze=False, sharey=True
    )
    for row, (environment, abouts) in zip(axes, every.items(), strict=True):
        moved = 0 if environment == "reach-v3" else 3
        for panel, method in zip(row, shown, strict=True):
            if method not in abouts:
                panel.set_axis_off()
                continue
            about = abouts[method]["shown"]
            parts = (torch.tensor(about[key])[:GOALS] for key in ("goals", "demonstrations", "paths", "spread"))
            for number, (goal, demonstration, hand, spread) in enumerate(zip(*parts, strict=True)):
                colour, (x, y) = f"C{number}", goal[:2].tolist()
                panel.add_patch(Circle((x, y), RADIUS, facecolor=colour, alpha=0.15))
                panel.plot(x, y, "*", color=colour, markersize=7)
                panel.plot(*demonstration[:, moved : moved + 2].T, ":", color=colour, lw=1)
                panel.plot(*hand[:, moved : moved + 2].T, "-", color=colour, lw=1.4)
                panel.plot(*hand[0, moved : moved + 2], "o", color=colour, markersize=3)
                if method in LEARNERS and LEARNERS[method].spread:
                    panel.scatter(*hand[:-1, moved : moved + 2].T, s=200 * spread, color=colour, alpha=0.35, lw=0)
            panel.set(aspect="equal", xlim=(-170, 170), xticks=[-100, 0, 100])
            panel.tick_params(labelsize=7)
            if panel in axes[0]:
                panel.set_title(textwrap.fill(title(method), 22), fontsize=8)
        row[0].set_ylabel(f"{environment.removesuffix('-v3')}: {'object' if moved else 'hand'}, mm", fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90, metadata={"Software": None})
    plt.close(figure)


def write(folder: Path, page: Path = PAGE, image: Path = PICTURE) -> None:
    """Puts everything into its places of the page, between two comments with its name.

    Raises:
        ValueError: A page without such a place.
    """
    every = found(folder)
    made = {"imitation": scores(every), "imitation-costs": costs(every), "imitation-setting": setting(every)}
    made |= {f"imitation-{name.removesuffix('-v3')}": differences(every, name) for name in every}
    picture(every, image)
    fill(page, made)

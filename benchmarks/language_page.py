"""Tables, the example and the picture of docs/uses/language.md, from what benchmarks/language.py wrote."""

import json
import textwrap
from pathlib import Path

import torch
from grid import grid
from language_data import SHARES
from language_methods import LEARNERS
from page_parts import DOCS, fill, in_common, machines, results
from scipy import stats

import quickstudy as qs
from quickstudy.none_of_these import SOFTMAX, UNLIKE
from quickstudy.scores import calibration_error

PAGE, PICTURE = DOCS / "uses" / "language.md", DOCS / "images" / "language.png"
CLASSICAL, TRANSFER, SHOWN, FIRST = "logistic", "linear-probe", "r2d2", "0"
"""The opponents, whose answers are shown, and the split none of whose test classes chose a setting."""
DARK = 0.7
"""From which on a cell's number is white."""
COMPARED = {"fewrel": ("Wikipedia", "PubMed")}
"""Tests of which differences are told, where not of all."""
MODELS = {
    "language-model-words": "gemma3-270m in context, classes called red, dog, seven, winter, bread",
    "language-model": "gemma3-270m in context, classes called A to E",
    "language-model-names": "gemma3-270m in context, classes called by their names",
    "language-model-names-alone": "gemma3-270m told the names of the classes, and no example",
}
PUBLISHED: dict[str, list[tuple[str, dict[str, tuple[float, float]]]]] = {
    "fewrel": [
        ("BERT-PAIR, 64 relations of Wikipedia (Gao et al., 2019)", {"Wikipedia": (0.8566, 0.8948)}),
    ]
}
"""Accuracies of 5-way 1-shot and 5-shot that papers tell, in other settings than ours."""


def found(folder: Path, course: str) -> dict[str, dict]:
    """What was written of each method, in the order of the tables; splits that not all have are left out.

    Raises:
        FileNotFoundError: Nothing was.
    """
    paths = {name: folder / f"language-{course}-{name}.json" for name in LEARNERS}
    abouts = results(paths, f"no result of {course} in {folder}; run python benchmarks/language.py run first.")
    in_common(abouts, "splits")
    return abouts


def tests(abouts: dict[str, dict]) -> list[str]:
    """The names of tests and shots."""
    return [*next(iter(next(iter(abouts.values()))["splits"].values()))["tests"]]


def compared(abouts: dict[str, dict], course: str) -> list[str]:
    """The tests of which differences are told."""
    return [test for test in tests(abouts) if test.split(",")[0] in COMPARED.get(course, test)]


def scores(about: dict, test: str, name: str = "accuracy") -> torch.Tensor:
    """Of all tasks of a test, over the splits."""
    return torch.tensor([value for split in about["splits"].values() for value in split["tests"][test][name]])


def over_splits(about: dict, other: dict, test: str) -> str:
    """The paired difference of accuracy in points, with its 95% interval over splits, whose tasks share a training."""
    mine, theirs = (
        torch.tensor([split["tests"][test]["accuracy"] for split in one["splits"].values()]).mean(1)
        for one in (about, other)
    )
    means = 100 * (mine - theirs)
    if len(means) < 2:
        return f"{means.mean():+.2f}"
    half = stats.t.ppf(0.975, len(means) - 1) * means.std() / len(means) ** 0.5
    return f"{means.mean():+.2f} ± {half:.2f}"


def areas(about: dict, test: str, name: str) -> list[str]:
    """By the highest probability, and by how unlike the classes a query is."""
    cells = []
    for by in (SOFTMAX, UNLIKE):
        values = [v for split in about["splits"].values() for v in split["tests"][test][name].get(by, [])]
        cells.append(qs.interval(torch.tensor(values)).plain() if values else "-")
    return cells


def accuracies(abouts: dict[str, dict], course: str) -> str:
    """Accuracy in each test, in bold where no other method's mean is higher; and what papers tell."""
    names = tests(abouts)
    best = {test: max(scores(about, test).mean() for about in abouts.values()) for test in names}
    rows = []
    for method, about in abouts.items():
        cells = []
        for test in names:
            values = scores(about, test)
            bold = "**" if values.mean() == best[test] else ""
            cells.append(f"{bold}{qs.interval(values)}{bold}")
        rows.append([LEARNERS[method].family, LEARNERS[method].title, *cells])
    for title, told in PUBLISHED.get(course, []):
        pairs = {f"{test}, {k}-shot": v for test, both in told.items() for k, v in zip((1, 5), both, strict=True)}
        rows.append(["published", title, *(f"{pairs[test]:.1%}" if test in pairs else "-" for test in names)])
    return grid(["family", "method", *names], rows)


def differences(abouts: dict[str, dict], course: str) -> str:
    """Paired differences of accuracy, in points, from transfer learning and from logistic regression."""
    names = compared(abouts, course)
    pairs = [(other, test) for other in (TRANSFER, CLASSICAL) if other in abouts for test in names]
    rows = []
    for method, about in abouts.items():
        cells = ["-" if method == other else over_splits(about, abouts[other], test) for other, test in pairs]
        rows.append([LEARNERS[method].title, *cells])
    return grid(["method", *(f"{test}: minus {LEARNERS[other].title.lower()}" for other, test in pairs)], rows)


def first_split(abouts: dict[str, dict], course: str) -> str:
    """Of the one split whose test classes chose no setting: accuracy, and paired differences over its tasks."""
    names = compared(abouts, course)
    alone = {method: about | {"splits": {FIRST: about["splits"][FIRST]}} for method, about in abouts.items()}
    others = [other for other in (TRANSFER, CLASSICAL) if other in abouts]
    head, rows = ["method"], []
    for test in names:
        head += [test, *(f"{test}: minus {LEARNERS[other].title.lower()}" for other in others)]
    for method, about in alone.items():
        cells = []
        for test in names:
            mine = scores(about, test)
            gaps = ["-" if method == other else points(mine - scores(alone[other], test)) for other in others]
            cells += [str(qs.interval(mine)), *gaps]
        rows.append([LEARNERS[method].title, *cells])
    return grid(head, rows)


def points(gap: torch.Tensor) -> str:
    """A paired difference of accuracies, in points."""
    mean, half = qs.interval(100 * gap)
    return f"{mean:+.2f} ± {half:.2f}"


def confidences(abouts: dict[str, dict], course: str) -> str:
    """Calibration errors before and after tempering, log-likelihoods, and areas under the ROC curve."""
    first = [test for test in tests(abouts) if test.split(",")[0] == tests(abouts)[0].split(",")[0]]
    outside = any(one for about in abouts.values() for one in areas(about, first[0], "outside") if one != "-")
    strange = any(one for about in abouts.values() for one in areas(about, first[0], "strangers") if one != "-")
    told = [(name, kind) for name, kind, is_told in (
        ("new class", "strangers", strange), ("out of scope", "outside", outside)) if is_told]  # fmt: skip
    head, rows = ["method"], []
    for test in first:
        shots = test.split(", ")[1]
        head += [f"{shots}: ECE", "tempered", "nats"]
        head += [f"{shots}, {name}: {by}" for name, _ in told for by in ("softmax", "unlike")]
    for method, about in abouts.items():
        row = [LEARNERS[method].title]
        for test in first:
            for bins in ("bins", "tempered_bins"):
                every = [torch.tensor(split["tests"][test][bins]) for split in about["splits"].values()]
                row.append(f"{calibration_error(torch.stack(every).sum(0)):.3f}")
            row.append(qs.interval(scores(about, test, "nats")).plain())
            row += [cell for _, kind in told for cell in areas(about, test, kind)]
        rows.append(row)
    return grid(head, rows)


def costs(abouts: dict[str, dict], course: str) -> str:
    rows = []
    for method, about in abouts.items():
        some, test = [*about["splits"].values()], tests(abouts)[-1]
        seconds = sum(one["training_seconds"] for one in some) / len(some)
        ms = sum(one["tests"][test]["adapt_ms"] for one in some) / len(some)
        trained = f"{some[0]['steps']} x {some[0]['batch']}" if some[0]["steps"] else "-"
        counted = LEARNERS[method].words and not LEARNERS[method].share  # words are, when queries are asked
        learning = "-" if counted else f"{ms:.1f}"
        rows.append([LEARNERS[method].title, trained, f"{some[0]['parameters']:,}", f"{seconds:.1f}", learning])
    return grid(["method", "steps x tasks", "trained parameters", "CPU seconds, a split", "ms to learn a task"], rows)


def setting(abouts: dict[str, dict], course: str) -> str:
    about = next(iter(abouts.values()))
    every = {
        tuple(test["hash"][:8] for split in one["splits"].values() for test in split["tests"].values())
        for one in abouts.values()
    }
    hashes = sorted(next(iter(every)))
    if len(every) > 1:
        raise ValueError(f"methods were tested on different tasks of {course}; run them all anew, with equal options.")
    classes, episodes = "/".join(map(str, SHARES[course])), len(scores(about, tests(abouts)[0]))
    return (
        f"Classes {classes} to train on, choose by and test on, drawn anew with seeds {', '.join(about['splits'])}; "
        f"{episodes:,} tasks of each test, the same for every method (SHA-256 of their texts: {', '.join(hashes)}). "
        f"{machines(abouts.values())}, one thread, PyTorch {about['torch']}."
    )


def example(abouts: dict[str, dict]) -> str:
    """One task of the first split."""
    one = abouts[SHOWN]["splits"]["0"]["example"]
    shown = "\n".join(f"- *{name}*: {text}" for name, text in one["support"])
    head = ["sentence", "right", *(name for name, _ in one["support"]), "none of these"]
    rows = [
        [text, right or "out of scope", *(f"**{p:.0%}**" if p == max(ps) else f"{p:.0%}" for p in ps), f"{none:.0%}"]
        for text, right, ps, none in one["queries"]
    ]
    return f"Shown was one sentence of each intent:\n\n{shown}\n\n{grid(head, rows)}"


def picture(abouts: dict[str, dict], path: Path) -> None:
    """The example: probabilities of each sentence."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.patches import Rectangle

    one = abouts[SHOWN]["splits"]["0"]["example"]
    values = [[*ps, none] for _, _, ps, none in one["queries"]]
    names = [*(name.replace("_", " ") for name, _ in one["support"]), "none of these"]
    rows = [textwrap.shorten(text, 58) for text, *_ in one["queries"]]
    figure, axes = plt.subplots(figsize=(8.4, 0.42 * len(rows) + 1.9), layout="constrained")
    axes.imshow(values, cmap="Blues", vmin=0, vmax=1.3, aspect="auto")
    for place, (_, right, *_rest) in enumerate(one["queries"]):
        column = [name for name, _ in one["support"]].index(right) if right else len(names) - 1
        axes.add_patch(Rectangle((column - 0.48, place - 0.46), 0.96, 0.92, fill=False, ec="tab:orange", lw=2))
        for which, value in enumerate(values[place]):
            ink = "white" if value > DARK else "black"
            axes.text(which, place, f"{value:.0%}", ha="center", va="center", fontsize=8, color=ink)
    axes.set_xticks(range(len(names)), [textwrap.fill(name, 12) for name in names], fontsize=8)
    axes.set_yticks(range(len(rows)), rows, fontsize=8)
    axes.axvline(len(names) - 1.5, color="white", lw=4)
    axes.tick_params(length=0, labeltop=True, labelbottom=False, top=False)
    axes.spines[:].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100, metadata={"Software": None})
    plt.close(figure)


def model_table(folder: Path) -> str:
    """A language model in context, and others on the same tasks."""
    rows = []
    for path in sorted(folder.glob("language-model-*.json")):
        about = json.loads(path.read_text())
        base = torch.tensor(about["methods"][CLASSICAL]["accuracy"])
        for title, one in about["methods"].items():
            values = torch.tensor(one["accuracy"])
            gap = qs.interval(100 * (values - base))
            name = LEARNERS[title].title if title in LEARNERS else MODELS[title]
            rows.append([
                about["course"], name, f"{qs.interval(values)}",
                "-" if title == CLASSICAL else f"{gap.mean:+.2f} ± {gap.half_width:.2f}",
                f"{len(values)} x {about['queries']}", f"{one['ece']:.3f}",
                f"{one['tokens']:.0f}" if "tokens" in one else "-", f"{one['seconds']:.4f}",
            ])  # fmt: skip
    head = ["data", "method", "5-way 1-shot", "minus logistic regression", "tasks x queries", "ECE, tempered"]
    return grid([*head, "tokens, a query", "seconds, a query"], rows) if rows else "Not measured."


def write(folder: Path, page: Path = PAGE, image: Path = PICTURE) -> None:
    """Puts everything into its places of the page, between two comments with its name.

    Raises:
        ValueError: A page without such a place.
    """
    courses = {course: found(folder, course) for course in SHARES}
    made = {
        f"{course}-{part.__name__}": part(abouts, course)
        for course, abouts in courses.items()
        for part in (accuracies, differences, first_split, confidences, costs, setting)
    }
    made |= {"example": example(courses["clinc150"]), "model": model_table(folder)}
    picture(courses["clinc150"], image)
    fill(page, made)

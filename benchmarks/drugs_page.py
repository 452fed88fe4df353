"""Tables and pictures of docs/uses/drugs.md, from what benchmarks/drugs.py wrote."""

import io
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from drugs_methods import METHODS
from grid import grid
from page_parts import DOCS, fill, machines

import quickstudy as qs

PAGE, IMAGES = DOCS / "uses" / "drugs.md", DOCS / "images"
DATA = {
    "tox21": "Tox21",
    "tox21-apart": "Tox21, compounds apart",
    "sider": "SIDER",
    "sider-apart": "SIDER, compounds apart",
    "muv": "MUV",
}
FOREST, TRANSFER, TOLD_NOTHING = "forest", "fine-tune", "pooled"
"""A classical baseline, transfer learning, and what is known of a compound without any support set."""
SHOWN = ("forest", "fine-tune", "maml", "dkt")
"""Methods of the example."""
CURVES = ("forest", "logistic", "pooled", "fine-tune", "protonet", "maml", "cnp", "dkt", "shipped", "in-context")
"""Methods of the other picture."""
KINDS = ("inactive", "active")
DELTA = "delta_auprc"
FEW, SIZES = ("10-shot", "1-shot"), ("16", "32", "64", "128")
PUBLISHED = {
    "Siamese": {"tox21": (80.4, 65.0), "sider": (71.1, 51.4)},
    "ProtoNet": {"tox21": (75.0, 65.6), "sider": (64.5, 57.5)},
    "MAML": {"tox21": (80.2, 75.7), "sider": (70.4, 67.8)},
    "Meta-MGNN": {"tox21": (83.0, 82.1), "sider": (75.4, 73.4)},
    "PAR": {"tox21": (84.9, 83.0), "sider": (78.1, 74.5)},
    "PG-DERN": {"tox21": (85.3, 84.1), "sider": (79.6, 77.7)},
}
"""Areas under the ROC curve as printed in the papers, in percent, 10-shot and 1-shot."""
Found = dict[str, dict[str, dict]]
"""What was written: by data, then by method in the order of the tables."""


def found(folder: Path) -> Found:
    """What was written.

    Raises:
        FileNotFoundError: Nothing was.
        ValueError: Methods that were not tested on the same tasks.
    """
    paths = {data: {name: folder / f"drugs-{data}-{name}.json" for name in METHODS} for data in DATA}
    every = {
        data: {name: json.loads(path.read_text()) for name, path in some.items() if path.exists()}
        for data, some in paths.items()
    }
    every = {data: abouts for data, abouts in every.items() if abouts}
    if not every:
        raise FileNotFoundError(f"no result in {folder}; run python benchmarks/drugs.py run first.")
    for data, abouts in every.items():
        hashes = {tuple(tests["hash"] for tests in about["tests"].values()) for about in abouts.values()}
        if len(hashes) > 1:
            raise ValueError(f"methods in {folder} were tested on different tasks of {data}; run them all anew.")
    return every


def scores(about: dict, setting: str, kind: str) -> torch.Tensor:
    """Of all tests of a setting, in hundredths."""
    values = torch.tensor(about["tests"][setting][kind])
    return 100 * values[~values.isnan()]


def short(name: str) -> str:
    return METHODS[name].title.split(" (")[0]


def told(about: dict, setting: str, kind: str) -> str:
    return qs.interval(scores(about, setting, kind)).plain(1) if setting in about["tests"] else "-"


def gap(about: dict, other: dict, setting: str, kind: str) -> str:
    """A paired difference; in bold beyond its interval, unless it is printed as zero."""
    if about is other or setting not in about["tests"]:
        return "-"
    difference = qs.interval(scores(about, setting, kind) - scores(other, setting, kind))
    bold = "**" if abs(difference.mean) > max(difference.half_width, 0.05) else ""
    return f"{bold}{difference.mean:+.1f} ± {difference.half_width:.1f}{bold}"


def rows(every: Found) -> list[tuple[str, list[dict | None]]]:
    """Each method, and what was found of it on each data."""
    names = [name for name in METHODS if any(name in abouts for abouts in every.values())]
    return [(name, [abouts.get(name) for abouts in every.values()]) for name in names]


def literature(every: Found) -> str:
    """Areas under the ROC curve, 10-shot and 1-shot, and the published ones under them."""
    head = ["family", "method", *(f"{DATA[data]}, {few}" for data in every for few in FEW)]
    ours = [
        [METHODS[name].family, METHODS[name].title]
        + [told(about, few, "auc") if about else "-" for about in abouts for few in FEW]
        for name, abouts in rows(every)
    ]
    theirs = [
        ["published", title, *(f"{value:.1f}" if value else "-" for data in every for value in of.get(data, (0, 0)))]
        for title, of in PUBLISHED.items()
    ]
    return grid(head, ours + theirs)


def sizes(abouts: dict[str, dict], kind: str) -> str:
    return grid(
        ["family", "method", *SIZES],
        [
            [METHODS[name].family, METHODS[name].title, *(told(about, size, kind) for size in SIZES)]
            for name, about in abouts.items()
        ],
    )


def opponents(abouts: dict[str, dict], setting: str, kind: str) -> list[str]:
    """What others are compared with: the forest, the best of the classical methods, and transfer learning."""
    classical = [name for name in abouts if METHODS[name].family == "classical"]
    best = max(classical, key=lambda name: scores(abouts[name], setting, kind).mean().item(), default=FOREST)
    return [name for name in dict.fromkeys((FOREST, best, TRANSFER, TOLD_NOTHING)) if name in abouts]


def gaps(abouts: dict[str, dict], settings: Sequence[str], kind: str) -> str:
    """Paired differences from the baselines, on the same tasks."""
    pairs = [(setting, other) for setting in settings for other in opponents(abouts, setting, kind)]
    lines = [
        [METHODS[name].title, *(gap(about, abouts[other], setting, kind) for setting, other in pairs)]
        for name, about in abouts.items()
    ]
    return grid(["method", *(f"{setting}: minus {short(other).lower()}" for setting, other in pairs)], lines)


def by_assay(abouts: dict[str, dict], setting: str = FEW[0], kind: str = "auc") -> str:
    """Paired differences from transfer learning in each assay, and their mean with an interval over assays."""
    if TRANSFER not in abouts:
        return ""
    names = abouts[TRANSFER]["test"]
    lines = []
    for name, about in abouts.items():
        if name != TRANSFER:
            mine, theirs = (torch.tensor(one["tests"][setting][kind]) for one in (about, abouts[TRANSFER]))
            each = 100 * (mine - theirs).view(len(names), -1)
            over = qs.interval(each.flatten(), torch.arange(len(names)).repeat_interleave(each.shape[1]))
            means = [f"{mean:+.1f}" for mean in each.mean(1).tolist()]
            lines.append([METHODS[name].title, *means, f"{over.mean:+.1f} ± {over.half_width:.1f}"])
    return grid(["method", *names, "over assays"], lines)


def costs(every: Found) -> str:
    """Of the first data: nats, calibration and what it took."""
    data = next(iter(every))
    head = [
        "method",
        "nats, 64",
        "calibration error, 64",
        "steps x tasks",
        "parameters",
        "training, CPU s",
        "adapt, ms",
    ]
    lines = []
    for name, about in every[data].items():
        tests = about["tests"].get("64") or next(iter(about["tests"].values()))
        nats = qs.interval(torch.tensor(tests["log_likelihood"])).plain()
        steps = f"{about['steps']} x {about['batch']}" if about["steps"] else "-"
        seconds = f"{about['training_seconds']:.0f}", f"{tests['adapt_ms']:.1f}" if tests["adapt_ms"] > 0.05 else "-"
        error = f"{tests['calibration_error']:.3f}"
        lines.append([METHODS[name].title, nats, error, steps, f"{about['parameters']:,}", *seconds])
    return grid(head, lines)


def setting(every: Found) -> str:
    lines = []
    for data, abouts in every.items():
        about = next(iter(abouts.values()))
        tests = ", ".join(
            f"{name} {len(one['auc'])} (SHA-256 {one['hash'][:8]})" for name, one in about["tests"].items()
        )
        lines.append(
            f"- **{DATA[data]}**: {about['molecules']:,} molecules; {len(about['train'])} assays to train on, tested "
            f"on {', '.join(about['test'])}. Tests by setting: {tests}. Seed {about['seed']}, "
            f"{machines(abouts.values())}, one thread, PyTorch {about['torch']}."
        )
    return "\n".join(lines)


def drawn(every: Found, path: Path) -> None:
    """The molecules of the example, with what was told or answered of each."""
    from matplotlib import pyplot as plt
    from matplotlib.axes import Axes
    from PIL import Image
    from rdkit.Chem import MolFromSmiles
    from rdkit.Chem.Draw import rdMolDraw2D

    def picture(smiles: str) -> Image.Image:
        draw = rdMolDraw2D.MolDraw2DCairo(460, 320)
        rdMolDraw2D.PrepareAndDrawMolecule(draw, MolFromSmiles(smiles))
        draw.FinishDrawing()
        return Image.open(io.BytesIO(draw.GetDrawingText()))

    abouts = next(iter(every.values()))
    shown = {short(name): abouts[name]["example"] for name in SHOWN if name in abouts}
    first = next(iter(shown.values()))
    told = sorted(first["told"], key=lambda row: -row[1])

    def named(axis: Axes, how: str, active: int) -> None:
        axis.set_title(f"{how}: {KINDS[active]}", fontsize=10, color=("#7a7a7a", "#1f6f43")[active])

    figure, axes = plt.subplots(3, 4, figsize=(11, 8.8), layout="constrained")
    actives = sum(row[1] for row in told)
    for axis, (smiles, active) in zip(axes[0], [*told[: min(actives, 3)], *told[actives:]], strict=False):
        axis.imshow(picture(smiles))
        named(axis, "told", active)
    for place, (axis, (smiles, active, _)) in enumerate(zip(axes[1:].flat, first["asked"], strict=False)):
        axis.imshow(picture(smiles))
        answers = "\n".join(f"{title[:38]}: {one['asked'][place][2]:.0%}" for title, one in shown.items())
        named(axis, "asked; truly", active)
        axis.set_xlabel(answers, fontsize=7.5)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
        for side in axis.spines.values():
            side.set_color("#dddddd")
    figure.suptitle(f"{first['assay']}: {len(told)} compounds were measured, {actives} of them active", fontsize=12)
    figure.savefig(path, dpi=90, metadata={"Software": None})
    plt.close(figure)


def curves(every: Found, path: Path) -> None:
    """The area against the number of compounds."""
    from matplotlib import pyplot as plt

    whole = {data: abouts for data, abouts in every.items() if not data.endswith("-apart")}
    figure, axes = plt.subplots(1, len(whole), figsize=(5.2 * len(whole), 3.8), layout="constrained", squeeze=False)
    labelled = {}
    for axis, (data, abouts) in zip(axes[0], whole.items(), strict=True):
        for place, name in enumerate(CURVES):
            if name not in abouts:
                continue
            known = [size for size in SIZES if size in abouts[name]["tests"]]
            means = [scores(abouts[name], size, "auc").mean().item() for size in known]
            style = {"classical": "--", "transfer": ":"}.get(METHODS[name].family, "-")
            at = [int(size) for size in known]
            (labelled[short(name)],) = axis.plot(at, means, style, color=f"C{place}", marker="o", markersize=3)
        axis.set(xscale="log", xlabel="compounds measured", ylabel="area under the ROC curve, %", title=DATA[data])
        axis.set_xticks([int(size) for size in SIZES], SIZES)
        axis.minorticks_off()
    figure.legend([*labelled.values()], [*labelled], fontsize=7, frameon=False, loc="outside right center")
    figure.savefig(path, dpi=90, metadata={"Software": None})
    plt.close(figure)


def write(folder: Path, page: Path = PAGE, images: Path = IMAGES) -> None:
    """Puts everything into its places of the page, between two comments with its name.

    Raises:
        ValueError: A page without such a place.
    """
    every = found(folder)
    parts = {part.__name__: part(every) for part in (setting, literature, costs)}
    for data, abouts in every.items():
        parts[f"{data}-differences"] = gaps(abouts, FEW, "auc")
        parts[f"{data}-assays"] = by_assay(abouts)
        parts[f"{data}-few-precision"] = gaps(abouts, FEW, DELTA)
        if all(set(SIZES) <= set(about["tests"]) for about in abouts.values()):
            parts |= {f"{data}-areas": sizes(abouts, "auc"), f"{data}-precision": sizes(abouts, DELTA)}
            parts[f"{data}-gaps"] = gaps(abouts, ("16", "64"), DELTA)
    images.mkdir(parents=True, exist_ok=True)
    drawn(every, images / "drugs.png")
    curves(every, images / "drugs-sizes.png")
    fill(page, parts)

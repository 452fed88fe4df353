"""A task of each clinic, learned from five pictures of a class and answered: what is right, how sure, and what else."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

import quickstudy as qs

WAYS, SHOTS, ASKED, SEED = 3, 5, 2, 0


def pictures(data: qs.LabelledData, rows: torch.Tensor) -> list[np.ndarray]:
    return [one.permute(1, 2, 0).contiguous().numpy() for one in data.x.index_select(0, rows)]


def draw(clinics: Mapping[str, qs.LabelledData], path: Path) -> list[dict]:
    """For each clinic its support set, a row for each class, and queries of other patients with their answers.

    Returns:
        Of each query its clinic, its class, and the probability of each class.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    columns = SHOTS + 1 + 2 * ASKED
    figure, axes = plt.subplots(WAYS * len(clinics), columns, figsize=(1.5 * columns, 1.7 * WAYS * len(clinics)))
    for axis in axes.flat:
        axis.axis("off")
    told = []
    for block, data in enumerate(clinics.values()):
        classes, rows = qs.FewShot(data, WAYS, SHOTS, ASKED, apart=True).draw(1, torch.Generator().manual_seed(SEED))
        names = [data.classes[c] for c in classes[0].tolist()]
        shown, asked = rows[0, :, :SHOTS], rows[0, :, SHOTS:]
        few = qs.FewShotClassifier("images").fit(pictures(data, shown.flatten()), np.repeat(names, SHOTS))
        answers = few.predict_proba(pictures(data, asked.flatten()))
        for way, name in enumerate(names):
            line = axes[block * WAYS + way]
            for axis, picture in zip(line, pictures(data, shown[way]), strict=False):
                axis.imshow(picture)
            line[0].set_title(f"{data.name.split(',')[0]}: {name.replace('_', ' ')}", loc="left", fontsize=8)
            for n, picture in enumerate(pictures(data, asked[way])):
                probabilities = dict(zip(few.classes_, answers[way * ASKED + n].tolist(), strict=True))
                told.append({"clinic": data.name.split(",")[0], "class": name, "probabilities": probabilities})
                image, bars = line[SHOTS + 1 + 2 * n : SHOTS + 3 + 2 * n]
                image.imshow(picture)
                bars.axis("on")
                colours = ["tab:green" if one == name else "tab:grey" for one in names]
                bars.barh(range(WAYS), [probabilities[one] for one in names], color=colours)
                bars.set(xlim=(0, 1), xticks=[0, 1], ylim=(WAYS - 0.4, -0.6))
                bars.set_yticks(range(WAYS), [one.split("_")[-1] for one in names], fontsize=6)
                bars.tick_params(labelsize=6)
        axes[block * WAYS][SHOTS + 1].set_title("asked about", loc="left", fontsize=8)
    figure.tight_layout(pad=0.3)
    figure.savefig(path, dpi=100)
    plt.close(figure)
    return told

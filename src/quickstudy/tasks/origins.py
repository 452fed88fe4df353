"""Support and query examples of different origins: a patient who is learned from is not asked about."""

import torch
from jaxtyping import Int
from torch import Tensor

from quickstudy.data.labelled import LabelledData

TRIES = 1000
"""How often the origins of a task are dealt anew before it is given up."""


def draw_apart(
    data: LabelledData, classes: Int[Tensor, "task way"], shots: int, queries: int, generator: torch.Generator
) -> Int[Tensor, "task way example"]:
    """Rows of so many support and then query examples of each class; no origin of a task has both.

    A coin for each origin of a task says on which side it is; tasks in which a class has too few examples on a side
    toss again.

    Raises:
        ValueError: Data without origins, or a class that cannot be divided so.
    """
    if data.origins is None:
        raise ValueError(f"{data.name} does not tell the origins of its examples; pass origins=, or leave apart out.")
    rows = data.table[classes]  # [T, W, M]
    exists = torch.arange(rows.shape[2]) < data.counts[classes][..., None]
    origins = data.origins[rows]
    asked = torch.zeros_like(exists)
    left = torch.arange(len(classes))
    for _ in range(TRIES):
        coins = torch.rand(len(left), int(data.origins.max()) + 1, generator=generator) < 0.5
        asked[left] = coins.gather(1, origins[left].flatten(1)).view(len(left), *origins.shape[1:])
        fits = ((exists & ~asked).sum(-1) >= shots) & ((exists & asked).sum(-1) >= queries)  # [T, W]
        left = left[~fits[left].all(1)]
        if not len(left):
            break
    else:
        worst = classes[left[0]][~fits[left[0]]][0]
        mine = data.origins[data.y == worst].unique()
        raise ValueError(
            f"{data.name}: the {len(mine)} origins of class {data.classes[int(worst)]!r} cannot be divided into "
            f"{shots} support and {queries} query examples. Lower shots or queries, or leave the class out."
        )
    keys = torch.rand(rows.shape, generator=generator)
    chosen = [keys.where(exists & side, -1).topk(count).indices for side, count in ((~asked, shots), (asked, queries))]
    return rows.gather(2, torch.cat(chosen, 2))

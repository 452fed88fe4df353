"""Labelled pictures of the Hugging Face hub, by the name of the dataset. https://huggingface.co/docs/datasets"""

from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Any, NamedTuple

from jaxtyping import UInt8
from torch import Tensor

from quickstudy.data.files import read_image


class HubSplit(NamedTuple):
    """One split of a dataset of the hub.

    Args:
        name: What to call it in an error.
        labels: The class of each picture, by name, or by number where the classes have no names.
        rows: The `datasets.Dataset`, its pictures undecoded.
        column: The column of pictures.
    """

    name: str
    labels: list[str] | list[int]
    rows: Any
    column: str

    def pictures(self, chosen: Sequence[int], size: int) -> Iterator[UInt8[Tensor, "3 {size} {size}"]]:
        """The pictures of some rows, in colour, decoded one at a time."""
        for i in chosen:
            picture = self.rows[i][self.column]
            yield read_image(picture["bytes"] or picture["path"], f"picture {i} of {self.name}", size, "RGB")


def hub_splits(name: str) -> dict[str, HubSplit]:
    """The splits of a dataset, downloaded by Hugging Face's library into its own cache.

    Raises:
        ImportError: The library is not installed.
        OSError, ValueError: The library's own, where there is no such dataset, or no network.
        ValueError: A split without a column of pictures, or without one of labels, or with pictures that have none.
    """
    try:
        datasets = import_module("datasets")
    except ImportError:
        raise ImportError("data of the Hugging Face hub need its library: pip install 'quickstudy[hub]'.") from None
    found = {}
    for split, table in datasets.load_dataset(name).items():
        kinds = table.features
        pictures = [column for column, kind in kinds.items() if isinstance(kind, datasets.Image)]
        named = [column for column, kind in kinds.items() if isinstance(kind, datasets.ClassLabel)]
        labels = named or [column for column in ("label", "labels") if column in kinds]
        if not pictures or not labels:
            raise ValueError(
                f"{name} {split} has columns {', '.join(kinds)}; needed one of pictures, and one of labels."
            )
        y, rows = list(table[labels[0]]), table.cast_column(pictures[0], datasets.Image(decode=False))
        if named:
            if min(y, default=0) < 0:
                raise ValueError(f"{name} {split} has pictures without a label; drop that split, or those rows.")
            y = [kinds[named[0]].names[label] for label in y]
        found[split] = HubSplit(f"{name} {split}", y, rows, pictures[0])
    return found

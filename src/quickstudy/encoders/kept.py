"""Embeddings that are kept by the content of what was embedded, and so computed once."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor


class Kept:
    """Embeds items, each once; what was used longest ago is forgotten first.

    Args:
        embed: From some items to their embeddings, [item, d].
        at_once: The most items that it is given together.
        most: The most embeddings to keep, in memory.
    """

    def __init__(
        self, embed: Callable[[Sequence[Any]], Float[Tensor, "item *d"]], at_once: int = 32, most: int = 20_000
    ):
        self.embed, self.at_once, self.most = embed, at_once, most
        self.known: OrderedDict[bytes, Tensor] = OrderedDict()

    def __call__(self, items: Sequence[Any], keys: Sequence[bytes]) -> Float[Tensor, "item *d"]:
        """The embeddings of items, whose contents have these keys."""
        first: dict[bytes, Any] = {}
        for key, item in zip(keys, items, strict=True):
            first.setdefault(key, item)
        new = [key for key in first if key not in self.known]
        found = {key: self.known[key] for key in first if key in self.known}
        for start in range(0, len(new), self.at_once):
            some = new[start : start + self.at_once]
            with torch.no_grad():
                found |= zip(some, self.embed([first[key] for key in some]), strict=True)
        self.known |= found
        for key in found:
            self.known.move_to_end(key)
        while len(self.known) > self.most:
            self.known.popitem(last=False)
        return torch.stack([found[key] for key in keys])

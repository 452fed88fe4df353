"""Pictures as vectors: files, opened pictures or arrays, shown to a pre-trained network."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from quickstudy.data.files import read_image
from quickstudy.encoders.kept import Kept
from quickstudy.encoders.pretrained import OFFLINE, PretrainedPictures


class PictureEncoder:
    """Embeddings of a pre-trained network, which stays as it is.

    Args:
        name, weights: See `PretrainedPictures`.
    """

    def __init__(self, name: str = OFFLINE, *, weights: str | Path | None = None):
        self.network = PretrainedPictures(name, weights=weights).eval()
        self.network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.kept = Kept(self._embed)

    def __call__(self, pictures: Sequence[Any]) -> Float[Tensor, "picture d"]:
        """Embeddings of pictures, each a path, a PIL picture or an array of bytes [height, width] or [h, w, 3].

        Raises:
            ValueError: No picture, a broken one, or one of too many pixels.
        """
        pixels = [read_image(one, called(one, place), self.network.size, "RGB") for place, one in enumerate(pictures)]
        return self.kept(pixels, [hashlib.sha256(one.numpy().tobytes()).digest() for one in pixels])

    def _embed(self, pixels: Sequence[Tensor]) -> Float[Tensor, "picture d"]:
        return self.network(torch.stack(list(pixels)).float().div_(255).contiguous(memory_format=torch.channels_last))


def called(picture: Any, place: int) -> str:
    """What to call a picture in an error, the first being 1."""
    return str(picture) if isinstance(picture, (str, Path)) else f"picture {place + 1}"

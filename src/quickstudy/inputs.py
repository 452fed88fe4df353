"""How a user's own items become the tensors that a learner takes: rows, arrays, pictures, texts, molecules."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from quickstudy.data.files import read_image
from quickstudy.encoders.molecules import MoleculeEncoder
from quickstudy.encoders.pictures import PictureEncoder, called
from quickstudy.encoders.table import TableEncoder
from quickstudy.encoders.texts import TextEncoder

Kind = Literal["rows", "arrays", "pictures", "texts", "molecules"]
Encode = Callable[[Any], Shaped[Tensor, "item *x"]]
"""From a user's items to the tensors that a learner takes."""


@runtime_checkable
class Inputs(Protocol):
    """How items of one kind become tensors."""

    @property
    def kind(self) -> Kind:
        """What items are: rows with the same columns, arrays of one shape, or a list of anything else."""
        ...

    def fit(self, items: Any) -> Encode:
        """What encodes items as this task's support set has them."""
        ...

    def about(self, encode: Any) -> dict[str, Any]:
        """What was fitted, as JSON can hold it."""
        ...

    def of(self, about: Mapping[str, Any]) -> Encode:
        """What was fitted, from its description."""
        ...


class Rows:
    """Rows of tables, of numbers and categories, some of them missing; see `TableEncoder`."""

    kind: Kind = "rows"

    def fit(self, items: np.ndarray) -> TableEncoder:
        return TableEncoder.fit(items)

    def about(self, encode: TableEncoder) -> dict[str, Any]:
        return encode.about()

    def of(self, about: Mapping[str, Any]) -> TableEncoder:
        return TableEncoder.of(about)


class Fixed:
    """Items that are encoded in the same way in every task.

    Args:
        kind: What they are.
        opened: Opens what encodes them, when that is first needed: an encoder's weights may be large.
    """

    def __init__(self, kind: Kind, opened: Callable[[], Encode]):
        self.kind: Kind = kind
        self.opened = opened

    @cached_property
    def encode(self) -> Encode:
        return self.opened()

    def fit(self, items: Any) -> Encode:
        return self.encode

    def about(self, encode: Encode) -> dict[str, Any]:
        return {}

    def of(self, about: Mapping[str, Any]) -> Encode:
        return self.encode


def encode_array(items: np.ndarray) -> Shaped[Tensor, "item *x"]:
    return torch.as_tensor(np.asarray(items), dtype=torch.float32)


def array_encoder() -> Encode:
    return encode_array


class Pixels:
    """Pictures as a network sees them that was trained from scratch: a square of pixels, in [0, 1].

    Args:
        channels: 3 for colour, 1 for grey.
        size: Height and width in pixels.
    """

    def __init__(self, channels: int, size: int):
        self.channels, self.size = channels, size

    def __call__(self, pictures: Sequence[Any]) -> Float[Tensor, "picture channel height width"]:
        """Pixels of pictures, each a path, a PIL picture or an array of bytes; arrays of floats are taken as they are.

        Raises:
            ValueError: No picture, or an array of floats of another shape.
        """
        return torch.stack([self._one(picture, place) for place, picture in enumerate(pictures)])

    def _one(self, picture: Any, place: int) -> Tensor:
        if isinstance(picture, np.ndarray) and picture.dtype.kind == "f":
            needed = (self.channels, self.size, self.size)
            if picture.shape != needed:
                raise ValueError(
                    f"picture {place + 1} is an array of shape {picture.shape}; this learner takes {needed}."
                )
            return torch.from_numpy(picture).float()
        return (
            read_image(picture, called(picture, place), self.size, "RGB" if self.channels == 3 else "L").float() / 255
        )


class Drawings:
    """Handwriting as Omniglot has it: one channel of 28 x 28 pixels, ink at 1 on paper at 0.

    What is dark on light, as on paper, is turned around; the rim of a picture tells.
    """

    size = 28

    def __call__(self, pictures: Sequence[Any]) -> Float[Tensor, "picture 1 28 28"]:
        """Drawings of pictures, each a path, a PIL picture or an array of bytes."""
        read = [read_image(one, called(one, place), self.size) for place, one in enumerate(pictures)]
        x = torch.stack(read).float() / 255
        rim = torch.ones(self.size, self.size, dtype=torch.bool)
        rim[1:-1, 1:-1] = False
        light = x[:, 0, rim].median(1).values > 0.5
        return torch.where(light[:, None, None, None], 1 - x, x)


ARRAYS = Fixed("arrays", array_encoder)
"""Arrays that are what the learner was trained on already, such as images as floats in [0, 1]."""
PICTURES = Fixed("pictures", PictureEncoder)
TEXTS = Fixed("texts", TextEncoder)
MOLECULES = Fixed("molecules", MoleculeEncoder)
DRAWINGS = Fixed("pictures", Drawings)


def pixels(channels: int, size: int) -> Fixed:
    """Pictures of so many channels and pixels."""
    return Fixed("pictures", partial(Pixels, channels, size))

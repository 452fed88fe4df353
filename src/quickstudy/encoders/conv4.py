"""The four-block convolutional encoder of few-shot learning (Vinyals et al., 2016, section 4.1.1).

https://arxiv.org/abs/1606.04080
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Literal

from torch import nn

from quickstudy.encoders.first_block import FirstBlock
from quickstudy.encoders.norm import Norm, normalisation


class Conv4(nn.Sequential):
    """Four 3x3 convolutions, each normalised, rectified and halved in size.

    Args:
        in_channels: 1 for greyscale, 3 for colour.
        width: Channels of every block.
        image_size: Height and width of the square images, in pixels.
        downsample: "pool" halves by max-pooling and flattens, as matching and prototypical networks do; "stride"
            halves by strided convolutions and averages over what is left of the image, as MAML does for Omniglot
            (about a third of the work).
        norm: See `quickstudy.encoders.norm`.

    Example:
        >>> Conv4(in_channels=3, image_size=84).out_features
        1600
    """

    def __init__(
        self,
        in_channels: int = 1,
        width: int = 64,
        *,
        image_size: int = 28,
        downsample: Literal["pool", "stride"] = "pool",
        norm: Norm = "running",
    ):
        if downsample not in ("pool", "stride"):
            raise ValueError(f"downsample is 'pool' or 'stride', not {downsample!r}.")
        if image_size < 16:
            raise ValueError(f"four halvings need images of at least 16 pixels; image_size is {image_size}.")
        block = pooled_block if downsample == "pool" else strided_block
        first = FirstBlock(*block(in_channels, width, normalisation(norm)))
        blocks = nn.Sequential(first, *(block(width, width, normalisation(norm)) for _ in range(3)))
        out = nn.Flatten() if downsample == "pool" else nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        super().__init__(OrderedDict(blocks=blocks, out=out))
        self.image_size, self.in_channels = image_size, in_channels
        self.out_features = width * (image_size // 16) ** 2 if downsample == "pool" else width


def pooled_block(in_channels: int, width: int, norm: Callable[[int], nn.Module]) -> nn.Sequential:
    # the maximum is taken before the rectifier: the same numbers, on a quarter of the values
    return nn.Sequential(nn.Conv2d(in_channels, width, 3, padding=1), norm(width), nn.MaxPool2d(2), nn.ReLU())


def strided_block(in_channels: int, width: int, norm: Callable[[int], nn.Module]) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(in_channels, width, 3, stride=2, padding=1), norm(width), nn.ReLU())

"""The 12-layer residual encoder of few-shot learning (Oreshkin et al., 2018; Lee et al., 2019, section 4.1).

https://arxiv.org/abs/1805.10123, https://arxiv.org/abs/1904.03758
"""

import itertools

from jaxtyping import Float
from torch import Tensor, nn

from quickstudy.encoders.norm import Norm, normalisation


class ResidualBlock(nn.Module):
    """Three 3x3 convolutions beside a 1x1 shortcut, rectified and halved in size."""

    def __init__(self, in_channels: int, width: int, norm: Norm):
        super().__init__()
        layer = normalisation(norm)
        channels = (in_channels, width, width, width)
        convolutions = []
        for n_in, n_out in itertools.pairwise(channels):
            convolutions += [nn.Conv2d(n_in, n_out, 3, padding=1, bias=False), layer(n_out), nn.LeakyReLU(0.1)]
        self.body = nn.Sequential(*convolutions[:-1])
        self.shortcut = nn.Sequential(nn.Conv2d(in_channels, width, 1, bias=False), layer(width))
        self.out = nn.Sequential(nn.LeakyReLU(0.1), nn.MaxPool2d(2))

    def forward(self, x: Float[Tensor, "example channel height width"]) -> Float[Tensor, "example d h w"]:
        return self.out(self.body(x) + self.shortcut(x))


class ResNet12(nn.Module):
    """Four residual blocks and a global average; without the papers' DropBlock.

    Args:
        in_channels: 1 for greyscale, 3 for colour.
        widths: Channels of each block; embeddings have the last.
        norm: See `quickstudy.encoders.norm`.

    Example:
        >>> ResNet12().out_features
        640
    """

    def __init__(self, in_channels: int = 3, widths: tuple[int, ...] = (64, 160, 320, 640), *, norm: Norm = "running"):
        super().__init__()
        channels = (in_channels, *widths)
        self.blocks = nn.Sequential(*(ResidualBlock(a, b, norm) for a, b in itertools.pairwise(channels)))
        self.out = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.out_features = widths[-1]

    def forward(self, x: Float[Tensor, "example channel height width"]) -> Float[Tensor, "example d"]:
        return self.out(self.blocks(x))

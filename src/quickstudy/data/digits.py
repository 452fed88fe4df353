"""Real handwritten digits: the 1,797 that scikit-learn brings, of 43 writers (Alpaydin & Kaynak, 1998).

https://archive.ics.uci.edu/dataset/80
"""

import torch
from sklearn.datasets import load_digits

from quickstudy.data.labelled import LabelledData


def digits(size: int = 28) -> LabelledData:
    """The ten digits as classes that no generated character has shown: ink bright on black, enlarged from 8x8.

    Args:
        size: Height and width, in pixels.
    """
    bunch = load_digits()
    pixels = torch.from_numpy(bunch.images).float()[:, None] / 16  # pyright: ignore[reportAttributeAccessIssue]
    large = torch.nn.functional.interpolate(pixels, (size, size), mode="bicubic").clamp(0, 1)
    labels = torch.from_numpy(bunch.target).long()  # pyright: ignore[reportAttributeAccessIssue]
    return LabelledData("digits", (255 * large).round().byte(), labels, tuple(str(digit) for digit in range(10)))

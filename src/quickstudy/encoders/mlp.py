"""The multilayer perceptron."""

import itertools

from torch import nn


class MLP(nn.Sequential):
    """Linear layers with rectifiers between them, over the flattened example.

    Args:
        sizes: The length of the input, of each hidden layer, and of the output.

    Example:
        >>> MLP(1, 40, 40, 1).out_features
        1
    """

    def __init__(self, *sizes: int):
        if len(sizes) < 2:
            raise ValueError(f"an MLP needs the length of its input and of its output; got {sizes}.")
        layers: list[nn.Module] = [nn.Flatten()]
        for n_in, n_out in itertools.pairwise(sizes):
            layers += [nn.Linear(n_in, n_out), nn.ReLU()]
        super().__init__(*layers[:-1])
        self.out_features = sizes[-1]

"""Embeddings seen against a background: what other classes have in common is taken out of them."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import normalize


class Background(nn.Module):
    """Embeddings less their mean over many classes, at length 1, with the directions shrunk in which classes are wide.

    The mean and the directions are those of classes to train on: `fit` finds them. By how much each direction is
    shrunk is learned; in the beginning by nothing.

    Args:
        features: The length of an embedding.
        directions: Their number.
        roots: Whether embeddings have no negative numbers and are replaced by their roots, so that few large ones do
            not outweigh all others.
    """

    mean: Tensor
    directions: Tensor

    def __init__(self, features: int, directions: int = 0, *, roots: bool = False):
        super().__init__()
        self.roots, self.out_features = roots, features
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("directions", torch.zeros(features, directions))
        self.log_scale = nn.Parameter(torch.zeros(directions))

    def fit(self, x: Float[Tensor, "example d"], y: Int[Tensor, " example"]) -> None:
        """Takes the mean from examples, and the directions in which they differ most from others of their class."""
        x = x.clamp(min=0).sqrt() if self.roots else x
        self.mean.copy_(x.mean(0))
        z = normalize(x - self.mean, dim=-1)
        within = torch.cat([z[y == c] - z[y == c].mean(0) for c in y.unique()])
        vectors = torch.linalg.eigh(within.double().mT @ within.double()).eigenvectors  # least variance first
        self.directions.copy_(vectors[:, vectors.shape[1] - self.directions.shape[1] :])

    def forward(self, x: Float[Tensor, "example d"]) -> Float[Tensor, "example d"]:
        z = normalize((x.clamp(min=0).sqrt() if self.roots else x) - self.mean, dim=-1)
        return z + (z @ self.directions) * (self.log_scale.exp() - 1) @ self.directions.mT


class MoleculeFeatures(nn.Module):
    """Of a molecule's vector, the roots of its fragments' counts at length 1, beside its descriptors standardised.

    How much each half weighs is learned; the descriptors' mean and scale are those of molecules to train on.

    Args:
        counts: How many numbers of the vector, the first, are counts.
        descriptors: How many follow.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, counts: int, descriptors: int):
        super().__init__()
        self.counts, self.out_features = counts, counts + descriptors
        self.register_buffer("mean", torch.zeros(descriptors))
        self.register_buffer("scale", torch.ones(descriptors))
        self.log_weight = nn.Parameter(torch.zeros(2))

    def fit(self, x: Float[Tensor, "example d"]) -> None:
        """Takes the descriptors' mean and scale from examples; one that never differs is divided by 1."""
        self.mean.copy_(x[:, self.counts :].mean(0))
        scale = x[:, self.counts :].std(0)
        self.scale.copy_(scale.where(scale > 0, 1))

    def forward(self, x: Float[Tensor, "example d"]) -> Float[Tensor, "example d"]:
        counts, told = x[:, : self.counts], x[:, self.counts :]
        far = ((told - self.mean) / self.scale).clamp(-5, 5) / told.shape[1] ** 0.5
        weights = self.log_weight.exp()
        return torch.cat([normalize(counts.sqrt(), dim=-1) * weights[0], far * weights[1]], -1)

"""Molecules as graphs of atoms and bonds, embedded by a network that passes messages along the bonds."""

import warnings
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from quickstudy.encoders.molecules import MoleculeEncoder, readable
from quickstudy.encoders.wrong_item import WrongItem


class MoleculeGraphs(nn.Module):
    """Embeddings of molecules, given by their numbers, by a graph isomorphism network with bonds (Hu et al., 2020).

    Each layer adds to an atom what its neighbours and the bonds to them say, `h = MLP((1 + eps) h + sum relu(h' + e))`
    (Hu et al., 2020, https://arxiv.org/abs/1905.12265, appendix A; Xu et al., 2019, eq. 4.1), of which the mean over
    atoms is taken. Layers are normalised by atom and never by batch, so that no molecule's embedding depends on others.
    Layers, atoms and bonds are those of PyTorch Geometric.

    Args:
        smiles: The molecules.
        d: Length of an embedding, and of what an atom carries.
        layers: How far, in bonds, an atom sees.

    Raises:
        ImportError: PyTorch Geometric or RDKit is not installed.
        ValueError: A molecule that RDKit does not read.

    Example:
        >>> encoder = MoleculeGraphs(["CCO", "c1ccccc1", "OCC"], d=8)
        >>> z = encoder(torch.tensor([0, 1, 2]))
        >>> z.shape, torch.allclose(z[0], z[2], atol=1e-6)     # the same molecule, written otherwise
        (torch.Size([3, 8]), True)
    """

    def __init__(self, smiles: Sequence[str], d: int = 64, layers: int = 3):
        super().__init__()
        MoleculeEncoder()  # tells what to install
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # at its import it calls what PyTorch deprecates
                from torch_geometric.nn import GINEConv
                from torch_geometric.utils.smiles import e_map, x_map
        except ImportError:
            raise ImportError("graphs need PyTorch Geometric: pip install 'quickstudy[graphs]'.") from None
        if len(found := readable(smiles)) < len(smiles):
            wrong = next(place for place in range(len(smiles)) if place not in set(found.tolist()))
            raise WrongItem(wrong, f"{smiles[wrong]!r} is no SMILES of a molecule. Leave it out, or mend it.")
        self.graphs = [graph(one) for one in smiles]
        self.atoms = nn.ModuleList(nn.Embedding(len(values), d) for values in x_map.values())
        self.bonds = nn.ModuleList(
            nn.ModuleList(nn.Embedding(len(values), d) for values in e_map.values()) for _ in range(layers)
        )
        self.layers = nn.ModuleList(
            GINEConv(nn.Sequential(nn.Linear(d, 2 * d), nn.ReLU(), nn.Linear(2 * d, d)), train_eps=True)
            for _ in range(layers)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(d) for _ in range(layers))
        self.out_features = d

    def forward(self, x: Int[Tensor, " molecule"]) -> Float[Tensor, "molecule d"]:
        """Embeddings of the molecules with these numbers."""
        from torch_geometric.data import Batch
        from torch_geometric.nn import global_mean_pool

        numbers, places = x.unique(return_inverse=True)  # each is embedded once
        batch: Any = Batch.from_data_list([self.graphs[number] for number in numbers.tolist()])
        batch = batch.to(x.device)
        h = embedded(self.atoms, batch.x)
        for layer, norm, bonds in zip(self.layers, self.norms, self.bonds, strict=True):
            h = h + norm(layer(h, batch.edge_index, embedded(bonds, batch.edge_attr))).relu()
        return global_mean_pool(h, batch.batch, size=len(numbers))[places]


@lru_cache(maxsize=100_000)
def graph(smiles: str) -> Any:
    """The atoms and bonds of a molecule, for all encoders that are built of it."""
    from torch_geometric.utils import from_smiles

    return from_smiles(smiles)


def embedded(embeddings: Any, codes: Int[Tensor, "row code"]) -> Float[Tensor, "row d"]:
    """The sum of what each code's embedding says."""
    return torch.stack([embed(code) for embed, code in zip(embeddings, codes.unbind(1), strict=True)]).sum(0)

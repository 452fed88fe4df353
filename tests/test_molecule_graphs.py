"""Molecules as graphs."""

import sys

import pytest
import torch

import quickstudy as qs
from quickstudy.encoders.molecule_graphs import MoleculeGraphs

SMILES = ["CCO", "c1ccccc1", "OCC", "[Na+].[Cl-]", "C", "C/C=C/C", "C/C=C\\C"]


@pytest.fixture(scope="module")
def encoder() -> MoleculeGraphs:
    torch.manual_seed(0)
    return MoleculeGraphs(SMILES, d=8, layers=2).double()


def test_an_embedding_does_not_depend_on_how_a_molecule_is_written_nor_on_the_others(encoder):
    z = encoder(torch.arange(len(SMILES)))
    torch.testing.assert_close(z[0], z[2])
    assert not torch.allclose(z[0], z[1])
    assert not torch.allclose(z[5], z[6])  # the other side of the double bond
    for number in range(len(SMILES)):
        torch.testing.assert_close(encoder(torch.tensor([number, 1, number]))[[0, 2]], z[[number, number]])


def test_messages_pass_along_bonds_as_in_the_paper(encoder):
    graph = encoder.graphs[5]
    h = torch.stack([sum(embed(code) for embed, code in zip(encoder.atoms, row, strict=True)) for row in graph.x])
    for layer, norm, bonds in zip(encoder.layers, encoder.norms, encoder.bonds, strict=True):
        told = (1 + layer.eps) * h
        for (start, end), codes in zip(graph.edge_index.T.tolist(), graph.edge_attr, strict=True):
            e = sum(embed(code) for embed, code in zip(bonds, codes, strict=True))
            told = told.index_add(0, torch.tensor([end]), (h[start] + e).relu()[None])
        h = h + norm(layer.nn(told)).relu()
    torch.testing.assert_close(encoder(torch.tensor([5]))[0], h.mean(0))


def test_metric_and_gradient_based_methods_learn_on_graphs():
    data = qs.LabelledData("kinds", torch.arange(12), torch.arange(12) % 2, ("alcohol", "acid"))
    smiles = [f"{'C' * (n // 2 + 1)}{'O' if n % 2 == 0 else 'C(=O)O'}" for n in range(12)]
    for build in (
        qs.PrototypicalNetwork,
        lambda encoder: qs.ANIL(encoder, torch.nn.Linear(8, 2), inner_lr=0.1, inner_steps=2),
    ):
        torch.manual_seed(0)
        learner, tasks = build(MoleculeGraphs(smiles, d=8, layers=2)), qs.FewShot(data, 2, 2, 2)
        optimizer = torch.optim.Adam(learner.parameters(), 0.01)
        losses = [step.loss for step in qs.train(learner, tasks, steps=20, batch=4, optimizer=optimizer)]
        assert losses[-1] < 0.7 * losses[0]


def test_what_is_no_molecule_is_told():
    with pytest.raises(ValueError, match=r"item 2: 'C1CC' is no SMILES of a molecule\. Leave it out, or mend it"):
        MoleculeGraphs(["CCO", "C1CC"])


def test_a_package_that_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_geometric.nn", None)
    with pytest.raises(ImportError, match=r"pip install 'quickstudy\[graphs\]'"):
        MoleculeGraphs(["CCO"])

"""The methods of benchmarks/drugs.py, all on the same vectors of molecules."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from drugs_baselines import Answer, Fitted, forest, neighbours, process
from jaxtyping import Float, Int
from noisy import noisy
from quicker import Table
from torch import Tensor, nn
from torch.distributions import Distribution

import quickstudy as qs
from quickstudy.contract import Episodes, Examples, valid
from quickstudy.encoders.background import MoleculeFeatures
from quickstudy.encoders.molecule_graphs import MoleculeGraphs
from quickstudy.encoders.molecules import BITS
from quickstudy.tensors import per_task

HIDDEN, D = 256, 64


class Molecules(NamedTuple):
    """What methods see of molecules.

    Args:
        vectors: Counts of fragments, and descriptors.
        features: The same on one scale, by what training molecules are like.
        assays: The number of training assays.
        smiles: As graphs see them.
    """

    vectors: Tensor
    features: Tensor
    assays: int
    smiles: Sequence[str]


class Setup(NamedTuple):
    """A method's row; what is set here was chosen on validation assays.

    Args:
        family: Where the catalogue has it.
        title: In tables.
        build: The learner for these molecules.
        lr: The first step size of AdamW, which falls to zero along a cosine; 0 where nothing is trained.
        share: Of the steps that others take.
    """

    family: str
    title: str
    build: Callable[[Molecules], qs.MetaLearner]
    lr: float = 1e-3
    share: float = 1.0


def seen(vectors: Tensor, molecules: Int[Tensor, " training"]) -> Tensor:
    """The features of all molecules, on the scale of the training ones."""
    scaled = MoleculeFeatures(BITS, vectors.shape[1] - BITS)
    scaled.fit(vectors[molecules])
    with torch.no_grad():
        return scaled(vectors)


class Encoder(nn.Sequential):
    """The network whose form all learners share."""

    def __init__(self, molecules: Molecules):
        table = Table(molecules.features)
        layers = nn.Linear(table.out_features, HIDDEN), nn.LayerNorm(HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, D)
        super().__init__(table, *layers)
        self.out_features = D


def head() -> nn.Sequential:
    return nn.Sequential(nn.ReLU(), nn.Linear(D, 2))


def pooled(encoder: nn.Module, steps: int, lr: float = 0.1) -> qs.ANIL:
    """One network that learns what is active in any assay; its head is then fine-tuned by so many steps."""
    return qs.ANIL(encoder, head(), inner_steps=0, inner_lr=lr, test_inner_steps=steps)


def graphs(molecules: Molecules) -> MoleculeGraphs:
    """Of atoms and bonds, in place of the vectors."""
    return MoleculeGraphs(molecules.smiles, D)


class OneOfEachAssay(qs.MetaLearner):
    """Pre-trained to tell active from inactive in every assay at once, by one output for each; then a linear probe.

    `LinearProbe` alone learns one class of many for each example; here a compound has a label in each assay, and an
    assay's two classes compete with each other alone.
    """

    embedding = "encoder"

    def __init__(self, probe: qs.LinearProbe):
        super().__init__()
        self.encoder, self.head, self.probe = probe.encoder, probe.head, probe

    def adapt(self, support: Examples) -> dict[str, Tensor]:
        return self.probe.adapt(support)

    def predict(self, memory: dict[str, Tensor], x: Tensor) -> Distribution:
        return self.probe.predict(memory, x)

    def loss(self, episodes: Episodes) -> Float[Tensor, ""]:
        nats = []
        for examples in (episodes.support, episodes.query):
            assert examples.classes is not None
            logits = self.head(per_task(self.encoder, examples.x)).unflatten(-1, (-1, 2)).log_softmax(-1).flatten(-2)
            told = -logits.gather(-1, examples.classes[..., None])[..., 0]
            nats.append(told.where(valid(examples), 0).sum(1) / valid(examples).sum(1))
        return torch.cat(nats).mean()


def classical(answer: Answer, fragments: bool) -> Callable[[Molecules], qs.MetaLearner]:
    """On which of 2,048 fragments a molecule has, or on its whole vector."""
    return lambda m: Fitted(answer, ((m.vectors[:, :BITS] > 0).float() if fragments else m.vectors).numpy())


def shipped(molecules: Molecules) -> qs.MetaLearner:
    """As it ships, on vectors that its own features are computed of."""
    learner = qs.load("molecules").learner.float()
    with torch.no_grad():
        learner.encoder = Table(learner.encoder(molecules.vectors))  # pyright: ignore[reportCallIssue]
    return learner.requires_grad_(False)


METHODS: dict[str, Setup] = {
    "forest": Setup("classical", "Random forest (scikit-learn)", classical(forest, False), 0),
    "neighbours": Setup("classical", "k nearest by Tanimoto (scikit-learn)", classical(neighbours, True), 0),
    "process": Setup("classical", "Gaussian process, Tanimoto (scikit-learn)", classical(process, True), 0),
    "logistic": Setup(
        "classical",
        "Logistic regression (scikit-learn)",
        lambda m: qs.LinearProbe(Table(m.features), classes=2).requires_grad_(False),
        0,
    ),
    "pooled": Setup("transfer", "Pre-trained, support unused", lambda m: pooled(Encoder(m), 0)),
    "fine-tune": Setup("transfer", "Pre-trained, head fine-tuned", lambda m: pooled(Encoder(m), 10, 0.02)),
    "multi-task": Setup(
        "transfer",
        "Pre-trained by assay, logistic regression",
        lambda m: OneOfEachAssay(qs.LinearProbe(Encoder(m), classes=2 * m.assays)),
    ),
    "protonet": Setup("metric", "Prototypical network", lambda m: qs.PrototypicalNetwork(Encoder(m))),
    "mahalanobis": Setup("metric", "Mahalanobis classifier", lambda m: qs.Mahalanobis(Encoder(m))),
    "r2d2": Setup("metric", "R2-D2", lambda m: qs.R2D2(Encoder(m), penalty=10.0, alpha=3.0)),
    "anil": Setup("optimization", "ANIL", lambda m: qs.ANIL(Encoder(m), head(), inner_steps=5, inner_lr=0.1)),
    "maml": Setup(
        "optimization",
        "MAML",
        lambda m: qs.MAML(nn.Sequential(Encoder(m), head()), inner_steps=2, inner_lr=0.05, first_order=True),
        share=0.5,
    ),
    "cnp": Setup("model-based", "Conditional neural process", lambda m: qs.NeuralProcess(Encoder(m))),
    "anp": Setup("model-based", "Attentive neural process", lambda m: qs.AttentiveNeuralProcess(Encoder(m))),
    "alpaca": Setup("bayesian", "ALPaCA", lambda m: noisy(qs.ALPaCA(Encoder(m)))),
    "dkt": Setup(
        "bayesian", "Deep kernel transfer", lambda m: noisy(qs.DeepKernelTransfer(Encoder(m), objective="predictive"))
    ),
    "shipped": Setup("bayesian", "Mixture of deep kernels, as shipped", shipped, 0),
    "in-context": Setup(
        "in-context",
        "In-context transformer",
        lambda m: qs.InContextTransformer(Encoder(m), ways=2, d=64, layers=2),
    ),
    "graph-pooled": Setup("transfer", "Graphs: pre-trained, support unused", lambda m: pooled(graphs(m), 0)),
    "graph-fine-tune": Setup("transfer", "Graphs: pre-trained, head fine-tuned", lambda m: pooled(graphs(m), 10, 0.02)),
    "graph-protonet": Setup("metric", "Graphs: prototypical network", lambda m: qs.PrototypicalNetwork(graphs(m))),
    "graph-dkt": Setup(
        "bayesian",
        "Graphs: deep kernel transfer",
        lambda m: noisy(qs.DeepKernelTransfer(graphs(m), objective="predictive")),
    ),
}

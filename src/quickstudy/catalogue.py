"""The table of methods: what the command line, the comparison and the tests of every method read."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from quickstudy.contract import MetaLearner
from quickstudy.encoders.conv4 import Conv4
from quickstudy.encoders.norm import Norm
from quickstudy.encoders.resnet12 import ResNet12
from quickstudy.methods.bayesian.abml import ABML
from quickstudy.methods.bayesian.alpaca import ALPaCA
from quickstudy.methods.bayesian.deep_kernel_transfer import DeepKernelTransfer
from quickstudy.methods.in_context.in_context_transformer import InContextTransformer
from quickstudy.methods.in_context.transformer_neural_process import TransformerNeuralProcess
from quickstudy.methods.metric.feat import FEAT
from quickstudy.methods.metric.mahalanobis import Mahalanobis
from quickstudy.methods.metric.matching_network import MatchingNetwork
from quickstudy.methods.metric.metaoptnet import MetaOptNet
from quickstudy.methods.metric.prototypical_network import PrototypicalNetwork
from quickstudy.methods.metric.r2d2 import R2D2
from quickstudy.methods.metric.relation_network import RelationNetwork
from quickstudy.methods.model_based.attentive_neural_process import AttentiveNeuralProcess
from quickstudy.methods.model_based.fast_weights import FastWeights
from quickstudy.methods.model_based.mann import MANN
from quickstudy.methods.model_based.neural_process import NeuralProcess
from quickstudy.methods.model_based.snail import SNAIL
from quickstudy.methods.optimization.anil import ANIL
from quickstudy.methods.optimization.boil import BOIL
from quickstudy.methods.optimization.cnaps import CNAPs
from quickstudy.methods.optimization.imaml import IMAML
from quickstudy.methods.optimization.maml import MAML
from quickstudy.methods.optimization.maml_plus_plus import MAMLPlusPlus
from quickstudy.methods.optimization.meta_lstm import MetaLSTM
from quickstudy.methods.optimization.meta_sgd import MetaSGD
from quickstudy.methods.optimization.proto_maml import ProtoMAML
from quickstudy.methods.optimization.reptile import Reptile
from quickstudy.methods.transfer.baseline_plus_plus import BaselinePlusPlus
from quickstudy.methods.transfer.fine_tune import FineTune
from quickstudy.methods.transfer.from_scratch import FromScratch
from quickstudy.methods.transfer.linear_probe import LinearProbe
from quickstudy.methods.transfer.meta_baseline import MetaBaseline
from quickstudy.methods.transfer.simple_shot import SimpleShot
from quickstudy.methods.transfer.transductive_fine_tune import TransductiveFineTune
from quickstudy.task_norm import TaskNormalized
from quickstudy.tensors import out_features

ENCODERS: dict[str, Callable[[int, int, Norm], nn.Module]] = {
    "conv4": lambda channels, size, norm: Conv4(channels, image_size=size, norm=norm),
    "conv4-strided": lambda channels, size, norm: Conv4(channels, image_size=size, norm=norm, downsample="stride"),
    "resnet12": lambda channels, size, norm: ResNet12(channels, norm=norm),
}
"""Encoders of images by name, as functions of the channels, the size in pixels and the normalisation."""


@dataclass(frozen=True)
class Setting:
    """What a method is built for.

    Args:
        encoder: The name of an encoder.
        channels: Of the images.
        size: Of the images, in pixels.
        ways: Classes of a task.
        shots: Support examples per class.
        classes: The number of training classes.
    """

    encoder: str = "conv4-strided"
    channels: int = 1
    size: int = 28
    ways: int = 5
    shots: int = 1
    classes: int = 1

    def backbone(self, norm: Norm = "running") -> nn.Module:
        """A new encoder.

        Raises:
            ValueError: No encoder of that name.
        """
        if self.encoder not in ENCODERS:
            raise ValueError(f"no encoder {self.encoder!r}; there are {', '.join(ENCODERS)}.")
        return ENCODERS[self.encoder](self.channels, self.size, norm)

    def network(self, norm: Norm) -> nn.Sequential:
        """A new encoder under a new linear head: from images to logits."""
        encoder = self.backbone(norm)
        return nn.Sequential(encoder, nn.Linear(out_features(encoder), self.ways))

    def step(self, size: float) -> float:
        """The size of a gradient step on such a network, from that on one of the 64 features of 28 pixels.

        It moves logits by as much times the squared length of the features, and so shrinks with their number where they
        are more: MAML's paper takes 0.4 there, and 0.01 for the 800 of 84 pixels.
        """
        with torch.device("meta"):  # an encoder without numbers: it is asked for the length of its features alone
            return size * min(1.0, 64 / out_features(self.backbone()))


@dataclass(frozen=True)
class Method:
    """A method's row.

    Args:
        title: Its name in tables.
        family: Where a textbook has it.
        across: What is learned across tasks, in a sentence.
        remembers: What is kept of one task.
        build: The learner for a setting, with the method's defaults.
    """

    title: str
    family: str
    across: str
    remembers: str
    build: Callable[[Setting], MetaLearner]


FAMILIES: dict[str, str] = {
    "metric": "Learn a similarity: a query belongs where examples like it do.",
    "optimization": "Learn how to train: where gradient descent begins, how it steps, or where it would have ended.",
    "model-based": "Learn a network that reads examples one by one or all at once, and holds them in its activations.",
    "bayesian": "Learn a prior: an example turns it into a posterior, which knows how little it has seen.",
    "in-context": "Learn to learn in context: a transformer reads the examples as a sequence, and no weight changes.",
    "transfer": "Learn one large task, and carry over what helps: what every meta-learner must beat.",
}
"""What the families of methods have in common, in a sentence."""

METHODS: dict[str, Method] = {
    "protonet": Method(
        "Prototypical network",
        "metric",
        "an embedding in which examples of a class lie close together",
        "the mean embedding of each class",
        lambda s: PrototypicalNetwork(s.backbone()),
    ),
    "matching": Method(
        "Matching network",
        "metric",
        "an embedding in which like examples point the same way",
        "the embedding and the label of each support example",
        lambda s: MatchingNetwork(s.backbone(), scale=30.0),
    ),
    "relation": Method(
        "Relation network",
        "metric",
        "an embedding, and how to compare a query with a class in it",
        "the mean embedding of each class",
        lambda s: RelationNetwork(s.backbone()),
    ),
    "mahalanobis": Method(
        "Mahalanobis classifier",
        "metric",
        "an embedding in which classes have covariances that help",
        "the mean and the covariance of each class",
        lambda s: Mahalanobis(s.backbone()),
    ),
    "feat": Method(
        "FEAT",
        "metric",
        "an embedding, and to move the prototypes of a task apart",
        "the adapted prototype of each class",
        lambda s: FEAT(s.backbone(), temperature=8.0, dropout=0.0),  # with dropout, a batch is computed in one part
    ),
    "r2d2": Method(
        "R2-D2",
        "metric",
        "an embedding on which ridge regression generalises",
        "the weights of a ridge regression",
        lambda s: R2D2(s.backbone(), alpha=10.0),  # from 1, logits stay small for long
    ),
    "metaoptnet": Method(
        "MetaOptNet",
        "metric",
        "an embedding on which a support vector machine generalises",
        "the weights of a support vector machine",
        lambda s: MetaOptNet(s.backbone(), scale=10.0),
    ),
    "maml": Method(
        "MAML",
        "optimization",
        "initial weights from which a few gradient steps suffice",
        "the weights after those steps",
        lambda s: TaskNormalized(MAML(s.network("task"), inner_lr=s.step(0.4), inner_steps=1, test_inner_steps=3)),
    ),
    "anil": Method(
        "ANIL",
        "optimization",
        "features, and initial weights of the last layer",
        "the last layer's weights after a few gradient steps",
        lambda s: ANIL(*s.network("running"), inner_lr=s.step(0.1)),
    ),
    "fo-maml": Method(
        "First-order MAML",
        "optimization",
        "initial weights from which a few gradient steps suffice",
        "the weights after those steps",
        lambda s: TaskNormalized(
            MAML(s.network("task"), inner_lr=s.step(0.4), inner_steps=1, test_inner_steps=3, first_order=True)
        ),
    ),
    "imaml": Method(
        "Implicit MAML",
        "optimization",
        "initial weights near which every task has a good solution",
        "the weights that solve it, pulled towards the initial ones",
        lambda s: TaskNormalized(IMAML(s.network("task"), strength=0.1, inner_lr=s.step(0.4), inner_steps=8)),
    ),
    "boil": Method(
        "BOIL",
        "optimization",
        "a last layer, and initial weights of all others",
        "the other layers' weights after a gradient step",
        lambda s: TaskNormalized(BOIL(*s.network("task"))),
    ),
    "meta-sgd": Method(
        "Meta-SGD",
        "optimization",
        "initial weights, and a step size for each of them",
        "the weights after one step",
        lambda s: TaskNormalized(MetaSGD(s.network("task"), inner_lr=s.step(0.1))),
    ),
    "reptile": Method(
        "Reptile",
        "optimization",
        "initial weights close to those of every task",
        "the weights after some steps of Adam",
        lambda s: TaskNormalized(Reptile(s.network("task"), inner_lr=3e-3)),
    ),
    "proto-maml": Method(
        "Proto-MAML",
        "optimization",
        "initial weights of the encoder",
        "all weights after gradient steps that begin with the prototypes as last layer",
        lambda s: TaskNormalized(ProtoMAML(s.backbone("task"), inner_lr=s.step(0.4), inner_steps=1)),
    ),
    "maml++": Method(
        "MAML++",
        "optimization",
        "initial weights, and the step sizes and normalisation of every gradient step from them",
        "the weights after those steps",
        lambda s: TaskNormalized(MAMLPlusPlus(s.network("task"), inner_lr=s.step(0.1), inner_steps=3)),
    ),
    "meta-lstm": Method(
        "Meta-learner LSTM",
        "optimization",
        "initial weights, and an optimizer whose gates read gradients and losses",
        "the weights after its steps",
        lambda s: TaskNormalized(MetaLSTM(s.network("task"), inner_lr=s.step(0.4), hidden=0)),
    ),
    "cnaps": Method(
        "CNAPs",
        "optimization",
        "to predict a network's parameters from a support set",
        "scales and shifts of channels, and a linear classifier",
        lambda s: CNAPs(s.backbone("group"), s.backbone("group")),
    ),
    "snail": Method(
        "SNAIL",
        "model-based",
        "convolutions over time and attention that bring past examples forward",
        "what each layer saw of the support sequence",
        lambda s: SNAIL(s.backbone(), ways=s.ways, shots=s.shots),
    ),
    "cnp": Method(
        "Conditional neural process",
        "model-based",
        "to summarise a class as a vector, and to score a query beside it",
        "one vector per class",
        lambda s: NeuralProcess(s.backbone()),
    ),
    "mann": Method(
        "Memory-augmented neural network",
        "model-based",
        "what to write into an external memory, and what to look for in it",
        "the memory's slots, and the controller's state",
        lambda s: MANN(s.backbone(), ways=s.ways, strength=10.0),
    ),
    "fast-weights": Method(
        "Fast weights",
        "model-based",
        "keys under which labels are written, and how strongly",
        "a matrix that turns keys into labels",
        lambda s: FastWeights(s.backbone()),
    ),
    "anp": Method(
        "Attentive neural process",
        "model-based",
        "which support examples tell of a query, and to score it beside what they say",
        "a key and a value per example",
        lambda s: AttentiveNeuralProcess(s.backbone()),
    ),
    "alpaca": Method(
        "ALPaCA",
        "bayesian",
        "features, and a prior over the weights of a linear regression on them",
        "the posterior over those weights, in closed form",
        lambda s: ALPaCA(s.backbone()),
    ),
    "dkt": Method(
        "Deep kernel transfer",
        "bayesian",
        "the kernel of a Gaussian process",
        "the embeddings of its examples and their covariance",
        lambda s: DeepKernelTransfer(s.backbone()),
    ),
    "abml": Method(
        "Amortized Bayesian MAML",
        "bayesian",
        "a Gaussian over initial weights",
        "a Gaussian over the weights after a few gradient steps",
        lambda s: TaskNormalized(
            ABML(s.network("task"), inner_lr=s.step(0.4), inner_steps=3, samples=3, first_order=True)
        ),
    ),
    "in-context": Method(
        "In-context transformer",
        "in-context",
        "a learning algorithm, in the weights of a transformer",
        "the keys and values of the support set in every layer",
        lambda s: InContextTransformer(s.backbone(), ways=s.ways),
    ),
    "tnp": Method(
        "Transformer neural process",
        "in-context",
        "to fill in missing targets, in the weights of a transformer",
        "the keys and values of the support set in every layer",
        lambda s: TransformerNeuralProcess(s.backbone(), ways=s.ways),
    ),
    "linear-probe": Method(
        "Linear probe",
        "transfer",
        "to tell the training classes apart",
        "a logistic regression on frozen features",
        lambda s: LinearProbe(s.backbone(), classes=s.classes),
    ),
    "fine-tune": Method(
        "Fine-tuning",
        "transfer",
        "to tell the training classes apart",
        "all weights after gradient steps on the support set",
        lambda s: FineTune(s.backbone(), classes=s.classes, steps=20),
    ),
    "scratch": Method(
        "From scratch",
        "transfer",
        "nothing",
        "all weights after gradient steps on the support set",
        lambda s: FromScratch(s.network("group"), steps=20),
    ),
    "baseline++": Method(
        "Baseline++",
        "transfer",
        "to tell the training classes apart by angles",
        "a cosine classifier, fitted by gradient steps on frozen features",
        lambda s: BaselinePlusPlus(s.backbone(), classes=s.classes),
    ),
    "simpleshot": Method(
        "SimpleShot",
        "transfer",
        "to tell the training classes apart, and the mean of their features",
        "the mean of each class's centred, normalised features",
        lambda s: SimpleShot(s.backbone(), classes=s.classes),
    ),
    "good-embedding": Method(
        "Good embedding",
        "transfer",
        "to tell the training classes apart",
        "a logistic regression on frozen, normalised features",
        lambda s: LinearProbe(s.backbone(), classes=s.classes, normalize=True),
    ),
    "meta-baseline": Method(
        "Meta-Baseline",
        "transfer",
        "to tell the training classes apart, then an embedding and a temperature for cosines of class means",
        "the mean embedding of each class",
        lambda s: MetaBaseline(s.backbone(), classes=s.classes),
    ),
    "transductive-fine-tune": Method(
        "Transductive fine-tuning",
        "transfer",
        "to tell the training classes apart",
        "its examples: all weights are trained on them and on the queries, when these are asked",
        lambda s: TransductiveFineTune(s.backbone(), classes=s.classes, steps=10, lr=0.001),
    ),
}

SOME = (
    "protonet", "maml", "anil", "snail", "cnp", "alpaca", "in-context", "linear-probe", "fine-tune", "scratch",
)  # fmt: skip
"""One to three of each family: what a first comparison takes, within minutes."""


def find(name: str) -> Method:
    """The row of a method's name.

    Raises:
        ValueError: No method of that name.
    """
    if name not in METHODS:
        raise ValueError(f"no method {name!r}; there are {', '.join(METHODS)}.")
    return METHODS[name]


def build(name: str, setting: Setting) -> MetaLearner:
    """The learner of a method's name."""
    return find(name).build(setting)

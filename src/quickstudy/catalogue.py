"""The table of methods: what the command line, the comparison and the tests of every method read."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from quickstudy.contract import MetaLearner
from quickstudy.encoders.conv4 import Conv4
from quickstudy.encoders.norm import Norm
from quickstudy.encoders.resnet12 import ResNet12
from quickstudy.methods.in_context.in_context_transformer import InContextTransformer
from quickstudy.methods.metric.prototypical_network import PrototypicalNetwork
from quickstudy.methods.model_based.neural_process import NeuralProcess
from quickstudy.methods.model_based.snail import SNAIL
from quickstudy.methods.optimization.anil import ANIL
from quickstudy.methods.optimization.maml import MAML
from quickstudy.methods.transfer.fine_tune import FineTune
from quickstudy.methods.transfer.from_scratch import FromScratch
from quickstudy.methods.transfer.linear_probe import LinearProbe
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


METHODS: dict[str, Method] = {
    "protonet": Method(
        "Prototypical network",
        "metric",
        "an embedding in which examples of a class lie close together",
        "the mean embedding of each class",
        lambda s: PrototypicalNetwork(s.backbone()),
    ),
    "maml": Method(
        "MAML",
        "optimization",
        "initial weights from which a few gradient steps suffice",
        "the weights after those steps",
        lambda s: MAML(s.network("group"), inner_lr=0.1, inner_steps=3, test_inner_steps=5),
    ),
    "anil": Method(
        "ANIL",
        "optimization",
        "features, and initial weights of the last layer",
        "the last layer's weights after a few gradient steps",
        lambda s: ANIL(*s.network("running")),
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
    "in-context": Method(
        "In-context transformer",
        "in-context",
        "a learning algorithm, in the weights of a transformer",
        "the keys and values of the support set in every layer",
        lambda s: InContextTransformer(s.backbone(), ways=s.ways),
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
        lambda s: FineTune(s.backbone(), classes=s.classes),
    ),
    "scratch": Method(
        "From scratch",
        "transfer",
        "nothing",
        "all weights after gradient steps on the support set",
        lambda s: FromScratch(s.network("group")),
    ),
}


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

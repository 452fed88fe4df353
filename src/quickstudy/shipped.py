"""The learners that ship with the package: how each is built, and what it takes."""

from collections.abc import Callable, Mapping

from torch import nn

from quickstudy.catalogue import Setting, build
from quickstudy.contract import MetaLearner
from quickstudy.encoders.background import Background, MoleculeFeatures
from quickstudy.encoders.molecules import BITS, DESCRIPTORS
from quickstudy.inputs import DRAWINGS, MOLECULES, PICTURES, TEXTS, Inputs, Rows
from quickstudy.methods.bayesian.deep_kernel_mixture import DeepKernelMixture


def table_head() -> MetaLearner:
    """Gaussian processes over a table's columns, together, each by itself, and along lines."""
    return DeepKernelMixture(nn.Identity(), kernels=12, kernel=("linear", "rbf", "additive")).double()


def number_head() -> MetaLearner:
    """The same processes, of one number."""
    return DeepKernelMixture(nn.Identity(), kernels=12, kernel=("linear", "rbf", "additive"), targets=1).double()


def picture_head() -> MetaLearner:
    """Gaussian processes over the embeddings of a pre-trained network."""
    return DeepKernelMixture(Background(1280, 64, roots=True), kernels=8, kernel=("linear", "rbf"))


def text_head() -> MetaLearner:
    """Gaussian processes over the embeddings of a sentence encoder."""
    return DeepKernelMixture(Background(384), kernels=8, kernel=("linear", "rbf"))


def molecule_head() -> MetaLearner:
    """Gaussian processes over fragments and descriptors."""
    return DeepKernelMixture(MoleculeFeatures(BITS, DESCRIPTORS), kernels=8, kernel=("linear", "rbf"))


def drawing_learner() -> MetaLearner:
    """A prototypical network of its own."""
    return build("protonet", Setting())


SHIPPED: Mapping[str, tuple[Callable[[], MetaLearner], Inputs]] = {
    "table": (table_head, Rows()),
    "table-regression": (number_head, Rows()),
    "images": (picture_head, PICTURES),
    "handwriting": (drawing_learner, DRAWINGS),
    "text": (text_head, TEXTS),
    "molecules": (molecule_head, MOLECULES),
}
"""By name."""

"""quickstudy learns how to learn: meta-learning of every family behind one contract."""

from quickstudy.checkpoint import load_learner, load_memory, save_learner, save_memory
from quickstudy.comparison import Comparison, compare
from quickstudy.contract import Episodes, Examples, Memory, MetaLearner, categorical, gaussian
from quickstudy.data.arrow import arrow_data, pack_folder, save_arrow
from quickstudy.data.digits import digits
from quickstudy.data.folder import image_folder
from quickstudy.data.glyphs import glyphs
from quickstudy.data.labelled import LabelledData
from quickstudy.data.omniglot import omniglot
from quickstudy.encoders.conv4 import Conv4
from quickstudy.encoders.mlp import MLP
from quickstudy.encoders.resnet12 import ResNet12
from quickstudy.engine import Engine
from quickstudy.evaluation import Evaluation, Interval, evaluate, interval
from quickstudy.methods.in_context.in_context_transformer import InContextTransformer
from quickstudy.methods.metric.prototypical_network import PrototypicalNetwork
from quickstudy.methods.model_based.neural_process import NeuralProcess
from quickstudy.methods.model_based.snail import SNAIL
from quickstudy.methods.optimization.anil import ANIL
from quickstudy.methods.optimization.imaml import IMAML
from quickstudy.methods.optimization.maml import MAML
from quickstudy.methods.transfer.fine_tune import FineTune
from quickstudy.methods.transfer.from_scratch import FromScratch
from quickstudy.methods.transfer.linear_probe import LinearProbe
from quickstudy.tasks import Augmented, FewShot, Sinusoids, Tasks
from quickstudy.training import Progress, Validation, train

__all__ = [
    "ANIL",
    "IMAML",
    "MAML",
    "MLP",
    "SNAIL",
    "Augmented",
    "Comparison",
    "Conv4",
    "Engine",
    "Episodes",
    "Evaluation",
    "Examples",
    "FewShot",
    "FineTune",
    "FromScratch",
    "InContextTransformer",
    "Interval",
    "LabelledData",
    "LinearProbe",
    "Memory",
    "MetaLearner",
    "NeuralProcess",
    "Progress",
    "PrototypicalNetwork",
    "ResNet12",
    "Sinusoids",
    "Tasks",
    "Validation",
    "arrow_data",
    "categorical",
    "compare",
    "digits",
    "evaluate",
    "gaussian",
    "glyphs",
    "image_folder",
    "interval",
    "load_learner",
    "load_memory",
    "omniglot",
    "pack_folder",
    "save_arrow",
    "save_learner",
    "save_memory",
    "train",
]

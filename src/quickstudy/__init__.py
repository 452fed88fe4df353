"""quickstudy learns how to learn: meta-learning of every family behind one contract."""

from quickstudy.contract import Episodes, Examples, MetaLearner, categorical, gaussian
from quickstudy.data.omniglot import omniglot
from quickstudy.encoders.conv4 import Conv4
from quickstudy.encoders.mlp import MLP
from quickstudy.evaluation import Evaluation, evaluate, interval
from quickstudy.methods.in_context.in_context_transformer import InContextTransformer
from quickstudy.methods.metric.prototypical_network import PrototypicalNetwork
from quickstudy.methods.model_based.neural_process import NeuralProcess
from quickstudy.methods.model_based.snail import SNAIL
from quickstudy.methods.optimization.maml import MAML
from quickstudy.tasks import FewShot, Sinusoids
from quickstudy.training import train

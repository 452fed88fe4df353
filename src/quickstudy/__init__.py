"""quickstudy learns how to learn: meta-learning of every family behind one contract."""

from quickstudy.checkpoint import load_learner, load_memory, save_learner, save_memory
from quickstudy.comparison import Comparison, compare
from quickstudy.confidence import Confidence, fit_confidence, fit_temperature
from quickstudy.contract import Episodes, Examples, Memory, MetaLearner, categorical, gaussian
from quickstudy.data.arrow import arrow_data, pack_folder, save_arrow
from quickstudy.data.assays import Assay, Assays, molecule_net
from quickstudy.data.bodies import Bodies, changed_bodies
from quickstudy.data.demonstrations import Demonstrations, demonstrations
from quickstudy.data.digits import digits
from quickstudy.data.fewrel import fewrel
from quickstudy.data.folder import image_folder
from quickstudy.data.fs_mol import fs_mol
from quickstudy.data.glyphs import glyphs
from quickstudy.data.intents import banking77, clinc150
from quickstudy.data.labelled import LabelledData, joined
from quickstudy.data.medical import medical
from quickstudy.data.mini_imagenet import mini_imagenet
from quickstudy.data.movielens import movielens
from quickstudy.data.omniglot import omniglot
from quickstudy.data.ratings import Ratings, cold_start
from quickstudy.data.texts import LabelledTexts
from quickstudy.data.tiny_imagenet import tiny_imagenet
from quickstudy.encoders.conv4 import Conv4
from quickstudy.encoders.mlp import MLP
from quickstudy.encoders.pretrained import PretrainedPictures
from quickstudy.encoders.ratings import RatingEncoder
from quickstudy.encoders.resnet12 import ResNet12
from quickstudy.encoders.texts import PretrainedTexts
from quickstudy.engine import Engine
from quickstudy.estimators import Answered, FewShotClassifier
from quickstudy.evaluation import Evaluation, evaluate
from quickstudy.export import export_adaptation, export_classifier
from quickstudy.methods.bayesian.abml import ABML
from quickstudy.methods.bayesian.alpaca import ALPaCA
from quickstudy.methods.bayesian.deep_kernel_mixture import DeepKernelMixture
from quickstudy.methods.bayesian.deep_kernel_transfer import DeepKernelTransfer
from quickstudy.methods.in_context.in_context_transformer import InContextTransformer
from quickstudy.methods.in_context.language_model import LanguageModelInContext
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
from quickstudy.none_of_these import strangers
from quickstudy.ready import load
from quickstudy.regressor import FewShotRegressor
from quickstudy.scores import Interval, delta_auprc, interval, roc_auc
from quickstudy.shipping import load_task, save_task
from quickstudy.task_norm import TaskNormalized
from quickstudy.tasks import (
    AssayTasks,
    Augmented,
    Bandits,
    BodyTransitions,
    FewShot,
    GPCurves,
    Navigation2D,
    OneShotImitation,
    Sinusoids,
    TableColumns,
    TableRows,
    Tasks,
    UserRatings,
)
from quickstudy.training import Progress, Validation, train
from quickstudy.tuning import tune

__all__ = [
    "ABML",
    "ANIL",
    "BOIL",
    "FEAT",
    "IMAML",
    "MAML",
    "MANN",
    "MLP",
    "R2D2",
    "SNAIL",
    "ALPaCA",
    "Answered",
    "Assay",
    "AssayTasks",
    "Assays",
    "AttentiveNeuralProcess",
    "Augmented",
    "Bandits",
    "BaselinePlusPlus",
    "Bodies",
    "BodyTransitions",
    "CNAPs",
    "Comparison",
    "Confidence",
    "Conv4",
    "DeepKernelMixture",
    "DeepKernelTransfer",
    "Demonstrations",
    "Engine",
    "Episodes",
    "Evaluation",
    "Examples",
    "FastWeights",
    "FewShot",
    "FewShotClassifier",
    "FewShotRegressor",
    "FineTune",
    "FromScratch",
    "GPCurves",
    "InContextTransformer",
    "Interval",
    "LabelledData",
    "LabelledTexts",
    "LanguageModelInContext",
    "LinearProbe",
    "MAMLPlusPlus",
    "Mahalanobis",
    "MatchingNetwork",
    "Memory",
    "MetaBaseline",
    "MetaLSTM",
    "MetaLearner",
    "MetaOptNet",
    "MetaSGD",
    "Navigation2D",
    "NeuralProcess",
    "OneShotImitation",
    "PretrainedPictures",
    "PretrainedTexts",
    "Progress",
    "ProtoMAML",
    "PrototypicalNetwork",
    "RatingEncoder",
    "Ratings",
    "RelationNetwork",
    "Reptile",
    "ResNet12",
    "SimpleShot",
    "Sinusoids",
    "TableColumns",
    "TableRows",
    "TaskNormalized",
    "Tasks",
    "TransductiveFineTune",
    "TransformerNeuralProcess",
    "UserRatings",
    "Validation",
    "arrow_data",
    "banking77",
    "categorical",
    "changed_bodies",
    "clinc150",
    "cold_start",
    "compare",
    "delta_auprc",
    "demonstrations",
    "digits",
    "evaluate",
    "export_adaptation",
    "export_classifier",
    "fewrel",
    "fit_confidence",
    "fit_temperature",
    "fs_mol",
    "gaussian",
    "glyphs",
    "image_folder",
    "interval",
    "joined",
    "load",
    "load_learner",
    "load_memory",
    "load_task",
    "medical",
    "mini_imagenet",
    "molecule_net",
    "movielens",
    "omniglot",
    "pack_folder",
    "roc_auc",
    "save_arrow",
    "save_learner",
    "save_memory",
    "save_task",
    "strangers",
    "tiny_imagenet",
    "train",
    "tune",
]

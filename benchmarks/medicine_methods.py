"""What benchmarks/medicine.py compares: learners of a few pictures, on pixels or on what a pre-trained network sees."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import kornia.augmentation as kornia
import torch
from kornia.constants import DataKey
from torch import Tensor, nn

import quickstudy as qs
from quickstudy.tasks import ByLibrary, crop, flip
from quickstudy.tasks.augmented import Augmentation

SIZE, WIDTH, FEATURES, D, MOST = 64, 32, 1280, 64, 3
"""Of a picture in pixels, of Conv4, of the pre-trained network's embedding, of ours; and the most classes of a task."""
WAYS, SHOTS, SHOWN = (2, 3), (3, 5, 10), 5
"""Classes of a test, pictures of each, and for how many of them confidence, patients and costs are told."""
ACROSS = ("pixels-probe", "pixels-protonet", "metamed")
"""Of those that see pixels, which learn from other clinics too."""
PLAIN: Sequence[Augmentation] = (flip, crop(4))


def mixed(mix: nn.Module, tells_own: bool) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Pictures mixed by Kornia, each with the label of one of its two, drawn by their shares of it.

    Args:
        mix: Tells of each picture itself, the other one, and a share.
        tells_own: Whether the share is that of the picture itself.
    """

    def change(x: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
        x, told = mix(x, numbers)
        own, other, share = told.reshape(-1, 3).unbind(-1)
        keeps = (torch.rand(len(x)) < share) == tells_own
        return x, own.where(keeps, other).long()

    return change


ERASE = kornia.RandomErasing(scale=(0.25, 0.25), ratio=(1.0, 1.0), p=1.0)
KEYS: list[str | int | DataKey] = ["input", "class"]
STRONG: Sequence[Augmentation | ByLibrary] = (
    *PLAIN,
    ByLibrary(
        lambda x, numbers: (ERASE(x), numbers),
        mixed(kornia.RandomMixUpV2(data_keys=KEYS), tells_own=False),
        mixed(kornia.RandomCutMixV2(use_correct_lambda=True, data_keys=KEYS), tells_own=True),
        labels=True,
    ),
)
"""MetaMed's: a quarter cut out, or two pictures mixed in any proportion, as often one as the other."""


class Built(NamedTuple):
    """What a learner is built for.

    Args:
        ways: Classes of a task; `MOST` for a learner that takes fewer too.
        classes: Training classes.
        mean, std: Of the embeddings of the training classes.
    """

    ways: int
    classes: int
    mean: Tensor
    std: Tensor


class Row(NamedTuple):
    """A method.

    Args:
        title, family: In tables.
        build: The learner.
        pixels: Whether it sees pixels; else embeddings of the pre-trained network.
        fixed: Whether it is trained for each number of classes by itself.
        augmentations: Of its training pictures.
        sizes: Of gradient steps, one of which is chosen on the tasks that choose weights.
    """

    title: str
    family: str
    build: Callable[[Built], qs.MetaLearner]
    pixels: bool = False
    fixed: bool = False
    augmentations: Sequence[Augmentation | ByLibrary] = ()
    sizes: Sequence[float] = ()


class Standard(nn.Module):
    """Embeddings with the training classes' mean and spread taken out."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Tensor, std: Tensor):
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / (self.std + 1e-3)


def network(b: Built) -> nn.Sequential:
    """From embeddings to shorter ones."""
    net = nn.Sequential(Standard(b.mean, b.std), nn.Linear(FEATURES, 4 * D), nn.ReLU(), nn.Linear(4 * D, D))
    net.out_features = D  # pyright: ignore[reportArgumentType]
    return net


def conv(norm: str = "running") -> qs.Conv4:
    return qs.Conv4(3, WIDTH, image_size=SIZE, downsample="stride", norm=norm)  # pyright: ignore[reportArgumentType]


def classifier(b: Built) -> nn.Sequential:
    """From pixels to logits."""
    return nn.Sequential(conv("task"), nn.Linear(WIDTH, b.ways))


def reptile(b: Built) -> qs.MetaLearner:
    return qs.TaskNormalized(qs.Reptile(classifier(b), inner_lr=3e-3, test_inner_steps=20))


def probe(encoder: nn.Module, b: Built) -> qs.LinearProbe:
    return qs.LinearProbe(encoder, classes=b.classes)


def frozen() -> nn.Module:
    """The embeddings as they are."""
    whole = nn.Identity()
    whole.out_features = FEATURES  # pyright: ignore[reportArgumentType]
    return whole


METHODS: dict[str, Row] = {
    "nearest-centroid": Row("Nearest centroid", "classical", lambda b: qs.PrototypicalNetwork(frozen())),
    "logistic": Row("Logistic regression", "classical", lambda b: probe(frozen(), b).requires_grad_(False)),
    "head": Row("Pre-trained head, logistic regression", "transfer", lambda b: probe(network(b), b)),
    "head-fine-tune": Row(
        "Pre-trained head, fine-tuned", "transfer", lambda b: qs.FineTune(network(b), classes=b.classes, steps=20)
    ),
    "protonet": Row("Prototypical network", "metric", lambda b: qs.PrototypicalNetwork(network(b))),
    "r2d2": Row("R2-D2", "metric", lambda b: qs.R2D2(network(b), alpha=10.0)),
    "maml": Row(
        "MAML",
        "optimization",
        lambda b: qs.MAML(nn.Sequential(network(b), nn.Linear(D, b.ways)), inner_lr=0.05, inner_steps=3),
        fixed=True,
    ),
    "cnp": Row("Conditional neural process", "model-based", lambda b: qs.NeuralProcess(network(b))),
    "alpaca": Row("ALPaCA", "bayesian", lambda b: qs.ALPaCA(network(b))),
    "in-context": Row(
        "In-context transformer",
        "in-context",
        lambda b: qs.InContextTransformer(network(b), ways=MOST, d=64, layers=3),
    ),
    "shipped": Row(
        "The learner that ships, `images`", "bayesian", lambda b: qs.load("images").learner.requires_grad_(False)
    ),
    "scratch": Row(
        "From scratch",
        "transfer",
        lambda b: qs.FromScratch(nn.Sequential(conv("group"), nn.Linear(WIDTH, b.ways)), steps=20, lr=0.1),
        pixels=True,
        fixed=True,
        sizes=(0.5, 0.2, 0.1, 0.05, 0.02, 0.01),
    ),
    "pixels-probe": Row("Pre-trained, logistic regression", "transfer", lambda b: probe(conv(), b), True, False, PLAIN),
    "pixels-fine-tune": Row(
        "Pre-trained, fine-tuned",
        "transfer",
        lambda b: qs.FineTune(conv(), classes=b.classes, steps=20),
        True,
        False,
        PLAIN,
        sizes=(0.05, 0.02, 0.01, 0.005, 0.002, 0.001, 0.0005),
    ),
    "pixels-protonet": Row(
        "Prototypical network", "metric", lambda b: qs.PrototypicalNetwork(conv()), True, False, PLAIN
    ),
    "pixels-in-context": Row(
        "In-context transformer",
        "in-context",
        lambda b: qs.InContextTransformer(conv(), ways=MOST, d=64, layers=3),
        True,
        False,
        PLAIN,
    ),
    "metamed-plain": Row("MetaMed without its augmentation (Reptile)", "optimization", reptile, True, True, PLAIN),
    "metamed": Row("MetaMed (Reptile; CutOut, MixUp, CutMix)", "optimization", reptile, True, True, STRONG),
}

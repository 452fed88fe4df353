"""The learners of benchmarks/recommendation.py, all on the same embeddings of users and items."""

from collections.abc import Callable
from typing import NamedTuple

from noisy import noisy
from torch import nn

import quickstudy as qs
from quickstudy.data.ratings import Ratings

D, HIDDEN, FEATURES = 16, 64, 16


class Setup(NamedTuple):
    """A learner's row; what is set here was chosen on validation users.

    Args:
        family: Where the catalogue has it.
        title: In tables.
        build: The learner for these ratings.
        lr: The first step size of AdamW, which falls to zero along a cosine.
        decay: Its weight decay.
        share: Of the steps that others take, for a method whose steps are dearer.
        spread: Whether its predictions have standard deviations of their own.
    """

    family: str
    title: str
    build: Callable[[Ratings], qs.MetaLearner]
    lr: float = 3e-3
    decay: float = 0.1
    share: float = 1.0
    spread: bool = False


class Features(nn.Sequential):
    """Embeddings, and a network over them where hidden layers are given: what is shared by all users."""

    def __init__(self, ratings: Ratings, *sizes: int):
        encoder = qs.RatingEncoder(ratings.codes, len(ratings.kind_names), D)
        super().__init__(encoder, *([qs.MLP(encoder.out_features, *sizes)] if sizes else []))
        self.out_features = sizes[-1] if sizes else encoder.out_features


def decision(encoder: Features) -> qs.MLP:
    """MeLU's decision layers."""
    return qs.MLP(encoder.out_features, HIDDEN, HIDDEN, 1)


def melu(ratings: Ratings, *, lr: float = 0.05, steps: int, test_steps: int | None = None) -> qs.ANIL:
    """Embeddings that stay, and decision layers that gradient steps adapt."""
    encoder = Features(ratings)
    return qs.ANIL(
        encoder,
        decision(encoder),
        inner_lr=lr,
        inner_steps=steps,
        test_inner_steps=test_steps,
        likelihood=qs.gaussian,
    )


def whole(ratings: Ratings) -> nn.Sequential:
    encoder = Features(ratings)
    return nn.Sequential(encoder, decision(encoder))


LEARNERS: dict[str, Setup] = {
    "scratch": Setup(
        "transfer", "From scratch", lambda r: qs.FromScratch(whole(r), steps=20, lr=0.1, likelihood=qs.gaussian)
    ),
    "fine-tune": Setup(
        "transfer",
        "Pre-trained, decision layers fine-tuned",
        lambda r: melu(r, steps=0, test_steps=20),
    ),
    "r2d2": Setup(
        "metric",
        "R2-D2",
        lambda r: qs.R2D2(Features(r, HIDDEN, FEATURES), penalty=10.0, likelihood=qs.gaussian),
    ),
    "melu": Setup("optimization", "MeLU", lambda r: melu(r, lr=0.1, steps=1)),
    "melu-5": Setup("optimization", "MeLU, 5 inner steps", lambda r: melu(r, steps=5), share=0.5),
    "maml": Setup(
        "optimization",
        "MAML, embeddings too",
        lambda r: qs.MAML(whole(r), inner_lr=0.05, inner_steps=1, likelihood=qs.gaussian),
        share=0.5,
    ),
    "cnp": Setup(
        "model-based",
        "Conditional neural process",
        lambda r: qs.NeuralProcess(Features(r, HIDDEN, HIDDEN), targets=1, hidden=HIDDEN),
        spread=True,
    ),
    "anp": Setup(
        "model-based",
        "Attentive neural process",
        lambda r: qs.AttentiveNeuralProcess(Features(r, HIDDEN, HIDDEN), targets=1, hidden=HIDDEN),
        spread=True,
    ),
    "alpaca": Setup(
        "bayesian",
        "ALPaCA",
        lambda r: noisy(qs.ALPaCA(Features(r, FEATURES), targets=1)),
        spread=True,
    ),
    "dkt": Setup(
        "bayesian",
        "Deep kernel transfer",
        lambda r: noisy(qs.DeepKernelTransfer(Features(r, FEATURES), targets=1, kernel="linear")),
        spread=True,
    ),
    "tnp": Setup(
        "in-context",
        "Transformer neural process",
        lambda r: qs.TransformerNeuralProcess(Features(r, HIDDEN, HIDDEN), targets=1, layers=2),
        share=0.5,
        spread=True,
    ),
}

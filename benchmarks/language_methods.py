"""The methods of benchmarks/language.py: on embeddings of sentences, on their words, or through the encoder."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from language_data import WAYS, Split
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from torch import Tensor, nn

import quickstudy as qs
from quickstudy.encoders.texts import PretrainedTexts
from quickstudy.inner_loop import Strategy

D, HIDDEN, FEATURES = 384, 64, 64
THROUGH = 3e-5
"""The first step size of Adam for a sentence encoder that learns."""


class Setup(NamedTuple):
    """A method's row; what is set here was chosen on validation classes.

    Args:
        family: Where the catalogue has it.
        title: In tables.
        build: The learner for a split.
        lr: The first step size of Adam, which falls to zero along a cosine; that of a sentence encoder is THROUGH.
        share: Of the steps that others take; 0 for what is not trained.
        words: Whether it sees the texts, and not their embeddings.
        batch: Tasks of a step.
        only: The one course that it is tested on; None for all.
        strategy: By which its inner loop is computed, where it has one.
    """

    family: str
    title: str
    build: Callable[[Split], qs.MetaLearner]
    lr: float = 1e-3
    share: float = 1.0
    words: bool = False
    batch: int = 16
    only: str | None = None
    strategy: Strategy = "stacked"

    @property
    def engine(self) -> qs.Engine:
        """All tasks at once: networks this small are not worth a search for the fastest way."""
        return qs.Engine(self.strategy, chunk=None)


def blank(layer: nn.Linear) -> nn.Linear:
    """A layer that begins at zero: as a head, the first inner step leads from there to the classes' means."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


class Beside(nn.Module):
    """An embedding with what a small network adds to it, nothing in the beginning; all of it times a scale."""

    def __init__(self, scale: float = 1.0, hidden: int = HIDDEN):
        super().__init__()
        self.add = nn.Sequential(nn.Linear(D, hidden), nn.ReLU(), blank(nn.Linear(hidden, D)))
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))
        self.out_features = D

    def forward(self, x: Tensor) -> Tensor:
        return (x + self.add(x)) * self.log_scale.exp()


class Fewer(nn.Sequential):
    """Fewer features of such an embedding, in random directions at first: for what inverts a matrix of them."""

    def __init__(self, features: int):
        beside, fewer = Beside(), nn.Linear(D, features, bias=False)
        nn.init.orthogonal_(fewer.weight, gain=(D / features) ** 0.5)  # keeps lengths, on average
        super().__init__(beside, fewer)
        self.out_features = features


class Scaled(nn.Module):
    """An embedding as it is, times a number."""

    def __init__(self, scale: float):
        super().__init__()
        self.scale, self.out_features = scale, D

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


class Reading(nn.Module):
    """From the numbers of texts to their embeddings times a scale, by a sentence encoder that learns.

    Args:
        texts: All texts.
    """

    tokens: Tensor

    def __init__(self, texts: tuple[str, ...], scale: float = 1.0):
        super().__init__()
        self.network, self.out_features = PretrainedTexts(), D
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))
        self.register_buffer("tokens", self.network.tokens(texts), persistent=False)

    def forward(self, rows: Tensor) -> Tensor:
        return self.network(self.tokens[rows]) * self.log_scale.exp()


def parameters(learner: qs.MetaLearner, lr: float) -> list[dict]:
    """What is trainable of a learner, and by steps of which size at first."""
    slow = [p for m in learner.modules() if isinstance(m, PretrainedTexts) for p in m.parameters()]
    known = {id(p) for p in slow}
    own = [p for p in learner.parameters() if p.requires_grad and id(p) not in known]
    return [{"params": own, "lr": lr}, *([{"params": slow, "lr": THROUGH}] if slow else [])]


class WordCounts(qs.MetaLearner):
    """Logistic regression on TF-IDF of words, fitted to a task's own texts (scikit-learn); nothing is pre-trained.

    Args:
        texts: All texts; an example is the number of one.
    """

    def __init__(self, texts: tuple[str, ...], C: float = 10.0):  # noqa: N803 (scikit-learn's name)
        super().__init__()
        self.texts, self.C = texts, C

    def adapt(self, support: qs.Examples) -> dict[str, Tensor]:
        return {"rows": support.x, "y": support.y}

    def predict(self, memory: dict[str, Tensor], x: Tensor) -> torch.distributions.Categorical:
        found = []
        for rows, y, queries in zip(memory["rows"], memory["y"], x, strict=True):
            words = TfidfVectorizer(token_pattern=r"\b\w+\b", sublinear_tf=True)
            model = make_pipeline(words, LogisticRegression(C=self.C, max_iter=1000)).fit(self.of(rows), y.numpy())
            found.append(torch.from_numpy(model.predict_log_proba(self.of(queries))).float())
        return qs.categorical(torch.stack(found))

    def of(self, rows: Tensor) -> list[str]:
        return [self.texts[row] for row in rows.tolist()]


def classes(split: Split) -> int:
    return len(split.train.rows.classes)


def frozen(learner: qs.MetaLearner) -> qs.MetaLearner:
    return learner.requires_grad_(False)


LEARNERS: dict[str, Setup] = {
    "nearest-centroid": Setup(
        "classical", "Nearest centroid", lambda s: frozen(qs.PrototypicalNetwork(Scaled(4.0))), share=0
    ),
    "logistic": Setup(
        "classical",
        "Logistic regression",
        lambda s: frozen(qs.LinearProbe(Scaled(1.0), classes=1, C=10.0)),
        share=0,
    ),
    "tf-idf": Setup(
        "classical",
        "TF-IDF and logistic regression, no encoder",
        lambda s: WordCounts(s.texts),
        share=0,
        words=True,
    ),
    "linear-probe": Setup(
        "transfer",
        "Pre-trained head, logistic regression",
        lambda s: qs.LinearProbe(Beside(4.0), classes=classes(s), C=1.0),
        lr=3e-4,
    ),
    "fine-tune": Setup(
        "transfer",
        "Pre-trained head, fine-tuned",
        lambda s: qs.FineTune(Beside(4.0), classes=classes(s), steps=20, lr=0.05),
        lr=3e-4,
        strategy="vmap",
    ),
    "linear-probe-through": Setup(
        "transfer",
        "Pre-trained through the encoder, logistic regression",
        lambda s: qs.LinearProbe(Reading(s.texts), classes=classes(s), C=10.0),
        words=True,
        batch=4,
    ),
    "protonet": Setup("metric", "Prototypical network", lambda s: qs.PrototypicalNetwork(Beside(4.0))),
    "protonet-through": Setup(
        "metric",
        "Prototypical network, through the encoder",
        lambda s: qs.PrototypicalNetwork(Reading(s.texts, 4.0)),
        words=True,
        batch=4,
    ),
    "r2d2": Setup("metric", "R2-D2", lambda s: qs.R2D2(Beside(1.0), alpha=10.0), lr=3e-4),
    "anil": Setup(
        "optimization",
        "ANIL",
        lambda s: qs.ANIL(Beside(4.0), blank(nn.Linear(D, WAYS)), inner_lr=0.5, inner_steps=5),
        lr=2e-4,
    ),
    "cnp": Setup("model-based", "Conditional neural process", lambda s: qs.NeuralProcess(Beside(4.0), hidden=128)),
    "alpaca": Setup("bayesian", "ALPaCA", lambda s: qs.ALPaCA(Fewer(FEATURES))),
    "dkt": Setup(
        "bayesian",
        "Deep kernel transfer",
        lambda s: qs.DeepKernelTransfer(Beside(1.0), kernel="linear", objective="predictive"),
    ),
    "in-context": Setup(
        "in-context",
        "In-context transformer",
        lambda s: qs.InContextTransformer(Beside(4.0), ways=WAYS, d=128, layers=2),
    ),
    "shipped": Setup(
        "bayesian",
        'quickstudy.load("text"), trained on CLINC150',
        lambda s: frozen(qs.load("text").learner),
        share=0,
        only="banking77",
    ),
}

"""The learners of the benchmark of changed bodies, all on networks of the same size."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from noisy import noisy
from torch import Tensor, nn

import quickstudy as qs
from quickstudy.methods.metric.r2d2 import ridge
from quickstudy.tensors import gaussian_outputs, per_task

HIDDEN, FEATURES = 128, 64


class Setup(NamedTuple):
    """A learner's row; what is set here was chosen on validation bodies.

    Args:
        family: Where the catalogue has it.
        title: In tables.
        build: The learner for inputs and targets of these lengths.
        trains: What it is meta-trained as, where another's weights serve it too.
        lr: The first step size of Adam, which falls to zero along a cosine.
        share: Of the steps that others take, for a method whose steps are dearer.
        spread: Whether its predictions have standard deviations of their own.
    """

    family: str
    title: str
    build: Callable[[int, int], qs.MetaLearner]
    trains: str = ""
    lr: float = 2e-3
    share: float = 1.0
    spread: bool = False


class RidgeCorrected(qs.MetaLearner):
    """Transfer learning in closed form: a network of all bodies, and ridge regression of what it leaves of one.

    The regression is on the last hidden layer, or for no network on the inputs themselves, with a 1 appended.
    """

    def __init__(self, net: nn.Sequential | None, penalty: float):
        super().__init__()
        self.net, self.penalty = net, penalty

    def _features(self, x: Tensor) -> tuple[Tensor, Tensor | float]:
        z = x if self.net is None else per_task(self.net[0], x)
        return torch.cat([z, torch.ones_like(z[..., :1])], -1), 0.0 if self.net is None else self.net[1](z)

    def adapt(self, support: qs.Examples) -> Float[Tensor, "task d outputs"]:
        z, told = self._features(support.x)
        return ridge(z, support.y - told, torch.tensor(self.penalty))

    def predict(self, memory: Float[Tensor, "task d outputs"], x: Tensor) -> torch.distributions.Distribution:
        z, told = self._features(x)
        return qs.gaussian(told + z @ memory)


class Inputs(nn.Flatten):
    """The inputs themselves, for a Gaussian process on them."""

    def __init__(self, d: int):
        super().__init__()
        self.out_features = d


def encoder(x: int, features: int = HIDDEN) -> qs.MLP:
    return qs.MLP(x, HIDDEN, features)


def network(x: int, y: int) -> nn.Sequential:
    return nn.Sequential(nn.Sequential(encoder(x), nn.ReLU()), nn.Linear(HIDDEN, y))


def with_spread(outputs: Tensor) -> torch.distributions.Distribution:
    """Means and standard deviations, as neural processes have them."""
    return gaussian_outputs(outputs, least_std=0.1)


def adapted(x: int, y: int, *, lr: float, steps: int, test_steps: int | None = None) -> qs.MAML:
    return qs.MAML(network(x, y), inner_lr=lr, inner_steps=steps, test_inner_steps=test_steps, likelihood=qs.gaussian)


LEARNERS: dict[str, Setup] = {
    "ridge": Setup("classical", "Ridge regression on the support set", lambda x, y: RidgeCorrected(None, 10.0)),
    "process": Setup(
        "classical",
        "Gaussian process on the support set",
        lambda x, y: noisy(qs.DeepKernelTransfer(Inputs(x), kernel="rbf", targets=y)),
        lr=0.03,
        share=0.05,
        spread=True,
    ),
    "scratch": Setup(
        "transfer",
        "From scratch",
        lambda x, y: qs.FromScratch(network(x, y), steps=100, lr=0.05, likelihood=qs.gaussian),
    ),
    "global": Setup("transfer", "Global model", lambda x, y: adapted(x, y, lr=0.0, steps=0)),
    "global-spread": Setup(
        "transfer",
        "Global model that tells its spread",
        lambda x, y: qs.MAML(network(x, 2 * y), inner_steps=0, likelihood=with_spread),
        spread=True,
    ),
    "global-deep": Setup(
        "transfer",
        "Global model, as deep as a neural process",
        lambda x, y: qs.MAML(
            nn.Sequential(encoder(x), qs.MLP(HIDDEN, HIDDEN, HIDDEN, y)), inner_steps=0, likelihood=qs.gaussian
        ),
    ),
    "fine-tune": Setup(
        "transfer",
        "Global model, fine-tuned",
        lambda x, y: adapted(x, y, lr=0.001, steps=0, test_steps=60),
        trains="global",
    ),
    "corrected": Setup(
        "transfer",
        "Global model, last layer corrected by ridge regression",
        lambda x, y: RidgeCorrected(network(x, y), 100.0),
        trains="global",
    ),
    "r2d2": Setup(
        "metric",
        "R2-D2",
        lambda x, y: qs.R2D2(encoder(x), penalty=1.0, likelihood=qs.gaussian),
    ),
    "maml": Setup("optimization", "MAML", lambda x, y: adapted(x, y, lr=0.005, steps=5), share=0.5),
    "anil": Setup(
        "optimization",
        "ANIL",
        lambda x, y: qs.ANIL(encoder(x), nn.Linear(HIDDEN, y), inner_lr=0.05, inner_steps=5, likelihood=qs.gaussian),
    ),
    "anil-spread": Setup(
        "optimization",
        "ANIL that tells its spread",
        lambda x, y: qs.ANIL(
            encoder(x), nn.Linear(HIDDEN, 2 * y), inner_lr=0.01, inner_steps=5, likelihood=with_spread
        ),
        spread=True,
    ),
    "cnp": Setup(
        "model-based",
        "Conditional neural process",
        lambda x, y: qs.NeuralProcess(encoder(x), targets=y, hidden=HIDDEN),
        spread=True,
    ),
    "anp": Setup(
        "model-based",
        "Attentive neural process",
        lambda x, y: qs.AttentiveNeuralProcess(encoder(x), targets=y, hidden=HIDDEN),
        spread=True,
    ),
    "alpaca": Setup("bayesian", "ALPaCA", lambda x, y: noisy(qs.ALPaCA(encoder(x, FEATURES), targets=y)), spread=True),
    "dkt": Setup(
        "bayesian",
        "Deep kernel transfer",
        lambda x, y: noisy(
            qs.DeepKernelTransfer(encoder(x, FEATURES), kernel="linear", targets=y, objective="predictive")
        ),
        spread=True,
    ),
    "tnp": Setup(
        "in-context",
        "Transformer neural process",
        lambda x, y: qs.TransformerNeuralProcess(encoder(x), targets=y, layers=3),
        share=0.5,
        spread=True,
    ),
}

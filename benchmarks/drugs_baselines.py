"""The field's classical baselines for benchmarks/drugs.py: each knows of a task its support set alone."""

import warnings
from collections.abc import Callable

import numpy as np
import torch
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Hyperparameter, Kernel, WhiteKernel
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor
from torch.distributions import Categorical

import quickstudy as qs
from quickstudy.contract import valid

Answer = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""From the vectors of a support set, its labels and the vectors of queries to each query's probability to be active."""
NEIGHBOURS, TREES, LEAST = 5, 100, 1e-3


class Fitted(qs.MetaLearner):
    """A baseline behind the contract: it remembers the support set, and is fitted to it when it is asked.

    Args:
        answer: The baseline.
        table: The vector of each molecule, by number.
    """

    def __init__(self, answer: Answer, table: np.ndarray):
        super().__init__()
        self.answer, self.table = answer, table

    def adapt(self, support: qs.Examples) -> dict[str, Tensor]:
        return {"x": support.x, "y": support.y, "exists": valid(support)}

    def predict(self, memory: dict[str, Tensor], x: Tensor) -> Categorical:
        told = zip(memory["x"], memory["y"], memory["exists"], x, strict=True)
        each = [
            self.answer(self.table[support[exists].numpy()], y[exists].numpy(), self.table[queries.numpy()])
            for support, y, exists, queries in told
        ]
        p = torch.from_numpy(np.stack(each)).double().clamp(LEAST, 1 - LEAST)
        return qs.categorical(torch.stack([1 - p, p], -1).log())


def tanimoto(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Of each row of a with each of b: the share of the fragments that either has which both have."""
    both = a @ b.T
    either = a.sum(1)[:, None] + b.sum(1) - both
    return np.where(either > 0, both / np.maximum(either, 1), 1)


class Tanimoto(Kernel):
    """The same as a kernel of scikit-learn, without hyper-parameters."""

    hyperparameters: tuple[Hyperparameter, ...] = ()

    def __init__(self):
        """scikit-learn reads the parameters of a kernel here: there are none."""

    def __call__(self, X, Y=None, eval_gradient=False):  # noqa: N803
        k = tanimoto(X, X if Y is None else Y)
        return (k, np.empty((*k.shape, 0))) if eval_gradient else k

    def diag(self, X):  # noqa: N803
        return np.ones(len(X))

    def is_stationary(self):
        return False


def forest(x: np.ndarray, y: np.ndarray, queries: np.ndarray) -> np.ndarray:
    return RandomForestClassifier(TREES, random_state=0).fit(x, y).predict_proba(queries)[:, 1]


def similarity(away: np.ndarray) -> np.ndarray:
    return 1 - away + LEAST


def neighbours(x: np.ndarray, y: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """Votes of the nearest, each as much as it is similar."""
    count = min(NEIGHBOURS, len(x))
    model = KNeighborsClassifier(count, metric="precomputed", weights=similarity)  # pyright: ignore[reportArgumentType]
    return model.fit(1 - tanimoto(x, x), y).predict_proba(1 - tanimoto(queries, x))[:, 1]


def process(x: np.ndarray, y: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """Regression on the labels, with variance and noise of the highest marginal likelihood."""
    kernel = ConstantKernel(1.0, (0.1, 10)) * Tanimoto() + WhiteKernel(0.3, (0.01, 10))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the best may lie at the end of what is allowed
        return np.asarray(GaussianProcessRegressor(kernel, normalize_y=True).fit(x, y.astype(float)).predict(queries))

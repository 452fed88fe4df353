"""Few-shot learners as scikit-learn estimators: `fit` adapts to examples, and changes no weight that tasks share."""

from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor
from torch.distributions import Categorical, Distribution

from quickstudy.contract import Examples, MetaLearner
from quickstudy.evaluation import tempered
from quickstudy.ready import opened


class FewShotClassifier(ClassifierMixin, BaseEstimator):
    """A classifier that learns from a handful of examples of each class, with a confidence that can be trusted.

    Args:
        learner: A trained `MetaLearner`, which takes arrays such as it was trained on; the name of one that ships with
            quickstudy, "table" for rows of numbers and categories; or the folder of a run.

    Attributes:
        classes_: The class labels, sorted.
        memory_: What the learner remembers of the examples.
        ready_: The learner that was fitted.
        encode_: What turns examples into tensors.
        temperature_: By which logits are divided, for as many examples of a class as there were on average.

    Example:
        >>> from sklearn.datasets import load_iris
        >>> x, y = load_iris(return_X_y=True)
        >>> few = FewShotClassifier().fit(x[::10], y[::10])
        >>> few.predict_proba(x[:2]).shape, few.score(x, y) > 0.9
        ((2, 3), True)
    """

    n_features_in_: int
    feature_names_in_: np.ndarray  # where examples had names of columns

    def __init__(self, learner: Any = "table"):
        self.learner = learner

    def fit(self, X: Any, y: Any) -> "FewShotClassifier":
        """Learns the classes of some examples.

        Args:
            X: The examples: rows with the same columns, or arrays [example, *x].
            y: Their labels, numbers or text.

        Raises:
            ValueError: Labels of another number than examples, a single class, or more than the learner was built for.
        """
        self.ready_ = opened(self.learner)
        X, y = self._checked(X, y=y, reset=True)
        check_classification_targets(y)
        self.classes_, numbers = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"there is nothing to tell apart: all examples are of one class, {self.classes_[0]}.")
        self.temperature_ = self.ready_.temperature(len(y) / len(self.classes_))
        self.encode_ = self.ready_.inputs.fit(X)
        x = self.encode_(X)
        ways = widest(self.ready_.learner, x[:1], len(self.classes_))
        with torch.no_grad():
            self.memory_ = self.ready_.learner.adapt(Examples(x[None], torch.as_tensor(numbers)[None], ways))
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """The probability of each class, in the order of `classes_`: [example, class]."""
        return np.exp(self._log_probabilities(X))

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """The logarithm of each class's probability: [example, class]."""
        return self._log_probabilities(X)

    def predict(self, X: Any) -> np.ndarray:
        """The likeliest class of each example."""
        likeliest = self._log_probabilities(X).argmax(1)
        return self.classes_[likeliest]

    def decision_function(self, X: Any) -> np.ndarray:
        """Log-odds: of two classes those of the second, [example]; of more, each against the rest, [example, class]."""
        log = self._log_probabilities(X)
        if log.shape[1] == 2:
            return log[:, 1] - log[:, 0]
        return log - np.log1p(-np.exp(np.minimum(log, -np.finfo(log.dtype).eps)))

    def _log_probabilities(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        x = self.encode_(self._checked(X, reset=False))
        with torch.no_grad():
            predicted = self.ready_.learner.predict(self.memory_, x[None])
        return known(tempered(predicted, self.temperature_), len(self.classes_)).double().numpy()

    def _checked(self, X: Any, **labels: Any) -> Any:
        """The examples, and labels where these are given, in the form that scikit-learn wants them in."""
        rectangular = self.ready_.inputs.rectangular
        return validate_data(
            self,
            X,
            **labels,
            dtype=None if rectangular else np.float32,
            ensure_all_finite="allow-nan" if rectangular else True,
            allow_nd=not rectangular,
        )

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = isinstance(self.learner, str) and self.learner == "table"
        return tags


def known(predicted: Distribution, classes: int) -> Tensor:
    """Log-probabilities of the first classes alone, [query, class]: a learner may have been built for more."""
    assert isinstance(predicted, Categorical)
    return predicted.logits[0, :, :classes].log_softmax(-1)


@torch.no_grad()
def widest(learner: MetaLearner, x: Tensor, classes: int) -> int:
    """The number of ways to adapt with: that of the classes, or more if the learner was built for more.

    Args:
        learner: Any.
        x: An example, without its task axis.
        classes: To be told apart.

    Raises:
        ValueError: The learner was built for fewer classes.
    """
    ways = getattr(learner, "ways", None)
    if ways is None:  # it may show in what it answers
        two = Examples(torch.stack([x, x], 1), torch.tensor([[0, 1]]), classes)
        predicted = learner.predict(learner.adapt(two), x[None])
        assert isinstance(predicted, Categorical)
        ways = predicted.logits.shape[-1]
    if ways < classes:
        raise ValueError(
            f"this {type(learner).__name__} was built for {ways} classes, and there are {classes}; train one for more, "
            f"or take a method for any number, such as PrototypicalNetwork."
        )
    return ways

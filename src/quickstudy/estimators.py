"""Few-shot learners as scikit-learn estimators: `fit` adapts to examples, and changes no weight that tasks share."""

from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import Tags
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from quickstudy.contract import Examples
from quickstudy.encoders.table import mean_and_scale
from quickstudy.evaluation import tempered
from quickstudy.ready import SHIPPED, opened
from quickstudy.tensors import known, widest


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
            ValueError: Labels of another number than examples, a single class, or more than the learner was built for;
                or a learner of numbers.
        """
        self.ready_ = opened(self.learner)
        X, y = checked(self, X, y=y, reset=True)
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
        x = self.encode_(checked(self, X, reset=False))
        with torch.no_grad():
            predicted = self.ready_.learner.predict(self.memory_, x[None])
        return known(tempered(predicted, self.temperature_), len(self.classes_))[0].double().numpy()

    def __sklearn_tags__(self):
        return told_of_gaps(super().__sklearn_tags__(), self.learner)


class FewShotRegressor(RegressorMixin, BaseEstimator):
    """A regressor that learns from a handful of rows, and says how sure it is of each number.

    Numbers are brought to the mean and standard deviation of those it learns from, and predictions turned back.

    Args:
        learner: A trained `MetaLearner` of one number (such as `DeepKernelMixture(targets=1)`), which takes arrays such
            as it was trained on; or the name of one that ships with quickstudy, "table-regression" for rows of numbers
            and categories.

    Attributes:
        mean_: Of the numbers that it learned from.
        scale_: Their standard deviation, or 1 where all are alike.
        memory_: What the learner remembers of the examples.
        ready_: The learner that was fitted.
        encode_: What turns examples into tensors.

    Example:
        >>> from sklearn.datasets import load_diabetes
        >>> x, y = load_diabetes(return_X_y=True)
        >>> few = FewShotRegressor().fit(x[:20], y[:20])
        >>> mean, std = few.predict(x[20:], return_std=True)
        >>> bool((abs(mean - y[20:]) < 1.96 * std).mean() > 0.9)
        True
    """

    n_features_in_: int
    feature_names_in_: np.ndarray  # where examples had names of columns

    def __init__(self, learner: Any = "table-regression"):
        self.learner = learner

    def fit(self, X: Any, y: Any) -> "FewShotRegressor":
        """Learns from some examples.

        Args:
            X: The examples: rows with the same columns, or arrays [example, *x].
            y: Their numbers.

        Raises:
            TypeError: A learner that classifies.
            ValueError: As many numbers as examples are needed, and others came.
        """
        self.ready_ = opened(self.learner)
        X, y = checked(self, X, y=y, reset=True, y_numeric=True)
        self.mean_, self.scale_ = mean_and_scale(np.asarray(y, dtype=float))
        self.encode_ = self.ready_.inputs.fit(X)
        x = self.encode_(X)
        target = torch.as_tensor((y - self.mean_) / self.scale_, dtype=x.dtype)[:, None]
        with torch.no_grad():
            self.memory_ = self.ready_.learner.adapt(Examples(x[None], target[None]))
        return self

    def predict(self, X: Any, return_std: bool = False) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        """The mean of the predictive distribution of each example's number: [example].

        Args:
            X: The examples.
            return_std: Whether to return its standard deviation too, that of the noise included.
        """
        check_is_fitted(self)
        x = self.encode_(checked(self, X, reset=False))
        with torch.no_grad():
            predicted = self.ready_.learner.predict(self.memory_, x[None])
        mean, std = (v[0, :, 0].double().numpy() * self.scale_ for v in (predicted.mean, predicted.stddev))
        return (mean + self.mean_, std) if return_std else mean + self.mean_

    def __sklearn_tags__(self):
        return told_of_gaps(super().__sklearn_tags__(), self.learner)


def checked(estimator: FewShotClassifier | FewShotRegressor, X: Any, **how: Any) -> Any:
    """The examples, and labels where these are given, in the form that scikit-learn wants them in."""
    rectangular = estimator.ready_.inputs.rectangular
    return validate_data(
        estimator,
        X,
        **how,
        dtype=None if rectangular else np.float32,
        ensure_all_finite="allow-nan" if rectangular else True,
        allow_nd=not rectangular,
    )


def told_of_gaps(tags: Tags, learner: Any) -> Tags:
    """The tags, with whether values may be missing: in rows of tables they may."""
    shipped = SHIPPED.get(learner) if isinstance(learner, str) else None
    tags.input_tags.allow_nan = shipped is not None and shipped[1].rectangular
    return tags

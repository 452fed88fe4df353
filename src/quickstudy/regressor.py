"""A few-shot learner of numbers as a scikit-learn estimator."""

from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted
from torch import Tensor
from torch.distributions import Categorical

from quickstudy.contract import Examples
from quickstudy.encoders.table import mean_and_scale
from quickstudy.estimator_inputs import check_room, checked, parts, told_of_gaps
from quickstudy.ready import opened


class FewShotRegressor(RegressorMixin, BaseEstimator):
    """A regressor that learns from a handful of rows, and says how sure it is of each number.

    Numbers are brought to the mean and standard deviation of those it learns from, and predictions turned back.

    Args:
        learner: A trained `MetaLearner` of one number (such as `DeepKernelMixture(targets=1)`), which takes arrays such
            as it was trained on; or the name of one that ships with quickstudy, "table-regression" for rows of numbers
            and categories.

    Attributes:
        support_: The examples, encoded, and their numbers, so turned; None if it was loaded from a file.
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
    label_name_: str  # where labels are from a column of a file
    holds_examples_: bool  # of one that was loaded: see `save_task`
    support_: tuple[Tensor, Tensor] | None

    def __init__(self, learner: Any = "table-regression"):
        self.learner = learner

    def fit(self, X: Any, y: Any) -> "FewShotRegressor":
        """Learns from some examples.

        Args:
            X: The examples: rows with the same columns, or arrays `[example, *x]`.
            y: Their numbers.

        Raises:
            TypeError: A learner that classifies.
            ValueError: As many numbers as examples are needed, and others came; or there is no memory for so many.
        """
        ready = opened(self.learner)
        name, learner = ready.source.get("shipped"), ready.learner
        if name and getattr(learner, "targets", None) is None:
            raise TypeError(
                f"{name!r} was built for classes, but the tasks have targets that are numbers; of the learners that "
                f"ship, 'table-regression' tells those. For classes take FewShotClassifier({name!r})."
            )
        X, y = checked(self, ready.inputs.kind, X, y=y, reset=True, y_numeric=True)
        y = np.asarray(y, dtype=float)
        mean, scale = mean_and_scale(y)
        encode = ready.inputs.fit(X)
        x = encode(X)
        check_room(learner, x)
        target = torch.as_tensor((y - mean) / scale, dtype=x.dtype)[:, None]
        with torch.no_grad():
            memory = learner.adapt(Examples(x[None], target[None]))
            if isinstance(learner.predict(memory, x[None, :1]), Categorical):
                raise TypeError(f"this {type(learner).__name__} tells classes; take FewShotClassifier for those.")
        self.ready_, self.encode_, self.mean_, self.scale_ = ready, encode, mean, scale
        self.memory_, self.support_ = memory, (x, target)
        return self

    def predict(self, X: Any, return_std: bool = False) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        """The mean of the predictive distribution of each example's number: [example].

        Args:
            X: The examples.
            return_std: Whether to return its standard deviation too, that of the noise included.
        """
        check_is_fitted(self, "memory_")
        x = self.encode_(checked(self, self.ready_.inputs.kind, X, reset=False))
        learner = self.ready_.learner
        with torch.no_grad():
            told = [learner.predict(self.memory_, part[None]) for part in parts(learner, x)]
        both = (torch.cat([p.mean for p in told], 1), torch.cat([p.stddev for p in told], 1))
        mean, std = (v[0, :, 0].double().numpy() * self.scale_ for v in both)
        return (mean + self.mean_, std) if return_std else mean + self.mean_

    def __sklearn_tags__(self):
        return told_of_gaps(super().__sklearn_tags__(), self.learner)

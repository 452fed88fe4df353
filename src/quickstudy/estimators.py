"""Few-shot learners as scikit-learn estimators: `fit` adapts to examples, and changes no weight that tasks share."""

from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Shaped
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted
from torch import Tensor
from torch.distributions import Distribution

from quickstudy.confidence import check_share
from quickstudy.conformal import Own, of_own, sets, share_less_unlike, unlike_seen
from quickstudy.contract import Examples
from quickstudy.estimator_inputs import check_classes, check_room, checked, parts, told_of_gaps
from quickstudy.more_examples import Curve, more_examples
from quickstudy.none_of_these import predicted_and_seen
from quickstudy.ready import Ready, opened
from quickstudy.scores import tempered
from quickstudy.tensors import known, widest


class Answered(NamedTuple):
    """All that a classifier answers of some examples.

    Args:
        classes: The class labels, sorted.
        probabilities: Of each class; see `FewShotClassifier.predict_proba`.
        sets: The classes that may be the right one; see `FewShotClassifier.predict_set`.
        none_of_these: How unlike all classes each is; see `FewShotClassifier.none_of_these`.
        embeddings: What the learner saw of each; None where it sees more than an embedding.
    """

    classes: Shaped[np.ndarray, " class"]
    probabilities: Float[np.ndarray, "example class"]
    sets: Bool[np.ndarray, "example class"]
    none_of_these: Float[np.ndarray, " example"]
    embeddings: Float[Tensor, "example d"] | None


class FewShotClassifier(ClassifierMixin, BaseEstimator):
    """A classifier that learns from a handful of examples of each class, with a confidence that can be trusted.

    Args:
        learner: A trained `MetaLearner`, which takes arrays such as it was trained on; the folder of a run; or the name
            of one that ships with quickstudy, such as "table" for rows of numbers and categories or "images" (see
            `load`).

    Attributes:
        classes_: The class labels, sorted.
        support_: The examples, encoded, and the numbers of their classes; None if it was loaded from a file.
        memory_: What the learner remembers of the examples.
        ready_: The learner that was fitted.
        encode_: What turns examples into tensors.
        calibration_: What the learner's answers are worth with as many examples of a class as there were on average;
            None where nobody has measured it.

    Example:
        >>> from sklearn.datasets import load_iris
        >>> x, y = load_iris(return_X_y=True)
        >>> few = FewShotClassifier().fit(x[::10], y[::10])
        >>> few.predict_proba(x[:2]).shape, few.score(x, y) > 0.9
        ((2, 3), True)
    """

    n_features_in_: int
    feature_names_in_: np.ndarray  # where examples had names of columns
    label_name_: str  # where labels are from a column of a file
    holds_examples_: bool  # of one that was loaded: see `save_task`
    support_: tuple[Tensor, Tensor] | None
    own_: Own | None

    def __init__(self, learner: Any = "table"):
        self.learner = learner

    def fit(self, X: Any, y: Any) -> "FewShotClassifier":
        """Learns the classes of some examples.

        Args:
            X: The examples: rows with the same columns, arrays `[example, *x]`, or a list of pictures (paths, PIL
                pictures or arrays of bytes), texts or SMILES.
            y: Their labels, numbers or text.

        Raises:
            ValueError: Labels of another number than examples, a single class, or more than the learner was built for;
                more examples than there is memory for; or a learner of numbers.
        """
        ready = opened(self.learner)
        X, y = checked(self, ready.inputs.kind, X, y=y, reset=True)
        check_classes(y)
        classes, numbers = np.unique(y, return_inverse=True)
        if len(classes) < 2:
            raise ValueError(f"there is nothing to tell apart: all examples are of one class, {classes[0]}.")
        encode = ready.inputs.fit(X)
        self._adapt(ready, encode(X), torch.as_tensor(numbers), classes)
        self.encode_ = encode
        return self

    def partial_fit(self, X: Any, y: Any, classes: Any = None) -> "FewShotClassifier":
        """Learns from more examples beside those it has, of the same classes or of others; the first call is a fit.

        Rows stay encoded as the first examples had them; what is remembered is what all examples together would give.

        Args:
            X, y: See `fit`.
            classes: As scikit-learn has it, ignored: classes are those of the examples so far.

        Raises:
            ValueError: See `fit`; or labels of another kind, or it was loaded from a file, which holds no examples.
        """
        if not hasattr(self, "memory_"):
            return self.fit(X, y)
        if self.support_ is None:
            raise ValueError(
                "a task from a file holds no examples, to which more could be added; fit all of them anew."
            )
        X, y = checked(self, self.ready_.inputs.kind, X, y=y, reset=False)
        check_classes(y)
        if (y.dtype.kind in "biuf") != (self.classes_.dtype.kind in "biuf"):
            raise ValueError(f"labels so far are such as {self.classes_[0]}; {y[0]} is of another kind.")
        before, numbers = self.support_
        labels = np.concatenate([self.classes_[numbers.numpy()], y])
        classes, numbers = np.unique(labels, return_inverse=True)
        self._adapt(self.ready_, torch.cat([before, self.encode_(X)]), torch.as_tensor(numbers), classes)
        return self

    def _adapt(self, ready: Ready, x: Tensor, numbers: Tensor, classes: np.ndarray) -> None:
        """Learns the examples; what fails changes nothing."""
        learner, ways = ready.learner, len(classes)
        check_room(learner, x)
        with torch.no_grad():
            memory = learner.adapt(Examples(x[None], numbers[None], widest(learner, x[:1], ways)))
        told = ready.calibration(ways, len(x) / ways)
        own = None if told is None else of_own(learner, x, numbers, ways, told)  # the temperature is theirs too
        self.ready_, self.classes_, self.support_, self.memory_ = ready, classes, (x, numbers), memory
        self.calibration_, self.own_ = told, own

    @property
    def temperature_(self) -> float:
        """By which logits are divided: what other tasks and this one's own examples make likely."""
        return 1.0 if self.calibration_ is None else self.own().temperature

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

    def answer(self, X: Any, missed: float = 0.1) -> Answered:
        """Probabilities, sets and whether it is none of these, with each example read, encoded and asked for once.

        Args:
            X: Examples such as it was fitted to.
            missed: See `predict_set`.

        Raises:
            ValueError: A share that is none.
        """
        check_share(missed)
        check_is_fitted(self, "memory_")
        x = self.encode_(checked(self, self.ready_.inputs.kind, X, reset=False))
        own, told, log, embeddings = self.own(), self.calibration_, [], []
        with torch.no_grad():
            for part in parts(self.ready_.learner, x):
                predicted, z = predicted_and_seen(self.ready_.learner, self.memory_, part[None])
                log.append(self._tempered(predicted))
                embeddings += [] if z is None else [z[0]]
            p, seen = np.exp(np.concatenate(log)), torch.cat(embeddings) if embeddings else None
            none = share_less_unlike(unlike_seen(own, seen, p), own, told)
        return Answered(self.classes_, p, sets(p, own, told, missed), none, seen)

    def predict_set(self, X: Any, missed: float = 0.1) -> np.ndarray:
        """The classes that may be the right one, true in [example, class]; it is missed no oftener than said.

        That is a promise over many tasks and queries, where it was measured on other tasks with as many examples: a set
        is empty where no class fits as well as right classes nearly always do. A learner of your own knows its own
        examples alone, and with n of them, each of whose classes has another, can promise to miss 1 in n + 1 at best,
        where n counts no more than 100; below that a set holds every class. See `conformal`.

        Args:
            X: Examples such as it was fitted to.
            missed: The share of queries whose right class a set may lack, between 0 and 1.

        Raises:
            ValueError: A share that is none.
        """
        return self.answer(X, missed).sets

    def none_of_these(self, X: Any) -> np.ndarray:
        """How unlike all classes each example is: the share of examples of these classes that are less so. [example]

        Near 1 for an example of a class that nobody has shown; then "none of these" is the answer. Without a
        calibration a task with one example of each class can tell nothing, and it is 0.
        """
        return self.answer(X).none_of_these

    def more_examples(self) -> Curve:
        """What accuracy to expect with fewer examples of each class, and with twice as many; see `more_examples`.

        Raises:
            ValueError: A class with one example; or it was loaded from a file, which holds no examples.
        """
        check_is_fitted(self, "memory_")
        if self.support_ is None:
            raise ValueError("a task from a file holds no examples, on which accuracy could be measured; fit it anew.")
        return more_examples(self.ready_.learner, *self.support_, len(self.classes_))

    def own(self) -> Own:
        """What the examples tell of those to come; for a learner of your own, found when it is first asked for."""
        if self.own_ is None:
            assert self.support_ is not None  # or it came from a file, with what they told
            x, y = self.support_
            self.own_ = of_own(self.ready_.learner, x, y, len(self.classes_), self.calibration_)
        return self.own_

    def decision_function(self, X: Any) -> np.ndarray:
        """Log-odds: of two classes those of the second, [example]; of more, each against the rest, [example, class]."""
        log = self._log_probabilities(X)
        if log.shape[1] == 2:
            return log[:, 1] - log[:, 0]
        return log - np.log1p(-np.exp(np.minimum(log, -np.finfo(log.dtype).eps)))

    def _log_probabilities(self, X: Any) -> np.ndarray:
        check_is_fitted(self, "memory_")
        x = self.encode_(checked(self, self.ready_.inputs.kind, X, reset=False))
        learner = self.ready_.learner
        with torch.no_grad():
            log = [self._tempered(learner.predict(self.memory_, part[None])) for part in parts(learner, x)]
        return np.concatenate(log)

    def _tempered(self, predicted: Distribution) -> np.ndarray:
        return known(tempered(predicted, self.temperature_), len(self.classes_))[0].double().numpy()

    def __sklearn_tags__(self):
        return told_of_gaps(super().__sklearn_tags__(), self.learner)

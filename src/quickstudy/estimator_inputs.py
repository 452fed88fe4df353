"""What users hand to estimators, in the form that scikit-learn wants it in, and that learners take."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import Tags, check_consistent_length, column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import validate_data
from torch import Tensor

from quickstudy.allocator import free_memory
from quickstudy.contract import MetaLearner
from quickstudy.methods.bayesian.deep_kernel_mixture import DeepKernelMixture
from quickstudy.shipped import SHIPPED

AT_ONCE = 512
"""Queries that are asked for at a time."""
MATRICES = 8
"""Of numbers for each pair of examples, that a kernel of a mixture takes at once while it learns, as measured."""


def checked(estimator: BaseEstimator, kind: str, X: Any, **how: Any) -> Any:
    """The examples, and labels where these are given, as scikit-learn's `validate_data` would have them.

    Args:
        estimator: Whose examples they are.
        kind: Of `Inputs`; lists of pictures, texts and molecules are no arrays, and pass as lists. Arrays of bytes
            become floats in [0, 1].
        X: The examples.
        how: For `validate_data`.
    """
    if kind not in ("rows", "arrays"):
        return listed(X, kind, how.get("y"))
    types = X.dtypes if kind == "rows" and getattr(X, "ndim", 0) == 2 and hasattr(X, "dtypes") else ()
    if any(getattr(one, "kind", None) in ("m", "M") or hasattr(one, "categories") for one in types):
        X = X.astype(object)  # dates or names, and numbers, have no type in common
    if kind == "arrays" and str(getattr(X, "dtype", "")).endswith("uint8"):
        X = np.asarray(X, dtype=np.float32) / 255  # as labelled data has it
    return validate_data(
        estimator,
        X,
        **how,
        dtype=None if kind == "rows" else np.float32,
        ensure_all_finite="allow-nan" if kind == "rows" else True,
        allow_nd=kind == "arrays",
    )


def check_classes(y: np.ndarray) -> None:
    """Refuses labels that are no classes; that there are many of one example each is as it should be.

    Raises:
        ValueError: Such labels.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The number of unique classes is greater than 50%", UserWarning)
        check_classification_targets(y)


def check_room(learner: MetaLearner, x: Tensor) -> None:
    """Refuses more examples than there is memory for, where a learner keeps a number for each pair of them.

    Raises:
        ValueError: They are too many.
    """
    free = free_memory()
    if free is None or not isinstance(learner, DeepKernelMixture):
        return
    each = MATRICES * learner.kernels * x.element_size()  # bytes for a pair
    if len(x) ** 2 * each > free:
        raise ValueError(
            f"{len(x):,} examples need about {len(x) ** 2 * each / 2**30:,.1f} GiB of memory to learn from, and "
            f"{free / 2**30:,.1f} GiB are free, enough for {int((free / each) ** 0.5):,}. Pass fewer, such as a sample."
        )


def parts(learner: MetaLearner, x: Tensor) -> Sequence[Tensor]:
    """Queries to ask for at a time: so many that memory does not grow with them, unless they depend on each other."""
    return [x] if learner.transductive else x.split(AT_ONCE)


def listed(X: Any, kind: str, y: Any = None) -> Any:
    """A list of items, and their labels where these are given.

    Raises:
        TypeError: Something that is no list.
        ValueError: No items, more columns than one, or labels of another number.
    """
    if isinstance(X, (str, bytes)) or not hasattr(X, "__len__") or not hasattr(X, "__iter__"):
        raise TypeError(f"needed a list of {kind}; got {X!r}.")
    if hasattr(X, "columns") and len(X.shape) == 2:
        if X.shape[1] != 1:
            raise ValueError(f"{kind} stand in one column; of {', '.join(map(str, X.columns))}, pass the one of them.")
        X = X[X.columns[0]]
    items = list(X)
    if not items:
        raise ValueError(f"there are no {kind}: the list is empty.")
    if y is None:
        return items
    check_consistent_length(items, y)
    return items, column_or_1d(y)


def as_json(labels: np.ndarray) -> list:
    """Labels as a file holds them that is read anywhere.

    Raises:
        TypeError: Labels that are neither text nor numbers, such as dates, which would come back as something else.
    """
    if labels.dtype.kind not in "biufUTO":
        raise TypeError(
            f"labels of type {labels.dtype}, such as {labels[0]}, cannot be written to a file, which holds text and "
            f"numbers; fit with labels that are one or the other, such as [str(label) for label in y]."
        )
    return labels.tolist()


def told_of_gaps(tags: Tags, learner: Any) -> Tags:
    """The tags, with whether values may be missing: in rows of tables they may."""
    shipped = SHIPPED.get(learner) if isinstance(learner, str) else None
    tags.input_tags.allow_nan = shipped is not None and shipped[1].kind == "rows"
    return tags

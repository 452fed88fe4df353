"""The field's classical baselines for benchmarks/recommendation.py, each a function of the ratings told of one user.

They know the training ratings as every method does, and of a user in a test nothing but the ratings that are told
there: an item that is new stays so, whatever other users in the test said of it.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from quickstudy.data.ratings import ColdStart
from quickstudy.tasks.user_ratings import features

Answer = Callable[[Tensor, Tensor], np.ndarray]
"""From the rows that are told and those that are asked for to predicted ratings."""


class Biases(NamedTuple):
    """Damped means (Koren, 2010): of all ratings, how much better an item is rated, and a function of a user's own.

    https://doi.org/10.1145/1644873.1644874
    """

    split: ColdStart
    mean: float
    item: np.ndarray
    damping: float

    def user(self, told: Tensor) -> float:
        """How much more a user gives than others give the same items."""
        return float(self.rest(told).sum() / (len(told) + self.damping))

    def rest(self, rows: Tensor) -> np.ndarray:
        """What the mean and the items do not explain of some ratings."""
        return self.split.ratings.value[rows].numpy() - self.of_items(rows)

    def of_items(self, rows: Tensor) -> np.ndarray:
        return self.mean + self.item[self.split.ratings.item[rows].numpy()]


def biases(split: ColdStart, item_damping: float = 5.0, user_damping: float = 3.0) -> Biases:
    """Those of the training ratings, by which an item that nobody rated there is like all."""
    value, item = split.ratings.value[split.train].numpy(), split.ratings.item[split.train].numpy()
    mean, items = float(value.mean()), len(split.ratings.titles)
    total = np.bincount(item, value - mean, items)
    return Biases(split, mean, total / (np.bincount(item, minlength=items) + item_damping), user_damping)


def global_mean(split: ColdStart) -> Answer:
    found = biases(split)
    return lambda told, asked: np.full(len(asked), found.mean)


def user_mean(split: ColdStart) -> Answer:
    found, value = biases(split), split.ratings.value

    def answer(told: Tensor, asked: Tensor) -> np.ndarray:
        own = (value[told].numpy() - found.mean).sum() / (len(told) + found.damping)
        return np.full(len(asked), found.mean + own)

    return answer


def item_mean(split: ColdStart) -> Answer:
    found = biases(split)
    return lambda told, asked: found.of_items(asked)


def both_means(split: ColdStart) -> Answer:
    found = biases(split)
    return lambda told, asked: found.of_items(asked) + found.user(told)


def genres(split: ColdStart, penalty: float = 10.0) -> Answer:
    """Both means, and a ridge regression of what they leave on the items' genres and decade, for each user."""
    from sklearn.linear_model import Ridge

    found, (properties, _, kinds) = biases(split), features(split.ratings)
    x = torch.cat([kinds, torch.nn.functional.one_hot(properties[:, 0])], 1).numpy()

    def answer(told: Tensor, asked: Tensor) -> np.ndarray:
        rows = split.ratings.item
        model = Ridge(penalty, fit_intercept=False).fit(x[rows[told]], found.rest(told) - found.user(told))
        return found.of_items(asked) + found.user(told) + model.predict(x[rows[asked]])

    return answer


def matrix_factorisation(split: ColdStart, factors: int = 20, reg: float = 0.1, epochs: int = 30) -> Answer:
    """Surprise's SVD, whose item factors a user is folded into by ridge regression on what is told of them.

    An item that nobody rated in training has no factors, and a user has no other than from what is told.
    """
    import pandas as pd
    import surprise

    ratings = split.ratings
    columns = {"user": ratings.user, "item": ratings.item, "value": ratings.value}
    frame = pd.DataFrame({name: tensor[split.train].numpy() for name, tensor in columns.items()})
    data = surprise.Dataset.load_from_df(frame, surprise.Reader(rating_scale=(1, 5))).build_full_trainset()
    model = surprise.SVD(n_factors=factors, reg_all=reg, n_epochs=epochs, random_state=0).fit(data)
    inner = np.array([data.to_inner_iid(i) if split.known[i] else -1 for i in range(len(ratings.titles))])
    q = np.where(inner[:, None] < 0, 0.0, model.qi[inner])
    bias = np.where(inner < 0, 0.0, model.bi[inner])
    q = np.column_stack([np.ones(len(q)), q])  # beside the factors a bias
    spread = np.diag([1.0, *[reg_ratio(model)] * factors])

    def answer(told: Tensor, asked: Tensor) -> np.ndarray:
        mine, theirs = ratings.item[told].numpy(), ratings.item[asked].numpy()
        rest = ratings.value[told].numpy() - data.global_mean - bias[mine]
        own = np.linalg.solve(q[mine].T @ q[mine] + FOLD_IN * spread, q[mine].T @ rest)
        return data.global_mean + bias[theirs] + q[theirs] @ own

    return answer

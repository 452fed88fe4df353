"""The field's classical baselines for benchmarks/recommendation.py, each a function of the ratings told of one user.

They know the training ratings as every method does, and of a user in a test nothing but the ratings that are told
there: an item that is new stays so, whatever other users in the test said of it. Damping, penalties, factors and epochs
were chosen on validation users.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from quickstudy.data.ratings import ColdStart
from quickstudy.tasks.user_ratings import UserRatings

Answer = Callable[[Tensor, int, Tensor], np.ndarray]
"""From the rows that are told, the number of the user and the items that are asked for to predicted ratings."""
FACTORS, EPOCHS, REGULARISATION, FOLD_IN = 20, 60, 0.1, 3.0
GENRES_PENALTY, WIDE_PENALTY = 10.0, 1e-5


class Biases(NamedTuple):
    """Damped means (Koren, 2010): the mean of all ratings, and how much better each item is rated.

    https://doi.org/10.1145/1644873.1644874
    """

    split: ColdStart
    mean: float
    item: np.ndarray
    damping: float

    def rest(self, told: Tensor) -> np.ndarray:
        """What the mean and the items do not explain of some ratings."""
        ratings = self.split.ratings
        return ratings.value[told].numpy() - self.mean - self.item[ratings.item[told].numpy()]

    def __call__(self, told: Tensor, user: int, items: Tensor) -> np.ndarray:
        """An item's mean, and how much more this user gives than others give the same items."""
        return self.mean + self.item[items.numpy()] + self.rest(told).sum() / (len(told) + self.damping)


def both_means(split: ColdStart, item_damping: float = 3.0, user_damping: float = 1.0) -> Biases:
    """Those of the training ratings, by which an item that nobody rated there is like all."""
    value, item = split.ratings.value[split.train].numpy(), split.ratings.item[split.train].numpy()
    mean, items = float(value.mean()), len(split.ratings.titles)
    total, count = np.bincount(item, value - mean, items), np.bincount(item, minlength=items)
    return Biases(split, mean, total / (count + item_damping), user_damping)


def global_mean(split: ColdStart) -> Answer:
    mean = both_means(split).mean
    return lambda told, user, items: np.full(len(items), mean)


def item_mean(split: ColdStart) -> Answer:
    found = both_means(split)
    return lambda told, user, items: found.mean + found.item[items.numpy()]


def user_mean(split: ColdStart) -> Answer:
    found = both_means(split)
    return found._replace(item=np.zeros_like(found.item))


def genres(split: ColdStart) -> Answer:
    """Both means, and for each user a ridge regression of what they leave on genres and decade (scikit-learn)."""
    from sklearn.linear_model import Ridge

    means, ratings = both_means(split), split.ratings
    x = torch.cat([ratings.kinds, one_hot(ratings.items[:, 0])], 1).numpy()

    def answer(told: Tensor, user: int, items: Tensor) -> np.ndarray:
        rest = means.rest(told) - means.rest(told).sum() / (len(told) + means.damping)
        model = Ridge(GENRES_PENALTY, fit_intercept=False).fit(x[ratings.item[told].numpy()], rest)
        return means(told, user, items) + model.predict(x[items.numpy()])

    return answer


def matrix_factorisation(split: ColdStart) -> Answer:
    """Surprise's SVD, whose item factors a user is folded into by ridge regression on what is told of them.

    An item that nobody rated in training has no factors.
    """
    import pandas as pd
    import surprise  # pyright: ignore[reportMissingImports]

    ratings = split.ratings
    columns = {"user": ratings.user, "item": ratings.item, "value": ratings.value}
    frame = pd.DataFrame({name: tensor[split.train].numpy() for name, tensor in columns.items()})
    data = surprise.Dataset.load_from_df(frame, surprise.Reader(rating_scale=(1, 5))).build_full_trainset()
    model = surprise.SVD(FACTORS, EPOCHS, reg_all=REGULARISATION, random_state=0).fit(data)
    bias, factors = np.zeros(len(ratings.titles)), np.zeros((len(ratings.titles), 1 + FACTORS))
    factors[:, 0] = 1  # beside the factors each user has a bias
    for item in split.known.nonzero().flatten().tolist():
        inner = data.to_inner_iid(item)
        bias[item], factors[item, 1:] = model.bi[inner], model.qi[inner]

    def answer(told: Tensor, user: int, items: Tensor) -> np.ndarray:
        rated = ratings.item[told].numpy()
        rest = ratings.value[told].numpy() - data.global_mean - bias[rated]
        gram = factors[rated].T @ factors[rated] + FOLD_IN * np.eye(1 + FACTORS)
        own = np.linalg.solve(gram, factors[rated].T @ rest)
        return data.global_mean + bias[items.numpy()] + factors[items.numpy()] @ own

    return answer


def wide_and_deep(split: ColdStart, epochs: int = 3) -> Answer:
    """Wide & Deep (Cheng et al., 2016) by DeepCTR, which learns nothing from what is told.

    It sees what every method sees of a user and an item. https://arxiv.org/abs/1606.07792
    """
    from deepctr_torch.inputs import DenseFeat, SparseFeat  # pyright: ignore[reportMissingImports]
    from deepctr_torch.models import WDL  # pyright: ignore[reportMissingImports]

    ratings = split.ratings
    codes = {f"code{n}": count for n, count in enumerate(ratings.codes)}
    flags = [f"flag{n}" for n in range(len(ratings.kind_names))]
    features = [SparseFeat(name, count, embedding_dim=32) for name, count in codes.items()]
    features += [DenseFeat(name, 1) for name in flags]
    tasks = UserRatings(ratings, split.train, split.known)

    def columns(user: Tensor, item: Tensor) -> dict[str, np.ndarray]:
        return dict(zip([*codes, *flags], tasks.inputs(user[None], item[None])[0].T.numpy(), strict=True))

    model = WDL(
        features,
        features,
        dnn_hidden_units=(64, 64),
        l2_reg_embedding=WIDE_PENALTY,
        l2_reg_linear=WIDE_PENALTY,
        seed=0,
        task="regression",
    )
    model.compile("adam", "mse")
    x = columns(ratings.user[split.train], ratings.item[split.train])
    model.fit(x, ratings.value[split.train].numpy(), batch_size=256, epochs=epochs, verbose=0)

    def answer(told: Tensor, user: int, items: Tensor) -> np.ndarray:
        return model.predict(columns(torch.full_like(items, user), items), 256)

    return answer


BASELINES: dict[str, tuple[str, Callable[[ColdStart], Answer]]] = {
    "global-mean": ("Mean of all ratings", global_mean),
    "item-mean": ("Item's mean", item_mean),
    "user-mean": ("User's mean", user_mean),
    "both-means": ("Item's and user's mean", both_means),
    "genres": ("Both, and ridge regression on genres (scikit-learn)", genres),
    "matrix-factorisation": ("Matrix factorisation (Surprise)", matrix_factorisation),
    "wide-and-deep": ("Wide & Deep (DeepCTR-Torch)", wide_and_deep),
}

"""What benchmarks/recommendation.py finds of a method: errors, rankings and intervals of users, and an example."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from recommendation_baselines import Answer
from scipy.stats import norm
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

import quickstudy as qs
from quickstudy.data.files import digest
from quickstudy.data.ratings import CELLS, ColdStart, Held, held
from quickstudy.tasks.user_ratings import MIDDLE

KNOWN, LONG = (1, 2, 4, 8, 16, 32), 32
"""Numbers of ratings told, for the curve over users who have the most of them to tell."""
OFTEN, NEXT, SURE = 40, 5, norm.ppf(0.95)
"""Films rated so often in training may be recommended; so many are shown; half the width of a 90% interval."""
Predictor = Callable[[Sequence[Held], Sequence[Tensor]], list[tuple[np.ndarray, np.ndarray | None]]]
"""From users and the items that each is asked about to predicted ratings, and standard deviations where there are."""


def by_learner(learner: qs.MetaLearner, split: ColdStart, spread: bool, chunk: int = 50) -> Predictor:
    tasks = qs.UserRatings(split.ratings, split.train, split.known)
    learner.eval()

    @torch.no_grad()
    def predict(users: Sequence[Held], items: Sequence[Tensor]) -> list:
        found = []
        for start in range(0, len(users), chunk):
            some, asked = users[start : start + chunk], items[start : start + chunk]
            item = pad_sequence(list(asked), batch_first=True)
            user = torch.tensor([one.user for one in some])[:, None].expand_as(item)
            answers = learner.predict(learner.adapt(tasks.of(some).support), tasks.inputs(user, item))
            mean, std = (answers.mean + MIDDLE)[..., 0].numpy(), answers.stddev[..., 0].numpy()
            found += [(m[: len(i)], s[: len(i)] if spread else None) for m, s, i in zip(mean, std, asked, strict=True)]
        return found

    return predict


def by_baseline(answer: Answer) -> Predictor:
    return lambda users, items: [
        (np.asarray(answer(one.support, one.user, asked)).reshape(-1), None)
        for one, asked in zip(users, items, strict=True)
    ]


def scored(split: ColdStart, users: Sequence[Held], predict: Predictor, spread: float) -> dict[str, list[float]]:
    """Per user the mean absolute error, nDCG, nats, and the share within and half the width of 90% intervals."""
    asked = torch.stack([one.query for one in users])
    answers = predict(users, list(split.ratings.item[asked]))
    truth, ranked = split.ratings.value[asked].numpy(), np.stack([m for m, _ in answers])
    mean, std = in_stars(ranked), np.stack([np.full(len(m), spread) if s is None else s for m, s in answers])
    error = np.abs(mean - truth)
    rows = {
        "mae": error.mean(1),
        "ndcg1": ndcg(truth, ranked, 1),
        "ndcg3": ndcg(truth, ranked, 3),
        "nats": norm.logpdf(truth, mean, std).mean(1),
        "within": (error <= SURE * std).mean(1),
        "width": SURE * std.mean(1),
    }
    return {name: per_user(users, values) for name, values in rows.items()}


def in_stars(predicted: np.ndarray) -> np.ndarray:
    """Cut off at one and at five stars, beyond which nothing is; rankings are of what was predicted."""
    return np.clip(predicted, 1, 5)


def per_user(users: Sequence[Held], values: np.ndarray) -> list[float]:
    """The mean over each user's tasks, user by user in the order in which they come."""
    numbers = np.array([one.user for one in users])
    each = dict.fromkeys(numbers.tolist())
    return [round(float(values[numbers == user].mean()), 4) for user in each]


def ndcg(truth: np.ndarray, predicted: np.ndarray, k: int) -> np.ndarray:
    """nDCG@k of each row, with 2^rating - 1 as gain: scikit-learn's `ndcg_score` of such, of all rows at once.

    What is predicted alike shares the discounts of its places (McSherry & Najork, 2008).
    https://doi.org/10.1007/978-3-540-78646-7_38
    """
    gain = 2**truth - 1
    discount = np.where(np.arange(truth.shape[1]) < k, 1 / np.log2(np.arange(truth.shape[1]) + 2), 0)
    before = np.concatenate([[0], discount.cumsum()])

    def dcg(order: np.ndarray) -> np.ndarray:
        above = (order[:, None] > order[..., None]).sum(-1)
        alike = (order[:, None] == order[..., None]).sum(-1)
        return (gain * (before[above + alike] - before[above]) / alike).sum(1)

    return dcg(predicted) / dcg(truth)


def absolute(split: ColdStart, users: Sequence[Held], predict: Predictor) -> list[float]:
    """The mean absolute error of each user."""
    return per_user(users, np.array([np.abs(wrong).mean() for wrong in wrongs(split, users, predict)]))


def wrongs(split: ColdStart, users: Sequence[Held], predict: Predictor) -> list[np.ndarray]:
    """What each task's answers are off by, in stars."""
    found = predict(users, [split.ratings.item[one.query] for one in users])
    return [in_stars(m) - split.ratings.value[one.query].numpy() for one, (m, _) in zip(users, found, strict=True)]


def residual(split: ColdStart, predict: Predictor, seed: int) -> float:
    """The root mean square error of validation users: the spread of a method that tells none."""
    users = held(split.ratings, split.validation, seed)
    return float(np.sqrt(np.mean(np.concatenate(wrongs(split, users, predict)) ** 2)))


def tested(split: ColdStart, predict: Predictor, seed: int) -> dict:
    """Everything that is told of one method."""
    spread = residual(split, predict, seed)
    new = split.tests[CELLS[1]]
    long = [one for one in new if len(one.support) >= LONG]
    known = {k: [one._replace(support=one.support[:k]) for one in long] for k in KNOWN} if len(long) > 1 else {}
    return {
        "hash": digest(f"{cell} {one}" for cell, users in split.tests.items() for one in map(plain, users)),
        "validation_rmse": spread,
        "users": {cell: list(dict.fromkeys(one.user for one in users)) for cell, users in split.tests.items()},
        "tests": {cell: scored(split, users, predict, spread) for cell, users in split.tests.items()},
        "by_known": {k: absolute(split, users, predict) for k, users in known.items()},
        "example": example(split, min(new, key=lambda one: abs(len(one.support) - 8)), predict, spread),
    }


def plain(one: Held) -> tuple:
    return one.user, one.support.tolist(), one.query.tolist()


def example(split: ColdStart, one: Held, predict: Predictor, spread: float) -> dict:
    """A new user: what was told, what was answered, and what is recommended next, with half a 90% interval each."""
    ratings, value = split.ratings, split.ratings.value
    counts = torch.bincount(ratings.item[split.train], minlength=len(ratings.titles))
    counts[ratings.item[one.support]] = 0  # nobody is recommended what they have seen
    asked, often = ratings.item[one.query], (counts >= OFTEN).nonzero().flatten()
    often = often if len(often) else asked
    answers = [(m, np.full(len(m), spread) if s is None else s) for m, s in predict([one, one], [asked, often])]
    best = np.argsort(-answers[1][0], kind="stable")[:NEXT]
    told, asked_for, following = (
        [
            [f"{ratings.titles[item]} ({int(ratings.years[item])})", *(round(float(number), 2) for number in numbers)]
            for item, *numbers in zip(items.tolist(), *columns, strict=True)
        ]
        for items, columns in (
            (ratings.item[one.support], [value[one.support]]),
            (asked, [value[one.query], in_stars(answers[0][0]), SURE * answers[0][1]]),
            (often[best], [in_stars(answers[1][0][best]), SURE * answers[1][1][best]]),
        )
    )
    return {"told": told, "asked": asked_for, "next": following}

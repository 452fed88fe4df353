"""Ratings of items by users, and who and what is new among them (Lee et al., 2019). https://arxiv.org/abs/1908.00413"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from quickstudy.seeds import seeded

CELLS = (
    "existing users, existing items",
    "new users, existing items",
    "existing users, new items",
    "new users, new items",
)
LEAST, MOST, QUERIES = 13, 100, 10
"""A test task is a user with so many ratings in a cell, of which ten random ones are asked for."""
VALIDATION = 10
"""One in so many of the users is for validation."""


@dataclass(frozen=True)
class Ratings:
    """Who rated what, how, and what is known of both.

    Args:
        name: Of the data.
        user: The number of the user, of each rating.
        item: The number of the item, of each rating.
        value: The rating.
        users: A code for each thing known of a user, from 1; 0 is unknown.
        items: The same of an item.
        kinds: To which kinds an item belongs, such as genres.
        years: When an item appeared; 0 is unknown.
        titles: Of the items.
        kind_names: Of the kinds.
    """

    name: str
    user: Int[Tensor, " rating"]
    item: Int[Tensor, " rating"]
    value: Float[Tensor, " rating"]
    users: Int[Tensor, "user feature"]
    items: Int[Tensor, "item property"]
    kinds: Bool[Tensor, "item kind"]
    years: Int[Tensor, " item"]
    titles: Sequence[str]
    kind_names: Sequence[str]

    @property
    def codes(self) -> tuple[int, ...]:
        """How many values the code of an item, of each of its properties and of each feature of a user may have."""
        most = [len(self.titles), *self.items.max(0).values.tolist(), *self.users.max(0).values.tolist()]
        return tuple(1 + code for code in most)

    def by_user(self, rows: Int[Tensor, " row"]) -> dict[int, Int[Tensor, " _"]]:
        """Of some ratings, those of each user."""
        ordered = rows[self.user[rows].argsort(stable=True)]
        users, counts = self.user[ordered].unique_consecutive(return_counts=True)
        return dict(zip(users.tolist(), ordered.split(counts.tolist()), strict=True))


class Held(NamedTuple):
    """One user to be tested on: the ratings that are told, and those that are asked for."""

    user: int
    support: Int[Tensor, " row"]
    query: Int[Tensor, " row"]


class ColdStart(NamedTuple):
    """Ratings to learn from, to choose by, and to test on.

    Args:
        ratings: All of them.
        train: Those of existing users about existing items, but for what is asked for in a test.
        validation: Those of the validation users about existing items.
        tests: The users of each of `CELLS`.
        known: Which items were rated in training. All others are met without their identity.
    """

    ratings: Ratings
    train: Int[Tensor, " row"]
    validation: Int[Tensor, " row"]
    tests: dict[str, list[Held]]
    known: Bool[Tensor, " item"]


def cold_start(
    ratings: Ratings, *, released: int, fold: int = 0, folds: int = 5, draws: int = 1, seed: int = 0
) -> ColdStart:
    """New users and new items, set apart from the existing ones.

    An item is new if it was released in some year or later. One user in ten, at random, is for validation whatever the
    fold; the others are dealt into folds, one of which is of new users. A test task is a user with 13 to 100 ratings in
    its cell, of which ten random ones are asked for and the others are told, as in MeLU; what an existing user is asked
    about existing items is not trained on. Existing users with more than 100 ratings are trained on, as they are not
    there.

    Args:
        ratings: Of all users and items.
        released: The year from which on an item is new; one of an unknown year is not.
        fold: Which users are new.
        folds: Their number; 5, of which one is a fifth of the users, as in MeLU.
        draws: Test tasks of each user, in each of which other ratings are asked for; of existing users and items there
            is one, as what is asked for is left out of the training.
        seed: Of the deal, and of the ratings that are asked for.

    Raises:
        ValueError: A fold that is not there, or a cell without users.
    """
    if not 0 <= fold < folds:
        raise ValueError(f"fold is one of 0 to {folds - 1}, of {folds} folds; not {fold}.")
    generator = seeded(seed, "users")
    dealt = torch.randperm(len(ratings.users), generator=generator)
    validation, new_users = torch.zeros(2, len(ratings.users), dtype=torch.bool)
    validation[dealt[1::VALIDATION]] = True  # whatever the fold: by whom settings are chosen is in no test
    new_users[dealt[~validation[dealt]][fold::folds]] = True
    new_item, new_user = (ratings.years >= released)[ratings.item], new_users[ratings.user]
    existing = ~new_user & ~validation[ratings.user]
    rows = (existing & ~new_item, new_user & ~new_item, existing & new_item, new_user & new_item)
    tests = {}
    for cell, those in zip(CELLS, rows, strict=True):
        tests[cell] = held(ratings, those.nonzero().flatten(), seed, 1 if cell == CELLS[0] else draws)
        if not tests[cell]:
            raise ValueError(
                f"no user of {ratings.name} has {LEAST} to {MOST} ratings for the cell {cell!r}; choose another year "
                f"than {released}, or fewer folds than {folds}."
            )
    train = rows[0].clone()
    for one in tests[CELLS[0]]:
        train[one.query] = False
    known = torch.zeros(len(ratings.titles), dtype=torch.bool)
    known[ratings.item[train]] = True
    chosen = validation[ratings.user] & ~new_item
    return ColdStart(ratings, train.nonzero().flatten(), chosen.nonzero().flatten(), tests, known)


def held(ratings: Ratings, rows: Int[Tensor, " row"], seed: int, draws: int = 1) -> list[Held]:
    """The users with 13 to 100 of these ratings, ten of which are asked for: the same for each user in any fold."""
    tests = []
    for user, own in ratings.by_user(rows).items():
        generator = seeded(seed, "asked", user)
        for _ in range(draws if LEAST <= len(own) <= MOST else 0):
            some = own[torch.randperm(len(own), generator=generator)]
            tests.append(Held(user, some[QUERIES:], some[:QUERIES]))
    return tests

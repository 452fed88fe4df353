"""A user is a task (Lee et al., 2019): from some of their ratings, tell the others. https://arxiv.org/abs/1908.00413"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from quickstudy.contract import Episodes, Examples
from quickstudy.data.ratings import LEAST, MOST, QUERIES, ColdStart, Held, Ratings

MIDDLE = 3.5
"""Targets are ratings less this many stars: about the mean, so that 0 is what one says of nothing."""


class UserRatings:
    """Tasks of ratings: a user's are split at random into those that are told and those that are asked for.

    An example is a row of codes: the item itself, its properties, the user's features, and a flag for each kind of
    item. An item that is not known has code 0. Tasks are ragged, and padded.

    Args:
        ratings: Of all users.
        rows: The ratings to draw from. Users with fewer than 13 are left out, and of one with more than 100 other 100
            are drawn each time.
        known: Which items are met with their identity.
        hidden: The share of tasks whose items are all met without it, as new items will be.
        fewer: Tell a random number of the ratings that could be told, from 1 to all, in place of all.

    Raises:
        ValueError: No user has enough ratings, or a share that is none.
    """

    def __init__(
        self,
        ratings: Ratings,
        rows: Int[Tensor, " row"],
        known: Bool[Tensor, " item"],
        *,
        hidden: float = 0.0,
        fewer: bool = False,
    ):
        if not 0 <= hidden <= 1:
            raise ValueError(f"hidden is a share of tasks, from 0 to 1; not {hidden}.")
        self.ratings, self.known, self.hidden, self.fewer = ratings, known, hidden, fewer
        self.users = [(user, own) for user, own in ratings.by_user(rows).items() if len(own) >= LEAST]
        if not self.users:
            raise ValueError(f"no user has the {LEAST} ratings that a task needs; the {len(rows)} ratings are too few.")
        self._features = features(ratings)

    def sample(self, tasks: int, generator: torch.Generator) -> Episodes:
        """A batch of tasks, a function of the generator's state alone."""
        chosen = torch.randint(len(self.users), (tasks,), generator=generator)
        hide = torch.rand(tasks, generator=generator) < self.hidden
        held = []
        for user, own in (self.users[number] for number in chosen.tolist()):
            own = own[torch.randperm(len(own), generator=generator)[:MOST]]
            told = len(own) - QUERIES
            if self.fewer:
                told = 1 + int(torch.randint(told, (), generator=generator))
            held.append(Held(user, own[QUERIES : QUERIES + told], own[:QUERIES]))
        return self.of(held, hide)

    def of(self, held: Sequence[Held], hide: Bool[Tensor, " task"] | None = None) -> Episodes:
        """The tasks of some users, in this order; those to hide have no item's identity."""
        known = self.known.expand(len(held), -1)
        if hide is not None:
            known = known & ~hide[:, None]
        return Episodes(
            self._examples([one.support for one in held], known), self._examples([one.query for one in held], known)
        )

    def _examples(self, rows: Sequence[Int[Tensor, " row"]], known: Bool[Tensor, "task item"]) -> Examples:
        rated = pad_sequence(list(rows), batch_first=True)  # [T, E]
        exists = torch.arange(rated.shape[1]) < torch.tensor([len(own) for own in rows])[:, None]
        item = self.ratings.item[rated]
        identity = torch.where(known.gather(1, item), item + 1, 0)
        beside = self._features[0][item], self._features[1][self.ratings.user[rated]], self._features[2][item]
        x = torch.cat([identity[..., None], *beside], -1)
        return Examples(x, self.ratings.value[rated][..., None] - MIDDLE, mask=exists)


def features(ratings: Ratings) -> tuple[Int[Tensor, "item p"], Int[Tensor, "user f"], Int[Tensor, "item k"]]:
    """What an example tells of an item and a user beside who they are."""
    return ratings.items, ratings.users, ratings.kinds.long()


def cell_tasks(split: ColdStart, cell: str, chunk: int = 50) -> list[Episodes]:
    """All users of a cell, a chunk of them at a time."""
    tasks = UserRatings(split.ratings, split.train, split.known)
    held = split.tests[cell]
    return [tasks.of(held[start : start + chunk]) for start in range(0, len(held), chunk)]


def stars(predicted: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """Predictions of targets as ratings, from 1 to 5."""
    return (predicted + MIDDLE).clamp(1, 5)

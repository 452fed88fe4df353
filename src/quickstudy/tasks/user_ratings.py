"""A user is a task (Lee et al., 2019): from some of their ratings, tell the others. https://arxiv.org/abs/1908.00413"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from quickstudy.contract import Episodes, Examples
from quickstudy.data.ratings import LEAST, MOST, QUERIES, Held, Ratings

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
        anonymous: Leave the users' features unknown. Of a few hundred users they tell which one it is, whom a network
            then knows by heart.
        fewer: Ask for a random number of ratings, from ten to all but one, in place of ten.

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
        anonymous: bool = False,
        fewer: bool = False,
    ):
        if not 0 <= hidden <= 1:
            raise ValueError(f"hidden is a share of tasks, from 0 to 1; not {hidden}.")
        self.ratings, self.known, self.hidden, self.fewer = ratings, known, hidden, fewer
        self.anonymous = anonymous
        self.users = [(user, own) for user, own in ratings.by_user(rows).items() if len(own) >= LEAST]
        if not self.users:
            raise ValueError(f"no user has the {LEAST} ratings that a task needs; the {len(rows)} ratings are too few.")

    def sample(self, tasks: int, generator: torch.Generator) -> Episodes:
        """A batch of tasks, a function of the generator's state alone."""
        chosen = torch.randint(len(self.users), (tasks,), generator=generator)
        hide = torch.rand(tasks, generator=generator) < self.hidden
        held = []
        for user, own in (self.users[number] for number in chosen.tolist()):
            own = own[torch.randperm(len(own), generator=generator)[:MOST]]
            asked = QUERIES
            if self.fewer:
                asked += int(torch.randint(len(own) - QUERIES, (), generator=generator))
            held.append(Held(user, own[asked:], own[:asked]))
        return self.of(held, hide)

    def of(self, held: Sequence[Held], hide: Bool[Tensor, " task"] | None = None) -> Episodes:
        """The tasks of some users, in this order; those to hide have no item's identity."""
        return Episodes(*(self._examples(part, hide) for part in list(zip(*held, strict=True))[1:]))

    def inputs(
        self, user: Int[Tensor, "task example"], item: Int[Tensor, "task example"], hide: Tensor | None = None
    ) -> Int[Tensor, "task example code"]:
        """The inputs of some users and items, rated or not; those of tasks to hide have no item's identity."""
        identity = torch.where(self.known[item], item + 1, 0)
        if hide is not None:
            identity = identity.where(~hide[:, None], 0)
        of_item, of_user, kinds = self.ratings.items[item], self.ratings.users[user], self.ratings.kinds[item]
        of_user = torch.zeros_like(of_user) if self.anonymous else of_user
        return torch.cat([identity[..., None], of_item, of_user, kinds.long()], -1)

    def _examples(self, rows: Sequence[Int[Tensor, " _"]], hide: Tensor | None) -> Examples:
        rated = pad_sequence(list(rows), batch_first=True)  # [T, E]
        exists = torch.arange(rated.shape[1]) < torch.tensor([len(own) for own in rows])[:, None]
        x = self.inputs(self.ratings.user[rated], self.ratings.item[rated], hide)
        return Examples(x, self.ratings.value[rated][..., None] - MIDDLE, mask=exists)

"""Leave-one-out: what a learner would say of each labelled example if it had been shown only the others."""

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from quickstudy.contract import Examples, MetaLearner
from quickstudy.embedded import AT_A_TIME
from quickstudy.engine import without_encoder
from quickstudy.evaluation import judged
from quickstudy.tensors import known, widest

AT_ONCE = 2**19
"""Numbers that the tasks computed together hold, about: their examples, and PAIRS for each pair of these."""
PAIRS = 32


@torch.no_grad()
def left_out(
    learner: MetaLearner,
    x: Shaped[Tensor, "example *x"],
    y: Int[Tensor, " example"],
    ways: int,
    which: Int[Tensor, " some"] | None = None,
) -> Float[Tensor, "some way"]:
    """The log-probabilities of each example's class, by a learner that has adapted to all the others.

    Leaving each of S examples out makes S tasks of S - 1 examples, which are adapted to in batches, unless the method
    has a closed form. A method that sees only an example's embedding embeds each example once.

    Args:
        learner: Of classes; computed with in evaluation mode, and left in the mode it was in.
        x: All examples, encoded.
        y: Their labels, in [0, ways).
        ways: The number of classes.
        which: The examples to leave out, each in turn; all unless given.

    Returns:
        Each row adds up to 1 in probability, at no temperature. It is NaN for an example that is the only one of its
        class: no other tells of that class.

    Raises:
        ValueError: Fewer than two examples, labels that are not in [0, ways), or a learner that was built for fewer
            classes.
    """
    if len(x) < 2 or len(y) != len(x):
        raise ValueError(f"leaving one out needs 2 examples at least, each with a label; got {len(x)} and {len(y)}.")
    with judged(learner):
        return _left_out(learner, x, y, ways, which)


def _left_out(learner: MetaLearner, x: Tensor, y: Tensor, ways: int, which: Tensor | None) -> Tensor:
    wide = widest(learner, x[:1], ways)
    shown, rows = of_embeddings(learner, x)
    order = torch.arange(len(x), device=x.device)
    which = order if which is None else which
    alone = torch.bincount(y, minlength=ways)[y[which]] == 1
    closed = shown.left_out(shown.adapt(Examples(rows[None], y[None], wide)))
    if closed is not None:
        return known(closed, ways)[0, which].masked_fill(alone[:, None], torch.nan)
    index = order.expand(len(which), -1)[which[:, None] != order].view(len(which), -1)  # [some, S - 1]
    held = len(x) * (rows[0].numel() + PAIRS * len(x))
    found = []
    for chunk, asked in zip(*(of.split(max(1, AT_ONCE // held)) for of in (index, which)), strict=True):
        memory = shown.adapt(Examples(rows[chunk], y[chunk], wide))
        found.append(known(shown.predict(memory, rows[asked][:, None]), ways)[:, 0])
    return torch.cat(found).masked_fill(alone[:, None], torch.nan)


def of_embeddings(learner: MetaLearner, x: Shaped[Tensor, "example *x"]) -> tuple[MetaLearner, Tensor]:
    """A learner of embeddings and the examples' embeddings, where those are all it sees; else both as they are."""
    if not learner.embedding or learner.transductive:
        return learner, x
    encoder = getattr(learner, learner.embedding)
    return without_encoder(learner, learner.embedding), torch.cat([encoder(some) for some in x.split(AT_A_TIME)])

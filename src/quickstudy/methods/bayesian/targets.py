"""What a method that regresses is asked for, in regression and in classification."""

from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import one_hot

from quickstudy.contract import Examples


def regressed(examples: Examples, targets: int | None) -> Float[Tensor, "task example target"] | Int[Tensor, "..."]:
    """The numbers to regress on: the targets themselves; of classes, one column for each, 1 for its own and -1 else.

    Args:
        examples: Whose targets or labels.
        targets: The length of a regression target that the method was built for; None for classification.

    Raises:
        TypeError: Classes where numbers are due, or numbers where classes are, or numbers of another length.

    Example:
        >>> import torch
        >>> regressed(Examples(torch.zeros(1, 2, 1), torch.tensor([[0, 1]]), ways=2), None).tolist()
        [[[1, -1], [-1, 1]]]
    """
    if targets != (None if examples.ways is not None else examples.y.shape[-1]):
        built = "classes" if targets is None else f"{targets} targets"
        found = "classes" if examples.ways is not None else f"targets of shape {list(examples.y.shape)}"
        raise TypeError(f"this method was built for {built}, but the tasks have {found}; pass targets= to suit them.")
    return examples.y if examples.ways is None else 2 * one_hot(examples.y, examples.ways) - 1

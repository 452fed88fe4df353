"""What a method that regresses is asked for, in regression and in classification."""

from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import one_hot

from quickstudy.contract import Examples
from quickstudy.tensors import require_targets


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
    require_targets(examples, targets)
    return examples.y if examples.ways is None else 2 * one_hot(examples.y, examples.ways) - 1

"""The ordinary supervised training that transfer learning begins with."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from quickstudy.contract import Episodes
from quickstudy.tensors import per_task, valid


def supervised_loss(encoder: nn.Module, head: nn.Linear, episodes: Episodes) -> Float[Tensor, ""]:
    """The cross-entropy over the true classes of all examples, of support and query sets alike, in nats.

    Raises:
        ValueError: Episodes that do not tell their true classes, or more classes than the head was built for.
    """
    losses = []
    for examples in (episodes.support, episodes.query):
        if examples.classes is None:
            raise ValueError("pre-training needs the examples' true class ids; pass Examples(classes=...).")
        if int(examples.classes.max()) >= head.out_features:
            raise ValueError(
                f"class id {int(examples.classes.max())} is beyond the {head.out_features} training classes that "
                f"the learner was built for; pass classes=len(data.classes)."
            )
        exists = valid(examples)
        losses.append(
            cross_entropy(head(per_task(encoder, examples.x))[exists], examples.classes[exists], reduction="none")
        )
    return torch.cat(losses).mean()

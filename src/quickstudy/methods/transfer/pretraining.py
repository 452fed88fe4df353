"""The ordinary supervised training that transfer learning begins with."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from quickstudy.contract import Episodes, valid
from quickstudy.tensors import per_task


def supervised_loss(encoder: nn.Module, head: nn.Linear, episodes: Episodes) -> Float[Tensor, ""]:
    """The cross-entropy over the true classes of a task's examples, support and query alike, averaged over tasks.

    Raises:
        ValueError: Episodes that do not tell their true classes, or more classes than the head was built for.
    """
    nats, exist = [], []
    for examples in (episodes.support, episodes.query):
        if examples.classes is None:
            raise ValueError("pre-training needs the examples' true class ids; pass Examples(classes=...).")
        if int(examples.classes.max()) >= head.out_features:
            raise ValueError(
                f"class id {int(examples.classes.max())} is beyond the {head.out_features} training classes that "
                f"the learner was built for; pass classes=len(data.classes)."
            )
        logits = head(per_task(encoder, examples.x))  # [T, examples, classes]
        nats.append(cross_entropy(logits.mT, examples.classes, reduction="none"))
        exist.append(valid(examples))
    exists = torch.cat(exist, 1)
    return (torch.cat(nats, 1).where(exists, 0).sum(1) / exists.sum(1)).mean()

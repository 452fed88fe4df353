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
        ValueError: Episodes that do not tell their true classes, or other classes than the head was built for.
    """
    nats, exist = [], []
    for examples in (episodes.support, episodes.query):
        if examples.classes is None:
            raise ValueError("pre-training needs the examples' true class ids; pass Examples(classes=...).")
        exist.append(valid(examples))
        ids = examples.classes.where(exist[-1], 0)
        least, most = (int(bound) for bound in ids.aminmax())
        if least < 0 or most >= head.out_features:
            raise ValueError(
                f"class id {least if least < 0 else most} is none of the {head.out_features} training classes that the "
                f"learner was built for, which count from 0; pass classes=len(data.classes)."
            )
        logits = head(per_task(encoder, examples.x))  # [T, examples, classes]
        nats.append(cross_entropy(logits.mT, ids, reduction="none"))
    exists = torch.cat(exist, 1)
    return (torch.cat(nats, 1).where(exists, 0).sum(1) / exists.sum(1)).mean()

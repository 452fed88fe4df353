"""Attentive neural processes (Kim et al., 2019). https://arxiv.org/abs/1901.05761"""

import torch
from jaxtyping import Shaped
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn.functional import one_hot, scaled_dot_product_attention

from quickstudy.contract import Examples, MetaLearner, categorical, valid
from quickstudy.encoders.mlp import MLP
from quickstudy.tensors import (
    below_shown,
    gaussian_outputs,
    number_of_ways,
    out_features,
    per_task,
    require_heads,
    require_targets,
)


class AttentiveNeuralProcess(MetaLearner):
    """Learn to summarise a support set anew for every query, from the examples that are like it.

    A task is remembered by a key and a value for each support example; a query attends to them with several heads, and
    a decoder reads it beside what they brought (section 3). Of the paper's model this is the deterministic path
    without self-attention; the latent path is left out. In classification, which the paper has not, the query attends
    to each class's examples by themselves, and one decoder scores each class, so that the number of ways is free.

    Args:
        encoder: From inputs to embeddings.
        targets: The length of a regression target; None for classification.
        hidden: Width of the networks, and length of keys and values.
        heads: Heads of attention (8 in the paper).
        least_std: The least standard deviation that is predicted.
    """

    embedding = "encoder"

    def __init__(
        self,
        encoder: nn.Module,
        *,
        targets: int | None = None,
        hidden: int = 128,
        heads: int = 8,
        least_std: float = 0.1,
    ):
        super().__init__()
        require_heads(hidden, heads)
        d = out_features(encoder)
        self.encoder, self.targets, self.heads, self.least_std = encoder, targets, heads, least_std
        self.value = MLP(d + (targets or 0), hidden, hidden, hidden)
        self.place = MLP(d, hidden, hidden)  # what is compared, of queries and of support examples
        self.q, self.k, self.v, self.out = (nn.Linear(hidden, hidden, bias=False) for _ in range(4))
        self.g = MLP(d + hidden, hidden, hidden, 1 if targets is None else 2 * targets)

    def adapt(self, support: Examples) -> dict[str, Tensor]:
        require_targets(support, self.targets)
        z, exists = per_task(self.encoder, support.x), valid(support)
        if self.targets is None:
            member = one_hot(support.y, number_of_ways(support)).bool().mT & exists[:, None]  # [T, W, S]
            pairs = z
        else:
            member = exists[:, None]  # [T, 1, S]
            pairs = torch.cat([z, support.y.to(z.dtype)], -1)
        return {
            "keys": self.k(per_task(self.place, z)),
            "values": self.v(per_task(self.value, pairs)),
            "member": member,
        }

    def predict(self, memory: dict[str, Tensor], x: Shaped[Tensor, "task query *x"]) -> Distribution:
        z, member = per_task(self.encoder, x), memory["member"]
        some = member.any(-1)[..., None, None]  # before PyTorch 2.5, attention to nothing at all is not a number
        parts = self.q(per_task(self.place, z)), memory["keys"], memory["values"]
        q, k, v = (self._split(part, member.shape[1]) for part in parts)  # [T * W, heads, example, hidden / heads]
        mask = (member[:, :, None] | ~some).flatten(0, 1)[:, None]  # [T * W, 1, 1, S]
        read = scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2)
        r = self.out(read.unflatten(0, member.shape[:2]) * some).transpose(1, 2)  # [T, Q, W, hidden]
        both = torch.cat([z[:, :, None].expand(-1, -1, r.shape[2], -1), r], -1)
        out = per_task(self.g, both.flatten(0, 1)).unflatten(0, z.shape[:2])
        if self.targets is not None:
            return gaussian_outputs(out[:, :, 0], self.least_std)
        return categorical(below_shown(out[..., 0], member.any(-1)))

    def _split(self, x: Tensor, ways: int) -> Tensor:
        """The heads apart, once for each way."""
        heads = x.unflatten(-1, (self.heads, -1)).transpose(1, 2)
        return heads[:, None].expand(-1, ways, -1, -1, -1).flatten(0, 1)

"""Matching networks (Vinyals et al., 2016). https://arxiv.org/abs/1606.04080"""

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn
from torch.distributions import Categorical
from torch.nn.functional import normalize, one_hot

from quickstudy.contract import Examples, MetaLearner, categorical, valid
from quickstudy.tensors import number_of_ways, out_features, per_task


def attend(scores: Float[Tensor, "task query support"], exists: Bool[Tensor, "task support"]) -> Tensor:
    return scores.masked_fill(~exists[:, None], -torch.inf).softmax(-1)


class FullContext(nn.Module):
    """Embeddings that depend on the whole support set, by recurrent networks (appendix A).

    Args:
        d: The length of the embeddings.
        steps: How often a query reads the support set (K).
    """

    def __init__(self, d: int, steps: int):
        super().__init__()
        self.steps = steps
        self.forwards, self.backwards = nn.LSTMCell(d, d), nn.LSTMCell(d, d)
        self.reader = nn.LSTMCell(2 * d, d)

    def support(self, z: Float[Tensor, "task support d"], exists: Bool[Tensor, "task support"]) -> Tensor:
        """g: each embedding, plus what two networks make of the examples up to it, in one order and in the other."""
        backwards = self._states(self.backwards, z.flip(1), exists.flip(1)).flip(1)
        return z + self._states(self.forwards, z, exists) + backwards

    def queries(
        self, z: Float[Tensor, "task query d"], g: Float[Tensor, "task support d"], exists: Bool[Tensor, "task support"]
    ) -> Float[Tensor, "task query d"]:
        """f: each embedding, plus the state of a network that reads the support set, from an output of zero on."""
        h, c = z, torch.zeros_like(z).flatten(0, 1)
        for _ in range(self.steps):
            r = attend(h @ g.mT, exists) @ g  # eqs. 5-6
            out, c = self.reader(torch.cat([z, r], -1).flatten(0, 1), (h.flatten(0, 1), c))  # eq. 3
            h = out.view_as(z) + z  # eq. 4
        return h

    def _states(self, cell: nn.LSTMCell, z: Tensor, exists: Tensor) -> Tensor:
        h = c = torch.zeros_like(z[:, 0])
        states = []
        for item, here in zip(z.unbind(1), exists[..., None].unbind(1), strict=True):
            new_h, new_c = cell(item, (h, c))
            h, c = new_h.where(here, h), new_c.where(here, c)  # padding leaves the state as it was
            states.append(h)
        return torch.stack(states, 1)


class MatchingNetwork(MetaLearner):
    """Label a query by the labels of the support examples that it is like.

    Across tasks an embedding is learned; a task is remembered by the embeddings and the labels of its support set. A
    query's class probabilities are those labels weighted by attention (eq. 1), the softmax of cosine similarities.

    Args:
        encoder: From inputs to embeddings.
        full_context: Embed each example in the light of the support set (section 2.1.2), whose order then matters.
        steps: How often a query then reads the support set.
        scale: By which cosines are multiplied before the softmax; 1 in the paper, where even a perfect match outweighs
            an opposite no more than 7.4 times, so that likelihoods stay low and training is slow.
    """

    embedding = "encoder"

    def __init__(self, encoder: nn.Module, *, full_context: bool = False, steps: int = 5, scale: float = 1.0):
        super().__init__()
        self.encoder, self.scale, self.sequential = encoder, scale, full_context
        self.context = FullContext(out_features(encoder), steps) if full_context else None

    def adapt(self, support: Examples) -> dict[str, Tensor]:
        z, exists = per_task(self.encoder, support.x), valid(support)  # [T, S, D]
        labels = one_hot(support.y, number_of_ways(support)).to(z.dtype)  # [T, S, W]
        return {"z": self.context.support(z, exists) if self.context else z, "labels": labels, "exists": exists}

    def predict(self, memory: dict[str, Tensor], x: Shaped[Tensor, "task query *x"]) -> Categorical:
        z, exists = per_task(self.encoder, x), memory["exists"]  # [T, Q, D]
        if self.context:
            z = self.context.queries(z, memory["z"], exists)
        cosines = normalize(z, dim=-1) @ normalize(memory["z"], dim=-1).mT  # [T, Q, S]
        probs = attend(self.scale * cosines, exists) @ memory["labels"]  # eq. 1: [T, Q, W]
        return categorical(probs.clamp(min=torch.finfo(probs.dtype).tiny).log())  # a class may have no examples

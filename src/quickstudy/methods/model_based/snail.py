"""A simple neural attentive meta-learner (Mishra et al., 2018). https://arxiv.org/abs/1707.03141"""

import math

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.distributions import Categorical
from torch.nn.functional import one_hot, pad

from quickstudy.contract import Examples, MetaLearner, categorical
from quickstudy.tensors import number_of_ways, out_features, per_task


class DenseBlock(nn.Module):
    """A gated causal convolution of kernel size 2, whose output is appended to its input (figure 2a)."""

    def __init__(self, channels: int, filters: int, dilation: int):
        super().__init__()
        self.dilation, self.out_channels = dilation, channels + filters
        self.convolution = nn.Linear(2 * channels, 2 * filters)  # a kernel of size 2: the earlier item, and this one

    def forward(self, x: Tensor, past: Tensor | None = None) -> Tensor:
        if past is None:  # a sequence, padded on the left
            earlier = pad(x, (0, 0, self.dilation, 0))[:, : x.shape[1]]
        elif self.dilation > past.shape[1]:
            earlier = torch.zeros_like(x)
        else:  # queries, each the next item after the past
            earlier = past[:, -self.dilation, None].expand_as(x)
        f, g = self.convolution(torch.cat([earlier, x], -1)).chunk(2, -1)
        return torch.cat([x, f.tanh() * g.sigmoid()], -1)


class AttentionBlock(nn.Module):
    """Causal attention with one head, whose output is appended to its input (figure 2b)."""

    def __init__(self, channels: int, key_size: int, value_size: int):
        super().__init__()
        self.key_size, self.out_channels = key_size, channels + value_size
        self.projection = nn.Linear(channels, 2 * key_size + value_size)

    def forward(self, x: Tensor, past: Tensor | None = None) -> Tensor:
        q, k, v = self._project(x)
        if past is None:
            scores = (q @ k.mT / math.sqrt(self.key_size)).masked_fill(future(x), -torch.inf)
            return torch.cat([x, scores.softmax(-1) @ v], -1)
        _, past_k, past_v = self._project(past)
        own = (q * k).sum(-1, keepdim=True)  # a query attends to itself and to the past, not to other queries
        weights = (torch.cat([q @ past_k.mT, own], -1) / math.sqrt(self.key_size)).softmax(-1)  # [T, Q, S + 1]
        return torch.cat([x, weights[..., :-1] @ past_v + weights[..., -1:] * v], -1)

    def _project(self, x: Tensor) -> tuple[Tensor, ...]:
        return self.projection(x).split([self.key_size, self.key_size, self.out_channels - x.shape[-1]], -1)


def future(x: Tensor) -> Tensor:
    return torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device).triu(1)


class SNAIL(MetaLearner):
    """Read the support set as a sequence, and answer a query as its next item.

    Across tasks, temporal convolutions and attention learn which past items to bring forward; a task is remembered
    by what each layer saw of the support sequence, so that every query continues it without running it again. It
    deviates from the paper's pseudo-code in its dilations, of 1, 2, 4 and so on where those are of 2, 4, 8 and so on.

    Args:
        encoder: From inputs to embeddings.
        ways: Classes of a task, fixed.
        shots: Support examples per class that the dilations reach back over.
        filters: Channels of each temporal convolution (128 in the paper).
    """

    embedding, sequential = "encoder", True

    def __init__(self, encoder: nn.Module, *, ways: int = 5, shots: int = 1, filters: int = 128):
        super().__init__()
        self.encoder, self.ways = encoder, ways
        dilations = [2**i for i in range(math.ceil(math.log2(ways * shots + 1)))]
        blocks, channels = [], out_features(encoder) + ways
        for key_size, value_size in ((64, 32), (256, 128), (512, 256)):  # appendix A
            if blocks:
                for dilation in dilations:
                    blocks.append(DenseBlock(channels, filters, dilation))
                    channels = blocks[-1].out_channels
            blocks.append(AttentionBlock(channels, key_size, value_size))
            channels = blocks[-1].out_channels
        self.blocks = nn.ModuleList(blocks)
        self.head = nn.Linear(channels, ways)

    def adapt(self, support: Examples) -> tuple[Float[Tensor, "task support _"], ...]:
        if number_of_ways(support) != self.ways:
            raise ValueError(f"this SNAIL was built for {self.ways} ways; the tasks have {support.ways}.")
        if support.mask is not None:
            raise ValueError("SNAIL reads every item of its sequence, padding too; give it tasks without a mask.")
        z = per_task(self.encoder, support.x)
        sequence = torch.cat([z, one_hot(support.y, self.ways).to(z.dtype)], -1)  # [T, S, D + W]
        seen = [sequence]
        for block in self.blocks[:-1]:
            seen.append(block(seen[-1]))
        return tuple(seen)

    def predict(
        self, memory: tuple[Float[Tensor, "task support _"], ...], x: Shaped[Tensor, "task query *x"]
    ) -> Categorical:
        item = pad(per_task(self.encoder, x), (0, self.ways))  # no label yet: [T, Q, D + W]
        for block, past in zip(self.blocks, memory, strict=True):
            item = block(item, past)
        return categorical(self.head(item))

"""A transformer trained to learn in context, after GPICL (Kirsch et al., 2022) and prior-fitted networks.

https://arxiv.org/abs/2212.04458, https://arxiv.org/abs/2112.10510 (Mueller et al., 2022)
"""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.distributions import Categorical
from torch.nn.functional import scaled_dot_product_attention

from quickstudy.contract import Examples, MetaLearner, categorical, valid
from quickstudy.tensors import number_of_ways, out_features, per_task, require_heads, support_mean


class Layer(nn.Module):
    """A pre-normalised transformer layer, whose tokens attend to the support set only."""

    def __init__(self, d: int, heads: int):
        super().__init__()
        require_heads(d, heads)
        self.heads = heads
        self.norm_attention, self.norm_mlp = nn.LayerNorm(d), nn.LayerNorm(d)
        self.q, self.kv, self.out = nn.Linear(d, d), nn.Linear(d, 2 * d), nn.Linear(d, d)
        self.mlp = nn.Sequential(nn.Linear(d, 4 * d), nn.GELU(), nn.Linear(4 * d, d))
        with torch.no_grad():  # begin by attending to what is alike: without it training may stay at chance for long
            nn.init.orthogonal_(self.q.weight)
            self.kv.weight[:d] = self.q.weight

    def keys_values(self, x: Float[Tensor, "task support d"]) -> Float[Tensor, "task support kv"]:
        return self.kv(self.norm_attention(x))

    def forward(
        self, x: Float[Tensor, "task token d"], keys_values: Float[Tensor, "task support kv"], exists: Tensor
    ) -> Float[Tensor, "task token d"]:
        q, k, v = (self._split(part) for part in (self.q(self.norm_attention(x)), *keys_values.chunk(2, -1)))
        read = scaled_dot_product_attention(q, k, v, attn_mask=exists[:, None, None])  # [T, heads, token, D / heads]
        x = x + self.out(read.transpose(1, 2).flatten(2))
        return x + self.mlp(self.norm_mlp(x))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class InContextTransformer(MetaLearner):
    """Read labelled examples, answer queries: learning is the forward pass of a transformer.

    Across tasks its weights learn the learning algorithm; a task is remembered by the keys and values of its support
    set in every layer. Queries attend to the support set and never to each other. A token holds an embedding as it is,
    and as it differs from the mean of the support set: what any two pictures share hides what makes them differ, and
    without that nothing is learned from photographs for long. Train it on tasks that number their classes anew each
    time, as `FewShot` does: else it learns what a label stands for, and not how to learn it.

    Args:
        encoder: From inputs to embeddings.
        ways: The most classes that a task may have.
        d: Width of the transformer.
        layers: Number of layers.
        heads: Heads of attention.
    """

    embedding = "encoder"

    def __init__(self, encoder: nn.Module, *, ways: int = 5, d: int = 128, layers: int = 4, heads: int = 4):
        super().__init__()
        self.encoder, self.ways = encoder, ways
        self.embed_x, self.embed_y = nn.Linear(out_features(encoder), d), nn.Embedding(ways, d)
        self.norm_x, self.norm_apart = nn.LayerNorm(d), nn.LayerNorm(d)
        self.layers = nn.ModuleList(Layer(d, heads) for _ in range(layers))
        self.head = nn.Sequential(nn.LayerNorm(d), nn.Linear(d, ways))

    def adapt(self, support: Examples) -> dict[str, Tensor]:
        ways = number_of_ways(support)
        if ways > self.ways:
            raise ValueError(f"this transformer was built for at most {self.ways} ways; the tasks have {ways}.")
        exists = valid(support)
        x = self.embed_x(per_task(self.encoder, support.x))  # [T, S, D]
        mean = support_mean(x, support)
        x = self._token(x, mean) + self.embed_y(support.y)
        cache = []
        for layer in self.layers:
            cache.append(layer.keys_values(x))  # pyright: ignore[reportCallIssue]
            x = layer(x, cache[-1], exists)
        present = torch.ones(len(x), ways, dtype=torch.bool, device=x.device)
        return {"cache": torch.stack(cache, 1), "mean": mean, "exists": exists, "ways": present}

    def predict(self, memory: dict[str, Tensor], x: Shaped[Tensor, "task query *x"]) -> Categorical:
        token = self._token(self.embed_x(per_task(self.encoder, x)), memory["mean"])  # [T, Q, D]
        for layer, keys_values in zip(self.layers, memory["cache"].unbind(1), strict=True):
            token = layer(token, keys_values, memory["exists"])
        return categorical(self.head(token)[..., : memory["ways"].shape[1]])

    def _token(self, x: Float[Tensor, "task example d"], mean: Float[Tensor, "task 1 d"]) -> Tensor:
        return self.norm_x(x) + self.norm_apart(x - mean)

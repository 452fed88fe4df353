"""Transformer neural processes (Nguyen & Grover, 2022), the diagonal kind. https://arxiv.org/abs/2207.04179"""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn.functional import one_hot, pad

from quickstudy.contract import Examples, MetaLearner, categorical, valid
from quickstudy.encoders.mlp import MLP
from quickstudy.methods.in_context.in_context_transformer import Layer
from quickstudy.tensors import gaussian_outputs, number_of_ways, out_features, per_task, require_targets


class TransformerNeuralProcess(MetaLearner):
    """Read pairs of input and target as tokens, and queries as tokens whose target is missing (TNP-D, section 3.2).

    Across tasks a transformer learns to fill in targets; a task is remembered by the keys and values of its support
    set in every layer. Queries attend to the support set and never to each other, so each answer is a marginal. It
    deviates from the paper: a flag tells a missing target from one of zero; a linear map beside the embedding network
    keeps alike what is alike, without which classification may stay at chance; the layers are those of
    `InContextTransformer`, normalised before and not after, and twice as wide inside; the standard deviation is a
    softplus with a floor, in place of an exponential. In classification, which the paper has not, the target of a pair
    is its label, one of at most `ways`.

    Args:
        encoder: From inputs to embeddings.
        targets: The length of a regression target; None for classification.
        ways: The most classes that a task of classification may have.
        d: Width of the transformer.
        layers: Number of layers.
        heads: Heads of attention.
        least_std: The least standard deviation that is predicted.
    """

    embedding = "encoder"

    def __init__(
        self,
        encoder: nn.Module,
        *,
        targets: int | None = None,
        ways: int = 5,
        d: int = 64,
        layers: int = 6,
        heads: int = 4,
        least_std: float = 0.01,
    ):
        super().__init__()
        self.encoder, self.targets, self.ways, self.least_std = encoder, targets, ways, least_std
        self.length = ways if targets is None else targets
        inputs = out_features(encoder) + self.length + 1
        self.embed = MLP(inputs, d, d, d, d)
        self.beside = nn.Sequential(nn.Linear(inputs, d), nn.LayerNorm(d))
        self.layers = nn.ModuleList(Layer(d, heads) for _ in range(layers))
        outputs = ways if targets is None else 2 * targets
        self.head = nn.Sequential(nn.LayerNorm(d), nn.Linear(d, 2 * d), nn.ReLU(), nn.Linear(2 * d, outputs))

    def adapt(self, support: Examples) -> dict[str, Tensor]:
        z, exists = per_task(self.encoder, support.x), valid(support)
        y, memory = self._targets(support), {"exists": exists}
        token = self._token(pad(torch.cat([z, y.to(z.dtype)], -1), (0, 1), value=1.0))  # [T, S, d]
        cache = []
        for layer in self.layers:
            cache.append(layer.keys_values(token))  # pyright: ignore[reportCallIssue]
            token = layer(token, cache[-1], exists)
        memory["cache"] = torch.stack(cache, 1)
        if support.ways is not None:
            memory["ways"] = torch.ones(len(z), support.ways, dtype=torch.bool, device=z.device)
        return memory

    def predict(self, memory: dict[str, Tensor], x: Shaped[Tensor, "task query *x"]) -> Distribution:
        token = self._token(pad(per_task(self.encoder, x), (0, self.length + 1)))  # no target, flag 0
        for layer, keys_values in zip(self.layers, memory["cache"].unbind(1), strict=True):
            token = layer(token, keys_values, memory["exists"])
        out = self.head(token)
        if self.targets is not None:
            return gaussian_outputs(out, self.least_std)
        return categorical(out[..., : memory["ways"].shape[1]])

    def _token(self, pairs: Float[Tensor, "task token pair"]) -> Float[Tensor, "task token d"]:
        return per_task(self.embed, pairs) + self.beside(pairs)

    def _targets(self, support: Examples) -> Float[Tensor, "task support y"]:
        require_targets(support, self.targets)
        if self.targets is not None:
            return support.y
        if number_of_ways(support) > self.ways:
            raise ValueError(f"this process was built for at most {self.ways} ways; the tasks have {support.ways}.")
        return one_hot(support.y, self.ways).float()

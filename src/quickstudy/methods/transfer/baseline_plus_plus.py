"""Baseline++: pre-training and fitting with cosines (Chen, Liu, Kira, Wang & Huang, 2019).

https://arxiv.org/abs/1904.04232
"""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.distributions import Categorical
from torch.nn.functional import normalize

from quickstudy.contract import Episodes, Examples, MetaLearner, categorical, negative_log_likelihood
from quickstudy.methods.transfer.pretraining import supervised_loss
from quickstudy.tensors import number_of_ways, out_features, per_task, support_mean


class CosineLinear(nn.Linear):
    """From embeddings to their cosines with one weight vector per class, times a scale."""

    def __init__(self, d: int, classes: int, scale: float):
        super().__init__(d, classes, bias=False)
        self.scale = scale

    def forward(self, input: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch classes"]:
        return scaled_cosines(input, self.weight, self.scale)


def scaled_cosines(z: Tensor, weight: Tensor, scale: float) -> Tensor:
    return scale * normalize(z, dim=-1) @ normalize(weight, dim=-1).mT


class BaselinePlusPlus(MetaLearner):
    """Pre-train an encoder under a cosine classifier, then fit a new cosine classifier to each support set.

    Nothing is learned about tasks: the encoder learns to tell the training classes apart by angles alone, so that a
    class stays compact. A task is remembered by one weight vector per class, fitted to the frozen embeddings by
    gradient steps with momentum. All of them begin as the direction of the support set's mean embedding, which favours
    no class; a vector of length 1, so that steps turn it alike whatever the length of embeddings.

    The authors' code begins at random instead, goes 100 times through the support set in batches of 4, with dampening
    of 0.9 beside momentum, which makes steps a tenth as large, and with weight decay of 0.001.

    Args:
        encoder: From inputs to embeddings.
        classes: The number of training classes.
        scale: What the cosines are multiplied by; a softmax over them alone is almost flat. The authors' code takes 10
            for more than 200 classes, and 2 for fewer, so for those of a task.
        steps: Gradient steps per task, over the whole support set.
        lr: Their size.
        momentum: The part of a step that the next one repeats.
    """

    embedding = "encoder"

    def __init__(
        self,
        encoder: nn.Module,
        *,
        classes: int,
        scale: float = 10.0,
        steps: int = 100,
        lr: float = 0.01,
        momentum: float = 0.9,
    ):
        super().__init__()
        self.encoder, self.scale, self.steps, self.lr, self.momentum = encoder, scale, steps, lr, momentum
        self.head = CosineLinear(out_features(encoder), classes, scale)

    def adapt(self, support: Examples) -> Float[Tensor, "task way d"]:
        z = per_task(self.encoder, support.x).detach()  # [T, S, D]
        weight = normalize(support_mean(z, support), dim=-1).expand(-1, number_of_ways(support), -1)  # [T, W, D]
        velocity = torch.zeros_like(weight)
        for _ in range(self.steps):
            velocity = self.momentum * velocity + self._gradient(weight, z, support)
            weight = weight - self.lr * velocity
        return weight

    @torch.enable_grad()
    def _gradient(self, weight: Tensor, z: Tensor, support: Examples) -> Tensor:
        """Of each task's mean cross-entropy: tasks share no weight, so that of their sum."""
        weight = weight.detach().requires_grad_()
        nats = negative_log_likelihood(categorical(scaled_cosines(z, weight, self.scale)), support)  # [T]
        return torch.autograd.grad(nats.sum(), weight)[0]

    def predict(self, memory: Float[Tensor, "task way d"], x: Shaped[Tensor, "task query *x"]) -> Categorical:
        return categorical(scaled_cosines(per_task(self.encoder, x), memory, self.scale))  # [T, Q, W]

    def loss(self, episodes: Episodes) -> Float[Tensor, ""]:
        return supervised_loss(self.encoder, self.head, episodes)

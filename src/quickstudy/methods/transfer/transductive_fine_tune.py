"""Transductive fine-tuning (Dhillon, Chaudhari, Ravichandran & Soatto, 2020). https://arxiv.org/abs/1909.02729"""

from types import MappingProxyType

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.distributions import Categorical
from torch.nn.functional import cross_entropy, normalize

from quickstudy.contract import Episodes, Examples, MetaLearner, categorical, valid
from quickstudy.inner_loop import apply_weights
from quickstudy.methods.transfer.pretraining import supervised_loss
from quickstudy.tensors import below_shown, class_means, only_shown, out_features, per_task, shown_in


class TransductiveFineTune(MetaLearner):
    """Pre-train a classifier, then train all of it on a task's labelled examples and its unlabelled queries together.

    Nothing is learned about tasks: encoder and head learn to tell the training classes apart. For a task, a linear
    classifier is put on the head's rectified, normalised outputs (eq. 7), beginning at the normalised class means of
    the support set (eq. 6). As a query must be seen to be learned from, the memory is the support set itself,
    beside those means, and the gradient steps are part of every prediction. So the answer depends on which queries
    are asked together. It deviates from the paper in that a step descends both terms of the loss together, where the
    paper takes one step for each by turns; and see `rectified`. Evaluate in evaluation mode, in which running
    statistics stay those of pre-training.

    Args:
        encoder: From inputs to embeddings.
        classes: The number of training classes.
        steps: Steps of Adam per task, over its whole support and query set.
        lr: Their size; the longer an encoder was trained, the smaller is the best one, so `tune` it.
    """

    choices = MappingProxyType({"lr": (0.003, 0.001, 0.0003, 0.0001, 0.00003)})

    def __init__(self, encoder: nn.Module, *, classes: int, steps: int = 25, lr: float = 5e-5):
        super().__init__()
        self.encoder, self.steps, self.lr = encoder, steps, lr
        self.head = nn.Linear(out_features(encoder), classes)

    @property
    def transductive(self) -> bool:
        return True

    def adapt(self, support: Examples) -> dict[str, Tensor]:
        z = rectified(per_task(self._classifier, support.x))
        weight = only_shown(normalize(class_means(z, support), dim=-1), support)  # eq. 6
        return {"x": support.x, "y": support.y, "exists": valid(support), "weight": weight}

    @torch.enable_grad()
    def predict(self, memory: dict[str, Tensor], x: Shaped[Tensor, "task query *x"]) -> Categorical:
        begin = {name: w.expand(len(x), *w.shape) for name, w in self._classifier.named_parameters()}
        weights = {name: w.detach().clone().requires_grad_() for name, w in begin.items()}
        means, shown = shown_in(memory["weight"])
        weight = means.detach().clone().requires_grad_()  # [T, W, classes]
        bias = torch.zeros_like(weight[:, None, :, 0], requires_grad=True)  # [T, 1, W]
        both, shots = torch.cat([memory["x"], x], 1), memory["x"].shape[1]

        def answers() -> tuple[Categorical, Categorical]:  # for the support set and for the queries
            z = normalize(rectified(apply_weights(self._classifier, weights, both)), dim=-1)
            logits = below_shown(z @ weight.mT + bias, shown)  # eq. 7: [T, S + Q, W]
            return categorical(logits[:, :shots]), categorical(logits[:, shots:])

        adam = torch.optim.Adam([*weights.values(), weight, bias], lr=self.lr)
        for _ in range(self.steps):
            adam.zero_grad()
            transductive_loss(*answers(), memory["y"], memory["exists"]).sum().backward()  # tasks share no weight
            adam.step()
        with torch.no_grad():
            return answers()[1]

    def loss(self, episodes: Episodes) -> Float[Tensor, ""]:
        return supervised_loss(self.encoder, self.head, episodes)

    @property
    def _classifier(self) -> nn.Sequential:
        """Of the training classes."""
        return nn.Sequential(self.encoder, self.head)


def rectified(outputs: Float[Tensor, "task example classes"]) -> Float[Tensor, "task example classes"]:
    """The outputs above their mean over training classes; else zero.

    The paper cuts at zero, but pre-training says nothing of what all outputs have in common: in a long one they drift
    below it, every one, and nothing would be left.
    """
    return (outputs - outputs.mean(-1, keepdim=True)).relu()


def transductive_loss(support: Categorical, query: Categorical, y: Tensor, exists: Tensor) -> Float[Tensor, " task"]:
    """The mean cross-entropy of the support set, plus the mean entropy of the queries' answers (eq. 8).

    What pads a ragged query set counts as queries: a prediction is given no mask.
    """
    nats = cross_entropy(support.logits.mT, y, reduction="none")  # [T, S]
    return (nats * exists).sum(1) / exists.sum(1) + query.entropy().mean(1)

"""Meta-Baseline (Chen, Liu, Xu, Darrell & Wang, 2021). https://arxiv.org/abs/2003.04390"""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.distributions import Categorical
from torch.nn.functional import normalize

from quickstudy.contract import Episodes, Examples, MetaLearner, categorical
from quickstudy.methods.transfer.pretraining import supervised_loss
from quickstudy.tensors import below_shown, out_features, per_task, prototypes, shown_in


class MetaBaseline(MetaLearner):
    """Pre-train an encoder as a classifier of the training classes, then meta-train it as a nearest-centroid learner.

    Across tasks the encoder is learned, first by the one loss and then by the other, and with the second the
    temperature. A class is remembered by its mean embedding; a query takes the softmax over its cosines with them,
    times the temperature. Without the second stage it is the paper's Classifier-Baseline.

    Args:
        encoder: From inputs to embeddings.
        classes: The number of training classes.
        pretrain: The fraction of training that is the first stage.
        temperature: Where it begins (tau); 10 in the authors' code.

    Raises:
        ValueError: A fraction outside [0, 1].
    """

    embedding = "encoder"

    def __init__(self, encoder: nn.Module, *, classes: int, pretrain: float = 0.5, temperature: float = 10.0):
        super().__init__()
        if not 0 <= pretrain <= 1:
            raise ValueError(f"pretrain is a fraction of training, from 0 to 1; not {pretrain}.")
        self.encoder, self.pretrain = encoder, pretrain
        self.head = nn.Linear(out_features(encoder), classes)
        self.temperature = nn.Parameter(torch.tensor(float(temperature)))

    def adapt(self, support: Examples) -> Float[Tensor, "task way d"]:
        return prototypes(per_task(self.encoder, support.x), support)

    def predict(self, memory: Float[Tensor, "task way d"], x: Shaped[Tensor, "task query *x"]) -> Categorical:
        means, shown = shown_in(memory)
        cosines = normalize(per_task(self.encoder, x), dim=-1) @ normalize(means, dim=-1).mT  # [T, Q, W]
        return categorical(below_shown(self.temperature * cosines, shown))

    def loss(self, episodes: Episodes) -> Float[Tensor, ""]:
        if self.progress < self.pretrain:
            stage, idle = supervised_loss(self.encoder, self.head, episodes), [self.temperature]
        else:
            stage, idle = super().loss(episodes), list(self.head.parameters())
        # an idle parameter's gradient is zero and not missing, so that an optimizer counts its steps in either stage
        return stage + 0 * torch.stack([parameter.sum() for parameter in idle]).sum()

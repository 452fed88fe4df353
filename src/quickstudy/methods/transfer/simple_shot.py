"""SimpleShot: nearest centroids of centred, normalised features (Wang, Chao, Weinberger & van der Maaten, 2019).

https://arxiv.org/abs/1911.04623
"""

from dataclasses import replace

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.distributions import Categorical
from torch.nn.functional import normalize

from quickstudy.contract import Episodes, Examples, MetaLearner, categorical, valid
from quickstudy.encoders.norm import BatchNorm
from quickstudy.methods.transfer.pretraining import supervised_loss
from quickstudy.tensors import below_shown, out_features, per_task, prototypes, shown_in, squared_distances


class SimpleShot(MetaLearner):
    """Pre-train an encoder on the training classes, then classify by the nearest mean of transformed embeddings.

    Nothing is learned about tasks: the encoder learns to tell the training classes apart, and beside it the mean
    embedding of their examples is kept, as a running average. That mean is subtracted from every embedding, which is
    then scaled to length 1 (CL2N). A task is remembered by the mean of each class's transformed embeddings.

    Args:
        encoder: From inputs to embeddings.
        classes: The number of training classes.
        scale: What squared distances are multiplied by to be logits; the nearest class is the same for any.
    """

    embedding = "encoder"

    def __init__(self, encoder: nn.Module, *, classes: int, scale: float = 10.0):
        super().__init__()
        self.encoder, self.scale = encoder, scale
        self.head = nn.Linear(out_features(encoder), classes)
        self.statistics = BatchNorm(out_features(encoder), affine=False)  # normalises nothing: its mean is wanted

    def adapt(self, support: Examples) -> Float[Tensor, "task way d"]:
        return prototypes(self._transformed(support.x), support)

    def predict(self, memory: Float[Tensor, "task way d"], x: Shaped[Tensor, "task query *x"]) -> Categorical:
        means, shown = shown_in(memory)
        return categorical(below_shown(-self.scale * squared_distances(self._transformed(x), means), shown))

    def loss(self, episodes: Episodes) -> Float[Tensor, ""]:
        parts = [replace(part, x=per_task(self.encoder, part.x)) for part in (episodes.support, episodes.query)]
        with torch.no_grad():
            z = torch.cat([part.x[valid(part)] for part in parts])  # [examples, D]
            self.statistics(z[..., None, None])
        return supervised_loss(nn.Identity(), self.head, Episodes(*parts))

    def _transformed(self, x: Shaped[Tensor, "task example *x"]) -> Float[Tensor, "task example d"]:
        return normalize(per_task(self.encoder, x) - self.statistics.get_buffer("running_mean"), dim=-1)

"""Prototypical networks (Snell, Swersky & Zemel, 2017). https://arxiv.org/abs/1703.05175"""

from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.distributions import Categorical

from quickstudy.contract import Examples, MetaLearner, categorical
from quickstudy.tensors import below_shown, per_task, prototypes, shown_in, squared_distances


class PrototypicalNetwork(MetaLearner):
    """Classify by the nearest class mean in a learned embedding space.

    A class is remembered by its prototype, the mean embedding of its support examples (eq. 1);
    a query takes the softmax over minus its squared Euclidean distances to them (eq. 2).
    """

    embedding = "encoder"

    def __init__(self, encoder: nn.Module):
        super().__init__()
        self.encoder = encoder

    def adapt(self, support: Examples) -> Float[Tensor, "task way d"]:
        z = per_task(self.encoder, support.x)  # [T, S, D]
        return prototypes(z, support)  # eq. 1

    def predict(self, memory: Float[Tensor, "task way d"], x: Shaped[Tensor, "task query *x"]) -> Categorical:
        z = per_task(self.encoder, x)  # [T, Q, D]
        means, shown = shown_in(memory)
        return categorical(below_shown(-squared_distances(z, means), shown))  # eq. 2

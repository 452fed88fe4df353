"""Transfer learning by fine-tuning every weight, the opponent that meta-learning must beat."""

from functools import partial
from types import MappingProxyType

from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.distributions import Categorical

from quickstudy.contract import Episodes, Examples, MetaLearner, categorical
from quickstudy.inner_loop import Weights, adapt_weights, apply_weights, descend
from quickstudy.methods.transfer.pretraining import supervised_loss
from quickstudy.tensors import number_of_ways, out_features, under_blank_head


class FineTune(MetaLearner):
    """Pre-train an encoder on the training classes, then train all of it, under a new head, on each support set.

    A task is remembered by its weights after some steps of gradient descent. Evaluate in evaluation mode, in which
    running statistics stay those of pre-training.

    Args:
        encoder: From inputs to embeddings.
        classes: The number of training classes.
        steps: Gradient steps per task, over the whole support set.
        lr: Their size; the longer an encoder was trained, the smaller is the best one, so `tune` it.
    """

    choices = MappingProxyType({"lr": (0.1, 0.05, 0.02, 0.01, 0.005, 0.002)})

    def __init__(self, encoder: nn.Module, *, classes: int, steps: int = 10, lr: float = 0.05):
        super().__init__()
        self.encoder, self.steps, self.lr = encoder, steps, lr
        self.head = nn.Linear(out_features(encoder), classes)

    def adapt(self, support: Examples) -> Weights:
        ways, zeros = number_of_ways(support), self.head.weight.new_zeros
        weights: dict[str, Tensor] = {f"0.{name}": weight for name, weight in self.encoder.named_parameters()}
        weights |= {"1.weight": zeros(ways, out_features(self.encoder)), "1.bias": zeros(ways)}
        descent = partial(descend, steps=self.steps, lr=self.lr, first_order=True)
        return adapt_weights(under_blank_head(self.encoder, ways), weights, support, categorical, descent)

    def predict(self, memory: Weights, x: Shaped[Tensor, "task query *x"]) -> Categorical:
        return categorical(apply_weights(under_blank_head(self.encoder, memory["1.weight"].shape[1]), memory, x))

    def loss(self, episodes: Episodes) -> Float[Tensor, ""]:
        return supervised_loss(self.encoder, self.head, episodes)

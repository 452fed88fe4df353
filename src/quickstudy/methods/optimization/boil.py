"""Body only update in the inner loop, BOIL (Oh, Yoo, Kim & Yun, 2021). https://arxiv.org/abs/2008.08882"""

from functools import partial

from jaxtyping import Shaped
from torch import Tensor, nn
from torch.distributions import Distribution

from quickstudy.contract import Examples, MetaLearner, categorical
from quickstudy.inner_loop import Likelihood, Weights, adapt_weights, apply_weights, descend
from quickstudy.tensors import forbid_running_statistics


class BOIL(MetaLearner):
    """MAML whose inner loop moves everything but the last layer: features must change, as the classifier does not.

    Across tasks the initial weights of the encoder, and the head, are learned; a task is remembered by its encoder's
    weights after some gradient steps on the support loss, taken under that same head (its inner step size is 0).

    Args:
        encoder: From inputs to embeddings: the body. Normalise as for `MAML`.
        head: From embeddings to logits, or to means.
        inner_lr: Step size of the inner loop; 0.5 for four convolutions, 0.3 for ResNet-12.
        inner_steps: Steps of the inner loop while training.
        test_inner_steps: Steps when evaluating; as many as in training unless given.
        first_order: Leave the second derivatives out.
        likelihood: `categorical` or `gaussian`, from the head's outputs to a distribution.

    Raises:
        ValueError: The encoder keeps running statistics, which no single task may change.
    """

    def __init__(
        self,
        encoder: nn.Module,
        head: nn.Module,
        *,
        inner_lr: float = 0.5,
        inner_steps: int = 1,
        test_inner_steps: int | None = None,
        first_order: bool = False,
        likelihood: Likelihood = categorical,
    ):
        super().__init__()
        forbid_running_statistics(encoder, "BOIL")
        self.net, self.first_order, self.likelihood = nn.Sequential(encoder, head), first_order, likelihood
        self.inner_lr, self.inner_steps = inner_lr, inner_steps
        self.test_inner_steps = test_inner_steps

    def adapt(self, support: Examples) -> Weights:
        body = {name: w for name, w in self.net.named_parameters() if name.startswith("0.")}
        steps = self.inner_steps if self.training or self.test_inner_steps is None else self.test_inner_steps
        descent = partial(descend, steps=steps, lr=self.inner_lr, first_order=self.first_order)
        return adapt_weights(self.net, body, support, self.likelihood, descent)

    def predict(self, memory: Weights, x: Shaped[Tensor, "task query *x"]) -> Distribution:
        return self.likelihood(apply_weights(self.net, memory, x))

"""Almost no inner loop (Raghu, Raghu, Bengio & Vinyals, 2020). https://arxiv.org/abs/1909.09157"""

from dataclasses import replace
from functools import partial

from jaxtyping import Shaped
from torch import Tensor, nn
from torch.distributions import Distribution

from quickstudy.contract import Examples, MetaLearner, categorical
from quickstudy.inner_loop import Likelihood, Weights, adapt_weights, apply_weights, descend
from quickstudy.tensors import per_task


class ANIL(MetaLearner):
    """MAML whose inner loop moves the last layer only (section 4): the encoder's features are reused, not relearned.

    Across tasks the encoder and the head's initial weights are learned; a task is remembered by its head's weights
    after some gradient steps. The features of a task are computed once, whatever the number of steps.

    Args:
        encoder: From inputs to embeddings.
        head: From embeddings to logits, or to means.
        inner_lr: Step size of the inner loop.
        inner_steps: Steps of the inner loop while training.
        test_inner_steps: Steps when evaluating; as many as in training unless given.
        first_order: Leave the second derivatives out.
        likelihood: `categorical` or `gaussian`, from the head's outputs to a distribution.
    """

    embedding = "encoder"

    def __init__(
        self,
        encoder: nn.Module,
        head: nn.Module,
        *,
        inner_lr: float = 0.1,
        inner_steps: int = 5,
        test_inner_steps: int | None = None,
        first_order: bool = False,
        likelihood: Likelihood = categorical,
    ):
        super().__init__()
        self.encoder, self.head, self.first_order, self.likelihood = encoder, head, first_order, likelihood
        self.inner_lr, self.inner_steps = inner_lr, inner_steps
        self.test_inner_steps = test_inner_steps

    def adapt(self, support: Examples) -> Weights:
        features = replace(support, x=per_task(self.encoder, support.x))  # [T, S, D]
        steps = self.inner_steps if self.training or self.test_inner_steps is None else self.test_inner_steps
        descent = partial(descend, steps=steps, lr=self.inner_lr, first_order=self.first_order)
        return adapt_weights(self.head, dict(self.head.named_parameters()), features, self.likelihood, descent)

    def predict(self, memory: Weights, x: Shaped[Tensor, "task query *x"]) -> Distribution:
        return self.likelihood(apply_weights(self.head, memory, per_task(self.encoder, x)))

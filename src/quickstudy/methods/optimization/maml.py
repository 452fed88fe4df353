"""Model-agnostic meta-learning (Finn, Abbeel & Levine, 2017). https://arxiv.org/abs/1703.03400"""

from functools import partial

from jaxtyping import Shaped
from torch import Tensor, nn
from torch.distributions import Distribution

from quickstudy.contract import Examples, MetaLearner, categorical
from quickstudy.inner_loop import Likelihood, Weights, adapt_weights, apply_weights, descend
from quickstudy.tensors import forbid_dropout, forbid_running_statistics


class MAML(MetaLearner):
    """Learn initial weights from which a few gradient steps on a support set make a good network.

    A task is remembered by its fast weights, the initial ones after `inner_steps` steps of descent on the support
    loss (section 2.2). The outer gradient (eq. 1) runs through those steps, second derivatives and all, unless
    `first_order`.

    Args:
        net: Any module from inputs to logits, or to means. Normalise by the batch, which makes the learner
            transductive, by groups, or not at all.
        inner_lr: Step size of the inner loop (alpha); 0.4 for Omniglot's 5-way tasks, 0.01 for sinusoids.
        inner_steps: Steps of the inner loop while training.
        test_inner_steps: Steps when evaluating; as many as in training unless given (3 for Omniglot's 5-way tasks).
        test_inner_lr: Step size when evaluating; that of training unless given.
        first_order: Leave the second derivatives out (section 5.2).
        adjoint: Compute inner steps anew in the backward pass, so that of each its weights alone are kept.
        likelihood: `categorical` or `gaussian`, from the net's outputs to a distribution.

    Raises:
        ValueError: The net keeps running statistics, which no single task may change; or drops numbers, if adjoint.
    """

    def __init__(
        self,
        net: nn.Module,
        *,
        inner_lr: float = 0.4,
        inner_steps: int = 1,
        test_inner_steps: int | None = None,
        test_inner_lr: float | None = None,
        first_order: bool = False,
        adjoint: bool = False,
        likelihood: Likelihood = categorical,
    ):
        super().__init__()
        forbid_running_statistics(net, "MAML")
        if adjoint:
            forbid_dropout(net, "MAML(adjoint=True)")
        self.net, self.first_order, self.adjoint, self.likelihood = net, first_order, adjoint, likelihood
        self.inner_lr, self.inner_steps = inner_lr, inner_steps
        self.test_inner_lr, self.test_inner_steps = test_inner_lr, test_inner_steps

    def adapt(self, support: Examples) -> Weights:
        steps = self.inner_steps if self.training or self.test_inner_steps is None else self.test_inner_steps
        lr = self.inner_lr if self.training or self.test_inner_lr is None else self.test_inner_lr
        descent = partial(descend, steps=steps, lr=lr, first_order=self.first_order, adjoint=self.adjoint)
        return adapt_weights(self.net, dict(self.net.named_parameters()), support, self.likelihood, descent)

    def predict(self, memory: Weights, x: Shaped[Tensor, "task query *x"]) -> Distribution:
        return self.likelihood(apply_weights(self.net, memory, x))

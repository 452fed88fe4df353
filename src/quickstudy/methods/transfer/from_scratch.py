"""No transfer at all: what the support set teaches a network that has seen nothing else."""

from functools import partial
from types import MappingProxyType

from jaxtyping import Shaped
from torch import Tensor, nn
from torch.distributions import Distribution

from quickstudy.contract import Examples, MetaLearner, categorical
from quickstudy.inner_loop import Likelihood, Weights, adapt_weights, apply_weights, descend
from quickstudy.tensors import forbid_running_statistics


class FromScratch(MetaLearner):
    """Train a network on each support set alone, from the random weights it was built with.

    Nothing is learned across tasks: its parameters are frozen, and meta-training leaves it as it is. A task is
    remembered by its weights after some steps of gradient descent.

    Args:
        net: Any module from inputs to logits, or to means.
        steps: Gradient steps per task, over the whole support set.
        lr: Their size.
        likelihood: `categorical` or `gaussian`.

    Raises:
        ValueError: The net keeps running statistics, of which it has seen none.
    """

    choices = MappingProxyType({"lr": (0.5, 0.2, 0.1, 0.05, 0.02)})

    def __init__(self, net: nn.Module, *, steps: int = 10, lr: float = 0.1, likelihood: Likelihood = categorical):
        super().__init__()
        forbid_running_statistics(net, "FromScratch")
        self.net, self.steps, self.lr, self.likelihood = net.requires_grad_(False), steps, lr, likelihood

    def adapt(self, support: Examples) -> Weights:
        descent = partial(descend, steps=self.steps, lr=self.lr, first_order=True)
        return adapt_weights(self.net, dict(self.net.named_parameters()), support, self.likelihood, descent)

    def predict(self, memory: Weights, x: Shaped[Tensor, "task query *x"]) -> Distribution:
        return self.likelihood(apply_weights(self.net, memory, x))

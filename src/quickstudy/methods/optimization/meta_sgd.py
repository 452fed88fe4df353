"""Meta-SGD (Li, Zhou, Chen & Li, 2017). https://arxiv.org/abs/1707.09835"""

from functools import partial

import torch
from jaxtyping import Shaped
from torch import Tensor, nn
from torch.distributions import Distribution

from quickstudy.contract import Examples, MetaLearner, categorical
from quickstudy.inner_loop import Likelihood, Weights, adapt_weights, apply_weights, descend
from quickstudy.tensors import forbid_running_statistics


class MetaSGD(MetaLearner):
    """MAML that learns its inner step sizes too, one for each weight, and with their signs the direction of a step.

    Across tasks the initial weights and their step sizes are learned together; a task is remembered by its fast
    weights, the initial ones less step size times gradient of the support loss, element by element. All step sizes
    begin equal, as in the paper's regression, which draws that number from 0.005 to 0.1.

    Args:
        net: Any module from inputs to logits, or to means; see `MAML`.
        inner_lr: Where every step size begins.
        inner_steps: Steps of the inner loop, all with the same step sizes; one in the paper.
        first_order: Leave the second derivatives out; step sizes are learned all the same.
        likelihood: `categorical` or `gaussian`, from the net's outputs to a distribution.

    Raises:
        ValueError: The net keeps running statistics, which no single task may change.
    """

    def __init__(
        self,
        net: nn.Module,
        *,
        inner_lr: float = 0.1,
        inner_steps: int = 1,
        first_order: bool = False,
        likelihood: Likelihood = categorical,
    ):
        super().__init__()
        forbid_running_statistics(net, "MetaSGD")
        self.net, self.inner_steps, self.first_order, self.likelihood = net, inner_steps, first_order, likelihood
        self.rates = nn.ParameterList(nn.Parameter(torch.full_like(w, inner_lr)) for w in net.parameters())

    def adapt(self, support: Examples) -> Weights:
        initial = dict(self.net.named_parameters())
        rates = dict(zip(initial, self.rates, strict=True))
        descent = partial(descend, steps=self.inner_steps, lr=rates, first_order=self.first_order)
        return adapt_weights(self.net, initial, support, self.likelihood, descent)

    def predict(self, memory: Weights, x: Shaped[Tensor, "task query *x"]) -> Distribution:
        return self.likelihood(apply_weights(self.net, memory, x))

"""Implicit MAML (Rajeswaran, Finn, Kakade & Levine, 2019). https://arxiv.org/abs/1909.04630"""

from functools import partial

from jaxtyping import Shaped
from torch import Tensor, nn
from torch.distributions import Distribution

from quickstudy.contract import Examples, MetaLearner, categorical
from quickstudy.implicit import conjugate_gradients, implicit
from quickstudy.inner_loop import (
    Likelihood,
    Objective,
    Strategy,
    Unsuited,
    Weights,
    adapt_weights,
    apply_weights,
    descend,
    hessian_product,
)
from quickstudy.tensors import forbid_dropout, forbid_running_statistics


class IMAML(MetaLearner):
    """Learn initial weights near which every task has a good solution, whatever path leads there.

    A task is remembered by the weights that minimise its support loss plus `(strength / 2) |w - initial|^2` (eq. 4).
    The outer gradient is that of the minimum itself, by its implicit Jacobian, found by conjugate gradients, so that
    memory does not grow with the number of inner steps.

    Args:
        net: Any module from inputs to logits, or to means; see `MAML`.
        strength: Of the pull towards the initial weights (lambda; 2 in the paper).
        inner_lr: Step size of the descent to the minimum.
        inner_steps: Its steps, in training and when evaluating (16 in the paper's 5-way experiments, 25 in its 20-way).
        cg_steps: Steps of conjugate gradients (5 in the paper).
        likelihood: `categorical` or `gaussian`.

    Raises:
        ValueError: The net keeps running statistics, which no single task may change, or drops numbers at random; no
            pull, or no step of conjugate gradients, without which there is no gradient.
    """

    def __init__(
        self,
        net: nn.Module,
        *,
        strength: float = 2.0,
        inner_lr: float = 0.1,
        inner_steps: int = 16,
        cg_steps: int = 5,
        likelihood: Likelihood = categorical,
    ):
        super().__init__()
        if strength <= 0 or cg_steps < 1:
            raise ValueError(f"strength is above 0, and cg_steps at least 1; got {strength} and {cg_steps}.")
        forbid_running_statistics(net, "IMAML")
        forbid_dropout(net, "IMAML")
        self.net, self.strength, self.likelihood = net, strength, likelihood
        self.inner_lr, self.inner_steps, self.cg_steps = inner_lr, inner_steps, cg_steps

    def adapt(self, support: Examples) -> Weights:
        return adapt_weights(self.net, dict(self.net.named_parameters()), support, self.likelihood, self._solve)

    def predict(self, memory: Weights, x: Shaped[Tensor, "task query *x"]) -> Distribution:
        return self.likelihood(apply_weights(self.net, memory, x))

    def _solve(self, objective: Objective, initial: Weights, strategy: Strategy) -> Weights:
        if strategy == "vmap":
            raise Unsuited("the strategy 'vmap' has no implicit gradient; take 'loop' or 'stacked'.")
        start = {name: w.detach() for name, w in initial.items()}

        def regularised(weights: Weights) -> Tensor:  # eq. 4
            return objective(weights) + self.strength / 2 * sum(
                (weights[name] - w).square().sum() for name, w in start.items()
            )

        found = descend(regularised, start, steps=self.inner_steps, lr=self.inner_lr, first_order=True)
        found = {name: w.detach() for name, w in found.items()}

        def matrix(x: Weights) -> Weights:  # I + H / strength
            product = hessian_product(objective, found, x)
            return {name: x[name] + product[name] / self.strength for name in x}

        stacked = strategy == "stacked"
        solve = partial(conjugate_gradients, matrix, steps=self.cg_steps, stacked=stacked)
        return implicit(found, initial, solve)

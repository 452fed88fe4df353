"""Reptile (Nichol, Achiam & Schulman, 2018). https://arxiv.org/abs/1803.02999"""

from collections.abc import Iterable, Iterator
from functools import partial
from itertools import repeat

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.distributions import Distribution

from quickstudy.contract import Episodes, Examples, MetaLearner, categorical, valid
from quickstudy.inner_loop import Likelihood, Weights, adapt_weights, apply_weights, gradient
from quickstudy.seeds import seeded
from quickstudy.tensors import forbid_running_statistics, support_and_query

BETA2, EPSILON = 0.999, 1e-8
"""Adam's own defaults; the paper changes beta1 alone, to 0."""


class Reptile(MetaLearner):
    """Learn initial weights by moving them towards what training on each task makes of them.

    A task is remembered by its fast weights, the initial ones after some steps of Adam without momentum. While
    training, these steps take minibatches of all of a task's examples, support and query alike; when adapting, the
    whole support set each, where the authors' code takes minibatches of it. Adam begins anew with each task, where
    theirs goes on from task to task. The update of the initial weights is the mean of (adapted - initial), as in the
    paper's batched version.

    The loss is made for its gradient, which is minus that update: half the squared distance to the adapted weights,
    taken for constants. Its value is no likelihood and need not fall. The paper's outer loop is
    `torch.optim.SGD(learner.parameters(), lr=1.0)` with a step size that falls to 0; others, it says, may take Adam.

    Args:
        net: Any module from inputs to logits, or to means. Normalise as for `MAML`; by the batch, as in the paper,
            it is transductive.
        inner_lr: Step size of Adam.
        inner_steps: Steps while training; 5 for Omniglot's 5-way tasks, 8 for Mini-ImageNet.
        inner_batch: Examples of a minibatch, of all classes together.
        test_inner_steps: Steps when evaluating.
        likelihood: `categorical` or `gaussian`, from the net's outputs to a distribution.

    Raises:
        ValueError: The net keeps running statistics, which no single task may change.
    """

    def __init__(
        self,
        net: nn.Module,
        *,
        inner_lr: float = 0.001,
        inner_steps: int = 5,
        inner_batch: int = 10,
        test_inner_steps: int = 50,
        likelihood: Likelihood = categorical,
    ):
        super().__init__()
        forbid_running_statistics(net, "Reptile")
        self.net, self.inner_lr, self.inner_batch, self.likelihood = net, inner_lr, inner_batch, likelihood
        self.inner_steps, self.test_inner_steps = inner_steps, test_inner_steps

    def adapt(self, support: Examples) -> Weights:
        return self._train(len(support), repeat(support, self.test_inner_steps))

    def predict(self, memory: Weights, x: Shaped[Tensor, "task query *x"]) -> Distribution:
        return self.likelihood(apply_weights(self.net, memory, x))

    def loss(self, episodes: Episodes) -> Float[Tensor, ""]:
        adapted = self._train(
            len(episodes), minibatches(support_and_query(episodes), self.inner_batch, self.inner_steps)
        )
        squares = [(w - adapted[name]).square().sum() for name, w in self.net.named_parameters()]
        return torch.stack(squares).sum() / (2 * len(episodes))  # the batched version, as a gradient

    @torch.no_grad()
    def _train(self, tasks: int, batches: Iterable[Examples]) -> Weights:
        """The initial weights after a step of Adam on each batch, with beta1 = 0."""
        weights = {name: w.expand(tasks, *w.shape) for name, w in self.net.named_parameters()}
        squares = {name: torch.zeros_like(w) for name, w in weights.items()}
        for step, batch in enumerate(batches, 1):
            g = adapt_weights(self.net, {}, batch, self.likelihood, partial(gradient, first_order=True), own=weights)
            squares = {name: BETA2 * s + (1 - BETA2) * g[name].square() for name, s in squares.items()}
            scale = {name: (s / (1 - BETA2**step)).sqrt() + EPSILON for name, s in squares.items()}
            weights = {name: w - self.inner_lr * g[name] / scale[name] for name, w in weights.items()}
        return weights


def minibatches(examples: Examples, size: int, steps: int) -> Iterator[Examples]:
    """Minibatches that go through each task's examples again and again.

    The order is shuffled, but always the same, so that a loss is a function of its tasks and not of how they are run.
    """
    exists = valid(examples)
    most = exists.shape[1]
    place = torch.randperm(most, generator=seeded(0, "minibatches")).to(exists.device)
    order = place.where(exists, most).argsort(1)  # [T, examples], padding last
    for step in range(steps):
        nth = torch.arange(min(size, most), device=exists.device) + step * min(size, most)
        chosen = order.gather(1, nth % exists.sum(1, keepdim=True))  # [T, size]
        task = torch.arange(len(order), device=exists.device)[:, None]
        yield Examples(examples.x[task, chosen], examples.y[task, chosen], examples.ways)

"""Amortized Bayesian meta-learning (Ravi & Beatson, 2019). https://openreview.net/forum?id=rkgpy3C5tX"""

import math
from functools import partial

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution, MixtureSameFamily

from quickstudy.contract import Episodes, Examples, MetaLearner, categorical, mean_over
from quickstudy.inner_loop import Likelihood, Objective, Strategy, Weights, adapt_weights, apply_weights, descend
from quickstudy.tensors import forbid_running_statistics, support_and_query

MEAN, LOG_STD = "mean.", "log_std."  # of a weight, in a posterior


class ABML(MetaLearner):
    """MAML of distributions: learn a Gaussian over weights, from which a few gradient steps make a task's posterior.

    Across tasks the mean and standard deviation of every weight are learned: the prior. A task is remembered by its
    own, after descent from the prior on the free energy of its support set: minus the mean log-likelihood, plus
    kl_weight times the divergence from the prior. A prediction is the mixture over networks drawn from them.
    Their noise is new while training and fixed when evaluating. It deviates from the paper: no prior over the prior,
    and the divergence has one constant weight, where the bound (eq. 5) has 1 / examples, lowered in the inner loop.

    Args:
        net: Any module from inputs to logits, or to means, that keeps no running statistics; see `MAML`.
        inner_lr: Step size of the inner loop, for means and for logarithms of standard deviations.
        inner_steps: Steps of the inner loop.
        samples: Networks drawn, for all gradients of a task and anew for its predictions.
        kl_weight: Of the divergence, beside nats per example; that of the bound may leave a wide network at its prior.
        std: Standard deviation of every weight in the beginning.
        first_order: Leave the second derivatives out.
        likelihood: `categorical` or `gaussian`.
    """

    stochastic = True

    def __init__(
        self,
        net: nn.Module,
        *,
        inner_lr: float = 0.1,
        inner_steps: int = 5,
        samples: int = 5,
        kl_weight: float = 1e-4,
        std: float = 0.03,
        first_order: bool = False,
        likelihood: Likelihood = categorical,
    ):
        super().__init__()
        forbid_running_statistics(net, "ABML")
        self.net, self.samples, self.kl_weight, self.likelihood = net, samples, kl_weight, likelihood
        self.inner_lr, self.inner_steps, self.first_order = inner_lr, inner_steps, first_order
        self.log_std = nn.ParameterList(torch.full_like(w, math.log(std)) for w in net.parameters())

    def adapt(self, support: Examples) -> Weights:
        noise = self._noise(0)

        def solve(objective: Objective, prior: Weights, strategy: Strategy) -> Weights:
            def free_energy(posterior: Weights) -> Tensor:
                expected = sum(objective(drawn(posterior, one)) for one in noise) / len(noise)
                return expected + self.kl_weight * divergence(posterior, prior)

            how = {"lr": self.inner_lr, "first_order": self.first_order}
            return descend(free_energy, prior, strategy, steps=self.inner_steps, **how)

        return adapt_weights(self.net, self._prior(), support, self.likelihood, solve)

    def predict(self, memory: Weights, x: Shaped[Tensor, "task query *x"]) -> Distribution:
        each = self._each(memory, x)  # of batch shape [T, Q, samples]
        if isinstance(each, Categorical):
            return categorical(each.logits.logsumexp(2))
        return MixtureSameFamily(categorical(x.new_zeros(each.batch_shape)), each, validate_args=False)

    def loss(self, episodes: Episodes) -> Float[Tensor, ""]:
        """The free energy of support and query set together, for a posterior that has seen the support set alone."""
        posterior, task = self.adapt(episodes.support), support_and_query(episodes)
        nats = -self._each(posterior, task.x).log_prob(task.y.unsqueeze(2)).mean(2)  # [T, S + Q]
        return mean_over(task, nats).mean() + self.kl_weight * divergence(posterior, self._prior()) / len(episodes)

    def _each(self, posterior: Weights, x: Tensor) -> Distribution:
        """The answers of the networks drawn, one beside the other in the last axis of a batch."""
        drawings = [apply_weights(self.net, drawn(posterior, one), x) for one in self._noise(1)]
        return self.likelihood(torch.stack(drawings, 2))

    def _prior(self) -> Weights:
        means, stds = dict(self.net.named_parameters()), iter(self.log_std)
        return {MEAN + name: w for name, w in means.items()} | {LOG_STD + name: next(stds) for name in means}

    def _noise(self, seed: int) -> list[Weights]:
        """Standard normal noise for every weight, for each network to draw; of this seed when evaluating."""
        draw = partial(torch.randn, generator=None if self.training else torch.Generator().manual_seed(seed))
        return [{n: draw(w.shape).to(w) for n, w in self.net.named_parameters()} for _ in range(self.samples)]


def drawn(posterior: Weights, noise: Weights) -> Weights:
    """The weights of one network."""
    return {n: posterior[MEAN + n] + posterior[LOG_STD + n].exp() * unit for n, unit in noise.items()}


def divergence(posterior: Weights, prior: Weights) -> Float[Tensor, ""]:
    """The Kullback-Leibler divergence of one Gaussian over weights from another, in nats, over all tasks together."""
    shift, nats = {name: posterior[name] - w for name, w in prior.items()}, torch.zeros(())
    for name in (n.removeprefix(MEAN) for n in prior if n.startswith(MEAN)):
        apart, wider = shift[MEAN + name] * (-prior[LOG_STD + name]).exp(), shift[LOG_STD + name]
        nats = nats + (((2 * wider).exp() + apart.square() - 1) / 2 - wider).sum()
    return nats

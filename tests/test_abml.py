import math

import pytest
import torch
from learners import conv_net, episodes_for, mlp, tasks_for
from test_maml import double, plain_loop_gradient
from torch.distributions import Normal, kl_divergence
from torch.func import functional_call

import quickstudy as qs
from quickstudy.inner_loop import running_by
from quickstudy.methods.bayesian.abml import divergence


def abml_of(net: torch.nn.Module, **settings) -> qs.ABML:
    return qs.ABML(net, **{"inner_lr": 0.1, "inner_steps": 2, "samples": 2, **settings}).double()


def gaussians(memory: dict, task: int | None = None) -> dict[str, Normal]:
    at = lambda tensor: tensor if task is None else tensor[task]  # noqa: E731
    means = {name.removeprefix("mean."): at(w) for name, w in memory.items() if name.startswith("mean.")}
    return {name: Normal(mean, at(memory[f"log_std.{name}"]).exp()) for name, mean in means.items()}


@pytest.mark.parametrize("first_order", [False, True])
def test_with_zero_variance_it_is_maml(first_order):
    torch.manual_seed(0)
    net, episodes = mlp(256, 16, 3).double(), double(episodes_for("abml"))
    settings = {"inner_lr": 0.1, "inner_steps": 3, "first_order": first_order}
    abml, maml = abml_of(net, **settings, std=1e-12, kl_weight=0.0), qs.MAML(net, **settings)
    answers = [one.predict(one.adapt(episodes.support), episodes.query.x).probs for one in (abml, maml)]
    torch.testing.assert_close(*answers, rtol=1e-9, atol=1e-12)
    whole = [torch.cat([getattr(episodes.support, n), getattr(episodes.query, n)], 1) for n in ("x", "y")]
    abml.loss(episodes).backward()
    found = torch.cat([p.grad.flatten() for p in net.parameters()])
    everything = qs.Episodes(episodes.support, qs.Examples(*whole, ways=3))
    expected = plain_loop_gradient(net, everything, 3, 0.1, first_order)
    assert (found - expected).norm() / expected.norm() < 1e-8


def test_the_divergence_is_that_of_torch_distributions():
    torch.manual_seed(0)
    posterior, prior = ({f"{what}.w": torch.randn(3, 4).double() for what in ("mean", "log_std")} for _ in range(2))
    expected = kl_divergence(gaussians(posterior)["w"], gaussians(prior)["w"]).sum()
    torch.testing.assert_close(divergence(posterior, prior), expected)
    assert divergence(prior, prior) == 0


def free_energy(net, q: dict, prior: dict, noise: list[dict], x, y, weight: float) -> torch.Tensor:
    """As one would write it by hand, of one task: q and prior are (mean, log std) by name."""
    nats = []
    for unit in noise:
        weights = {n: mean + log_std.exp() * unit[n] for n, (mean, log_std) in q.items()}
        nats.append(torch.nn.functional.cross_entropy(functional_call(net, weights, x), y))
    distance = sum(kl_divergence(*(Normal(p[n][0], p[n][1].exp()) for p in (q, prior))).sum() for n in q)
    return sum(nats) / len(nats) + weight * distance


def drawings(net, samples: int, generator=None) -> list[dict]:
    return [
        {n: torch.randn(w.shape, generator=generator).double() for n, w in net.named_parameters()}
        for _ in range(samples)
    ]


@pytest.mark.parametrize("strategy", ["loop", "stacked", "vmap"])
def test_the_meta_gradient_is_that_of_a_plain_loop_over_tasks_and_steps(strategy):
    torch.manual_seed(0)
    net, episodes, weight = mlp(256, 8, 3).double(), double(episodes_for("abml", tasks=2)), 0.05
    abml = abml_of(net, std=0.1, kl_weight=weight).train()
    torch.manual_seed(1)
    inner, outer = drawings(net, 2), drawings(net, 2)
    names = [n for n, _ in net.named_parameters()]
    prior = dict(zip(names, zip(net.parameters(), abml.log_std, strict=True), strict=True))
    losses = []
    for t in range(2):
        q = prior
        for _ in range(2):
            energy = free_energy(net, q, prior, inner, episodes.support.x[t], episodes.support.y[t], weight)
            flat = torch.autograd.grad(energy, [p for pair in q.values() for p in pair], create_graph=True)
            steps = dict(zip(names, zip(flat[::2], flat[1::2], strict=True), strict=True))
            q = {n: tuple(p - 0.1 * g for p, g in zip(q[n], steps[n], strict=True)) for n in names}
        x, y = (torch.cat([getattr(episodes.support, a)[t], getattr(episodes.query, a)[t]]) for a in ("x", "y"))
        losses.append(free_energy(net, q, prior, outer, x, y, weight))
    loss = torch.stack(losses).mean()
    parameters = list(abml.parameters())
    expected = torch.cat([g.flatten() for g in torch.autograd.grad(loss, parameters)])
    torch.manual_seed(1)
    with running_by(strategy):
        computed = abml.loss(episodes)
    computed.backward()
    torch.testing.assert_close(computed, loss)
    found = torch.cat([p.grad.flatten() for p in parameters])
    assert (found - expected).norm() / expected.norm() < 1e-8


def test_with_one_over_the_examples_the_loss_is_minus_the_evidence_lower_bound():
    """Of a line through the origin, whose posterior is a Gaussian: so descent finds it, and the bound is tight."""
    torch.manual_seed(0)
    net, (x, y) = torch.nn.Linear(1, 1, bias=False).double(), torch.randn(2, 1, 6, 1).double()
    precision = 1 + 2 * x.square().sum()  # the prior's is 1, and the likelihood's variance 1/2
    abml = abml_of(
        net, inner_lr=6 / precision.item(), inner_steps=15, samples=60, kl_weight=1 / 6, std=1.0, likelihood=qs.gaussian
    ).eval()
    support, nothing = qs.Examples(x, y), qs.Examples(x, y, mask=torch.zeros(1, 6, dtype=torch.bool))
    with torch.no_grad():
        memory, bound = abml.adapt(support), -6 * abml.loss(qs.Episodes(support, nothing))
    mean = (net.weight.squeeze() + 2 * (x * y).sum()) / precision
    assert memory["mean.weight"].item() == pytest.approx(mean.item(), abs=0.1)
    assert memory["log_std.weight"].exp().item() == pytest.approx(precision.item() ** -0.5, rel=0.15)
    covariance = 0.5 * torch.eye(6).double() + x[0] @ x[0].T
    evidence = torch.distributions.MultivariateNormal((net.weight * x[0]).flatten(), covariance).log_prob(y.flatten())
    assert bound.item() == pytest.approx(evidence.item(), abs=0.2)


def test_a_prediction_is_the_mixture_over_networks():
    torch.manual_seed(0)
    net, episodes = mlp(256, 8, 3).double(), double(episodes_for("abml", tasks=2))
    abml = abml_of(net, std=0.3, samples=3).eval()
    memory = abml.adapt(episodes.support)
    noise = drawings(net, 3, torch.Generator().manual_seed(1))
    for t in range(2):
        q = gaussians(memory, t)
        weights = [{n: g.mean + g.stddev * one[n] for n, g in q.items()} for one in noise]
        probs = torch.stack([functional_call(net, w, episodes.query.x[t]).softmax(-1) for w in weights]).mean(0)
        torch.testing.assert_close(abml.predict(memory, episodes.query.x).probs[t], probs)


def test_a_mixture_of_numbers_has_the_spread_of_its_networks():
    torch.manual_seed(0)
    net, episodes = mlp(1, 8, 1).double(), double(episodes_for("abml-regression", tasks=1))
    abml = abml_of(net, std=0.5, samples=4, inner_steps=0, likelihood=qs.gaussian).eval()
    memory = abml.adapt(episodes.support)
    predicted = abml.predict(memory, episodes.query.x)
    q, noise = gaussians(memory, 0), drawings(net, 4, torch.Generator().manual_seed(1))
    weights = [{n: g.mean + g.stddev * one[n] for n, g in q.items()} for one in noise]
    each = torch.stack([functional_call(net, w, episodes.query.x[0]) for w in weights])
    torch.testing.assert_close(predicted.mean[0], each.mean(0))
    torch.testing.assert_close(predicted.variance[0], 0.5 + each.var(0, unbiased=False))
    nats = Normal(each, math.sqrt(0.5)).log_prob(episodes.query.y[0]).sum(-1).logsumexp(0) - math.log(4)
    torch.testing.assert_close(predicted.log_prob(episodes.query.y)[0], nats)


def test_an_answer_depends_on_the_memory_alone_and_a_loss_draws_anew():
    torch.manual_seed(0)
    episodes, abml = episodes_for("abml"), qs.ABML(mlp(256, 8, 3), std=0.3, samples=2).eval()
    memory, random = abml.adapt(episodes.support), torch.get_rng_state()
    answers = [abml.predict(memory, episodes.query.x).probs for _ in range(2)]
    assert torch.equal(*answers)
    assert torch.equal(random, torch.get_rng_state())
    abml.train()
    assert abml.loss(episodes) != abml.loss(episodes)  # for one seed, as everything here
    assert not torch.equal(abml.predict(memory, episodes.query.x).probs, answers[0])  # the answers' part alone
    name, apart = next(iter(memory)), [abml.adapt(episodes.support) for _ in range(2)]  # and that of adapting
    assert not torch.equal(apart[0][name], apart[1][name])


class Heard(qs.ABML):
    """Keeps what noise it drew, a list per call."""

    heard: list

    def _noise(self, seed):
        drawn = super()._noise(seed)
        self.heard.append([torch.cat([unit.flatten() for unit in one.values()]) for one in drawn])
        return drawn


def test_training_repeats_to_the_same_bits_though_it_draws_at_random():
    losses, heard = [], []
    for run in range(2):
        torch.manual_seed(0)
        abml = Heard(mlp(256, 8, 3), inner_steps=1, samples=2)
        abml.heard = []
        torch.manual_seed(run)  # of no account: a step's noise is the step's alone
        losses.append([p.loss for p in qs.train(abml, tasks_for("abml"), steps=3, batch=4, engine=qs.Engine())])
        heard.append(torch.stack([one for call in abml.heard for one in call]))
    assert losses[0] == losses[1]
    assert torch.equal(heard[0], heard[1])
    assert len(heard[0]) == 3 * 2 * 2  # steps, adapting and answering, networks
    assert len(heard[0][:, 0].unique()) == len(heard[0])  # no noise comes twice


def test_a_network_with_running_statistics_is_refused():
    with pytest.raises(ValueError, match="ABML trains its network on one task at a time"):
        qs.ABML(conv_net("running"))


def test_answers_are_of_other_networks_than_those_that_adapted():
    abml = Heard(mlp(256, 8, 3), inner_steps=1, samples=2).eval()
    abml.heard, episodes = [], episodes_for("abml")
    abml.predict(abml.adapt(episodes.support), episodes.query.x)
    adapting, answering = (torch.stack(call) for call in abml.heard)
    assert not (adapting == answering).any()

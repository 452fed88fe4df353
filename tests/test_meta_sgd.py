import itertools

import pytest
import torch
from learners import conv_net, episodes_for, mlp
from test_maml import double
from torch.func import functional_call
from torch.nn.functional import cross_entropy

import quickstudy as qs
from quickstudy.inner_loop import descend

NETS = {
    "mlp": lambda: mlp(256, 8, 3),
    "conv4-group": lambda: conv_net("group"),
    "conv4-batch": lambda: conv_net("batch"),
}
CASES = [*itertools.product(NETS, ("loop", "stacked")), ("mlp", "vmap")]


def flat(tensors):
    return torch.cat([t.flatten() for t in tensors])


def with_random_rates(net, **options) -> qs.MetaSGD:
    """Of both signs, and another for each weight."""
    learner = qs.MetaSGD(net, **options).train()
    for rate in learner.rates:
        torch.nn.init.normal_(rate, 0.1, 0.1)
    return learner


def plain_loop_gradient(learner: qs.MetaSGD, episodes, steps, first_order):
    """By the initial weights and by the step sizes: the paper's objective as a loop over tasks, with autograd."""
    names, initial = zip(*learner.net.named_parameters(), strict=True)
    losses = []
    for t in range(len(episodes)):
        weights = list(initial)
        for _ in range(steps):
            logits = functional_call(learner.net, dict(zip(names, weights, strict=True)), episodes.support.x[t])
            loss = cross_entropy(logits, episodes.support.y[t])
            gradients = torch.autograd.grad(loss, weights, create_graph=not first_order)
            weights = [w - a * g for w, a, g in zip(weights, learner.rates, gradients, strict=True)]
        logits = functional_call(learner.net, dict(zip(names, weights, strict=True)), episodes.query.x[t])
        losses.append(cross_entropy(logits, episodes.query.y[t]))
    return flat(torch.autograd.grad(torch.stack(losses).mean(), [*initial, *learner.rates]))


@pytest.mark.parametrize(("steps", "first_order"), [(1, False), (3, False), (3, True)])
@pytest.mark.parametrize(("net", "strategy"), CASES)
def test_by_every_strategy_weights_and_step_sizes_get_the_gradient_of_a_plain_loop(net, strategy, steps, first_order):
    torch.manual_seed(0)
    episodes = double(episodes_for("meta-sgd"))
    learner = with_random_rates(NETS[net]().double(), inner_steps=steps, first_order=first_order)
    expected = plain_loop_gradient(learner, episodes, steps, first_order)
    qs.Engine(strategy, 3).gradient(learner, episodes)
    found = flat(p.grad for p in [*learner.net.parameters(), *learner.rates])
    assert (found - expected).norm() / expected.norm() < 1e-6


@pytest.mark.parametrize("first_order", [False, True])
def test_with_equal_and_frozen_step_sizes_its_loss_and_gradient_are_those_of_maml(first_order):
    torch.manual_seed(0)
    net, episodes = NETS["conv4-group"]().double(), double(episodes_for("meta-sgd"))
    found = []
    for method in (qs.MetaSGD, qs.MAML):
        learner = method(net, inner_lr=0.3, inner_steps=2, first_order=first_order).train()
        if isinstance(learner, qs.MetaSGD):
            learner.rates.requires_grad_(False)
        net.zero_grad()
        loss = learner.loss(episodes)
        loss.backward()
        found.append((loss.detach(), flat(p.grad for p in net.parameters())))
    torch.testing.assert_close(*found, rtol=1e-12, atol=1e-13)  # biases before a norm have none but rounding


def test_step_sizes_of_zero_for_the_head_make_it_boil():
    torch.manual_seed(0)
    encoder, head, episodes = mlp(256, 8), mlp(8, 3), episodes_for("meta-sgd")
    learner = qs.MetaSGD(torch.nn.Sequential(encoder, head), inner_lr=0.5, inner_steps=2)
    for rate in learner.rates[-2:]:
        torch.nn.init.zeros_(rate)
    torch.testing.assert_close(
        learner.loss(episodes), qs.BOIL(encoder, head, inner_lr=0.5, inner_steps=2).loss(episodes)
    )


def test_training_moves_the_step_sizes_apart():
    torch.manual_seed(0)
    learner = qs.MetaSGD(mlp(1, 8, 1), inner_lr=0.01, likelihood=qs.gaussian)
    list(qs.train(learner, qs.Sinusoids(shots=5), steps=5, batch=4, engine=qs.Engine("stacked", None)))
    assert flat(learner.rates).unique().numel() > 10


def test_the_adjoint_form_refuses_step_sizes_for_each_weight_and_running_statistics_are_refused():
    weights = {"w": torch.ones(2, requires_grad=True)}
    with pytest.raises(TypeError, match="adjoint form has no derivative by step sizes; lr is a number"):
        descend(lambda w: w["w"].sum(), weights, steps=1, lr={"w": torch.ones(2)}, adjoint=True)
    with pytest.raises(ValueError, match="MetaSGD trains its network on one task at a time"):
        qs.MetaSGD(qs.Conv4(norm="running"))

import itertools
from dataclasses import replace

import pytest
import torch
from learners import episodes_for, mlp
from test_maml import double
from torch import nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy

import quickstudy as qs


def plain_loop(encoder, head, episodes, steps, lr, first_order=False):
    """The loss, and its gradient by all weights: a loop over tasks and steps that moves the encoder's alone."""
    names, initial = zip(*encoder.named_parameters(), strict=True)
    losses = []
    for t in range(len(episodes)):
        weights = list(initial)
        outputs = lambda x: head(functional_call(encoder, dict(zip(names, weights, strict=True)), x))  # noqa: B023, E731
        for _ in range(steps):
            loss = cross_entropy(outputs(episodes.support.x[t]), episodes.support.y[t])
            gradients = torch.autograd.grad(loss, weights, create_graph=not first_order)
            weights = [w - lr * g for w, g in zip(weights, gradients, strict=True)]
        losses.append(cross_entropy(outputs(episodes.query.x[t]), episodes.query.y[t]))
    mean = torch.stack(losses).mean()
    return mean, flat(torch.autograd.grad(mean, [*initial, *head.parameters()]))


def flat(tensors):
    return torch.cat([t.flatten() for t in tensors])


ENCODERS = {
    "mlp": lambda: mlp(256, 8),
    "conv4-group": lambda: qs.Conv4(width=8, image_size=16, norm="group"),
    "conv4-batch": lambda: qs.Conv4(width=8, image_size=16, norm="batch"),
}
CASES = [*itertools.product(ENCODERS, ("loop", "stacked")), ("mlp", "vmap")]


@pytest.mark.parametrize("first_order", [False, True])
@pytest.mark.parametrize(("encoder", "strategy"), CASES)
def test_by_every_strategy_the_meta_gradient_is_that_of_a_plain_loop_over_the_body(encoder, strategy, first_order):
    torch.manual_seed(0)
    encoder, head, episodes = ENCODERS[encoder]().double(), mlp(8, 3).double(), double(episodes_for("boil"))
    loss, expected = plain_loop(encoder, head, episodes, 3, 0.2, first_order)
    boil = qs.BOIL(encoder, head, inner_lr=0.2, inner_steps=3, first_order=first_order).train()
    torch.testing.assert_close(qs.Engine(strategy, 3).gradient(boil, episodes), loss.detach())
    found = flat(p.grad for p in [*encoder.parameters(), *head.parameters()])
    assert (found - expected).norm() / expected.norm() < 1e-6


def test_the_head_is_not_part_of_what_a_task_remembers_and_answers_with_the_learners_own():
    torch.manual_seed(0)
    boil, episodes = qs.BOIL(mlp(256, 8), mlp(8, 3)), episodes_for("boil")
    memory = boil.adapt(episodes.support)
    assert set(memory) == {"0.1.weight", "0.1.bias"}
    assert all((w != dict(boil.net.named_parameters())[name]).any() for name, w in memory.items())
    z = torch.einsum("tqi,tdi->tqd", episodes.query.x.flatten(2), memory["0.1.weight"]) + memory["0.1.bias"][:, None]
    expected = (z @ boil.net[1][1].weight.T + boil.net[1][1].bias).log_softmax(-1)
    torch.testing.assert_close(boil.predict(memory, episodes.query.x).logits, expected)


def test_an_empty_head_makes_it_maml_and_an_empty_body_its_head():
    torch.manual_seed(0)
    net, episodes = mlp(256, 16, 3), episodes_for("boil")
    boil = qs.BOIL(net, nn.Identity(), inner_lr=0.1, inner_steps=2)
    torch.testing.assert_close(boil.loss(episodes), qs.MAML(net, inner_lr=0.1, inner_steps=2).loss(episodes))
    still = qs.BOIL(nn.Identity(), net)
    torch.testing.assert_close(still.loss(episodes), qs.MAML(net, inner_steps=0).loss(episodes))


def test_steps_at_test_are_apart_from_those_in_training():
    torch.manual_seed(0)
    boil, support = qs.BOIL(mlp(256, 8), mlp(8, 3), inner_steps=1, test_inner_steps=3), episodes_for("boil").support
    for mode, steps in ((True, 1), (False, 3)):
        expected = qs.BOIL(*boil.net, inner_steps=steps).adapt(support)
        found = boil.train(mode).adapt(support)
        assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_padding_in_the_support_set_does_not_move_the_body():
    torch.manual_seed(0)
    boil, support = qs.BOIL(mlp(256, 8), mlp(8, 3)), episodes_for("boil").support
    exists = torch.ones_like(support.y, dtype=torch.bool)
    exists[:, -2:] = False
    fewer = qs.Examples(support.x[:, :-2], support.y[:, :-2], support.ways)
    found, expected = boil.adapt(replace(support, mask=exists)), boil.adapt(fewer)
    for name in expected:
        torch.testing.assert_close(found[name], expected[name])


def test_an_encoder_with_running_statistics_is_refused():
    with pytest.raises(ValueError, match="BOIL trains its network on one task at a time"):
        qs.BOIL(qs.Conv4(norm="running"), mlp(64, 3))

import pytest
import torch
from learners import episodes_for, mlp
from test_maml import double
from torch import nn
from torch.autograd import grad
from torch.nn.functional import cross_entropy

import quickstudy as qs


@pytest.mark.parametrize("first_order", [False, True])
def test_the_meta_gradient_is_that_of_a_plain_loop_over_the_last_layer(first_order):
    torch.manual_seed(0)
    encoder, head, episodes = mlp(256, 16).double(), mlp(16, 3).double(), double(episodes_for("anil"))
    losses = []
    for t in range(len(episodes)):
        weight, bias = head.parameters()
        z = encoder(episodes.support.x[t])
        for _ in range(3):
            loss = cross_entropy(z @ weight.T + bias, episodes.support.y[t])
            by_weight, by_bias = grad(loss, (weight, bias), create_graph=not first_order, retain_graph=True)
            weight, bias = weight - 0.1 * by_weight, bias - 0.1 * by_bias
        losses.append(cross_entropy(encoder(episodes.query.x[t]) @ weight.T + bias, episodes.query.y[t]))
    both = [*encoder.parameters(), *head.parameters()]
    expected = torch.cat([g.flatten() for g in grad(torch.stack(losses).mean(), both)])
    anil = qs.ANIL(encoder, head, inner_lr=0.1, inner_steps=3, first_order=first_order).train()
    anil.loss(episodes).backward()
    found = torch.cat([p.grad.flatten() for p in both])
    assert (found - expected).norm() / expected.norm() < 1e-6


def test_steps_at_test_are_apart_from_those_in_training():
    torch.manual_seed(0)
    anil, support = qs.ANIL(mlp(256, 8), mlp(8, 3), inner_steps=1, test_inner_steps=3), episodes_for("anil").support
    for mode, steps in ((True, 1), (False, 3)):
        expected = qs.ANIL(anil.encoder, anil.head, inner_steps=steps).adapt(support)
        found = anil.train(mode).adapt(support)
        assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_an_empty_head_makes_it_its_encoder():
    torch.manual_seed(0)
    encoder, episodes = mlp(256, 3), episodes_for("anil")
    anil = qs.ANIL(encoder, nn.Sequential())
    expected = encoder(episodes.query.x.flatten(0, 1)).view(4, -1, 3).softmax(-1)
    memory = anil.adapt(episodes.support)
    assert memory == {}
    torch.testing.assert_close(anil.predict(memory, episodes.query.x).probs, expected)


def test_an_empty_encoder_makes_it_maml():
    torch.manual_seed(0)
    net, episodes = mlp(256, 16, 3), episodes_for("anil")
    anil = qs.ANIL(nn.Identity(), net, inner_lr=0.1, inner_steps=2)
    maml = qs.MAML(net, inner_lr=0.1, inner_steps=2)
    torch.testing.assert_close(anil.loss(episodes), maml.loss(episodes))


def test_features_are_computed_once_whatever_the_number_of_steps():
    calls, encoder = [], mlp(256, 16)
    encoder.register_forward_hook(lambda *_: calls.append(1))
    qs.ANIL(encoder, mlp(16, 3), inner_steps=7).adapt(episodes_for("anil").support)
    assert len(calls) == 1

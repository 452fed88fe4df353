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

ENCODERS = {
    "mlp": lambda: mlp(256, 8, 6),
    "conv4-group": lambda: qs.Conv4(width=8, image_size=16, norm="group"),
    "conv4-batch": lambda: qs.Conv4(width=8, image_size=16, norm="batch"),
}
CASES = [*itertools.product(ENCODERS, ("loop", "stacked")), ("mlp", "vmap")]


def flat(tensors):
    return torch.cat([t.flatten() for t in tensors])


def plain_loop(encoder, episodes, steps, lr, first_order):
    """The loss, and its gradient by the encoder: a loop over tasks, classes and steps, with autograd all the way."""
    names, initial = zip(*encoder.named_parameters(), strict=True)
    losses = []
    for t in range(len(episodes)):
        x, y = episodes.support.x[t], episodes.support.y[t]
        z = encoder(x)
        prototypes = torch.stack([z[y == k].mean(0) for k in range(episodes.support.ways)])
        weights = [2 * prototypes, -(prototypes**2).sum(1), *(w.clone() for w in initial)]  # steps see them apart

        def logits(x, weights):
            return functional_call(encoder, dict(zip(names, weights[2:], strict=True)), x) @ weights[0].T + weights[1]

        for _ in range(steps):
            loss = cross_entropy(logits(x, weights), y)
            gradients = torch.autograd.grad(loss, weights, create_graph=not first_order, retain_graph=True)
            weights = [w - lr * g for w, g in zip(weights, gradients, strict=True)]
        losses.append(cross_entropy(logits(episodes.query.x[t], weights), episodes.query.y[t]))
    mean = torch.stack(losses).mean()
    return mean.detach(), flat(torch.autograd.grad(mean, initial))


@pytest.mark.parametrize("first_order", [False, True])
@pytest.mark.parametrize(("encoder", "strategy"), CASES)
def test_by_every_strategy_the_meta_gradient_is_that_of_a_plain_loop(encoder, strategy, first_order):
    torch.manual_seed(0)
    encoder, episodes = ENCODERS[encoder]().double(), double(episodes_for("proto-maml"))
    loss, expected = plain_loop(encoder, episodes, 3, 0.05, first_order)
    learner = qs.ProtoMAML(encoder, inner_lr=0.05, inner_steps=3, first_order=first_order).train()
    torch.testing.assert_close(qs.Engine(strategy, 3).gradient(learner, episodes), loss)
    found = flat(p.grad for p in encoder.parameters())
    assert (found - expected).norm() / expected.norm() < 1e-6


@pytest.mark.parametrize("strategy", ["loop", "stacked", "vmap"])
def test_with_zero_steps_it_is_a_prototypical_network_in_loss_gradient_and_answers(strategy):
    torch.manual_seed(0)
    encoder, episodes = ENCODERS["mlp"]().double(), double(episodes_for("proto-maml"))
    found = []
    for learner in (qs.ProtoMAML(encoder, inner_steps=0).train(), qs.PrototypicalNetwork(encoder).train()):
        encoder.zero_grad()
        loss = qs.Engine(strategy, None).gradient(learner, episodes)
        logits = learner.predict(learner.adapt(episodes.support), episodes.query.x).logits.detach()
        found.append([loss, logits, *(p.grad for p in encoder.parameters())])
    torch.testing.assert_close(*found)


def test_a_task_may_have_any_number_of_ways_whatever_the_learner_has_seen():
    torch.manual_seed(0)
    learner, episodes = qs.ProtoMAML(mlp(256, 8), inner_steps=2), episodes_for("proto-maml")
    for ways in (2, 3, 7):
        y = torch.arange(6).expand(4, 6) % min(ways, 6)
        support = qs.Examples(episodes.support.x, y, ways)
        memory = learner.adapt(support)
        assert memory["1.weight"].shape == (4, ways, 8)
        assert learner.predict(memory, episodes.query.x).logits.shape == (4, 12, ways)


def test_padding_counts_neither_in_the_prototypes_nor_in_the_steps():
    torch.manual_seed(0)
    learner, support = qs.ProtoMAML(mlp(256, 8), inner_lr=0.1), episodes_for("proto-maml").support
    exists = torch.ones_like(support.y, dtype=torch.bool)
    exists[:, -1:] = False
    fewer = qs.Examples(support.x[:, :-1], support.y[:, :-1], support.ways)
    found, expected = learner.adapt(replace(support, mask=exists)), learner.adapt(fewer)
    for name in expected:
        torch.testing.assert_close(found[name], expected[name])


def test_weights_are_in_full_precision_under_autocast_too():
    learner, episodes = qs.ProtoMAML(mlp(256, 8)), episodes_for("proto-maml")
    for strategy in ("loop", "stacked"):
        with torch.autocast("cpu", torch.bfloat16):
            qs.Engine(strategy, None).gradient(learner.train(), episodes)
            assert {w.dtype for w in learner.adapt(episodes.support).values()} == {torch.float32}


def test_steps_at_test_are_apart_and_running_statistics_are_refused():
    torch.manual_seed(0)
    encoder, support = mlp(256, 8), episodes_for("proto-maml").support
    learner = qs.ProtoMAML(encoder, inner_steps=1, test_inner_steps=3)
    for mode, steps in ((True, 1), (False, 3)):
        expected = qs.ProtoMAML(encoder, inner_steps=steps).adapt(support)
        found = learner.train(mode).adapt(support)
        assert all(torch.equal(found[name], expected[name]) for name in expected)
    with pytest.raises(ValueError, match="ProtoMAML trains its network on one task at a time"):
        qs.ProtoMAML(nn.Sequential(qs.Conv4(norm="running")))


def test_embeddings_far_from_the_origin_keep_their_distances_in_half_precision():
    class Far(nn.Sequential):
        def forward(self, input):
            return super().forward(input) + 30

    encoder = Far(*mlp(256, 8, 8))
    encoder.out_features = 8
    one, episodes = qs.ProtoMAML(encoder, inner_steps=0), episodes_for("proto-maml")
    exact = one.predict(one.adapt(episodes.support), episodes.query.x).probs
    with torch.autocast("cpu", torch.bfloat16):
        coarse = one.predict(one.adapt(episodes.support), episodes.query.x).probs
    torch.testing.assert_close(coarse, exact, atol=0.1, rtol=0)

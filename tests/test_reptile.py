import copy
import itertools

import pytest
import torch
from learners import conv_net, episodes_for, mlp
from test_maml import double
from torch.nn.functional import cross_entropy

import quickstudy as qs
from quickstudy.methods.optimization.reptile import minibatches
from quickstudy.tensors import support_and_query

NETS = {
    "mlp": lambda: mlp(256, 8, 3),
    "conv4-group": lambda: conv_net("group"),
    "conv4-batch": lambda: conv_net("batch"),
}
CASES = [*itertools.product(NETS, ("loop", "stacked")), ("mlp", "vmap")]


def flat(tensors):
    return torch.cat([t.detach().flatten() for t in tensors])


def trained(net, batches, lr):
    """A copy of the network after PyTorch's own Adam, without momentum, on each batch of one task."""
    net = copy.deepcopy(net)
    adam = torch.optim.Adam(net.parameters(), lr=lr, betas=(0.0, 0.999))
    for x, y in batches:
        adam.zero_grad()
        cross_entropy(net(x), y).backward()
        adam.step()
    return net


@pytest.mark.parametrize(("net", "strategy"), CASES)
def test_by_every_strategy_its_gradient_is_initial_less_adapted_averaged_over_tasks(net, strategy):
    torch.manual_seed(0)
    net, episodes = NETS[net]().double(), double(episodes_for("reptile"))
    batches = list(minibatches(support_and_query(episodes), 7, 5))
    adapted = [flat(trained(net, [(b.x[t], b.y[t]) for b in batches], 0.01).parameters()) for t in range(len(episodes))]
    initial = flat(net.parameters())
    expected = initial - torch.stack(adapted).mean(0)  # the batched version: the update is minus this
    reptile = qs.Reptile(net, inner_lr=0.01, inner_steps=5, inner_batch=7).train()
    loss = qs.Engine(strategy, 3).gradient(reptile, episodes)
    found = flat(p.grad for p in net.parameters())
    assert (found - expected).norm() / expected.norm() < 1e-6
    torch.testing.assert_close(loss, torch.stack([(initial - a).square().sum() / 2 for a in adapted]).mean())


def test_a_step_of_sgd_with_step_size_one_puts_the_weights_at_the_mean_of_the_adapted_ones():
    torch.manual_seed(0)
    net, episodes = mlp(256, 8, 3).double(), double(episodes_for("reptile"))
    everything = support_and_query(episodes)
    size = everything.x.shape[1]
    expected = torch.stack(
        [flat(trained(net, [(x, y)] * 4, 0.01).parameters()) for x, y in zip(everything.x, everything.y, strict=True)]
    ).mean(0)
    reptile = qs.Reptile(net, inner_lr=0.01, inner_steps=4, inner_batch=size).train()
    reptile.loss(episodes).backward()
    torch.optim.SGD(reptile.parameters(), lr=1.0).step()
    torch.testing.assert_close(flat(net.parameters()), expected)


@pytest.mark.parametrize("strategy", ["loop", "stacked", "vmap"])
def test_at_test_it_trains_on_the_whole_support_set_and_nothing_else(strategy):
    torch.manual_seed(0)
    net, support = mlp(256, 8, 3).double(), double(episodes_for("reptile")).support
    reptile = qs.Reptile(net, inner_lr=0.01, test_inner_steps=6)
    memory = qs.Engine(strategy, None).each(reptile, lambda one, examples: one.adapt(examples), [support])[0]
    for t in range(len(support)):
        expected = trained(net, [(support.x[t], support.y[t])] * 6, 0.01)
        for name, weight in expected.named_parameters():
            torch.testing.assert_close(memory[name][t], weight.detach())


def test_minibatches_go_through_every_example_as_often_before_any_comes_again():
    x = torch.arange(10.0).expand(2, 10)[..., None]
    batches = list(minibatches(qs.Examples(x, x), 4, 5))
    seen = torch.cat([batch.x for batch in batches], 1)[..., 0]  # [T, 20]
    assert all(row[:10].unique().numel() == row[10:].unique().numel() == 10 for row in seen)
    assert (seen[0, :10] != torch.arange(10.0)).any()
    assert torch.equal(seen[0], seen[1])
    assert all(torch.equal(batch.x, batch.y) for batch in batches)
    torch.manual_seed(5)
    assert torch.equal(seen, torch.cat([b.x for b in minibatches(qs.Examples(x, x), 4, 5)], 1)[..., 0])


def test_padding_is_in_no_minibatch():
    x, exists = torch.arange(10.0).expand(3, 10)[..., None], torch.ones(3, 10, dtype=torch.bool)
    exists[0, 4:], exists[1, ::2] = False, False
    seen = torch.cat([batch.x for batch in minibatches(qs.Examples(x, x, mask=exists), 3, 10)], 1)[..., 0]
    for t in range(3):
        times = seen[t].long().bincount(minlength=10)
        assert (times[~exists[t]] == 0).all()
        assert times[exists[t]].max() - times[exists[t]].min() <= 1


def test_with_zero_steps_it_is_its_network():
    net, episodes = mlp(256, 8, 3), episodes_for("reptile")
    reptile = qs.Reptile(net, inner_steps=0, test_inner_steps=0)
    expected = net(episodes.query.x.flatten(0, 1)).unflatten(0, episodes.query.y.shape).log_softmax(-1)
    torch.testing.assert_close(reptile.predict(reptile.adapt(episodes.support), episodes.query.x).logits, expected)
    assert reptile.loss(episodes) == 0


def test_regression_is_adapted_by_its_likelihood():
    torch.manual_seed(0)
    episodes = episodes_for("maml-regression")
    reptile = qs.Reptile(mlp(1, 16, 1), inner_lr=0.05, likelihood=qs.gaussian).eval()
    before = qs.MAML(reptile.net, inner_steps=0, likelihood=qs.gaussian).loss(qs.Episodes(*[episodes.support] * 2))
    assert (
        reptile.predict(reptile.adapt(episodes.support), episodes.support.x).log_prob(episodes.support.y).mean()
        > -before
    )


def test_a_network_with_running_statistics_is_refused():
    with pytest.raises(ValueError, match="Reptile trains its network on one task at a time"):
        qs.Reptile(conv_net("running"))

from functools import partial

import pytest
import torch
from learners import conv_net, episodes_for, mlp
from torch import nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy

import quickstudy as qs
from quickstudy.catalogue import Setting, build
from quickstudy.inner_loop import adapt_weights, descend, map_tasks


def plain_loop_gradient(net: nn.Module, episodes: qs.Episodes, steps: int, lr: float, first_order=False):
    """The meta-gradient as one would write it by hand: a loop over tasks and steps, with autograd."""
    names, initial = zip(*net.named_parameters(), strict=True)
    losses = []
    for t in range(len(episodes)):
        weights = list(initial)
        for _ in range(steps):
            logits = functional_call(net, dict(zip(names, weights, strict=True)), episodes.support.x[t])
            loss = cross_entropy(logits, episodes.support.y[t])
            gradients = torch.autograd.grad(loss, weights, create_graph=not first_order)
            weights = [w - lr * g for w, g in zip(weights, gradients, strict=True)]
        logits = functional_call(net, dict(zip(names, weights, strict=True)), episodes.query.x[t])
        losses.append(cross_entropy(logits, episodes.query.y[t]))
    return torch.cat([g.flatten() for g in torch.autograd.grad(torch.stack(losses).mean(), initial)])


def double(episodes: qs.Episodes) -> qs.Episodes:
    def one(e: qs.Examples) -> qs.Examples:
        return qs.Examples(e.x.double(), e.y if e.ways else e.y.double(), e.ways, classes=e.classes)

    return qs.Episodes(one(episodes.support), one(episodes.query))


NETS = {
    "mlp": lambda: mlp(256, 16, 3),
    "conv4-batch": lambda: conv_net("batch"),
    "conv4-group": lambda: conv_net("group"),
}


@pytest.mark.parametrize("steps", [1, 5])
@pytest.mark.parametrize("first_order", [False, True])
@pytest.mark.parametrize("adjoint", [False, True])
@pytest.mark.parametrize("net", NETS)
def test_the_meta_gradient_equals_a_plain_loop_in_float64(net, adjoint, first_order, steps):
    torch.manual_seed(0)
    net, episodes = NETS[net]().double(), double(episodes_for("maml"))
    expected = plain_loop_gradient(net, episodes, steps, 0.1, first_order)
    maml = qs.MAML(net, inner_lr=0.1, inner_steps=steps, first_order=first_order, adjoint=adjoint).train()
    maml.loss(episodes).backward()
    found = torch.cat([p.grad.flatten() for p in net.parameters()])
    assert (found - expected).norm() / expected.norm() < 1e-6


def test_second_derivatives_are_what_first_order_leaves_out():
    torch.manual_seed(0)
    net, episodes = mlp(256, 16, 3).double(), double(episodes_for("maml"))
    first, second = (plain_loop_gradient(net, episodes, 5, 0.1, order) for order in (True, False))
    assert (first - second).norm() / second.norm() > 1e-3


def test_one_step_on_a_line_is_what_calculus_says():
    net = nn.Linear(1, 1, bias=False).double()
    nn.init.constant_(net.weight, 2.0)
    x, y = torch.tensor([[[1.0], [3.0]]]).double(), torch.tensor([[[5.0], [1.0]]]).double()
    support = qs.Examples(x, y)
    maml = qs.MAML(net, inner_lr=0.1, likelihood=qs.gaussian)
    gradient = (2 * (2 * x - y) * x).mean()  # of the mean squared error
    memory = maml.adapt(support)
    torch.testing.assert_close(memory["weight"].squeeze(), 2 - 0.1 * gradient)
    query = torch.tensor([[[2.0]]]).double()
    loss = maml.loss(qs.Episodes(support, qs.Examples(query, torch.zeros_like(query))))
    loss.backward()
    curvature = (2 * x * x).mean()  # d(adapted weight) / d(weight) = 1 - 0.1 * curvature
    expected = 2 * memory["weight"].squeeze() * 4 * (1 - 0.1 * curvature)
    torch.testing.assert_close(net.weight.grad.squeeze(), expected.detach())


def test_with_zero_steps_it_is_its_network():
    net, episodes = NETS["mlp"](), episodes_for("maml")
    maml = qs.MAML(net, inner_steps=0)
    logits = maml.predict(maml.adapt(episodes.support), episodes.query.x).logits
    expected = net(episodes.query.x.flatten(0, 1)).unflatten(0, episodes.query.y.shape).log_softmax(-1)
    torch.testing.assert_close(logits, expected)


def test_steps_and_rate_at_test_are_apart_from_those_in_training():
    net, episodes = NETS["mlp"](), episodes_for("maml")
    maml = qs.MAML(net, inner_lr=0.1, inner_steps=1, test_inner_steps=4, test_inner_lr=0.05)
    for mode, steps, lr in ((True, 1, 0.1), (False, 4, 0.05)):
        expected = qs.MAML(net, inner_lr=lr, inner_steps=steps).adapt(episodes.support)
        found = maml.train(mode).adapt(episodes.support)
        assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_vectorized_tasks_equal_a_loop_over_tasks():
    net, support = NETS["mlp"]().double(), double(episodes_for("maml")).support
    descent = partial(descend, steps=3, lr=0.1)
    together = adapt_weights(net, dict(net.named_parameters()), support, qs.categorical, descent)
    wrapped = nn.Sequential(net, nn.Dropout(0.0))  # a layer that is not known to be safe together: a loop
    named = {f"0.{name}": weight for name, weight in net.named_parameters()}
    apart = adapt_weights(wrapped, named, support, qs.categorical, descent)
    for name in together:
        torch.testing.assert_close(together[name], apart[f"0.{name}"], rtol=1e-9, atol=1e-12)


def test_mapping_over_tasks_gives_the_same_with_and_without_vmap():
    x = torch.rand(3, 4)
    for f in (lambda row: row.sum(), lambda row: {"twice": 2 * row}):
        loop, vectorized = map_tasks(f, x, vectorize=False), map_tasks(f, x, vectorize=True)
        torch.testing.assert_close(loop, vectorized)


def test_a_network_with_running_statistics_is_refused():
    with pytest.raises(ValueError, match=r"layer '0.blocks.0.1' \(BatchNorm\).*norm='group'"):
        qs.MAML(conv_net("running"))


def test_numbers_under_the_likelihood_of_classes_are_refused():
    episodes = qs.Sinusoids(5).sample(1, torch.Generator().manual_seed(0))
    with pytest.raises(
        TypeError, match="numbers for targets, of which likelihood=categorical tells nothing; pass gaus"
    ):
        qs.MAML(mlp(1, 1)).loss(episodes)


@pytest.mark.parametrize("name", ["maml", "fo-maml", "anil", "meta-sgd", "maml++", "meta-lstm", "imaml"])
def test_first_steps_are_no_leaps_on_larger_pictures_either(name):
    torch.manual_seed(0)
    one = build(name, Setting("conv4", 3, 64, ways=5, shots=5))
    x = torch.rand(1, 50, 3, 64, 64)
    support, query = (qs.Examples(part, torch.arange(5).repeat(5)[None], 5) for part in x.split(25, 1))
    assert one.train().loss(qs.Episodes(support, query)) < 3  # nats; chance is 1.6

import pytest
import torch
from learners import conv_net, episodes_for, gradients_by_strategy, mlp
from test_maml import NETS, double, plain_loop_gradient
from torch.func import functional_call
from torch.nn.functional import cross_entropy

import quickstudy as qs
from quickstudy.methods.optimization.maml_plus_plus import after


def gradient(loss: torch.Tensor, parameters) -> torch.Tensor:
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(parameters))])


def at(progress: float, one: qs.MAMLPlusPlus) -> qs.MAMLPlusPlus:
    one.progress = progress
    return one.double().train()


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("net", NETS)
def test_with_equal_rates_at_the_end_of_training_it_is_maml(net, steps):
    torch.manual_seed(0)
    net, episodes = NETS[net]().double(), double(episodes_for("maml"))
    one = at(1.0, qs.MAMLPlusPlus(net, inner_lr=0.125, inner_steps=steps, per_step_norm=False))
    loss = one.loss(episodes)
    torch.testing.assert_close(loss, qs.MAML(net, inner_lr=0.125, inner_steps=steps).loss(episodes))
    found, expected = gradient(loss, net.parameters()), plain_loop_gradient(net, episodes, steps, 0.125)
    assert (found - expected).norm() / expected.norm() < 1e-6


def plain_loop_loss(one: qs.MAMLPlusPlus, episodes: qs.Episodes, counts: list[float]) -> torch.Tensor:
    """The loss as one would write it by hand, second derivatives and all."""
    own, total = dict(one.net.named_parameters()), []
    for t in range(len(episodes)):
        norms = {name: own[name] for name in one.norms}
        weights = {name: w for name, w in own.items() if name not in one.norms}
        for step, count in enumerate(counts):
            if step:
                norms = {name: w[step - 1] for name, w in zip(one.norms, one.later_norms, strict=True)}
            logits = functional_call(one.net, {**weights, **norms}, episodes.support.x[t])
            loss = cross_entropy(logits, episodes.support.y[t])
            gradients = torch.autograd.grad(loss, list(weights.values()), create_graph=True)
            stepped = zip(weights.items(), gradients, one.rates[step], strict=True)
            weights = {name: w - rate * g for (name, w), g, rate in stepped}
            logits = functional_call(one.net, {**weights, **norms}, episodes.query.x[t])
            total.append(count * cross_entropy(logits, episodes.query.y[t]))
    return torch.stack(total).sum() / len(episodes)


@pytest.mark.parametrize("net", NETS)
def test_rates_norms_and_the_multi_step_loss_equal_a_plain_loop_in_float64(net):
    torch.manual_seed(0)
    episodes = double(episodes_for("maml"))
    one = at(0.05, qs.MAMLPlusPlus(NETS[net](), inner_steps=3, first_order_until=0.0))
    with torch.no_grad():
        one.rates.uniform_(0.05, 0.2)
        for later in one.later_norms:
            later.uniform_(0.5, 1.5)
    assert len(one.later_norms) == (0 if net == "mlp" else 8)
    loss, expected = one.loss(episodes), plain_loop_loss(one, episodes, [1 / 6, 1 / 6, 4 / 6])
    torch.testing.assert_close(loss, expected)
    found, expected = (gradient(each, one.parameters()) for each in (loss, expected))
    assert (found - expected).norm() / expected.norm() < 1e-6


def test_the_loss_after_every_step_counts_equally_at_first_and_the_last_alone_later():
    one = qs.MAMLPlusPlus(mlp(4, 3), inner_steps=4)
    for progress, expected in (
        (0.0, [0.25] * 4),
        (0.05, [0.125] * 3 + [0.625]),
        (0.1, [0, 0, 0, 1]),
        (1, [0, 0, 0, 1]),
    ):
        one.progress = progress
        assert one.importance() == pytest.approx(expected)
    never = qs.MAMLPlusPlus(mlp(4, 3), inner_steps=2, multi_step_until=0.0)
    assert never.importance() == [0, 1]


@pytest.mark.parametrize(("progress", "first_order"), [(0.3, True), (0.34, False)])
def test_second_derivatives_count_from_a_third_of_training_on(progress, first_order):
    torch.manual_seed(0)
    net, episodes = mlp(256, 16, 3).double(), double(episodes_for("maml"))
    one = at(progress, qs.MAMLPlusPlus(net, inner_lr=0.125, inner_steps=3))
    found = gradient(one.loss(episodes), net.parameters())
    expected = plain_loop_gradient(net, episodes, 3, 0.125, first_order)
    assert (found - expected).norm() / expected.norm() < 1e-6


@pytest.mark.parametrize("progress", [0.05, 0.5])
@pytest.mark.parametrize("net", NETS)
def test_every_strategy_gives_the_same_gradient(net, progress):
    torch.manual_seed(0)
    one, episodes = at(progress, qs.MAMLPlusPlus(NETS[net](), inner_steps=3)), double(episodes_for("maml"))
    found = gradients_by_strategy(one, episodes)
    assert set(found) == ({"loop", "stacked", "vmap"} if net == "mlp" else {"loop", "stacked"})
    for other in found.values():
        assert (other - found["loop"]).norm() / found["loop"].norm() < 1e-6


def test_what_it_remembers_is_the_weights_after_the_last_step():
    torch.manual_seed(0)
    net, support = mlp(256, 16, 3), episodes_for("maml").support
    found = qs.MAMLPlusPlus(net, inner_steps=3).adapt(support)
    expected = qs.MAML(net, inner_lr=0.1, inner_steps=3).adapt(support)
    assert set(found) == set(expected)
    for name in expected:
        torch.testing.assert_close(found[name], expected[name])
    path = {"1.0.weight": torch.zeros(1), "10.0.weight": torch.ones(1)}
    assert after(1, path) == {"0.weight": path["1.0.weight"]}


def test_what_it_cannot_do_is_refused():
    with pytest.raises(ValueError, match="a step size for each inner step; inner_steps is 0"):
        qs.MAMLPlusPlus(mlp(4, 3), inner_steps=0)
    with pytest.raises(ValueError, match="MAMLPlusPlus trains its network on one task at a time"):
        qs.MAMLPlusPlus(conv_net("running"))

import pytest
import torch
from torch import nn
from torch.func import functional_call

import quickstudy as qs
from quickstudy.functional import functional


class Tied(nn.Module):
    """One matrix in two places."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3)
        self.second.weight = self.first.weight

    def forward(self, x):
        return self.second(self.first(x).tanh())


@pytest.mark.parametrize("net", [qs.MLP(3, 8, 2), Tied(), nn.utils.parametrizations.weight_norm(nn.Linear(3, 3))])
def test_it_is_functional_call(net):
    x = torch.randn(4, 3)
    other = {name: torch.randn_like(p).requires_grad_() for name, p in net.named_parameters()}
    some = dict(list(other.items())[:1])
    for weights in (other, some, {}):
        torch.testing.assert_close(functional(net)(weights, x), functional_call(net, weights, (x,)), rtol=0, atol=0)
    ours, theirs = (
        torch.autograd.grad(f.square().sum(), list(other.values()))
        for f in (functional(net)(other, x), functional_call(net, other, (x,)))
    )
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


def test_the_network_has_its_own_weights_again_even_after_an_error():
    net = Tied()
    before = dict(net.named_parameters())
    with pytest.raises(RuntimeError):
        functional(net)({"first.bias": torch.zeros(7)}, torch.randn(4, 3))
    assert all(p is before[name] for name, p in net.named_parameters())


class Listed(nn.Module):
    """Layers that it goes through by a list, a dict and a method."""

    def __init__(self):
        super().__init__()
        self.one, self.two, self.three = (nn.Linear(3, 3) for _ in range(3))
        self.order, self.named, self.last = [self.one], {"two": self.two}, self.three.forward

    def forward(self, x):
        return self.last(self.named["two"](self.order[0](x).tanh()))


def test_modules_in_lists_and_behind_methods_take_the_weights_too():
    net, x = Listed(), torch.randn(4, 3)
    other = {name: torch.randn_like(p) for name, p in net.named_parameters()}
    torch.testing.assert_close(functional(net)(other, x), functional_call(net, other, (x,)), rtol=0, atol=0)


class Waiting(nn.Module):
    """Looks from another place whose weights it has, while it computes."""

    def __init__(self):
        super().__init__()
        self.linear, self.seen = nn.Linear(3, 3), []

    def forward(self, x):
        return self.linear(x)


def test_the_network_keeps_its_weights_while_a_call_of_it_computes():
    net = Waiting()
    net.linear.register_forward_hook(lambda *_: net.seen.append(net.linear.weight))
    functional(net)({"linear.weight": torch.zeros(3, 3)}, torch.randn(4, 3))
    assert len(net.seen) == 1
    assert net.seen[0] is net.linear.weight

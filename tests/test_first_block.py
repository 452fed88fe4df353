import copy

import pytest
import torch
from torch import nn
from torch.func import functional_call

import quickstudy as qs
from quickstudy.encoders.first_block import ROWS, FirstBlock


def blocks(downsample: str, norm: str, channels: int = 1) -> tuple[FirstBlock, nn.Sequential]:
    """A first block with random numbers in it, and its layers one after another."""
    torch.manual_seed(0)
    fast = qs.Conv4(channels, 8, downsample=downsample, norm=norm).double().blocks[0]
    for parameter in fast.parameters():
        nn.init.normal_(parameter)
    return fast, nn.Sequential(*copy.deepcopy(fast))


def pictures(channels: int = 1) -> torch.Tensor:
    """More of them than are worked on at a time, empty in part, so that patches tie."""
    x = torch.randn(12, channels, 28, 28, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    x[:, :, 10:] = 0
    assert len(x) * 14 * 14 > ROWS
    return x


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("norm", ["batch", "running", "group"])
@pytest.mark.parametrize(("downsample", "channels"), [("pool", 1), ("stride", 1), ("pool", 3)])
def test_it_is_its_layers_and_so_are_its_first_and_second_derivatives(downsample, channels, norm, training):
    found = []
    x = pictures(channels)
    for block in blocks(downsample, norm, channels):
        block.train(training)
        y, weights = block(x), list(block.parameters())
        first = torch.autograd.grad((y * torch.arange(y.numel()).view_as(y).sin()).sum(), weights, create_graph=True)
        second = torch.autograd.grad(sum(g.sin().sum() for g in first), weights, materialize_grads=True)
        found.append([y, *first, *second, *block.buffers()])
    fast, layers = found
    for one, other in zip(fast, layers, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_a_gradient_of_the_pictures_themselves_goes_through_the_layers():
    gradients = []
    for block in blocks("pool", "batch"):
        x = pictures().requires_grad_()
        block(x).square().sum().backward()
        gradients.append(x.grad)
    torch.testing.assert_close(*gradients)
    assert gradients[0].any()


def test_pictures_of_an_odd_size_are_halved_as_ever():
    torch.manual_seed(0)
    encoder = qs.Conv4(1, 4, image_size=19, norm="batch")
    layers, x = nn.Sequential(*encoder.blocks[0]), torch.rand(3, 1, 19, 19)
    torch.testing.assert_close(encoder.blocks[0](x), layers(x))


@pytest.mark.parametrize("norm", ["batch", "group"])
def test_it_may_be_mapped_over_weights(norm):
    block, x = blocks("pool", norm)[0], pictures()
    weights = {name: torch.stack([p.detach(), p.detach().sin()]) for name, p in block.named_parameters()}
    found = torch.func.vmap(lambda w: functional_call(block, w, (x,)))(weights)
    for i in range(2):
        torch.testing.assert_close(found[i], functional_call(block, {n: w[i] for n, w in weights.items()}, (x,)))


def test_hooks_of_its_layers_are_called():
    heard, net = [], qs.Conv4(1, 4, image_size=16)
    net.blocks[0][1].register_forward_hook(lambda layer, given, made: heard.append(made))
    net(torch.randn(2, 1, 16, 16))
    assert len(heard) == 1


@pytest.mark.parametrize("downsample", ["pool", "stride"])
@pytest.mark.parametrize("norm", ["group", "none"])
def test_pictures_of_one_channel_lie_in_the_order_that_the_layers_after_it_keep(downsample, norm):
    block = qs.Conv4(1, 8, downsample=downsample, norm=norm).blocks[0]
    assert block(torch.rand(3, 1, 28, 28)).is_contiguous(memory_format=torch.channels_last)

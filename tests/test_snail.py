import itertools

import pytest
import torch
from learners import episodes_for, learner, mlp
from torch import nn
from torch.nn.functional import one_hot, pad, scaled_dot_product_attention

import quickstudy as qs
from quickstudy.methods.model_based.snail import AttentionBlock, DenseBlock
from quickstudy.tensors import per_task


def test_a_query_continues_the_sequence_as_if_it_had_been_run_as_a_whole():
    episodes, snail = episodes_for("snail"), learner("snail").eval()
    cached = snail.predict(snail.adapt(episodes.support), episodes.query.x).logits
    labelled = torch.cat([per_task(snail.encoder, episodes.support.x), one_hot(episodes.support.y, 3).float()], -1)
    for q in range(episodes.query.x.shape[1]):
        last = pad(per_task(snail.encoder, episodes.query.x[:, q : q + 1]), (0, 3))
        sequence = torch.cat([labelled, last], 1)
        for block in snail.blocks:
            sequence = block(sequence)
        expected = snail.head(sequence[:, -1]).log_softmax(-1)
        torch.testing.assert_close(cached[:, q], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("block", [DenseBlock(4, 3, dilation=2), AttentionBlock(4, 5, 3)])
def test_no_block_looks_ahead(block):
    x = torch.rand(2, 6, 4)
    changed = x.clone()
    changed[:, 4:] += 1
    before, after = block(x), block(changed)
    torch.testing.assert_close(before[:, :4], after[:, :4])
    assert not torch.allclose(before[:, 4:, 4:], after[:, 4:, 4:])


def test_a_dense_block_reaches_back_by_its_dilation_and_no_further():
    block, x = DenseBlock(1, 2, dilation=3), torch.rand(1, 6, 1, requires_grad=True)
    (gradient,) = torch.autograd.grad(block(x)[0, 5, 1:].sum(), x)
    assert gradient.squeeze().ne(0).tolist() == [False, False, True, False, False, True]


def test_a_dense_block_is_a_dilated_convolution_one_half_of_which_gates_the_other():
    block, convolution = DenseBlock(4, 3, dilation=2).double(), nn.Conv1d(4, 6, 2, dilation=2).double()
    x = torch.randn(2, 7, 4, dtype=torch.float64)
    with torch.no_grad():
        convolution.weight.copy_(torch.stack(block.convolution.weight.split(4, 1), -1))
        convolution.bias.copy_(block.convolution.bias)
    f, g = convolution(pad(x.mT, (2, 0))).mT.chunk(2, -1)
    torch.testing.assert_close(block(x), torch.cat([x, f.tanh() * g.sigmoid()], -1))


def test_an_attention_block_is_pytorchs_causal_attention():
    block, x = AttentionBlock(4, 5, 3).double(), torch.randn(2, 6, 4, dtype=torch.float64)
    q, k, v = (nn.functional.linear(x, w, b) for w, b in zip(*(p.split([5, 5, 3]) for p in parts(block)), strict=True))
    expected = scaled_dot_product_attention(q, k, v, is_causal=True)
    torch.testing.assert_close(block(x), torch.cat([x, expected], -1))


def parts(block: AttentionBlock) -> tuple[torch.Tensor, torch.Tensor]:
    return block.projection.weight, block.projection.bias


@pytest.mark.parametrize(("ways", "shots", "dilations"), [(5, 1, [1, 2, 4]), (5, 5, [1, 2, 4, 8, 16]), (3, 1, [1, 2])])
def test_attention_is_interleaved_with_convolutions_that_reach_back_over_all_examples(ways, shots, dilations):
    encoder = mlp(256, 16)
    blocks = list(qs.SNAIL(encoder, ways=ways, shots=shots, filters=8).blocks)
    found = [block.dilation if isinstance(block, DenseBlock) else block.key_size for block in blocks]
    assert found == [64, *dilations, 256, *dilations, 512]
    kinds = [AttentionBlock, *[DenseBlock] * len(dilations)]
    assert [type(block) for block in blocks] == [*kinds, *kinds, AttentionBlock]
    values = [32, *[8] * len(dilations), 128, *[8] * len(dilations), 256]
    widths = [16 + ways, *(block.out_channels for block in blocks)]
    assert [after - before for before, after in itertools.pairwise(widths)] == values
    assert sum(dilations) >= ways * shots  # a query's first convolution is behind all of them


def test_padding_which_it_would_read_is_refused():
    x, y = torch.rand(1, 3, 1, 16, 16), torch.tensor([[0, 1, 2]])
    support = qs.Examples(x, y, ways=3, mask=torch.tensor([[True, True, False]]))
    with pytest.raises(ValueError, match="give it tasks without a mask"):
        learner("snail").adapt(support)


def test_other_ways_than_it_was_built_for_are_refused():
    support = qs.Examples(torch.rand(1, 2, 1, 16, 16), torch.tensor([[0, 1]]), ways=2)
    with pytest.raises(ValueError, match="built for 3 ways; the tasks have 2"):
        learner("snail").adapt(support)

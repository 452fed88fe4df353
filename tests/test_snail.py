import pytest
import torch
from learners import episodes_for, learner
from torch.nn.functional import one_hot, pad

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


def test_padding_which_it_would_read_is_refused():
    x, y = torch.rand(1, 3, 1, 16, 16), torch.tensor([[0, 1, 2]])
    support = qs.Examples(x, y, ways=3, mask=torch.tensor([[True, True, False]]))
    with pytest.raises(ValueError, match="give it tasks without a mask"):
        learner("snail").adapt(support)


def test_other_ways_than_it_was_built_for_are_refused():
    support = qs.Examples(torch.rand(1, 2, 1, 16, 16), torch.tensor([[0, 1]]), ways=2)
    with pytest.raises(ValueError, match="built for 3 ways; the tasks have 2"):
        learner("snail").adapt(support)

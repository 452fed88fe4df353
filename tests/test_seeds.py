import numpy as np
import torch

from quickstudy.seeds import drawing_from, seeded


def test_a_number_of_numpy_is_the_number_it_is():
    one, other = seeded(7, "train", 3), seeded(np.int64(7), "train", np.int32(3))
    assert torch.equal(torch.rand(4, generator=one), torch.rand(4, generator=other))
    assert not torch.equal(torch.rand(4, generator=seeded(7)), torch.rand(4, generator=seeded(8)))


def test_what_is_drawn_from_a_seed_for_a_while_leaves_what_is_drawn_after_as_it_was():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    with drawing_from(5):
        one = torch.rand(2)
    assert torch.equal(torch.rand(2), expected)
    with drawing_from(5):
        assert torch.equal(torch.rand(2), one)

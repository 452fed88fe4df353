import numpy as np
import torch

from quickstudy.seeds import seeded


def test_a_number_of_numpy_is_the_number_it_is():
    one, other = seeded(7, "train", 3), seeded(np.int64(7), "train", np.int32(3))
    assert torch.equal(torch.rand(4, generator=one), torch.rand(4, generator=other))
    assert not torch.equal(torch.rand(4, generator=seeded(7)), torch.rand(4, generator=seeded(8)))

import pytest
import torch
from torch import nn

import quickstudy as qs
from quickstudy.more_examples import draw, extrapolated, more_examples


def islands(spread: float, count: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 1, 4, generator=generator) + spread * torch.randn(3, count, 4, generator=generator)
    return x.flatten(0, 1), torch.arange(3 * count) // count


def test_accuracy_grows_with_examples_where_they_differ():
    found = more_examples(qs.PrototypicalNetwork(nn.Identity()), *islands(1.5, 12), 3)
    assert list(found.accuracy) == list(range(1, 12))
    assert sum(found.accuracy[shots] for shots in (9, 10, 11)) / 3 > found.accuracy[1] + 0.1
    assert found.twice is not None
    assert found.twice[0] == 24
    assert 1 > found.twice[1] >= found.accuracy[11]
    for shots, accuracy in found.accuracy.items():
        assert found.low[shots] < accuracy < found.high[shots]


def test_what_is_sure_with_one_example_needs_no_more():
    found = more_examples(qs.PrototypicalNetwork(nn.Identity()), *islands(0.01), 3)
    assert set(found.accuracy.values()) == {1.0}
    assert found.low[1] < 0.9  # 24 examples cannot promise more


def test_a_drawn_example_is_of_its_class_and_drawn_once():
    y = torch.tensor([0, 1, 0, 1, 1, 0, 2, 2])
    drawn = draw(y, 3, 2, torch.Generator().manual_seed(0))
    assert y[drawn].tolist() == [[0, 0], [1, 1], [2, 2]]
    assert len(drawn.flatten().unique()) == 6


def test_errors_fall_as_a_power_of_the_number():
    shots, accuracy = extrapolated({1: 0.2, 2: 0.6, 4: 0.8}, 8)
    assert (shots, accuracy) == (8, pytest.approx(0.9))
    assert extrapolated({1: 0.9, 2: 0.8}, 4) == (4, 0.8)  # more examples do no harm
    assert extrapolated({1: 0.5}, 4) is None


def test_a_class_with_one_example_is_told():
    x, y = islands(1.0)
    with pytest.raises(ValueError, match="class 2 has 1; needed 2"):
        more_examples(qs.PrototypicalNetwork(nn.Identity()), x[:17], y[:17], 3)

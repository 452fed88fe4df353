import pytest
import torch
from learners import learner, mlp, toy_data
from sklearn.metrics import roc_auc_score
from torch import nn

import quickstudy as qs
from quickstudy.none_of_these import area, has_strangers, unlike, without_last


def islands(spread: float) -> qs.LabelledData:
    """Six classes around points far from one another, in four dimensions."""
    generator = torch.Generator().manual_seed(0)
    centres = 4 * torch.randn(6, 1, 4, generator=generator)
    x = centres + spread * torch.randn(6, 20, 4, generator=generator)
    return qs.LabelledData("islands", x.flatten(0, 1), torch.arange(120) // 20, tuple("abcdef"))


def test_the_area_is_that_of_scikit_learn():
    generator = torch.Generator().manual_seed(0)
    scores = torch.randint(0, 5, (3, 40), generator=generator).float()  # many are level
    strange = torch.rand(3, 40, generator=generator) < 0.3
    expected = [roc_auc_score(truth, score) for truth, score in zip(strange.numpy(), scores.numpy(), strict=True)]
    assert area(scores, strange).tolist() == pytest.approx(expected)


def test_the_support_set_lacks_one_class_and_the_queries_do_not():
    episodes = qs.FewShot(islands(1.0), 4, 2, 3).sample(5, torch.Generator().manual_seed(0))
    support, x, strange = without_last(episodes)
    assert support.ways == 3
    assert support.x.shape == (5, 6, 4)
    assert support.y.unique().tolist() == [0, 1, 2]
    assert torch.equal(x, episodes.query.x)
    assert torch.equal(strange, episodes.query.y == 3)
    shown = episodes.support.x[episodes.support.y < 3].view(5, 6, 4)
    assert torch.equal(support.x, shown)


def test_a_distance_tells_strangers_where_a_softmax_cannot():
    found = qs.strangers(qs.PrototypicalNetwork(nn.Identity()), qs.FewShot(islands(0.3), 3, 2, 5), episodes=40)
    assert {name: len(values) for name, values in found.items()} == {"softmax": 40, "unlike": 40}
    assert found["unlike"].mean() > 0.99
    assert found["unlike"].mean() > found["softmax"].mean() + 0.1


def test_unlike_is_doubt_and_distance_in_units_of_the_classes_own():
    centres = torch.tensor([[[0.0, 0.0], [4.0, 0.0]], [[0.0, 0.0], [40.0, 0.0]]])
    z = torch.tensor([[[2.0, 0.0], [0.0, 3.0]], [[20.0, 0.0], [0.0, 30.0]]])
    surest = torch.tensor([[0.5, 0.9], [0.5, 0.9]])
    expected = torch.tensor([0.5 + 0.5, 0.1 + 0.75]).expand(2, 2)
    torch.testing.assert_close(unlike(surest, z, centres), expected)


def test_where_classes_do_not_differ_guessing_is_all_there_is():
    found = qs.strangers(qs.PrototypicalNetwork(nn.Identity()), qs.FewShot(islands(500.0), 3, 1, 5), episodes=200)
    assert found["unlike"].mean() == pytest.approx(0.5, abs=0.05)


def test_a_method_that_sees_more_than_embeddings_has_no_distance():
    assert set(qs.strangers(learner("maml-conv4-task"), qs.FewShot(toy_data(), 3, 1, 2), episodes=4)) == {"softmax"}


def test_a_learner_is_left_in_the_mode_it_was_in():
    one = qs.PrototypicalNetwork(mlp(4, 8)).train()
    qs.strangers(one, qs.FewShot(islands(1.0), 3, 1, 2), episodes=2)
    assert one.training


def test_a_class_must_be_left_to_be_the_stranger():
    every = qs.FewShot(islands(1.0), 6, 1, 2)
    assert not has_strangers(every)
    assert has_strangers(qs.FewShot(islands(1.0), 5, 1, 2))
    with pytest.raises(ValueError, match="7-way tasks need 7 classes; islands has 6"):
        qs.strangers(qs.PrototypicalNetwork(nn.Identity()), every)


def test_answers_too_sure_for_single_precision_are_still_ranked():
    class Sure(qs.PrototypicalNetwork):
        def predict(self, memory, x):
            return qs.categorical(200 * super().predict(memory, x).logits)

    tasks = qs.FewShot(islands(1.0), 3, 2, 5)
    plain, sure = (qs.strangers(kind(nn.Identity()), tasks, episodes=40) for kind in (qs.PrototypicalNetwork, Sure))
    assert sure["softmax"].mean() > plain["softmax"].mean() - 0.02

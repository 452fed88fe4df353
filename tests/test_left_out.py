import pytest
import torch
from learners import learner, mlp, toy_data
from torch import nn

import quickstudy as qs
from quickstudy import left_out as room
from quickstudy.left_out import left_out

WAYS = 3


def some(shots: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures of the first classes, the classes in turn."""
    data = toy_data()
    rows = torch.cat([torch.tensor([c * 12 + shot for c in range(WAYS)]) for shot in range(shots)])
    return data.x[rows] / 255, data.y[rows]


def one_by_one(one: qs.MetaLearner, x: torch.Tensor, y: torch.Tensor, ways: int) -> torch.Tensor:
    found = []
    for i in range(len(x)):
        others = torch.arange(len(x)) != i
        with torch.no_grad():
            memory = one.adapt(qs.Examples(x[others][None], y[others][None], ways))
            logits = one.predict(memory, x[i][None, None]).logits[0, 0]
        found.append(logits[:WAYS].log_softmax(-1))
    return torch.stack(found)


@pytest.mark.parametrize(
    ("name", "built_for"),
    [
        ("protonet-resnet12", WAYS),
        ("protonet-batch", WAYS),
        ("dkt", WAYS),
        ("dkt-mixture", WAYS),
        ("maml-conv4-task", WAYS),
        ("snail", WAYS),
        ("in-context", WAYS + 1),
    ],
)
def test_it_is_what_a_learner_says_that_adapts_to_all_others_one_example_after_the_other(name, built_for, monkeypatch):
    monkeypatch.setattr(room, "AT_ONCE", 40_000)  # so that there are several chunks
    one, (x, y) = learner(name).eval(), some()
    found = left_out(one, x, y, WAYS)
    torch.testing.assert_close(found, one_by_one(one, x, y, built_for), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.exp().sum(1), torch.ones(len(x)))


@pytest.mark.parametrize("kernels", [0, 3])
def test_gaussian_processes_have_a_closed_form_for_it(kernels, monkeypatch):
    x, y = torch.randn(1, 6, 3, dtype=torch.float64), torch.randn(1, 6, 2, dtype=torch.float64)
    if kernels:
        one = qs.DeepKernelMixture(nn.Identity(), kernels=kernels, kernel=("linear", "rbf"), targets=2)
    else:
        one = qs.DeepKernelTransfer(nn.Identity(), kernel="rbf", targets=2)
    one.double()
    found = one.left_out(one.adapt(qs.Examples(x, y)))
    for i in range(6):
        others = torch.arange(6) != i
        expected = one.predict(one.adapt(qs.Examples(x[:, others], y[:, others])), x[:, i : i + 1])
        torch.testing.assert_close(found.mean[:, i], expected.mean[:, 0])
        torch.testing.assert_close(found.variance[:, i], expected.variance[:, 0])
    shown = []
    adapt = type(one).adapt
    monkeypatch.setattr(type(one), "adapt", lambda self, support: shown.append(len(support)) or adapt(self, support))
    one.targets = None
    left_out(one, x[0], torch.arange(6) % 2, 2)
    assert shown == [1, 1]  # once to learn how many classes it was built for


def test_of_prototypes_it_is_the_softmax_of_distances_to_means_without_the_example():
    x, y = torch.tensor([[0.0], [2.0], [5.0], [6.0]]), torch.tensor([0, 0, 1, 1])
    found = left_out(qs.PrototypicalNetwork(nn.Identity()), x, y, 2)
    distances = torch.tensor([[4.0, 5.5**2], [4.0, 3.5**2], [16.0, 1.0], [25.0, 1.0]])
    torch.testing.assert_close(found, (-distances).log_softmax(-1))


def test_of_the_only_example_of_a_class_nothing_is_said():
    x, _ = some()
    found = left_out(qs.PrototypicalNetwork(nn.Flatten()), x[:7], torch.tensor([0, 0, 0, 1, 1, 1, 2]), WAYS)
    assert found.isnan().all(1).tolist() == [False] * 6 + [True]
    assert found[:6].isfinite().all()


def test_what_is_left_may_be_of_one_class():
    probe = qs.LinearProbe(mlp(256, 4), classes=6)
    found = left_out(probe, some()[0][:4], torch.tensor([0, 1, 1, 1]), 2)
    assert found.isnan().all(1).tolist() == [True, False, False, False]
    alone = probe.adapt(qs.Examples(some()[0][None, :3], torch.ones(1, 3, dtype=torch.long), 2))
    assert probe.predict(alone, some()[0][None]).probs[..., 1].min() == 1


class Counting(nn.Flatten):
    seen = 0

    def forward(self, x):
        Counting.seen += len(x)
        return super().forward(x)


def test_each_example_is_embedded_once():
    x, y = some(shots=10)
    Counting.seen = 0
    left_out(qs.PrototypicalNetwork(Counting()), x, y, WAYS)
    assert Counting.seen <= len(x) + 3  # and a task of three, to see how many classes it answers


def test_the_learner_is_left_as_it_was():
    one = learner("maml-conv4").train()
    before = {name: tensor.clone() for name, tensor in one.state_dict().items()}
    left_out(one, *some(), WAYS)
    assert one.training
    assert all(torch.equal(before[name], tensor) for name, tensor in one.state_dict().items())


def test_wrong_use_is_told():
    x, y = some()
    one = qs.PrototypicalNetwork(nn.Flatten())
    with pytest.raises(ValueError, match="needs 2 examples at least, each with a label; got 1 and 1"):
        left_out(one, x[:1], y[:1], WAYS)
    with pytest.raises(ValueError, match=r"labels must lie in \[0, 2\)"):
        left_out(one, x, y, 2)
    with pytest.raises(ValueError, match="was built for 3 classes, and there are 5"):
        left_out(learner("maml-conv4"), x, y, 5)


def test_a_learner_that_fails_stays_in_its_mode():
    class Failing(qs.PrototypicalNetwork):
        def predict(self, memory, x):
            raise RuntimeError("no answer")

    one = Failing(nn.Identity()).train()
    with pytest.raises(RuntimeError, match="no answer"):
        left_out(one, torch.rand(4, 2), torch.tensor([0, 0, 1, 1]), 2)
    assert one.training

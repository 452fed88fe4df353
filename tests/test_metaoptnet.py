import pytest
import torch
from learners import episodes_for
from sklearn.svm import LinearSVC
from torch import nn

import quickstudy as qs
from quickstudy.svm import machine, optimum

COST = 0.3


def problem(shots: int = 3, ways: int = 3, d: int = 4) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    z = torch.randn(2, ways * shots, d, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y = torch.arange(ways).repeat(shots).expand(2, -1)
    return z, y, torch.ones_like(y, dtype=torch.bool)


def test_its_weights_are_those_of_scikit_learns_machine():
    z, y, exists = problem()
    own = torch.eye(9, dtype=torch.float64).expand(2, -1, -1)  # 1 on the diagonal: a coordinate of each example's own
    theirs = LinearSVC(C=COST, multi_class="crammer_singer", fit_intercept=False, tol=1e-10, max_iter=10**6)
    for t, found in enumerate(machine(z, y, 3, COST, exists)):
        theirs.fit(torch.cat([z, own], 2)[t].numpy(), y[t].numpy())
        torch.testing.assert_close(found, torch.from_numpy(theirs.coef_.T[:4]), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(("spread", "cost"), [(0.01, 0.1), (1.0, 0.1), (100.0, 0.1), (1.0, 1e-4), (1.0, 1e4)])
def test_its_numbers_are_the_duals_optimum_for_many_classes_and_at_every_scale(spread, cost):
    z, y, _ = problem(shots=5, ways=20, d=30)
    kernel, label = (spread * z) @ (spread * z).mT + torch.eye(100), nn.functional.one_hot(y).mT.double()
    found = optimum(kernel, label, cost)[0]
    gradient = label - found @ kernel  # of what is made as large as it can be
    room = cost * label - found
    scale = gradient.abs().max()
    assert room.min() > 0
    assert found.sum(1).abs().max() < 1e-9 * min(cost, 1)
    free, bound = room > 1e-6 * cost, room < 1e-9 * cost
    nu = (gradient * free).sum(1) / free.sum(1)  # the same for every number that could still grow or shrink
    assert ((gradient - nu[:, None]) * free).abs().max() < 1e-6 * scale
    assert ((gradient - nu[:, None])[bound] > -1e-6 * scale).all()


def test_a_graph_that_goes_on_to_the_last_step_finds_the_same(monkeypatch):
    z, y, exists = problem()
    found = machine(z, y, 3, COST, exists)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    torch.testing.assert_close(machine(z, y, 3, COST, exists), found, rtol=1e-9, atol=1e-12)


def test_second_derivatives_are_refused_rather_than_wrong():
    z, y, exists = problem()
    z.requires_grad_()
    (gradient,) = torch.autograd.grad(machine(z, y, 3, COST, exists).square().sum(), z, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


def test_its_gradient_is_exact():
    z, y, exists = problem()
    direction = torch.randn(z.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    weigh = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)

    def value(x: torch.Tensor) -> torch.Tensor:
        return (weigh * machine(x, y, 3, COST, exists)).sum()

    leaf = z.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(value(leaf), leaf)
    step = 1e-5
    nearby = (value(z + step * direction) - value(z - step * direction)) / (2 * step)
    assert abs((gradient * direction).sum() - nearby) < 1e-6 * abs(nearby)


def test_padding_is_of_no_account():
    z, y, exists = problem()
    shorter = machine(z[:, :6], y[:, :6], 3, COST, exists[:, :6])
    exists = exists.clone()
    exists[:, 6:] = False
    torch.testing.assert_close(machine(z, y, 3, COST, exists), shorter)


def test_logits_are_the_machines_outputs_scaled():
    episodes = episodes_for("metaoptnet")
    learner = qs.MetaOptNet(nn.Flatten(), cost=0.2, scale=4.0)
    support, query = episodes.support, episodes.query
    exists = torch.ones_like(support.y, dtype=torch.bool)
    outputs = query.x.flatten(2) @ machine(support.x.flatten(2), support.y, 3, 0.2, exists)
    answer = learner.predict(learner.adapt(support), query.x)
    torch.testing.assert_close(answer.probs, (4 * outputs).softmax(-1))


def test_a_cost_of_nothing_is_refused():
    with pytest.raises(ValueError, match=r"cost of a support vector machine must be positive; it is 0\.0"):
        qs.MetaOptNet(nn.Flatten(), cost=0.0)

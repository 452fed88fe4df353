import pytest
import torch
from learners import episodes_for
from sklearn.linear_model import Ridge
from torch import nn
from torch.nn.functional import one_hot

import quickstudy as qs
from quickstudy.methods.metric.r2d2 import ridge, solve


def problem(support: int, d: int, outputs: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randn(2, support, n, generator=generator, dtype=torch.float64) for n in (d, outputs))


@pytest.mark.parametrize(("support", "d"), [(4, 9), (9, 4), (6, 6)])
def test_its_weights_are_those_of_scikit_learns_ridge(support, d):
    x, y = problem(support, d)
    found = ridge(x, y, torch.tensor(0.7, dtype=torch.float64))
    for t in range(2):
        theirs = Ridge(alpha=0.7, fit_intercept=False).fit(x[t].numpy(), y[t].numpy())
        torch.testing.assert_close(found[t], torch.from_numpy(theirs.coef_.T))


@pytest.mark.parametrize(("support", "d"), [(4, 9), (9, 4)])
def test_woodburys_identity_gives_the_same_weights(support, d):
    x, y = problem(support, d)
    penalty = torch.tensor(0.7, dtype=torch.float64)
    torch.testing.assert_close(x.mT @ solve(x @ x.mT, y, penalty), solve(x.mT @ x, x.mT @ y, penalty))


@pytest.mark.parametrize(("support", "d"), [(4, 30), (30, 4)])
def test_the_smaller_of_the_two_systems_is_solved(support, d, monkeypatch):
    sizes, cholesky = [], torch.linalg.cholesky
    monkeypatch.setattr(torch.linalg, "cholesky", lambda a: sizes.append(a.shape[-1]) or cholesky(a))
    ridge(*problem(support, d), torch.tensor(1.0, dtype=torch.float64))
    assert sizes == [4]


@pytest.mark.parametrize(("support", "d"), [(2, 4), (4, 2)])
def test_gradients_of_both_systems_are_exact_to_second_order(support, d):
    x, y = problem(support, d, outputs=2)
    penalty = torch.tensor(0.7, dtype=torch.float64)
    inputs = tuple(tensor.clone().requires_grad_() for tensor in (x, y, penalty))
    assert torch.autograd.gradcheck(ridge, inputs)
    assert torch.autograd.gradgradcheck(ridge, inputs)


def test_logits_are_the_regression_on_one_hot_labels_scaled_and_shifted():
    episodes = episodes_for("r2d2")
    learner = qs.R2D2(nn.Flatten(), penalty=2.0, alpha=5.0, beta=0.3)
    probs = learner.predict(learner.adapt(episodes.support), episodes.query.x).probs
    for t in range(len(episodes)):
        x, labels = episodes.support.x[t].flatten(1), one_hot(episodes.support.y[t], 3)
        theirs = Ridge(alpha=2.0, fit_intercept=False).fit(x.double().numpy(), labels.numpy())
        outputs = torch.from_numpy(theirs.predict(episodes.query.x[t].flatten(1).double().numpy()))
        torch.testing.assert_close(probs[t].double(), (5 * outputs + 0.3).softmax(-1), rtol=1e-3, atol=1e-4)


def test_numbers_are_regressed_on_as_they_are():
    x, y = problem(6, 2, outputs=1)
    learner = qs.R2D2(nn.Identity(), penalty=0.5, alpha=1.0, beta=0.0, likelihood=qs.gaussian).double()
    mean = learner.predict(learner.adapt(qs.Examples(x, y)), x).mean
    theirs = Ridge(alpha=0.5, fit_intercept=False).fit(x[1].numpy(), y[1].numpy()).predict(x[1].numpy())
    torch.testing.assert_close(mean[1].flatten(), torch.from_numpy(theirs).flatten())


def test_what_regularises_stays_positive_however_long_the_steps_that_make_it_smaller():
    learner, support = qs.R2D2(nn.Flatten(), penalty=0.5), episodes_for("r2d2").support
    descent = torch.optim.SGD([learner.log_penalty], lr=1000.0)
    for _ in range(3):  # judged on its own support set, no penalty would be best
        descent.zero_grad()
        learner.loss(qs.Episodes(support, support)).backward()
        descent.step()
    assert 0 < learner.log_penalty.exp().item() < 0.01


def test_a_penalty_that_is_not_positive_is_refused():
    with pytest.raises(ValueError, match="must be positive; it is 0"):
        qs.R2D2(nn.Flatten(), penalty=0.0)


@pytest.mark.parametrize(
    "build",
    [
        lambda: qs.R2D2(qs.MLP(1, 40, 40), likelihood=qs.gaussian),
        lambda: qs.DeepKernelTransfer(qs.MLP(1, 40, 40), targets=1, kernel="rbf"),
        lambda: qs.DeepKernelTransfer(qs.MLP(1, 40, 40), targets=1, kernel="linear"),
    ],
)
def test_points_in_the_thousands_that_come_twice_have_a_solution(build):
    x = 5000 * torch.rand(1, 15, 1, generator=torch.Generator().manual_seed(0))
    support = qs.Examples(torch.cat([x, x], 1), torch.zeros(1, 30, 1))
    for seed in range(5):
        torch.manual_seed(seed)
        one = build()
        assert one.predict(one.adapt(support), x).mean.isfinite().all()

import numpy as np
import pytest
import torch
from scipy.stats import kstest, norm
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, ExpSineSquared, Matern

import quickstudy as qs
from quickstudy.seeds import seeded

KERNELS = ["rbf", "matern52", "periodic"]
every_kernel = pytest.mark.parametrize("kernel", KERNELS)


def scikit_learns(kernel: str, hyper, task: int):
    lengthscale, scale, period = (values[task].item() for values in hyper)
    shapes = {
        "rbf": lambda: RBF(lengthscale),
        "matern52": lambda: Matern(lengthscale, nu=2.5),
        "periodic": lambda: ExpSineSquared(lengthscale, period),
    }
    return ConstantKernel(scale**2) * shapes[kernel]()


@every_kernel
def test_the_posterior_is_that_of_scikit_learn(kernel):
    curves = qs.GPCurves(kernel)
    for batch in range(5):
        episodes, hyper = curves.draw(4, seeded(batch, "posterior"))
        found = curves.posterior(episodes, hyper)
        for t in range(4):
            process = GaussianProcessRegressor(scikit_learns(kernel, hyper, t), alpha=0.02**2, optimizer=None)
            process.fit(episodes.support.x[t].numpy().astype(float), episodes.support.y[t, :, 0].numpy().astype(float))
            mean, std = process.predict(episodes.query.x[t].numpy().astype(float), return_std=True)
            std = np.sqrt(std**2 + 0.02**2)  # of a target, which is noisy, and not of the curve
            np.testing.assert_allclose(found.mean[t, :, 0], mean, atol=1e-6)
            np.testing.assert_allclose(found.stddev[t, :, 0], std, rtol=1e-6)
            nats = norm(mean, std).logpdf(episodes.query.y[t, :, 0].numpy().astype(float))
            np.testing.assert_allclose(found.log_prob(episodes.query.y.double())[t], nats, rtol=1e-4, atol=1e-4)


@every_kernel
def test_curves_are_draws_from_the_process_of_scikit_learn(kernel):
    whitened = []
    for batch in range(12):
        episodes, hyper = qs.GPCurves(kernel).draw(10, seeded(batch, "white"))
        both = episodes.support, episodes.query
        x, y = (torch.cat([getattr(examples, name).double() for examples in both], 1).numpy() for name in "xy")
        for t in range(10):
            covariance = scikit_learns(kernel, hyper, t)(x[t]) + 0.02**2 * np.eye(len(x[t]))
            whitened.append(np.linalg.solve(np.linalg.cholesky(covariance), y[t, :, 0]))
    assert kstest(np.concatenate(whitened), "norm").pvalue > 1e-3


@pytest.mark.parametrize(("kernel", "ceiling"), [("rbf", 1.53), ("matern52", 1.12), ("periodic", 1.18)])
def test_the_most_that_a_learner_can_reach_is_what_the_page_says(kernel, ceiling):
    curves, generator = qs.GPCurves(kernel), torch.Generator().manual_seed(0)
    nats = torch.stack(
        [
            curves.posterior(episodes, hyper).log_prob(episodes.query.y.double()).mean()
            for episodes, hyper in (curves.draw(4, generator) for _ in range(500))
        ]
    )
    assert nats.mean().item() == pytest.approx(ceiling, abs=3 * nats.std().item() / len(nats) ** 0.5)


def test_points_and_hyper_parameters_lie_where_the_benchmark_has_them():
    batches = [qs.GPCurves().draw(2, seeded(batch, "ranges")) for batch in range(800)]
    counts = [(e.support.x.shape[1], e.query.x.shape[1]) for e, _ in batches]
    assert {support for support, _ in counts} == set(range(3, 47))
    assert min(query for _, query in counts) == 3
    assert 45 <= max(query for _, query in counts) <= 46
    assert max(sum(both) for both in counts) == 49
    x = torch.cat([e.query.x.flatten() for e, _ in batches])
    assert (x.min().item(), x.max().item()) == pytest.approx((-2, 2), abs=0.01)
    hyper = (torch.stack(values) for values in zip(*(hyper for _, hyper in batches), strict=True))
    for values, (low, high) in zip(hyper, [(0.1, 0.6), (0.1, 1), (0.1, 0.5)], strict=True):
        assert (values.min().item(), values.max().item()) == pytest.approx((low, high), abs=0.005)
        assert low < values.min() < values.max() < high


def test_a_batch_is_a_function_of_the_generators_state_alone():
    first, again, other = (qs.GPCurves().sample(3, seeded(seed, "batch")) for seed in (0, 0, 1))
    assert torch.equal(first.support.x, again.support.x)
    assert torch.equal(first.query.y, again.query.y)
    assert not torch.equal(first.query.y[:, :3], other.query.y[:, :3])
    assert first.query.y.dtype == torch.float32


def test_learners_train_on_it_and_are_scored_in_nats():
    torch.manual_seed(0)
    cnp = qs.NeuralProcess(qs.MLP(1, 16), targets=1, hidden=16)
    curve = [p.loss for p in qs.train(cnp, qs.GPCurves(points=12), steps=60, batch=8)]
    assert sum(curve[-10:]) < sum(curve[:10])
    assert qs.evaluate(cnp, qs.GPCurves(points=12), episodes=40).scores["log_likelihood"].shape == (40,)


def test_what_there_is_not_is_refused(unchecked):
    with pytest.raises(ValueError, match="a kernel is one of rbf, matern52, periodic; not 'linear'"):
        qs.GPCurves("linear")
    with pytest.raises(ValueError, match="points is at least 7 and noise above 0; got 6 and 0.02"):
        qs.GPCurves(points=6)
    with pytest.raises(ValueError, match="got 50 and 0"):
        qs.GPCurves(noise=0)

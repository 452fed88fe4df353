import math

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel
from test_alpaca import numbers
from torch import nn

import quickstudy as qs

VARIANCES, LENGTHS, NOISES, PRIOR = (0.5, 1.0, 3.0), (2.0, 0.4, 1.1), (0.1, 0.2, 0.05), (0.2, 0.5, 0.3)


def mixture(targets: int | None = 1) -> qs.DeepKernelMixture:
    """One on its inputs, with fixed hyper-parameters."""
    one = qs.DeepKernelMixture(nn.Identity(), kernels=3, targets=targets).double().eval()
    with torch.no_grad():
        one.log_variance.copy_(torch.tensor(VARIANCES).log()[:, None])
        one.log_length.copy_(torch.tensor(LENGTHS).log()[:, None])
        one.log_noise.copy_((torch.tensor(NOISES) - 1e-4).log())
        one.log_prior.copy_(torch.tensor(PRIOR).log() + 7)  # of which only the differences count
    return one


def by_scikit_learn(x: np.ndarray, y: np.ndarray, queries: np.ndarray) -> tuple[np.ndarray, ...]:
    """The posterior over kernels, and each one's means and standard deviations."""
    evidence, answers = [], []
    for variance, length, noise in zip(VARIANCES, LENGTHS, NOISES, strict=True):
        kernel = ConstantKernel(variance, "fixed") * RBF(length, "fixed")
        found = GaussianProcessRegressor(kernel, alpha=noise, optimizer=None).fit(x, y)
        evidence.append(found.log_marginal_likelihood_value_)
        mean, std = found.predict(queries, return_std=True)
        answers.append((mean, np.sqrt(std**2 + noise)))
    log = np.array(evidence) + np.log(PRIOR)
    return np.exp(log - logsumexp(log)), *map(np.array, zip(*answers, strict=True))


def test_it_averages_the_processes_of_scikit_learn_by_their_evidence():
    x, y, queries = numbers(4, 6, 2), numbers(4, 6, 1, seed=1), numbers(4, 5, 2, seed=2)
    one = mixture()
    predicted = one.predict(one.adapt(qs.Examples(x, y)), queries)
    asked = numbers(4, 5, 1, seed=3)
    for t in range(4):
        posterior, means, stds = by_scikit_learn(x[t].numpy(), y[t, :, 0].numpy(), queries[t].numpy())
        np.testing.assert_allclose(predicted.mean[t, :, 0].detach(), posterior @ means, rtol=1e-6)
        z = (asked[t, :, 0].numpy() - means) / stds
        logs = np.log(posterior)[:, None] - z**2 / 2 - np.log(stds) - math.log(2 * math.pi) / 2
        np.testing.assert_allclose(predicted.log_prob(asked)[t].detach(), logsumexp(logs, 0), rtol=1e-6)


@pytest.mark.parametrize("targets", [1, None])
def test_a_mixture_of_one_is_deep_kernel_transfer(targets):
    one = qs.DeepKernelMixture(nn.Identity(), kernels=1, targets=targets).double()
    plain = qs.DeepKernelTransfer(nn.Identity(), kernel="rbf", targets=targets).double()
    with torch.no_grad():
        for name, p in plain.named_parameters():
            p.copy_(getattr(one, name).flatten()[0])
    y = numbers(2, 6, 1, seed=1) if targets else torch.tensor([[0, 1, 2, 0, 1, 2]] * 2)
    support, queries = qs.Examples(numbers(2, 6, 3), y, None if targets else 3), numbers(2, 4, 3, seed=2)
    ours, theirs = (m.predict(m.adapt(support), queries) for m in (one, plain))
    names = ("mean", "variance") if targets else ("probs",)
    for name in names:
        torch.testing.assert_close(getattr(ours, name), getattr(theirs, name), rtol=1e-9, atol=1e-12)


def test_the_examples_tell_which_kernel_suits_them():
    one, generator = mixture(), torch.Generator().manual_seed(0)
    with torch.no_grad():
        one.log_length.copy_(torch.tensor([[3.0], [0.3], [0.03]]).log())
        one.log_variance.zero_()
        one.log_prior.zero_()
        one.log_noise.fill_(math.log(0.01))
    for kernel, length in enumerate((3.0, 0.3, 0.03)):
        x = torch.rand(20, 60, 1, generator=generator).double() * 4
        covariance = (-((x - x.mT) / length).square() / 2).exp() + 0.01 * torch.eye(60)
        y = torch.linalg.cholesky(covariance) @ torch.randn(20, 60, 1, generator=generator).double()
        posterior = one.adapt(qs.Examples(x, y))["log_posterior"].exp()
        assert posterior[:, kernel].mean() > 0.9


def test_the_posterior_over_kernels_is_the_prior_where_no_example_exists():
    one = mixture()
    nothing = torch.zeros(2, 4, dtype=torch.bool)
    memory = one.adapt(qs.Examples(numbers(2, 4, 2), numbers(2, 4, 1), mask=nothing))
    torch.testing.assert_close(memory["log_posterior"].exp(), torch.tensor([PRIOR] * 2).double(), rtol=1e-6, atol=0)


def test_a_sum_of_kernels_is_that_of_scikit_learn():
    """Of a linear one, a smooth one, and the mean of a Laplace kernel on each coordinate."""
    x, y, queries = numbers(1, 6, 3), numbers(1, 6, 1, seed=1), numbers(1, 5, 3, seed=2)
    forms = ("linear", "rbf", "additive")
    one = qs.DeepKernelMixture(nn.Identity(), kernels=1, kernel=forms, targets=1).double().eval()
    with torch.no_grad():
        one.log_variance.copy_(torch.tensor([[0.7, 1.3, 2.1]]).log())
        one.log_length.copy_(torch.tensor([[0.9, 1.6]]).log())
        one.log_noise.fill_(math.log(0.2 - 1e-4))

    def covariance(a, b):
        smooth = RBF(0.9)(a, b)
        laplace = [np.exp(-np.sqrt(3) * abs(a[:, None, j] - b[None, :, j]) / 1.6) for j in range(3)]
        return 0.7 * a @ b.T + 1.3 * smooth + 2.1 * np.mean(laplace, 0)

    a, b, target = x[0].numpy(), queries[0].numpy(), y[0, :, 0].numpy()
    gram, between = covariance(a, a) + 0.2 * np.eye(6), covariance(b, a)
    predicted = one.predict(one.adapt(qs.Examples(x, y)), queries)
    np.testing.assert_allclose(predicted.mean[0, :, 0].detach(), between @ np.linalg.solve(gram, target), rtol=1e-6)
    variance = covariance(b, b).diagonal() - (between * np.linalg.solve(gram, between.T).T).sum(1) + 0.2
    np.testing.assert_allclose(predicted.variance[0, :, 0].detach(), variance, rtol=1e-6)


@pytest.mark.parametrize("kernel", ["rbf", ("linear", "additive")])
def test_kernels_begin_apart(kernel):
    one = qs.DeepKernelMixture(nn.Identity(), kernels=12, kernel=kernel)
    assert len({tuple(row.tolist()) for row in torch.cat([one.log_variance, one.log_length], 1)}) == 12


@pytest.mark.parametrize(("kernels", "kernel"), [(0, "rbf"), (4, "cubic"), (4, ("rbf", "cubic")), (4, ())])
def test_it_needs_kernels_that_there_are(kernels, kernel):
    with pytest.raises(ValueError, match="kernels is at least 1 and kernel one of rbf, linear, cosine, add.*, or some"):
        qs.DeepKernelMixture(nn.Identity(), kernels=kernels, kernel=kernel)

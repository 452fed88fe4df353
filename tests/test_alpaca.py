import dataclasses
import math

import numpy as np
import pytest
import torch
from learners import episodes_for, mlp
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import DotProduct
from test_maml import double
from torch import nn

import quickstudy as qs


def identity(d: int) -> nn.Module:
    encoder = nn.Identity()
    encoder.out_features = d
    return encoder


def numbers(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def with_a_prior(d: int, targets: int | None) -> qs.ALPaCA:
    """One whose features are its inputs, and whose prior is nothing special."""
    alpaca = qs.ALPaCA(identity(d), targets=targets).double().eval()
    with torch.no_grad():
        for seed, parameter in enumerate(alpaca.parameters()):
            parameter.copy_(0.5 * numbers(*parameter.shape, seed=seed))
    return alpaca


def prior_of(alpaca: qs.ALPaCA) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lambda0, K0 and the noise's variances, as the paper writes them."""
    raw = alpaca.factor.detach().numpy()
    factor = np.tril(raw, -1) + np.diag(np.exp(np.diag(raw)))
    mean = None if alpaca.mean is None else alpaca.mean.detach().numpy()
    return factor @ factor.T, mean, np.exp(2 * alpaca.log_std.detach().numpy())


@pytest.mark.parametrize("shots", [3, 4, 6])  # fewer than features, as many, more
def test_the_posterior_and_the_prediction_are_the_conjugate_formulas(shots: int):
    alpaca, queries = with_a_prior(4, 2), numbers(3, 5, 4, seed=2)
    x, y = numbers(3, shots, 4), numbers(3, shots, 2, seed=1)
    precision, mean, noise = prior_of(alpaca)
    memory = alpaca.adapt(qs.Examples(x, y))
    predicted = alpaca.predict(memory, queries)
    root = np.linalg.cholesky(precision)
    for t in range(3):
        phi, q = x[t].numpy(), queries[t].numpy()
        posterior = precision + phi.T @ phi
        weights = np.linalg.inv(posterior) @ (phi.T @ y[t].numpy() + precision @ mean)
        np.testing.assert_allclose(memory["mean"][t].detach(), root.T @ weights, rtol=1e-8)
        if shots >= 4:
            cholesky = root @ memory["cholesky"][t].detach().numpy()
            np.testing.assert_allclose(cholesky @ cholesky.T, posterior, rtol=1e-8)
        np.testing.assert_allclose(predicted.mean[t].detach(), q @ weights, rtol=1e-8)
        spread = np.einsum("qd,de,qe->q", q, np.linalg.inv(posterior), q)
        np.testing.assert_allclose(predicted.variance[t].detach(), (1 + spread)[:, None] * noise, rtol=1e-8)


def test_it_is_the_gaussian_process_of_its_features_in_scikit_learn():
    alpaca = qs.ALPaCA(identity(4), targets=1).double().eval()  # K0 = 0, Lambda0 = 1
    x, y, queries = numbers(1, 6, 4), numbers(1, 6, 1, seed=1), numbers(1, 5, 4, seed=2)
    predicted = alpaca.predict(alpaca.adapt(qs.Examples(x, y)), queries)
    kernel = 0.01 * DotProduct(sigma_0=1e-12, sigma_0_bounds="fixed")
    process = GaussianProcessRegressor(kernel, alpha=0.01, optimizer=None).fit(x[0].numpy(), y[0, :, 0].numpy())
    mean, std = process.predict(queries[0].numpy(), return_std=True)
    np.testing.assert_allclose(predicted.mean[0, :, 0].detach(), mean, rtol=1e-6)
    np.testing.assert_allclose(predicted.variance[0, :, 0].detach(), std**2 + 0.01, rtol=1e-6)


def test_what_is_learned_after_some_examples_is_the_posterior_of_all_at_once():
    alpaca, x, y, queries = with_a_prior(4, 2), numbers(1, 8, 4), numbers(1, 8, 2, seed=1), numbers(1, 5, 4, seed=2)
    later, first = with_a_prior(4, 2), alpaca.adapt(qs.Examples(x[:, :5], y[:, :5]))
    with torch.no_grad():
        root = alpaca.root() @ first["cholesky"][0]
        later.factor.copy_(root.tril(-1) + root.diagonal().log().diag())
        later.mean.copy_(torch.linalg.solve_triangular(alpaca.root().mT, first["mean"][0], upper=True))
        later.log_std.copy_(alpaca.log_std)
    rest = later.predict(later.adapt(qs.Examples(x[:, 5:], y[:, 5:])), queries)
    together = alpaca.predict(alpaca.adapt(qs.Examples(x, y)), queries)
    torch.testing.assert_close(rest.mean, together.mean, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(rest.variance, together.variance, rtol=1e-10, atol=1e-12)


def test_padding_beyond_the_number_of_features_changes_nothing():
    alpaca, x, y, queries = with_a_prior(4, 2), numbers(2, 3, 4), numbers(2, 3, 2, seed=1), numbers(2, 5, 4, seed=2)
    padded = [torch.cat([of, numbers(2, 5, of.shape[-1], seed=3)], 1) for of in (x, y)]
    few = alpaca.predict(alpaca.adapt(qs.Examples(x, y)), queries)
    many = alpaca.predict(alpaca.adapt(qs.Examples(*padded, mask=(torch.arange(8) < 3).expand(2, -1))), queries)
    torch.testing.assert_close(few.mean, many.mean, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(few.variance, many.variance, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("shots", [6, 70])
def test_long_features_that_lie_close_together_have_a_posterior(shots: int):
    alpaca = qs.ALPaCA(identity(64), targets=1).eval()
    x, y = 1000 + numbers(1, shots, 64).float(), numbers(1, shots, 1, seed=1).float()
    predicted = alpaca.predict(alpaca.adapt(qs.Examples(x, y)), x)
    phi = x[0].double().numpy()
    covariance = np.linalg.inv(np.eye(64) + phi.T @ phi)
    weights = covariance @ phi.T @ y[0].numpy()
    np.testing.assert_allclose(predicted.mean[0].detach(), phi @ weights, rtol=1e-3, atol=1e-3)
    spread = np.einsum("qd,de,qe->q", phi, covariance, phi)[:, None]
    np.testing.assert_allclose(predicted.variance[0].detach(), (1 + spread) * 0.01, rtol=1e-3)


def test_without_examples_it_is_the_prior():
    alpaca, x, y, queries = with_a_prior(4, 2), numbers(1, 3, 4), numbers(1, 3, 2), numbers(1, 5, 4, seed=2)
    precision, mean, noise = prior_of(alpaca)
    predicted = alpaca.predict(alpaca.adapt(qs.Examples(x, y, mask=torch.zeros(1, 3, dtype=torch.bool))), queries)
    q = queries[0].numpy()
    np.testing.assert_allclose(predicted.mean[0].detach(), q @ mean, rtol=1e-8)
    spread = np.einsum("qd,de,qe->q", q, np.linalg.inv(precision), q)
    np.testing.assert_allclose(predicted.variance[0].detach(), (1 + spread)[:, None] * noise, rtol=1e-8)


def test_the_loss_is_the_density_of_the_queries_under_the_prediction():
    torch.manual_seed(0)
    alpaca, episodes = qs.ALPaCA(mlp(1, 8), targets=1).double(), double(episodes_for("alpaca-regression"))
    predicted = alpaca.predict(alpaca.adapt(episodes.support), episodes.query.x)
    squares = (episodes.query.y - predicted.mean).square() / predicted.variance
    expected = (squares + predicted.variance.log() + math.log(2 * math.pi)).mean() / 2
    torch.testing.assert_close(alpaca.loss(episodes), expected)


def test_logits_are_means_tempered_by_the_posterior_variance():
    alpaca, x, queries = with_a_prior(4, None), numbers(1, 6, 4), numbers(1, 5, 4, seed=2)
    labels = torch.tensor([[0, 1, 2, 0, 1, 2]])
    precision, _, noise = prior_of(alpaca)
    phi, q, scale = x[0].numpy(), queries[0].numpy(), alpaca.log_scale.exp().item()
    covariance = np.linalg.inv(precision + phi.T @ phi)
    for low, high in ((-1, 1), (0, 1), (-1 / 3, 2 / 3)):  # where the labels are centred makes no difference
        y = low + (high - low) * np.eye(3)[labels[0].numpy()]
        logits = scale * 2 / (high - low) * q @ covariance @ phi.T @ y
        variance = scale**2 * noise * np.einsum("qd,de,qe->q", q, covariance, q)
        logits = torch.from_numpy(logits / np.sqrt(1 + np.pi * variance / 8)[:, None])
        predicted = alpaca.predict(alpaca.adapt(qs.Examples(x, labels, ways=3)), queries)
        torch.testing.assert_close(predicted.probs[0], logits.softmax(-1), rtol=1e-8, atol=1e-10)


def test_the_tempered_softmax_is_near_the_expected_one():
    mean, std = numbers(50, 4), 2 * numbers(50, 1, seed=1).sigmoid()
    drawn = (mean + std * numbers(20_000, 50, 4, seed=2)).softmax(-1).mean(0)
    tempered = (mean / (1 + math.pi / 8 * std**2).sqrt()).softmax(-1)
    assert (tempered - drawn).abs().mean() < 0.5 * (mean.softmax(-1) - drawn).abs().mean()


def test_what_lies_far_from_the_support_set_is_answered_with_less_confidence_than_its_mean_says():
    alpaca = qs.ALPaCA(identity(2)).eval()
    with torch.no_grad():
        alpaca.log_std.fill_(2.0)
    support = qs.Examples(torch.tensor([[[1.0, 0.0], [-1.0, 0.0]]]), torch.tensor([[0, 1]]), ways=2)
    near, far = alpaca.predict(alpaca.adapt(support), torch.tensor([[[1.0, 0.0], [1.0, 9.0]]])).probs[0, :, 0]
    assert 0.5 < far < near - 0.01


def test_any_number_of_ways_is_answered():
    alpaca, episodes = qs.ALPaCA(mlp(256, 8)), episodes_for("alpaca")
    more = dataclasses.replace(episodes.support, ways=7)
    assert alpaca.predict(alpaca.adapt(more), episodes.query.x).probs.shape[-1] == 7


def test_tasks_of_another_kind_are_refused():
    classes, numbers_ = episodes_for("alpaca").support, episodes_for("alpaca-regression").support
    with pytest.raises(TypeError, match="built for classes, but the tasks have targets of shape .*targets="):
        qs.ALPaCA(mlp(1, 4)).adapt(numbers_)
    with pytest.raises(TypeError, match="built for 1 targets, but the tasks have classes"):
        qs.ALPaCA(mlp(256, 4), targets=1).adapt(classes)
    with pytest.raises(TypeError, match=r"built for 2 targets, but the tasks have targets of shape \[4, 6, 1\]"):
        qs.ALPaCA(mlp(1, 4), targets=2).adapt(numbers_)

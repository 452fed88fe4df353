import dataclasses

import numpy as np
import pytest
import torch
from learners import episodes_for, mlp
from scipy.spatial.distance import cosine
from scipy.stats import multivariate_normal, norm
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, DotProduct
from sklearn.preprocessing import normalize
from test_alpaca import numbers
from test_maml import double
from torch import nn

import quickstudy as qs

KERNELS = {
    "rbf": lambda x: (x, RBF(1.7, "fixed")),
    "linear": lambda x: (x, DotProduct(1e-12, "fixed")),
    "cosine": lambda x: (normalize(x), DotProduct(1e-12, "fixed")),
}
VARIANCE, NOISE = 1.3, 0.2


def process(kernel: str, targets: int | None = 2) -> qs.DeepKernelTransfer:
    """One on its inputs, with fixed hyper-parameters."""
    dkt = qs.DeepKernelTransfer(nn.Identity(), kernel=kernel, targets=targets).double().eval()
    with torch.no_grad():
        dkt.log_variance.fill_(np.log(VARIANCE))
        dkt.log_noise.fill_(np.log(NOISE - 1e-4))
        if dkt.log_length is not None:
            dkt.log_length.fill_(np.log(1.7))
    return dkt


def by_scikit_learn(kernel: str, x: torch.Tensor, y: torch.Tensor) -> tuple[GaussianProcessRegressor, np.ndarray]:
    features, covariance = KERNELS[kernel](x.numpy())
    covariance = ConstantKernel(VARIANCE, "fixed") * covariance
    return GaussianProcessRegressor(covariance, alpha=NOISE, optimizer=None).fit(features, y.numpy()), features


@pytest.mark.parametrize("kernel", KERNELS)
def test_mean_and_variance_are_those_of_scikit_learn(kernel):
    x, y, queries = numbers(3, 6, 4), numbers(3, 6, 2, seed=1), numbers(3, 5, 4, seed=2)
    dkt = process(kernel)
    predicted = dkt.predict(dkt.adapt(qs.Examples(x, y)), queries)
    for t in range(3):
        mean, std = by_scikit_learn(kernel, x[t], y[t])[0].predict(
            KERNELS[kernel](queries[t].numpy())[0], return_std=True
        )
        np.testing.assert_allclose(predicted.mean[t].detach(), mean, rtol=1e-7)
        np.testing.assert_allclose(predicted.variance[t].detach(), std**2 + NOISE, rtol=1e-7)


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_loss_is_the_marginal_likelihood_of_scikit_learn(kernel):
    x, y = numbers(3, 9, 4), numbers(3, 9, 2, seed=1)
    episodes = qs.Episodes(qs.Examples(x[:, :4], y[:, :4]), qs.Examples(x[:, 4:], y[:, 4:]))
    nats = [-by_scikit_learn(kernel, x[t], y[t])[0].log_marginal_likelihood_value_ / 9 for t in range(3)]
    np.testing.assert_allclose(process(kernel).loss(episodes).item(), np.mean(nats), rtol=1e-8)


def test_the_loss_of_ragged_tasks_counts_what_exists_alone():
    dkt, x, y = process("rbf"), numbers(2, 9, 4), numbers(2, 9, 2, seed=1)
    exists = torch.rand(2, 9, generator=torch.Generator().manual_seed(0)) < 0.6
    support = qs.Examples(x[:, :4], y[:, :4], mask=exists[:, :4])
    query = qs.Examples(x[:, 4:], y[:, 4:], mask=exists[:, 4:])
    nats = []
    for t in range(2):
        fitted, _ = by_scikit_learn("rbf", x[t][exists[t]], y[t][exists[t]])
        nats.append(-fitted.log_marginal_likelihood_value_ / exists[t].sum().item())
    np.testing.assert_allclose(dkt.loss(qs.Episodes(support, query)).item(), np.mean(nats), rtol=1e-8)


def test_support_then_query_is_the_chain_rule_of_the_marginal_likelihood():
    """One query at a time, each added to the support set: their densities multiply to that of all."""
    dkt, x, y = process("rbf", 1), numbers(1, 5, 3), numbers(1, 5, 1, seed=1)
    nats = 0.0
    for i in range(5):
        first = qs.Examples(x[:, : i + 1], y[:, : i + 1], mask=(torch.arange(i + 1) < i)[None])
        nats -= dkt.predict(dkt.adapt(first), x[:, i : i + 1]).log_prob(y[:, i : i + 1]).item()
    episodes = qs.Episodes(qs.Examples(x[:, :2], y[:, :2]), qs.Examples(x[:, 2:], y[:, 2:]))
    np.testing.assert_allclose(dkt.loss(episodes).item(), nats / 5, rtol=1e-8)


def test_classes_are_regressed_one_against_the_rest():
    dkt, x, queries = process("cosine", None), numbers(1, 6, 4), numbers(1, 5, 4, seed=2)
    labels = torch.tensor([[0, 1, 2, 0, 1, 2]])
    signed = 2.0 * (labels[0][:, None] == torch.arange(3)) - 1
    probs = dkt.predict(dkt.adapt(qs.Examples(x, labels, ways=3)), queries).probs[0].detach().numpy()
    means, stds = by_scikit_learn("cosine", x[0], signed)[0].predict(normalize(queries[0].numpy()), return_std=True)
    yes, no = (norm.pdf(label, means, np.sqrt(stds**2 + NOISE)) for label in (1, -1))
    only = np.stack([yes[:, c] * np.delete(no, c, 1).prod(1) for c in range(3)], 1)  # one yes, the others no
    np.testing.assert_allclose(probs, only / only.sum(1, keepdims=True), rtol=1e-7)
    assert (probs.argmax(1) == means.argmax(1)).all()  # as in the paper: the class of the largest sigmoid


def test_the_loss_of_classes_is_the_density_of_their_signed_labels():
    torch.manual_seed(0)
    encoder, episodes = mlp(256, 8).double(), double(episodes_for("dkt", tasks=1))
    dkt = qs.DeepKernelTransfer(encoder).double()
    x, y = (torch.cat([getattr(episodes.support, n), getattr(episodes.query, n)], 1)[0] for n in ("x", "y"))
    z, n = encoder(x).detach().numpy(), len(x)
    covariance = np.array([[1 - cosine(a, b) for b in z] for a in z]) + (0.1 + 1e-4) * np.eye(n)
    signed = (2.0 * (y[:, None] == torch.arange(3)) - 1).numpy()
    nats = -sum(multivariate_normal(np.zeros(n), covariance).logpdf(column) for column in signed.T) / n
    np.testing.assert_allclose(dkt.loss(episodes).item(), nats, rtol=1e-6)


def test_the_predictive_objective_is_the_likelihood_of_the_queries():
    torch.manual_seed(0)
    encoder, episodes = mlp(256, 8), episodes_for("dkt")
    dkt = qs.DeepKernelTransfer(encoder, objective="predictive")
    predicted = dkt.predict(dkt.adapt(episodes.support), episodes.query.x)
    torch.testing.assert_close(dkt.loss(episodes), -predicted.log_prob(episodes.query.y).mean())
    assert dkt.loss(episodes) != qs.DeepKernelTransfer(encoder).loss(episodes)


def test_without_examples_it_is_the_prior():
    dkt, x, y, queries = process("linear"), numbers(1, 3, 4), numbers(1, 3, 2), numbers(1, 5, 4, seed=2)
    predicted = dkt.predict(dkt.adapt(qs.Examples(x, y, mask=torch.zeros(1, 3, dtype=torch.bool))), queries)
    assert (predicted.mean == 0).all()
    expected = VARIANCE * queries.square().sum(-1) + NOISE
    torch.testing.assert_close(predicted.variance[..., 0], expected)


def test_any_number_of_ways_is_answered():
    dkt, episodes = qs.DeepKernelTransfer(mlp(256, 8)), episodes_for("dkt")
    more = dataclasses.replace(episodes.support, ways=7)
    assert dkt.predict(dkt.adapt(more), episodes.query.x).probs.shape[-1] == 7


def test_a_kernel_or_an_objective_that_there_is_not_is_refused():
    with pytest.raises(ValueError, match="the kernel is one of rbf, linear, cosine, add.*not 'matern' and 'marginal'"):
        qs.DeepKernelTransfer(mlp(1, 4), kernel="matern")


def test_padding_takes_no_digits_from_inputs_that_lie_far_from_zero():
    draw = torch.Generator().manual_seed(0)
    x, y = 1000 + torch.randn(1, 7, 2, generator=draw), torch.randn(1, 7, 1, generator=draw)
    wider = qs.Examples(
        *(torch.cat([t, torch.zeros(1, 20, t.shape[2])], 1) for t in (x, y)), mask=torch.arange(27)[None] < 7
    )
    encoder = nn.Identity()
    encoder.out_features = 2  # pyright: ignore[reportArgumentType]
    one = qs.DeepKernelTransfer(encoder, kernel="rbf", targets=1).eval()
    means = [one.predict(one.adapt(support), x).mean for support in (qs.Examples(x, y), wider)]
    torch.testing.assert_close(means[1], means[0], rtol=1e-3, atol=1e-3)

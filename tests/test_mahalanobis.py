import numpy as np
import pytest
import torch
from scipy.spatial.distance import mahalanobis
from torch import nn

import quickstudy as qs


def tasks() -> tuple[qs.Examples, torch.Tensor]:
    """Two tasks with 1, 2 and 4 examples of their classes, beside padding that must not count."""
    torch.manual_seed(0)
    x, query = torch.randn(2, 9, 5).double(), torch.randn(2, 4, 5).double()
    y = torch.tensor([[0, 1, 1, 2, 2, 2, 2, 0, 2], [2, 2, 0, 1, 2, 1, 2, 1, 1]])
    exists = torch.arange(9).expand(2, 9) < 7
    return qs.Examples(x * 2, y, ways=3, mask=exists), query


def covariance(x: np.ndarray) -> np.ndarray:
    return np.cov(x.T) if len(x) > 1 else np.zeros((x.shape[1], x.shape[1]))


def test_logits_are_half_the_squared_distances_under_the_regularised_covariances():
    support, query = tasks()
    learner = qs.Mahalanobis(nn.Identity(), beta=0.5)
    probs = learner.predict(learner.adapt(support), query).probs
    for t in range(2):
        x, y = support.x[t, :7].numpy(), support.y[t, :7].numpy()
        for q in range(4):
            logits = []
            for k in range(3):
                own = x[y == k]
                share = len(own) / (len(own) + 1)
                q_k = share * covariance(own) + (1 - share) * covariance(x) + 0.5 * np.eye(5)
                distance = mahalanobis(query[t, q].numpy(), own.mean(0), np.linalg.inv(q_k))
                logits.append(-0.5 * distance**2)
            torch.testing.assert_close(probs[t, q], torch.tensor(logits).softmax(0))


def test_with_the_identity_for_covariance_it_is_a_prototypical_network_of_half_the_distance():
    means, query = torch.randn(3, 2, 4).double(), torch.randn(3, 5, 4).double()
    memory = {"mean": means, "factor": torch.eye(4).double().expand(3, 2, 4, 4)}
    prototypical = qs.PrototypicalNetwork(nn.Identity()).predict(means, query)
    expected = (prototypical.logits / 2).softmax(-1)
    torch.testing.assert_close(qs.Mahalanobis(nn.Identity()).predict(memory, query).probs, expected)


def test_examples_that_do_not_vary_leave_the_identity_times_beta():
    x = torch.randn(3, 1, 4).double().expand(3, 6, 4)
    support = qs.Examples(x, torch.zeros(3, 6, dtype=torch.long), ways=1)
    factor = qs.Mahalanobis(nn.Identity(), beta=4.0).adapt(support)["factor"]
    torch.testing.assert_close(factor, 2 * torch.eye(4).double().expand(3, 1, 4, 4))


def test_a_large_beta_tends_to_a_prototypical_network_at_a_temperature_of_twice_beta():
    support, query = tasks()
    near, far = qs.PrototypicalNetwork(nn.Identity()), qs.Mahalanobis(nn.Identity(), beta=1e8)
    logits = 2e8 * far.predict(far.adapt(support), query).logits
    expected = near.predict(near.adapt(support), query).probs
    torch.testing.assert_close(logits.softmax(-1), expected, rtol=1e-5, atol=1e-6)


def test_gradients_run_through_means_and_covariances():
    support, query = tasks()
    learner = qs.Mahalanobis(nn.Identity())

    def logits(x: torch.Tensor, query: torch.Tensor) -> torch.Tensor:
        examples = qs.Examples(x, support.y[:1], ways=3, mask=support.mask[:1])
        return learner.predict(learner.adapt(examples), query).logits

    assert torch.autograd.gradcheck(logits, (support.x[:1].requires_grad_(), query[:1].requires_grad_()))


def test_a_class_without_examples_has_the_covariance_of_the_task():
    x = torch.randn(1, 6, 3).double()
    factor = qs.Mahalanobis(nn.Identity()).adapt(qs.Examples(x, torch.tensor([[0, 0, 0, 1, 1, 1]]), ways=3))["factor"]
    expected = torch.from_numpy(np.cov(x[0].T.numpy()) + np.eye(3))
    torch.testing.assert_close(factor[0, 2] @ factor[0, 2].T, expected)


def test_a_beta_that_is_not_positive_is_refused():
    with pytest.raises(ValueError, match="beta must be positive.*it is 0"):
        qs.Mahalanobis(nn.Identity(), beta=0.0)

from dataclasses import replace
from functools import partial

import pytest
import torch
from learners import episodes_for, mlp
from test_maml import double
from torch import nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy

import quickstudy as qs
from quickstudy.implicit import conjugate_gradients


def through_the_path(net, episodes, steps, lr, strength):
    """The meta-gradient by autograd through every step of the regularised descent."""
    initial, losses = dict(net.named_parameters()), []
    for t in range(len(episodes)):
        weights = dict(initial)
        for _ in range(steps):
            loss = cross_entropy(functional_call(net, weights, episodes.support.x[t]), episodes.support.y[t])
            loss = loss + strength / 2 * sum((weights[n] - w).square().sum() for n, w in initial.items())
            gradients = torch.autograd.grad(loss, list(weights.values()), create_graph=True)
            weights = {n: w - lr * g for (n, w), g in zip(weights.items(), gradients, strict=True)}
        losses.append(cross_entropy(functional_call(net, weights, episodes.query.x[t]), episodes.query.y[t]))
    gradients = torch.autograd.grad(torch.stack(losses).mean(), list(initial.values()))
    return torch.cat([g.flatten() for g in gradients])


@pytest.mark.parametrize("engine", [qs.Engine("loop"), qs.Engine("stacked", 4)], ids=str)
def test_its_gradient_tends_to_that_through_the_path_as_the_steps_grow(engine):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(256, 4), nn.Tanh(), nn.Linear(4, 3)).double()
    episodes = double(episodes_for("imaml"))
    exact, errors = through_the_path(net, episodes, 300, 0.03, 8.0), []
    for steps in (3, 15, 150):
        imaml = qs.IMAML(net, strength=8.0, inner_lr=0.03, inner_steps=steps, cg_steps=30).train()
        net.zero_grad()
        engine.gradient(imaml, episodes)
        found = torch.cat([p.grad.flatten() for p in net.parameters()])
        errors.append(((found - exact).norm() / exact.norm()).item())
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 1e-6


def test_the_minimum_is_pulled_towards_the_initial_weights():
    torch.manual_seed(0)
    net, episodes = mlp(256, 3).double(), double(episodes_for("imaml"))
    distances = []
    for strength in (0.5, 5.0):
        imaml = qs.IMAML(net, strength=strength, inner_lr=0.05, inner_steps=400)
        memory = imaml.adapt(episodes.support)
        for t in range(len(episodes)):
            weights = {n: w[t].detach().requires_grad_() for n, w in memory.items()}
            loss = cross_entropy(functional_call(net, weights, episodes.support.x[t]), episodes.support.y[t])
            gradients = torch.autograd.grad(loss, list(weights.values()))
            for (name, initial), g in zip(net.named_parameters(), gradients, strict=True):  # stationary: eq. 4
                torch.testing.assert_close(g, strength * (initial - weights[name]), atol=1e-7, rtol=1e-5)
        distances.append(sum((memory[n] - w).square().sum() for n, w in net.named_parameters()))
    assert distances[0] > distances[1]


@pytest.mark.parametrize("stacked", [False, True])
def test_conjugate_gradients_solve_each_task_exactly_in_as_many_steps_as_unknowns(stacked):
    torch.manual_seed(0)
    root = torch.randn(3, 6, 6, dtype=torch.float64)
    matrix, vector = root @ root.mT + torch.eye(6), torch.randn(3, 6, dtype=torch.float64)
    expected = torch.linalg.solve(matrix, vector)
    if stacked:
        found = conjugate_gradients(
            lambda x: {"w": (matrix @ x["w"][..., None])[..., 0]}, {"w": vector}, 6, stacked=True
        )["w"]
    else:
        found = torch.stack(
            [
                conjugate_gradients(lambda x, m=m: {"w": m @ x["w"]}, {"w": v}, 6, stacked=False)["w"]
                for m, v in zip(matrix, vector, strict=True)
            ]
        )
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-8)


def until_curvature_is_negative(matrix: torch.Tensor, b: torch.Tensor, steps: int) -> torch.Tensor:
    x, r, p = torch.zeros_like(b), b, b
    for _ in range(steps):
        if p @ matrix @ p <= 0:
            break
        alpha = r @ r / (p @ matrix @ p)
        x, before, r = x + alpha * p, r, r - alpha * matrix @ p
        p = r + r @ r / (before @ before) * p
    return x


@pytest.mark.parametrize("stacked", [False, True])
def test_where_the_curvature_is_negative_the_search_stops(stacked):
    torch.manual_seed(0)
    root = torch.randn(40, 6, 6, dtype=torch.float64)
    matrix, vector = root + root.mT, torch.randn(40, 6, dtype=torch.float64)
    expected = torch.stack([until_curvature_is_negative(m, v, 5) for m, v in zip(matrix, vector, strict=True)])
    if stacked:
        product = lambda x: {"w": (matrix @ x["w"][..., None])[..., 0]}  # noqa: E731
        found = conjugate_gradients(product, {"w": vector}, 5, stacked=True)["w"]
    else:
        pairs = zip(matrix, vector, strict=True)
        each = [conjugate_gradients(lambda x, m=m: {"w": m @ x["w"]}, {"w": v}, 5, stacked=False) for m, v in pairs]
        found = torch.stack([one["w"] for one in each])
    torch.testing.assert_close(found, expected)


def test_a_network_that_drops_numbers_is_refused_where_it_is_computed_anew():
    net = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.Linear(4, 3))
    for build in (qs.IMAML, partial(qs.MAML, adjoint=True)):
        with pytest.raises(ValueError, match="computes its network anew for derivatives, but layer '1' drops"):
            build(net)
    qs.MAML(net)


def test_a_network_with_running_statistics_is_refused_and_vmap_too():
    with pytest.raises(ValueError, match="IMAML trains its network on one task at a time"):
        qs.IMAML(qs.Conv4(norm="running"))
    imaml, episodes = qs.IMAML(mlp(256, 3)).train(), episodes_for("imaml")
    with pytest.raises(ValueError, match="'vmap' has no implicit gradient"):
        qs.Engine("vmap").gradient(imaml, episodes)
    assert replace(qs.Engine(), strategy="stacked").gradient(imaml, episodes) > 0


@pytest.mark.parametrize("wrong", [{"strength": 0.0}, {"cg_steps": 0}])
def test_what_has_no_gradient_is_refused(wrong):
    with pytest.raises(ValueError, match="strength is above 0, and cg_steps at least 1; got"):
        qs.IMAML(mlp(256, 8, 3), **wrong)

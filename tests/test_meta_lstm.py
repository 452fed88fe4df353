import numpy as np
import pytest
import torch
from learners import conv_net, episodes_for, gradients_by_strategy, mlp
from scipy.special import expit, log_softmax, softmax
from test_maml import NETS, double, plain_loop_gradient
from torch import nn

import quickstudy as qs
from quickstudy.methods.optimization.meta_lstm import preprocess


def two_numbers(x: np.ndarray, p: float = 10.0) -> np.ndarray:
    large = np.abs(x) >= np.exp(-p)
    first = np.where(large, np.log(np.where(large, np.abs(x), 1)) / p, -1)
    return np.stack([first, np.where(large, np.sign(x), np.exp(p) * x)], -1)


def test_numbers_of_any_size_become_two_of_moderate_size():
    x = np.array([0.0, 1e-7, -1e-7, np.exp(-10.0), 1e-3, -0.5, 1.0, -3e4])
    found = preprocess(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(found, two_numbers(x), rtol=1e-12)
    np.testing.assert_allclose(found[-1], [np.log(3e4) / 10, -1])


def lstm_cell(cell: torch.nn.LSTMCell, x: np.ndarray, h: np.ndarray, c: np.ndarray):
    """An ordinary LSTM, by its equations."""
    w = {name: p.detach().numpy() for name, p in cell.named_parameters()}
    i, f, g, o = np.split(x @ w["weight_ih"].T + w["bias_ih"] + h @ w["weight_hh"].T + w["bias_hh"], 4, -1)
    c = expit(f) * c + expit(i) * np.tanh(g)
    return expit(o) * np.tanh(c), c


@pytest.mark.parametrize("hidden", [0, 3])
@pytest.mark.parametrize("steps", [1, 3])
def test_steps_of_a_linear_classifier_are_what_the_equations_say(steps, hidden):
    torch.manual_seed(0)
    one = qs.MetaLSTM(torch.nn.Linear(4, 3), steps=steps, hidden=hidden).double()
    with torch.no_grad():
        for gate in (one.forget, one.input):
            gate.weight.normal_()
            gate.bias.normal_()
    x, y = torch.randn(2, 5, 4).double(), torch.randint(3, (2, 5))
    memory = one.adapt(qs.Examples(x, y, ways=3))
    for t in range(2):
        weight, bias = one.net.weight.detach().numpy(), one.net.bias.detach().numpy()
        cell, i, f = np.concatenate([weight.ravel(), bias]), np.zeros(15), np.zeros(15)
        h, c = np.zeros((15, hidden)), np.zeros((15, hidden))
        for _ in range(steps):
            weight, bias = cell[:12].reshape(3, 4), cell[12:]
            logits = x[t].numpy() @ weight.T + bias
            loss = -log_softmax(logits, 1)[np.arange(5), y[t]].mean()
            error = (softmax(logits, 1) - np.eye(3)[y[t]]) / 5
            gradient = np.concatenate([(error.T @ x[t].numpy()).ravel(), error.sum(0)])
            seen = np.concatenate([two_numbers(gradient), np.broadcast_to(two_numbers(np.array(loss)), (15, 2))], 1)
            if hidden:
                h, c = lstm_cell(one.lstm, seen, h, c)
                seen = h
            i = gate_of(one.input, seen, cell, i)
            f = gate_of(one.forget, seen, cell, f)
            cell = f * cell + i * -gradient  # c_t
        found = torch.cat([memory["weight"][t].flatten(), memory["bias"][t]]).detach().numpy()
        np.testing.assert_allclose(found, cell, rtol=1e-10)


def gate_of(gate: torch.nn.Linear, seen: np.ndarray, cell: np.ndarray, before: np.ndarray) -> np.ndarray:
    inputs = np.concatenate([seen, cell[:, None], before[:, None]], 1)
    return expit(inputs @ gate.weight.detach().numpy()[0] + gate.bias.item())


def forced(net: torch.nn.Module, alpha: float, steps: int) -> qs.MetaLSTM:
    """All gates fixed: nothing is forgotten, and every step has this size."""
    one = qs.MetaLSTM(net, inner_lr=alpha, forget_bias=1e3, steps=steps, hidden=2).double()
    for gate in (one.forget, one.input):
        torch.nn.init.zeros_(gate.weight)
    torch.nn.init.constant_(one.input.bias, np.log(alpha / (1 - alpha)))
    return one


@pytest.mark.parametrize("net", NETS)
def test_with_its_gates_forced_it_is_gradient_descent(net):
    torch.manual_seed(0)
    net, support = NETS[net]().double(), double(episodes_for("maml")).support
    found = forced(net, 0.1, 4).adapt(support)
    expected = qs.MAML(net, inner_lr=0.1, inner_steps=4).adapt(support)
    assert set(found) == set(expected)
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-7, atol=1e-9)


def test_losses_and_gradients_are_constants_to_the_outer_gradient():
    torch.manual_seed(0)
    net, episodes = mlp(256, 16, 3).double(), double(episodes_for("maml"))
    forced(net, 0.1, 4).loss(episodes).backward()
    found = torch.cat([p.grad.flatten() for p in net.parameters()])
    expected = plain_loop_gradient(net, episodes, 4, 0.1, first_order=True)
    assert (found - expected).norm() / expected.norm() < 1e-6


def test_it_begins_as_slow_gradient_descent():
    torch.manual_seed(0)
    net, support = mlp(256, 16, 3), episodes_for("maml").support
    found = qs.MetaLSTM(net, inner_lr=0.02, steps=1).adapt(support)
    step = qs.MAML(net, inner_lr=0.02, inner_steps=1).adapt(support)
    for name, initial in net.named_parameters():
        kept = torch.sigmoid(torch.tensor(5.0))
        torch.testing.assert_close(found[name], step[name] - (1 - kept) * initial, rtol=0.02, atol=1e-3)
        assert not torch.allclose(found[name], initial.expand_as(found[name]), atol=1e-5)


@pytest.mark.parametrize("hidden", [0, 3])
@pytest.mark.parametrize("net", NETS)
def test_every_strategy_gives_the_same_gradient(net, hidden):
    torch.manual_seed(0)
    one, episodes = qs.MetaLSTM(NETS[net](), steps=2, hidden=hidden).double(), double(episodes_for("maml"))
    found = gradients_by_strategy(one, episodes)
    assert set(found) == ({"loop", "stacked", "vmap"} if net == "mlp" else {"loop", "stacked"})
    for other in found.values():
        assert (other - found["loop"]).norm() / found["loop"].norm() < 1e-6


def test_a_forget_gate_near_one_keeps_its_digits_under_autocast():
    torch.manual_seed(0)
    net, support = mlp(256, 16, 3), episodes_for("maml").support
    one = qs.MetaLSTM(net, inner_lr=1e-9, hidden=3)
    torch.nn.init.zeros_(one.forget.weight)
    with torch.autocast("cpu", torch.bfloat16):
        found = one.adapt(support)
    for name, initial in net.named_parameters():
        expected = (torch.sigmoid(torch.tensor(5.0)) ** 5 * initial).expand_as(found[name])
        torch.testing.assert_close(found[name], expected, rtol=1e-5, atol=1e-6)


def test_a_network_with_running_statistics_is_refused():
    with pytest.raises(ValueError, match="MetaLSTM trains its network on one task at a time"):
        qs.MetaLSTM(conv_net("running"))


def test_a_step_size_that_no_gate_can_have_is_refused():
    with pytest.raises(ValueError, match="inner_lr is what an input gate is open by, between 0 and 1; got 1.0"):
        qs.MetaLSTM(nn.Linear(2, 2), inner_lr=1.0)


def test_a_weight_may_be_a_single_number():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear, self.scale = nn.Linear(256, 3), nn.Parameter(torch.ones(()))

        def forward(self, x):
            return self.scale * self.linear(x.flatten(1))

    one = qs.MetaLSTM(Scaled())
    one.loss(episodes_for("meta-lstm")).backward()
    assert torch.isfinite(one.net.scale.grad)  # pyright: ignore[reportArgumentType]

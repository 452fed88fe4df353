from functools import partial

import pytest
import torch
from learners import toy_data
from torch import nn

import quickstudy as qs
from quickstudy.inner_loop import running_by
from quickstudy.task_norm import TaskNorm, measured_on
from quickstudy.tensors import per_task


def layer(channels: int, slope: float, offset: float) -> TaskNorm:
    norm = TaskNorm(channels).double()
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2)
        norm.bias.uniform_(-1, 1)
        norm.slope.fill_(slope)
        norm.offset.fill_(offset)
    return norm


def on(rows: torch.Tensor, norm: TaskNorm, x: torch.Tensor) -> torch.Tensor:
    with measured_on(rows):
        return norm(x)


def images(count: int = 6) -> torch.Tensor:
    torch.manual_seed(0)
    return torch.randn(count, 3, 4, 4, dtype=torch.float64) * torch.rand(count, 3, 1, 1) + torch.rand(count, 3, 1, 1)


ALL = torch.ones(4, dtype=torch.bool)


def test_where_the_support_set_counts_alone_it_is_batch_normalisation_by_that():
    x, norm = images(), layer(3, 0.0, 60.0)
    mean, variance = x[:4].mean((0, 2, 3)), x[:4].var((0, 2, 3), correction=0)
    expected = nn.functional.batch_norm(x, mean, variance, norm.weight, norm.bias)
    torch.testing.assert_close(on(ALL, norm, x), expected)


def test_where_it_does_not_count_it_is_instance_normalisation():
    x, norm = images(), layer(3, 0.0, -60.0)
    expected = nn.functional.instance_norm(x, weight=norm.weight, bias=norm.bias)
    torch.testing.assert_close(on(ALL, norm, x), expected)


@pytest.mark.parametrize("away", [1e3, 1e4])
def test_a_channel_far_from_zero_keeps_its_digits(away):
    """As many as float32 holds of its numbers, of which one part in `away` varies; squares of them would hold none."""
    x, norm = images() + away, layer(3, 0.0, 0.0)
    found = []
    for dtype in (torch.float64, torch.float32):
        one = x.to(dtype).requires_grad_()
        y = on(ALL, norm.to(dtype), one)
        found.append((y.double(), torch.autograd.grad(y.sigmoid().sum(), one)[0].double()))
    for exact, single in zip(*found, strict=True):
        assert (single - exact).abs().max() < away * 1e-6 * exact.abs().max()


def test_in_between_its_moments_are_those_of_a_mixture_of_both():
    """As many draws from the support set's pixels as from the image's own have the blended mean and variance."""
    x, norm = images(), layer(3, 0.0, 0.0)
    both = (x[:4].mean((0, 2, 3)) + x.mean((2, 3))) / 2
    square = (x[:4].square().mean((0, 2, 3)) + x.square().mean((2, 3))) / 2
    variance = square - both.square()
    normal = (x - both[..., None, None]) / (variance + norm.eps).sqrt()[..., None, None]
    expected = normal * norm.weight[:, None, None] + norm.bias[:, None, None]
    torch.testing.assert_close(on(ALL, norm, x), expected)


def test_how_much_the_support_set_counts_depends_on_its_size():
    x, norm = images(), layer(3, 1.0, -3.0)
    three = torch.tensor([True, True, True])
    half = layer(3, 0.0, 0.0)
    half.load_state_dict({**half.state_dict(), "weight": norm.weight, "bias": norm.bias})
    torch.testing.assert_close(on(three, norm, x), on(three, half, x))  # logistic of 1 * 3 - 3
    assert not torch.allclose(on(ALL, norm, x), on(ALL, half, x))


def test_padding_of_the_support_set_does_not_count():
    x, norm = images(), layer(3, 0.3, 0.1)
    padded = torch.cat([x[:3], x[5:], x[3:5]])
    rows = torch.tensor([True, True, True, False])
    torch.testing.assert_close(on(rows, norm, padded)[[0, 1, 2, 4, 5]], on(rows[:3], norm, x[:5]))


def test_its_gradients_are_right_to_second_order():
    x, norm = images(), layer(3, 0.2, -0.4)
    parameters = [norm.weight, norm.bias, norm.slope, norm.offset]

    def f(x, *values):
        with measured_on(ALL):
            return norm.stacked(dict(zip(("weight", "bias", "slope", "offset"), values, strict=True)), x, 1)

    inputs = [t.detach().requires_grad_() for t in (x, *parameters)]
    assert torch.autograd.gradcheck(f, inputs)
    assert torch.autograd.gradgradcheck(f, inputs)


def test_its_moments_are_taken_in_full_precision_whatever_the_images():
    x, norm = images().float() + 30, layer(3, 0.0, 60.0).float()
    half = on(ALL, norm, x.bfloat16())
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), on(ALL, norm, x.bfloat16().float()), rtol=0.01, atol=0.01)


def conv(width: int = 4) -> nn.Module:
    return nn.Sequential(qs.Conv4(width=width, image_size=16, norm="task"), nn.Linear(width, 3)).double()


def episodes(tasks: int = 2) -> qs.Episodes:
    drawn = qs.FewShot(toy_data(), 3, 2, 4).sample(tasks, torch.Generator().manual_seed(3))
    return qs.Episodes(*(qs.Examples(e.x.double(), e.y, 3) for e in (drawn.support, drawn.query)))


def test_a_query_is_normalised_under_the_fast_weights_by_the_support_set_alone():
    """By hand: the support set and one query go through the adapted network as one batch."""
    torch.manual_seed(0)
    net, task = conv(), episodes(1)
    learner = qs.TaskNormalized(qs.MAML(net, inner_lr=0.1, inner_steps=2)).eval()
    memory = learner.adapt(task.support)
    fast = {name.removeprefix("dict."): w[0] for name, w in memory.items() if name.startswith("dict.")}
    one = torch.cat([task.support.x[0], task.query.x[0, 5:6]])
    with measured_on(torch.ones(6, dtype=torch.bool)):
        expected = torch.func.functional_call(net, fast, (one,))[-1]
    found = learner.predict(memory, task.query.x).logits[0, 5]
    torch.testing.assert_close(found, expected.log_softmax(-1))


@pytest.mark.parametrize("adjoint", [False, True])
def test_the_meta_gradient_is_that_of_a_plain_loop(adjoint):
    torch.manual_seed(0)
    net, batch = conv(), episodes()
    learner = qs.TaskNormalized(qs.MAML(net, inner_lr=0.1, inner_steps=3, adjoint=adjoint))
    parameters, losses = dict(net.named_parameters()), []
    for task in batch:
        rows, fast = torch.ones(6, dtype=torch.bool), parameters
        for _ in range(3):
            with measured_on(rows):
                logits = torch.func.functional_call(net, fast, (task.support.x[0],))
            nats = nn.functional.cross_entropy(logits, task.support.y[0])
            gradients = torch.autograd.grad(nats, list(fast.values()), create_graph=True)
            fast = {name: w - 0.1 * g for (name, w), g in zip(fast.items(), gradients, strict=True)}
        with measured_on(rows):
            logits = torch.func.functional_call(net, fast, (torch.cat([task.support.x[0], task.query.x[0]]),))
        losses.append(nn.functional.cross_entropy(logits[6:], task.query.y[0]))
    expected = torch.autograd.grad(torch.stack(losses).mean(), list(parameters.values()))
    for strategy in ("loop", "stacked"):
        with running_by(strategy):
            found = torch.autograd.grad(learner.loss(batch), list(parameters.values()))
        error = sum((a - b).square().sum() for a, b in zip(found, expected, strict=True)).sqrt()
        assert error / sum(b.square().sum() for b in expected).sqrt() < 1e-6, strategy


def test_every_task_is_normalised_by_its_own_support_set():
    encoder, batch = qs.Conv4(width=4, image_size=16, norm="task"), episodes().query.x.float()
    learner = qs.TaskNormalized(qs.PrototypicalNetwork(encoder)).eval()
    support = qs.Examples(episodes().support.x.float(), episodes().support.y, 3)
    memory = learner.adapt(support)
    swapped = {name: tensor.flip(0) for name, tensor in memory.items()}
    torch.testing.assert_close(
        learner.predict(memory, batch).logits.flip(0), learner.predict(swapped, batch.flip(0)).logits
    )


def test_training_tells_the_learner_inside_how_far_it_is():
    inside = qs.MAMLPlusPlus(conv(), inner_steps=2)
    learner = qs.TaskNormalized(inside)
    learner.progress = 0.5
    assert inside.progress == 0.5


def test_settings_are_those_of_the_learner_inside():
    inside = qs.FromScratch(conv().float(), steps=2)
    learner, tasks = qs.TaskNormalized(inside), qs.FewShot(toy_data(), 3, 2, 4)
    assert learner.choices == qs.FromScratch.choices
    assert qs.tune(learner, tasks, {"lr": [0.3]}, episodes=2) == {"lr": 0.3}
    assert inside.lr == 0.3
    with pytest.raises(ValueError, match="FromScratch has no setting 'speed'"):
        qs.tune(learner, tasks, {"speed": [1]}, episodes=2)


def test_it_was_built_for_what_the_learner_inside_was():
    encoder = partial(qs.Conv4, width=4, image_size=16, norm="task")
    five = qs.TaskNormalized(qs.MANN(encoder(), ways=5, slots=8, hidden=8))
    assert (five.ways, five.targets) == (5, None)
    few = qs.FewShotClassifier(five).fit(torch.rand(4, 1, 16, 16), [0, 0, 1, 1])
    assert few.predict_proba(torch.rand(2, 1, 16, 16)).shape == (2, 2)
    assert qs.TaskNormalized(qs.PrototypicalNetwork(encoder())).ways is None


def test_without_the_support_set_it_says_what_is_missing():
    encoder = qs.Conv4(width=4, image_size=16, norm="task")
    with pytest.raises(RuntimeError, match=r"wrap the learner, as in qs.TaskNormalized"):
        per_task(encoder, torch.rand(1, 2, 1, 16, 16))
    with pytest.raises(RuntimeError, match=r"wrap the learner, as in qs.TaskNormalized"):
        encoder(torch.rand(2, 1, 16, 16))
    with pytest.raises(ValueError, match="no layer of this PrototypicalNetwork normalises by the support set"):
        qs.TaskNormalized(qs.PrototypicalNetwork(qs.Conv4()))

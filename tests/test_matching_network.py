import math

import pytest
import torch
from learners import mlp
from test_maml import double
from torch import nn

import quickstudy as qs


def examples(x, y, ways) -> qs.Examples:
    return qs.Examples(torch.tensor([x]), torch.tensor([y]), ways=ways)


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_a_class_has_the_attention_of_its_examples_as_in_equation_1(scale):
    learner = qs.MatchingNetwork(nn.Identity(), scale=scale)
    memory = learner.adapt(examples([[1.0, 0.0], [0.0, 5.0], [-2.0, 0.0]], [0, 1, 0], ways=2))
    probs = learner.predict(memory, torch.tensor([[[3.0, 0.0], [3.0, 4.0]]])).probs[0]
    first, second = ([math.exp(scale * c) for c in cosines] for cosines in ((1, 0, -1), (0.6, 0.8, -0.6)))
    expected = [[(a[0] + a[2]) / sum(a), a[1] / sum(a)] for a in (first, second)]
    torch.testing.assert_close(probs, torch.tensor(expected))


def test_a_class_without_examples_is_not_predicted_and_costs_no_infinity():
    learner = qs.MatchingNetwork(nn.Identity())
    predicted = learner.predict(learner.adapt(examples([[1.0, 0.0]], [0], ways=2)), torch.tensor([[[1.0, 1.0]]]))
    torch.testing.assert_close(predicted.probs, torch.tensor([[[1.0, 0.0]]]))
    assert predicted.log_prob(torch.tensor([[1]])).isfinite().all()


def full_context(d: int = 3, steps: int = 2) -> qs.MatchingNetwork:
    torch.manual_seed(0)
    encoder = nn.Identity()
    encoder.out_features = d
    return qs.MatchingNetwork(encoder, full_context=True, steps=steps)


def test_full_context_embeds_the_support_set_as_a_bidirectional_lstm_does():
    learner, x = full_context(), torch.rand(2, 5, 3)
    lstm = nn.LSTM(3, 3, batch_first=True, bidirectional=True)
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    own = {f"{n}_l0": getattr(learner.context.forwards, n) for n in names}
    own |= {f"{n}_l0_reverse": getattr(learner.context.backwards, n) for n in names}
    lstm.load_state_dict(own)
    forwards, backwards = lstm(x)[0].chunk(2, -1)
    memory = learner.adapt(qs.Examples(x, torch.tensor([[0, 1, 0, 1, 0]] * 2), ways=2))
    torch.testing.assert_close(memory["z"], x + forwards + backwards)


def test_queries_read_the_support_set_as_in_equations_3_to_6():
    learner, f = full_context(steps=3).double(), torch.rand(3, dtype=torch.float64)
    g = torch.rand(4, 3, dtype=torch.float64)
    cell = learner.context.reader
    h, c = f, torch.zeros(3, dtype=torch.float64)
    for _ in range(3):
        weights = torch.stack([(h @ g_i).exp() for g_i in g])  # eq. 6
        r = sum(w * g_i for w, g_i in zip(weights / weights.sum(), g, strict=True))  # eq. 5
        gates = cell.weight_ih @ torch.cat([f, r]) + cell.bias_ih + cell.weight_hh @ h + cell.bias_hh
        i, forget, new, o = gates.chunk(4)  # eq. 3
        c = forget.sigmoid() * c + i.sigmoid() * new.tanh()
        h = o.sigmoid() * c.tanh() + f  # eq. 4
    exists = torch.ones(1, 4, dtype=torch.bool)
    torch.testing.assert_close(learner.context.queries(f[None, None], g[None], exists)[0, 0], h)


def test_full_context_does_not_read_padding_wherever_it_lies():
    learner, x = full_context(), torch.rand(3, 3)
    query = torch.rand(1, 2, 3)
    plain = learner.adapt(qs.Examples(x[None], torch.tensor([[0, 1, 0]]), ways=2))
    padded = torch.stack([x[0], torch.full((3,), 9.0), x[1], x[2], torch.full((3,), -9.0)])[None]
    exists = torch.tensor([[True, False, True, True, False]])
    holes = learner.adapt(qs.Examples(padded, torch.tensor([[0, 1, 1, 0, 0]]), ways=2, mask=exists))
    torch.testing.assert_close(learner.predict(plain, query).probs, learner.predict(holes, query).probs)


def test_with_full_context_the_order_of_the_support_set_matters():
    learner, x, query = full_context(), torch.rand(1, 4, 3), torch.rand(1, 2, 3)
    y = torch.tensor([[0, 1, 1, 0]])
    one, other = (
        learner.predict(learner.adapt(qs.Examples(a, b, ways=2)), query).probs
        for a, b in ((x, y), (x.flip(1), y.flip(1)))
    )
    assert not torch.allclose(one, other, atol=1e-4)


@pytest.mark.parametrize("options", [{}, {"full_context": True, "steps": 1}])
def test_it_trains_in_double_precision_as_in_bfloat16(options):
    torch.manual_seed(0)
    episodes = qs.Episodes(*(qs.Examples(torch.rand(2, 6, 8), torch.arange(6).expand(2, 6) % 3, ways=3) for _ in "sq"))
    learner = qs.MatchingNetwork(mlp(8, 4), **options)
    with torch.autocast("cpu", torch.bfloat16):
        rough = learner.loss(episodes)
    torch.testing.assert_close(learner.double().loss(double(episodes)).float(), rough, rtol=0.03, atol=0)


def test_only_what_reads_a_sequence_is_shown_it_in_random_order():
    assert qs.MatchingNetwork(mlp(256, 8, 6), full_context=True).sequential
    assert not qs.MatchingNetwork(mlp(256, 8, 6)).sequential

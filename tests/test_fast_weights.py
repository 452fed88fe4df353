import numpy as np
import torch
from learners import episodes_for, learner
from test_maml import double
from torch import nn

import quickstudy as qs
from quickstudy.methods.model_based.fast_weights import write


def pairs(tasks: int = 3, count: int = 7, d: int = 5, v: int = 4) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    keys = torch.randn(tasks, count, d, generator=generator, dtype=torch.float64)
    values = torch.randn(tasks, count, v, generator=generator, dtype=torch.float64)
    rates = torch.rand(tasks, count, 1, generator=generator, dtype=torch.float64)
    return [nn.functional.normalize(keys, dim=-1), values, rates]


def test_one_solve_writes_what_a_plain_loop_writes_with_the_same_gradient():
    tensors = [t.requires_grad_() for t in pairs()]
    expected = []
    for keys, values, rates in zip(*tensors, strict=True):
        matrix = torch.zeros(4, 5, dtype=torch.float64)
        for key, value, rate in zip(keys, values, rates, strict=True):
            matrix = matrix + rate * torch.outer(value - matrix @ key, key)
        expected.append(matrix)
    found, target = write(*tensors), torch.stack(expected)
    torch.testing.assert_close(found, target)
    for a, b in zip(*(torch.autograd.grad(m.pow(3).sum(), tensors) for m in (found, target)), strict=True):
        torch.testing.assert_close(a, b)


def test_an_answer_is_that_of_a_plain_loop_over_keys_of_unit_length_and_learned_rates():
    torch.manual_seed(0)
    one, episodes = learner("fast-weights").double(), double(episodes_for("fast-weights"))
    for p in one.parameters():
        nn.init.normal_(p, std=0.5)  # queries other than keys, rates of all kinds
    support, query, logits = episodes.support, episodes.query, []
    for t in range(len(episodes)):
        matrix = torch.zeros(3, 16, dtype=torch.float64)
        for z, label in zip(one.encoder(support.x[t]), support.y[t], strict=True):
            key = one.key.weight @ z / (one.key.weight @ z).norm()
            rate = 1 / (1 + (-(one.rate.weight[0] @ z + one.rate.bias[0])).exp())
            matrix = matrix + rate * torch.outer(nn.functional.one_hot(label, 3) - matrix @ key, key)
        asked = [one.query.weight @ z for z in one.encoder(query.x[t])]
        logits.append(torch.stack([one.scale * matrix @ q / q.norm() for q in asked]))
    found = one.predict(one.adapt(support), query.x).logits
    torch.testing.assert_close(found, torch.stack(logits).log_softmax(-1))


def fast_weights_of_inputs(d: int) -> qs.FastWeights:
    """Whose keys are its inputs, written at full strength."""
    encoder = nn.Identity()
    encoder.out_features = d
    one = qs.FastWeights(encoder, d=d).double()
    with torch.no_grad():
        one.key.weight.copy_(torch.eye(d))
        one.query.weight.copy_(torch.eye(d))
        one.rate.weight.zero_()
        one.rate.bias.fill_(100.0)
        one.scale.fill_(1.0)
    return one


def test_orthogonal_keys_are_read_back_exactly():
    x, _ = torch.linalg.qr(pairs(count=5)[0])
    y = torch.tensor([[0, 1, 2, 1, 0]] * 3)
    one = fast_weights_of_inputs(5)
    memory = one.adapt(qs.Examples(x, y, ways=3))
    torch.testing.assert_close(x @ memory.mT, nn.functional.one_hot(y, 3).double())
    torch.testing.assert_close(one.predict(memory, x).logits, nn.functional.one_hot(y, 3).double().log_softmax(-1))


def test_a_key_that_is_written_again_holds_the_new_label_alone():
    x = pairs(count=1)[0].expand(-1, 2, -1)
    memory = fast_weights_of_inputs(5).adapt(qs.Examples(x, torch.tensor([[0, 1]] * 3), ways=2))
    torch.testing.assert_close((x @ memory.mT)[:, 0], torch.tensor([[0.0, 1.0]] * 3, dtype=torch.float64))


def test_many_readings_of_a_support_set_tend_to_the_least_squares_solution_of_least_norm():
    keys, values, _ = pairs(tasks=1, count=3)
    repeated = write(keys.repeat(1, 400, 1), values.repeat(1, 400, 1), torch.ones(1, 1200, 1, dtype=torch.float64))
    expected = np.linalg.lstsq(keys[0].numpy(), values[0].numpy(), rcond=None)[0].T
    np.testing.assert_allclose(repeated[0].numpy(), expected, atol=1e-9)


def test_padding_is_not_written_wherever_it_lies():
    support, one = episodes_for("fast-weights").support, learner("fast-weights")
    mask = torch.arange(support.x.shape[1]).expand(len(support), -1) != 2
    kept = mask[0].nonzero()[:, 0]
    found = one.adapt(qs.Examples(support.x, support.y, ways=3, mask=mask))
    torch.testing.assert_close(found, one.adapt(qs.Examples(support.x[:, kept], support.y[:, kept], ways=3)))


def test_any_number_of_ways_is_served():
    one = learner("fast-weights")
    support = qs.Examples(torch.rand(2, 7, 1, 16, 16), torch.arange(7).expand(2, -1), ways=7)
    assert one.predict(one.adapt(support), torch.rand(2, 5, 1, 16, 16)).probs.shape == (2, 5, 7)

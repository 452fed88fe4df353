import math

import numpy as np
import pytest
import torch
from learners import episodes_for, learner
from torch.nn.functional import one_hot

import quickstudy as qs
from quickstudy.methods.model_based.mann import access, recall
from quickstudy.tensors import per_task


def empty(slots: int, width: int, heads: int = 1) -> dict[str, torch.Tensor]:
    shapes = {"slots": (slots, width), "read": (heads, slots), "usage": (slots,)}
    return {name: torch.zeros(1, *shape, dtype=torch.float64) for name, shape in shapes.items()}


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize("strength", [1.0, 10.0])
@pytest.mark.parametrize("name", ["mann", "mann-feed-forward"])
def test_an_answer_is_that_of_a_plain_loop(name, strength):
    episodes, mann = episodes_for(name, tasks=2), learner(name).double().eval()
    mann.strength = strength
    w = {name: p.detach().numpy() for name, p in mann.named_parameters()}
    support, query = (
        per_task(mann.encoder, x.double()).detach().numpy() for x in (episodes.support.x, episodes.query.x)
    )
    slots, width, heads, hidden, ways = 8, 16, 2, 64, 3
    expected = np.zeros((2, query.shape[1], ways))
    for t in range(2):
        for q in range(query.shape[1]):
            memory, usage, read = np.zeros((slots, width)), np.zeros(slots), np.zeros((heads, slots))
            h, c, r, label = np.zeros(hidden), np.zeros(hidden), np.zeros(heads * width), np.zeros(ways)
            for i, z in enumerate([*support[t], query[t, q]]):
                seen = np.concatenate([z, label, r])
                if name == "mann-feed-forward":
                    h = np.tanh(w["controller.0.weight"] @ seen + w["controller.0.bias"])
                else:
                    gates = w["controller.weight_ih"] @ seen + w["controller.bias_ih"]
                    gates = gates + w["controller.weight_hh"] @ h + w["controller.bias_hh"]
                    a, forget, b, o = np.split(gates, 4)
                    c = sigmoid(forget) * c + sigmoid(a) * np.tanh(b)
                    h = sigmoid(o) * np.tanh(c)
                keys = np.tanh(w["keys.weight"] @ h + w["keys.bias"]).reshape(heads, width)
                gates = sigmoid(w["gate.weight"] @ h + w["gate.bias"])
                order = np.argsort(usage, kind="stable")
                write = np.array([gates[n] * read[n] for n in range(heads)])
                for n in range(heads):
                    write[n, order[n]] += 1 - gates[n]  # w^w, of w^r and w^lu
                    memory[order[n]] = 0
                for n in range(heads):
                    for row in range(slots):
                        memory[row] += write[n, row] * keys[n]  # M
                similar = np.zeros((heads, slots))
                for n in range(heads):
                    for row in range(slots):
                        size = np.linalg.norm(keys[n]) * np.linalg.norm(memory[row])
                        similar[n, row] = keys[n] @ memory[row] / size if size else 0  # K
                read = np.exp(strength * similar)
                read = read / read.sum(1, keepdims=True)  # w^r
                r = (read @ memory).ravel()
                usage = 0.99 * usage + read.sum(0) + write.sum(0)  # w^u
                label = np.eye(ways)[episodes.support.y[t, i]] if i < len(support[t]) else None
            expected[t, q] = w["head.weight"] @ np.concatenate([h, r]) + w["head.bias"]
    doubled = qs.Examples(episodes.support.x.double(), episodes.support.y, ways)
    found = mann.predict(mann.adapt(doubled), episodes.query.x.double()).logits
    torch.testing.assert_close(found, torch.tensor(expected).log_softmax(-1), rtol=1e-9, atol=1e-9)


def test_what_is_written_under_a_key_is_what_the_key_reads():
    state, keys = empty(slots=3, width=3), torch.eye(3, dtype=torch.float64)
    for key in 2 * keys:  # a gate of 0: each to a slot never used
        state |= access(state, key[None, None], torch.zeros(1, 1, 1, dtype=torch.float64), decay=0.99)
    torch.testing.assert_close(state["slots"][0], 2 * keys)
    state["usage"] = torch.tensor([[0.0, 1.0, 2.0]], dtype=torch.float64)
    one_slot = empty(slots=1, width=3) | access(empty(1, 3), keys[None, :1], torch.zeros(1, 1, 1).double(), 0.99)
    torch.testing.assert_close(recall(one_slot)[0], keys[0])
    alike, other = math.e / (math.e + 2), 1 / (math.e + 2)  # cosines of 1 and of 0
    torch.testing.assert_close(state["read"][0, 0], torch.tensor([other, other, alike], dtype=torch.float64))
    torch.testing.assert_close(recall(state)[0], torch.tensor([2 * other, 2 * other, 2 * alike], dtype=torch.float64))


def test_the_stronger_it_reads_the_more_it_reads_the_slot_that_is_alike_alone():
    state, keys = empty(slots=128, width=4), torch.eye(4, dtype=torch.float64)
    key, shut = keys[None, :1], torch.zeros(1, 1, 1, dtype=torch.float64)
    for strength, share in {1.0: math.e / (math.e + 127), 10.0: math.exp(10) / (math.exp(10) + 127)}.items():
        read = access(state, key, shut, 0.99, strength)["read"]
        assert read.max().item() == pytest.approx(share)
    assert qs.MANN(torch.nn.Linear(2, 2), ways=2).strength == 1  # the paper's


def test_usage_decays_and_the_slot_used_least_is_cleared_and_written():
    one, gate = torch.ones(1, 1, 1, dtype=torch.float64), torch.zeros(1, 1, 1, dtype=torch.float64)
    state = empty(slots=2, width=1) | {"usage": torch.tensor([[3.0, 1.0]], dtype=torch.float64)}
    state["slots"] += 5
    after = access(state, 2 * one, gate, decay=0.5)
    assert after["slots"].flatten().tolist() == [5, 2]
    assert after["usage"].flatten().tolist() == [3 / 2 + 1 / 2, 1 / 2 + 1 / 2 + 1]  # alike, they are read by halves


def test_an_open_gate_writes_where_was_read_before():
    state = empty(slots=3, width=1) | {"read": torch.tensor([[[0.0, 0.25, 0.75]]], dtype=torch.float64)}
    state["slots"] += 1
    one = torch.ones(1, 1, 1, dtype=torch.float64)
    after = access(state, 4 * one, one, decay=0.99)
    assert after["slots"].flatten().tolist() == [0, 2, 4]  # the first is cleared as the one used least


def test_each_head_writes_to_a_slot_of_its_own():
    keys = torch.eye(2, dtype=torch.float64)[None]
    after = access(empty(slots=4, width=2, heads=2), keys, torch.zeros(1, 2, 1, dtype=torch.float64), decay=0.99)
    torch.testing.assert_close(after["slots"][0, :2], keys[0])
    assert after["slots"][0, 2:].eq(0).all()


def test_more_heads_than_slots_are_refused():
    with pytest.raises(ValueError, match="each head writes to a slot of its own; take at most 4 heads, or more slots"):
        qs.MANN(torch.nn.Linear(2, 2), slots=4, heads=5)


@pytest.mark.parametrize("name", ["mann", "mann-feed-forward"])
def test_a_label_comes_with_the_item_after_its_own(name):
    episodes, mann = episodes_for(name), learner(name).eval()
    z, labels = per_task(mann.encoder, episodes.support.x), one_hot(episodes.support.y, 3).float()
    state = {key: torch.zeros(len(z), *shape) for key, shape in mann.empty.items()}
    before = [torch.zeros_like(labels[:, 0]), *labels.unbind(1)]
    for item, label in zip([*z.unbind(1), None], before, strict=True):
        state["label"] = label
        if item is not None:
            state = mann.step(state, item)
    memory = mann.adapt(episodes.support)
    assert set(memory) == set(state)
    for key in memory:
        torch.testing.assert_close(memory[key], state[key])


def test_padding_leaves_no_trace_wherever_it_lies():
    episodes, mann = episodes_for("mann"), learner("mann").eval()
    x, y = episodes.support.x, episodes.support.y
    support = qs.Examples(
        torch.cat([x[:, :2], x[:, -1:], x[:, 2:]], 1),
        torch.cat([y[:, :2], y[:, -1:], y[:, 2:]], 1),
        ways=3,
        mask=(torch.arange(x.shape[1] + 1) != 2).expand(len(x), -1),
    )
    expected, found = mann.adapt(episodes.support), mann.adapt(support)
    for name in expected:
        torch.testing.assert_close(found[name], expected[name])


def test_other_ways_than_it_was_built_for_are_refused():
    support = qs.Examples(torch.rand(1, 2, 1, 16, 16), torch.tensor([[0, 1]]), ways=2)
    with pytest.raises(ValueError, match="built for 3 ways; the tasks have 2"):
        learner("mann").adapt(support)

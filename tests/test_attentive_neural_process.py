import pytest
import torch
from learners import episodes_for, learner
from torch import nn

import quickstudy as qs
from quickstudy.tensors import per_task


def test_queries_read_the_support_set_by_the_attention_of_pytorch():
    episodes, anp = episodes_for("anp-regression"), learner("anp-regression")
    inputs, targets = (per_task(anp.encoder, x) for x in (episodes.support.x, episodes.query.x))
    keys, queries = per_task(anp.place, inputs), per_task(anp.place, targets)
    values = per_task(anp.value, torch.cat([inputs, episodes.support.y], -1))
    attention = nn.MultiheadAttention(16, 2, bias=False, batch_first=True)
    with torch.no_grad():
        attention.in_proj_weight.copy_(torch.cat([anp.q.weight, anp.k.weight, anp.v.weight]))
        attention.out_proj.weight.copy_(anp.out.weight)
    read, _ = attention(queries, keys, values)
    mean, spread = per_task(anp.g, torch.cat([targets, read], -1)).chunk(2, -1)
    predicted = anp.predict(anp.adapt(episodes.support), episodes.query.x)
    torch.testing.assert_close(predicted.mean, mean)
    torch.testing.assert_close(predicted.stddev, 0.1 + 0.9 * nn.functional.softplus(spread))


@pytest.mark.parametrize("name", ["anp", "anp-regression"])
def test_where_all_examples_are_alike_to_a_query_it_is_the_conditional_neural_process(name):
    episodes, anp = episodes_for(name), learner(name)
    nn.init.zeros_(anp.q.weight)
    cnp = qs.NeuralProcess(anp.encoder, targets=anp.targets, hidden=16)
    cnp.h, cnp.g = nn.Sequential(anp.value, anp.v, anp.out), anp.g
    answers = (one.predict(one.adapt(episodes.support), episodes.query.x) for one in (anp, cnp))
    found, expected = ([p.logits] if anp.targets is None else [p.mean, p.stddev] for p in answers)
    torch.testing.assert_close(found, expected)


def test_renumbering_the_classes_renumbers_the_answer():
    episodes, anp = episodes_for("anp"), learner("anp")
    turned = qs.Examples(episodes.support.x, (episodes.support.y + 1) % 3, 3)
    before, after = (anp.predict(anp.adapt(s), episodes.query.x).probs for s in (episodes.support, turned))
    torch.testing.assert_close(before, after[..., [1, 2, 0]])


def test_a_class_without_examples_brings_nothing_and_breaks_nothing():
    episodes, anp = episodes_for("anp"), learner("anp")
    seen = []
    anp.g.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    more = qs.Examples(episodes.support.x, episodes.support.y, ways=5)
    logits = anp.predict(anp.adapt(more), episodes.query.x).logits
    logits.sum().backward()
    assert logits.isfinite().all()
    assert all(p.grad is None or p.grad.isfinite().all() for p in anp.parameters())
    brought = torch.cat(seen).unflatten(0, (-1, 5))[..., -16:].abs().amax((0, 2))
    assert brought.gt(0).tolist() == [True, True, True, False, False]
    fewer = anp.predict(anp.adapt(episodes.support), episodes.query.x).logits
    torch.testing.assert_close(logits[..., :3].log_softmax(-1), fewer)


def test_tasks_of_the_other_kind_are_refused():
    with pytest.raises(TypeError, match="built for 1 targets, but the tasks have classes"):
        learner("anp-regression").adapt(qs.Examples(torch.rand(1, 2, 1), torch.tensor([[0, 1]]), ways=2))
    with pytest.raises(TypeError, match=r"built for classes, but the tasks have targets of shape \[1, 2, 1\]"):
        learner("anp").adapt(qs.Examples(torch.rand(1, 2, 256), torch.rand(1, 2, 1)))

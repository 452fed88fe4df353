import pytest
import torch
from learners import episodes_for, learner
from torch.nn.functional import softplus

import quickstudy as qs
from quickstudy.tensors import per_task


def test_the_summary_is_the_mean_of_the_representations():
    episodes, cnp = episodes_for("cnp-regression"), learner("cnp-regression")
    memory = cnp.adapt(episodes.support)
    for t in range(len(episodes)):
        z = cnp.encoder(episodes.support.x[t])
        r = cnp.h(torch.cat([z, episodes.support.y[t]], -1)).mean(0)  # eqs. 1-2
        torch.testing.assert_close(memory[t, 0], r)


def test_the_decoder_reads_the_query_beside_the_summary():
    episodes, cnp = episodes_for("cnp-regression"), learner("cnp-regression")
    memory = cnp.adapt(episodes.support)
    predicted = cnp.predict(memory, episodes.query.x)
    z = cnp.encoder(episodes.query.x[1])
    mean, spread = cnp.g(torch.cat([z, memory[1].expand(len(z), -1)], -1)).chunk(2, -1)  # eq. 3
    torch.testing.assert_close(predicted.mean[1], mean)
    torch.testing.assert_close(predicted.stddev[1], 0.1 + 0.9 * softplus(spread))


def test_renumbering_the_classes_renumbers_the_answer():
    episodes, cnp = episodes_for("cnp"), learner("cnp")
    turned = qs.Examples(episodes.support.x, (episodes.support.y + 1) % 3, 3)
    before, after = (cnp.predict(cnp.adapt(s), episodes.query.x).probs for s in (episodes.support, turned))
    torch.testing.assert_close(before, after[..., [1, 2, 0]])


def test_a_class_is_summarised_by_its_own_examples():
    episodes, cnp = episodes_for("cnp"), learner("cnp")
    memory = cnp.adapt(episodes.support)
    first = episodes.support.x[0][episodes.support.y[0] == 2]
    torch.testing.assert_close(memory[0, 2], per_task(cnp.h, cnp.encoder(first)[None])[0].mean(0))


def test_tasks_of_the_other_kind_are_refused():
    with pytest.raises(TypeError, match="built for 1 targets, but the tasks have classes"):
        learner("cnp-regression").adapt(qs.Examples(torch.rand(1, 2, 1), torch.tensor([[0, 1]]), ways=2))
    with pytest.raises(TypeError, match=r"built for classes, but the tasks have targets of shape \[1, 2, 1\]"):
        learner("cnp").adapt(qs.Examples(torch.rand(1, 2, 256), torch.rand(1, 2, 1)))


@pytest.mark.parametrize("kind", [qs.NeuralProcess, qs.AttentiveNeuralProcess, qs.TransformerNeuralProcess])
def test_targets_of_another_length_are_refused(kind):
    one, pairs = kind(qs.MLP(1, 8, 8), targets=1), qs.Examples(torch.zeros(1, 3, 1), torch.zeros(1, 3, 2))
    with pytest.raises(TypeError, match=r"built for 1 targets, but the tasks have targets of shape \[1, 3, 2\]; pass"):
        one.adapt(pairs)

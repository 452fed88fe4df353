import pytest
import torch
from learners import episodes_for, mlp, tasks_for
from test_maml import double
from torch.nn.functional import cosine_similarity, cross_entropy

import quickstudy as qs


def meta_baseline(**options) -> qs.MetaBaseline:
    torch.manual_seed(0)
    return qs.MetaBaseline(mlp(256, 16), classes=6, **options).double()


def supervised(one: qs.MetaBaseline, episodes: qs.Episodes) -> torch.Tensor:
    parts = (episodes.support, episodes.query)
    x, classes = (torch.cat(t) for t in zip(*((p.x.flatten(0, 1), p.classes.flatten()) for p in parts), strict=True))
    return cross_entropy(one.head(one.encoder(x)), classes)


def episodic(one: qs.MetaBaseline, episodes: qs.Episodes) -> torch.Tensor:
    """Equations 1 and 3, one task and one class at a time."""
    nats = []
    for t in range(len(episodes)):
        z, queries = one.encoder(episodes.support.x[t]), one.encoder(episodes.query.x[t])
        cosines = [cosine_similarity(queries, z[episodes.support.y[t] == c].mean(0)[None]) for c in range(3)]
        nats.append(cross_entropy(one.temperature * torch.stack(cosines, 1), episodes.query.y[t]))
    return torch.stack(nats).mean()


@pytest.mark.parametrize("progress", [0.0, 0.29, 0.3, 0.9])
def test_it_is_a_classifier_of_the_training_classes_first_and_a_nearest_centroid_learner_then(progress):
    one, episodes = meta_baseline(pretrain=0.3, temperature=4.0), double(episodes_for("meta-baseline"))
    one.progress = progress
    first, then = supervised(one, episodes), episodic(one, episodes)
    assert abs(first - then) > 0.1
    torch.testing.assert_close(one.loss(episodes), first if progress < 0.3 else then)


def test_the_temperature_is_learned_by_the_second_loss_alone():
    one, episodes = meta_baseline(), double(episodes_for("meta-baseline"))
    one.loss(episodes).backward()
    assert one.temperature.grad == 0
    assert one.head.weight.grad.abs().sum() > 0
    one.zero_grad()
    one.progress = 0.5
    one.loss(episodes).backward()
    moved = 1e-6
    with torch.no_grad():
        one.temperature += moved
        above = episodic(one, episodes)
        one.temperature -= 2 * moved
        below = episodic(one, episodes)
    torch.testing.assert_close(one.temperature.grad, (above - below) / (2 * moved), rtol=1e-5, atol=1e-8)
    assert one.temperature.grad.abs() > 1e-4
    assert one.head.weight.grad.abs().sum() == 0


def test_training_passes_from_the_first_stage_to_the_second():
    torch.manual_seed(0)
    one = qs.MetaBaseline(mlp(256, 16), classes=6)
    sgd, found = torch.optim.SGD(one.parameters(), lr=0.01), []
    for _ in qs.train(one, tasks_for("meta-baseline"), steps=8, batch=4, optimizer=sgd):
        found.append((one.temperature.item(), one.head.weight.norm().item()))
    temperatures, heads = zip(*found, strict=True)
    assert [t == 10 for t in temperatures] == 4 * [True] + 4 * [False]
    assert len(set(heads[:4])) == 4
    assert len(set(heads[3:])) == 1


def test_a_fraction_that_is_none_is_refused():
    with pytest.raises(ValueError, match=r"pretrain is a fraction of training, from 0 to 1; not 1.5"):
        meta_baseline(pretrain=1.5)

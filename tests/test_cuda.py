"""Every method on a GPU computes what it does on the processor; skipped where there is none."""

import copy

import pytest
import torch
from learners import ROWS, episodes_for, learner, tasks_for, toy_data
from lightning_fabric import Fabric
from test_maml import double

import quickstudy as qs
from quickstudy.seeds import seeded
from quickstudy.tensors import dropping

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")


@pytest.mark.parametrize("name", ROWS)
def test_losses_gradients_and_answers_are_those_of_the_processor(name):
    here, episodes = learner(name).double(), double(episodes_for(name))
    there, sent = copy.deepcopy(here).to("cuda"), episodes.to("cuda")
    draws = ROWS[name].random or ROWS[name].ordered or dropping(here)
    if not draws and any(p.requires_grad for p in here.parameters()):
        losses = [one.train().loss(some) for one, some in ((here, episodes), (there, sent))]
        torch.testing.assert_close(losses[1].cpu(), losses[0], rtol=1e-8, atol=1e-10)
        for loss in losses:
            loss.backward()
        for (key, mine), theirs in zip(here.named_parameters(), there.parameters(), strict=True):
            if mine.grad is not None:
                assert theirs.grad is not None
                torch.testing.assert_close(theirs.grad.cpu(), mine.grad, rtol=1e-6, atol=1e-8, msg=key)
    found = []
    for one, some in ((here, episodes), (there, sent)):
        predicted = one.eval().predict(one.adapt(some.support), some.query.x)
        found.append(predicted.mean if ROWS[name].regression else predicted.probs)
    torch.testing.assert_close(found[1].detach().cpu(), found[0].detach(), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", ROWS)
def test_training_and_evaluation_run_there_with_tasks_from_either_place(name):
    fabric, one = Fabric(accelerator="cuda", devices=1), learner(name)
    for progress in qs.train(one, tasks_for(name), steps=2, batch=4, validate=tasks_for(name), fabric=fabric):
        assert torch.isfinite(progress.mean)
    assert all(p.is_cuda for p in one.parameters())
    found = qs.evaluate(one, tasks_for(name), episodes=20, fabric=fabric)
    if not ROWS[name].regression:
        drawn_there = qs.FewShot(toy_data().to("cuda"), 3, 2, 4)
        again = qs.evaluate(one, drawn_there, episodes=20)
        assert again.episodes_hash == found.episodes_hash
        torch.testing.assert_close(again.scores["log_likelihood"], found.scores["log_likelihood"], rtol=0.01, atol=0.01)


def test_every_strategy_has_one_gradient_there():
    episodes = double(episodes_for("maml")).to("cuda")
    one = learner("maml").double().to("cuda").train()
    found = []
    for strategy in ("loop", "stacked", "vmap"):
        one.zero_grad()
        qs.Engine(strategy, 2).gradient(one, episodes)
        found.append(torch.cat([p.grad.flatten() for p in one.parameters() if p.grad is not None]))
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=1e-8, atol=1e-12)


def test_tasks_drawn_there_are_those_drawn_here():
    here, there = (qs.FewShot(data, 3, 2, 4).sample(5, seeded(0, 1)) for data in (toy_data(), toy_data().to("cuda")))
    assert there.support.x.is_cuda
    torch.testing.assert_close(there.support.x.cpu(), here.support.x)
    assert torch.equal(there.query.y.cpu(), here.query.y)

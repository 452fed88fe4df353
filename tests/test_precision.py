from dataclasses import replace

import pytest
import torch
from learners import ROWS, episodes_for, learner, tasks_for
from lightning_fabric import Fabric

import quickstudy as qs
from quickstudy.processes import processes
from quickstudy.tensors import squared_distances


@pytest.mark.parametrize("name", ["protonet", "maml", "maml-conv4-batch", "anil-conv4", "snail", "cnp", "in-context"])
def test_bfloat16_trains_every_family_with_weights_in_full_precision(name):
    losses = {}
    for precision in ("32-true", "bf16-mixed"):
        one = learner(name)
        fabric = Fabric(accelerator="cpu", devices=1, precision=precision)
        steps = qs.train(one, tasks_for(name), steps=2, batch=4, fabric=fabric, engine=qs.Engine(chunk=2, workers=2))
        losses[precision] = [p.loss for p in steps]
        assert all(p.dtype == torch.float32 for p in one.parameters())
    assert losses["bf16-mixed"][0] == pytest.approx(losses["32-true"][0], rel=0.05)
    assert losses["bf16-mixed"] != losses["32-true"]


def test_answers_are_in_full_precision_even_under_autocast():
    one, episodes = learner("in-context"), episodes_for("in-context")
    with torch.autocast("cpu", torch.bfloat16):
        assert one.predict(one.adapt(episodes.support), episodes.query.x).logits.dtype == torch.float32
        assert qs.gaussian(torch.zeros(2, 3, 1, dtype=torch.bfloat16)).mean.dtype == torch.float32
        a, b = torch.full((1, 1, 64), 3.0), torch.full((1, 1, 64), 3.001)
        assert squared_distances(a, b).item() == pytest.approx(64 * 0.001**2, abs=1e-3)


@pytest.mark.parametrize("name", ROWS)
def test_a_learner_in_bfloat16_answers_about_as_before_and_in_full_precision(name):
    episodes, answers = episodes_for(name), []
    for dtype in (torch.float32, torch.bfloat16):
        one, query = learner(name).eval().to(dtype), episodes.query.x.to(dtype)
        with torch.no_grad():
            found = one.predict(one.adapt(replace(episodes.support, x=episodes.support.x.to(dtype))), query)
        answers.append(found.mean if ROWS[name].regression else found.probs)
    assert answers[1].dtype == torch.float32
    torch.testing.assert_close(answers[1], answers[0], rtol=0, atol=0.2)


def test_a_precision_that_there_is_not_is_refused():
    with pytest.raises(ValueError, match="--precision is one of float32, bfloat16, tf32; not 'half'"):
        processes(1, 4, "half")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="tf32 is a mode of NVIDIA GPUs"):
            processes(1, 4, "tf32")


def test_distances_far_from_the_origin_are_as_near_it():
    a, b = torch.randn(1, 6, 16), torch.randn(1, 4, 16)
    torch.testing.assert_close(squared_distances(a + 10_000, b + 10_000), squared_distances(a, b), rtol=0, atol=0.2)

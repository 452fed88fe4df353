"""Every method of the catalogue on an encoder of every normalisation: tasks are apart, and who sees whom is told."""

from dataclasses import replace

import pytest
import torch
from learners import toy_data

import quickstudy as qs
from quickstudy import catalogue
from quickstudy.catalogue import METHODS, Setting, build
from quickstudy.seeds import seeded

SETTING = Setting(size=24, ways=3, shots=2, classes=6)
NORMS = ("batch", "group", "task", "none")
CASES = [(name, norm) for name in METHODS for norm in NORMS if (name, norm) != ("cnaps", "none")]
"""CNAPs modulates layers that normalise, and refuses a network without any."""


def built(name: str, norm: str, monkeypatch) -> qs.MetaLearner:
    """The command line's learner, on a small encoder of this normalisation."""

    def small(channels: int, size: int, _: str) -> qs.Conv4:
        return qs.Conv4(channels, 8, image_size=size, downsample="stride", norm=norm)

    monkeypatch.setitem(catalogue.ENCODERS, SETTING.encoder, small)
    monkeypatch.setattr(catalogue, "TaskNormalized", lambda learner: learner)
    torch.manual_seed(0)
    one = build(name, SETTING)
    if isinstance(one, qs.Reptile):
        one.test_inner_steps = 3  # of 50
    return qs.TaskNormalized(one) if norm == "task" else one


@torch.no_grad()
def answers(one: qs.MetaLearner, support: qs.Examples, x: torch.Tensor) -> torch.Tensor:
    return one.predict(one.adapt(replace(support, x=support.x.double())), x.double()).logits


@pytest.mark.parametrize(("name", "norm"), CASES)
def test_tasks_are_apart_and_who_sees_whom_is_told(name, norm, monkeypatch):
    one = built(name, norm, monkeypatch)
    episodes = qs.FewShot(toy_data(size=SETTING.size), 3, 2, 2).sample(2, seeded(0, "tasks"))
    if trained := [p for p in one.parameters() if p.requires_grad]:
        one.train().loss(episodes).backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in trained)
    one.double().eval()  # a query's share in a batch's statistics is small
    together = answers(one, episodes.support, episodes.query.x)
    apart = torch.cat([answers(one, each.support, each.query.x) for each in episodes])
    torch.testing.assert_close(together, apart, rtol=1e-5, atol=1e-6)
    alone = [answers(one, episodes.support, x) for x in episodes.query.x.split(1, 1)]
    assert torch.allclose(together, torch.cat(alone, 1), rtol=1e-5, atol=1e-6) != one.transductive

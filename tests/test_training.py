import json
import os
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest
import torch
from learners import learner, mlp, tasks_for
from torch import nn
from torch.optim import lr_scheduler

import quickstudy as qs
from quickstudy.checkpoint import load_tensors
from quickstudy.tensors import class_means, squared_distances

LOOP = qs.Engine("loop")
NAMES = ["protonet", "maml", "in-context"]


def cosine(adam, steps):
    return torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)


def run(name, steps, out=None, resume=False, stop=None, schedule=cosine, **changes):
    """Trains with everything that has a state; stops after a step if told to."""
    one = learner(name)
    adam = torch.optim.Adam(one.parameters(), lr=1e-2)
    schedule = schedule(adam, steps)
    validate = qs.Validation(tasks_for(name), every=4, episodes=4)
    settings = {"batch": 4, "optimizer": adam, "scheduler": schedule, "validate": validate, "engine": LOOP, **changes}
    progress = qs.train(one, tasks_for(name), steps=steps, out=out, resume=resume, **settings)
    for p in progress:
        if p.step == stop:
            progress.close()
            break
    return one


@pytest.mark.parametrize("name", NAMES)
def test_a_resumed_run_ends_with_the_same_bits(name, tmp_path):
    run(name, 10, tmp_path / "whole")
    for stop in (3, 7):
        run(name, 10, tmp_path / "parts", resume=True, stop=stop)
        assert not (tmp_path / "parts" / "learner.safetensors").exists()
    run(name, 10, tmp_path / "parts", resume=True)
    whole, parts = ((tmp_path / which / "learner.safetensors").read_bytes() for which in ("whole", "parts"))
    assert whole == parts
    before = learner(name).state_dict()
    assert any(
        not torch.equal(before[k[8:]], v)
        for k, v in load_tensors(tmp_path / "whole" / "learner.safetensors")[0].items()
    )


SCHEDULES = {
    "milestones": lambda adam, steps: lr_scheduler.MultiStepLR(adam, [4, 6, 6], 0.1),
    "function": lambda adam, steps: lr_scheduler.LambdaLR(adam, lambda step: 0.8**step),
    "one cycle": lambda adam, steps: lr_scheduler.OneCycleLR(adam, 1e-2, total_steps=steps + 1),
    "one after the other": lambda adam, steps: lr_scheduler.SequentialLR(
        adam, [lr_scheduler.MultiStepLR(adam, [2], 0.1), lr_scheduler.CosineAnnealingLR(adam, 4)], [4]
    ),
}


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
def test_a_resumed_run_keeps_its_schedule(schedule, tmp_path):
    asked = {"schedule": schedule, "validate": None}  # so that the last weights are kept
    run("protonet", 8, tmp_path / "whole", **asked)
    run("protonet", 8, tmp_path / "parts", stop=3, **asked)
    run("protonet", 8, tmp_path / "parts", resume=True, **asked)
    whole, parts = ((tmp_path / which / "learner.safetensors").read_bytes() for which in ("whole", "parts"))
    assert whole == parts


def test_losses_since_the_last_row_of_the_curve_outlive_a_stop(tmp_path):
    def curve(out, until: int, resume: bool = False) -> list:
        settings = {"batch": 2, "engine": LOOP, "out": tmp_path / out, "resume": resume}
        for p in qs.train(learner("protonet"), tasks_for("protonet"), steps=800, **settings):  # a row every 4 steps
            if p.step == until:
                return p.curve
        raise AssertionError("it stopped too early")

    curve("parts", 3)
    assert curve("parts", 4, resume=True) == (whole := curve("whole", 4))
    assert [row[0] for row in whole] == [4]


def test_the_engine_of_validation_is_kept_as_soon_as_it_is_found(tmp_path):
    progress = qs.train(
        learner("protonet"), tasks_for("protonet"), steps=9, batch=2, out=tmp_path, checkpoint_seconds=1e9,
        validate=qs.Validation(tasks_for("protonet"), every=4, episodes=4),
    )  # fmt: skip
    kept = [set(load_tensors(tmp_path / "last.safetensors")[1]["engines"]) for _ in islice(progress, 5)]
    assert kept == [{"train"}] * 3 + [{"train", "validate"}] * 2
    progress.close()


def test_the_training_curve_outlives_a_stop(tmp_path):
    run("protonet", 10, tmp_path, stop=6)
    one = learner("protonet")
    adam = torch.optim.Adam(one.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, 10)
    settings = {"batch": 4, "optimizer": adam, "scheduler": schedule, "validate": tasks_for("protonet"), "resume": True}
    *_, last = qs.train(one, tasks_for("protonet"), steps=10, out=tmp_path, **settings)
    assert [row[0] for row in last.curve] == list(range(1, 11))
    finished = list(
        qs.train(
            learner("protonet"), tasks_for("protonet"), steps=10, out=tmp_path, **{**settings, "scheduler": schedule}
        )
    )
    assert [p.step for p in finished] == [10]
    assert finished[0].curve == last.curve


class Overtrains(qs.MetaLearner):
    """The nearest class mean, until a weight that training only raises turns it into the farthest."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.zeros(()))

    def adapt(self, support):
        return class_means(support.x.flatten(2), support)

    def predict(self, memory, x):
        return qs.categorical((self.w - 0.5) * squared_distances(x.flatten(2), memory))

    def loss(self, episodes):
        return -self.w


def test_the_weights_kept_are_those_of_the_best_validation():
    one, tasks = Overtrains(), tasks_for("protonet")
    validate = qs.Validation(tasks, every=1, episodes=10)
    sgd = torch.optim.SGD(one.parameters(), lr=0.2)
    scores = [p.validation for p in qs.train(one, tasks, steps=5, batch=4, optimizer=sgd, validate=validate)]
    assert scores[0] == scores[1] > 0.9
    assert max(scores[2:]) < 0.1
    assert one.w.item() == pytest.approx(0.2)


def test_training_leaves_the_callers_random_numbers_alone():
    torch.manual_seed(3)
    expected = torch.rand(2)
    one = learner("protonet")
    torch.manual_seed(3)
    list(qs.train(one, tasks_for("protonet"), steps=2, batch=2))
    assert torch.equal(torch.rand(2), expected)


class Explodes(qs.MetaLearner):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.ones(()))

    def adapt(self, support):
        return support.x.new_zeros(len(support), support.ways)

    def predict(self, memory, x):
        return qs.categorical(self.w * memory[:, None].expand(-1, x.shape[1], -1))

    def loss(self, episodes):
        self.calls = getattr(self, "calls", 0) + 1
        return self.w / (0.0 if self.calls == 5 else 1.0)


class Draws(Explodes):
    """Its loss is a random number."""

    stochastic = True

    def loss(self, episodes):
        return 0 * self.w + torch.rand(())


def test_what_a_loss_draws_is_a_function_of_seed_and_step(tmp_path):
    def drawn(outer: int, steps: int = 4, **settings) -> list[float]:
        torch.manual_seed(outer)  # of no account
        one, made = Draws(), {"batch": 4, "engine": LOOP, **settings}
        return [p.loss for p in qs.train(one, tasks_for("protonet"), steps=steps, **made)]

    first = drawn(1)
    assert len(set(first)) == 4  # a fixed seed: no step draws what another has drawn
    assert drawn(2) == first
    assert drawn(1, batch=2) == first
    assert not set(first) & set(drawn(1, seed=1))
    part = qs.train(Draws(), tasks_for("protonet"), steps=4, batch=4, engine=LOOP, out=tmp_path)
    assert [next(part).loss, next(part).loss] == first[:2]
    part.close()
    assert drawn(3, out=tmp_path, resume=True) == first[2:]


def test_a_loss_that_is_not_finite_stops_the_run_and_names_step_seed_and_checkpoint(tmp_path):
    one = Explodes()
    settings = {"out": tmp_path, "checkpoint_seconds": 0.0, "engine": qs.Engine(chunk=None)}
    with pytest.raises(
        FloatingPointError, match=r"loss is inf at step 5 \(tasks of seed 3, step 4\).*last.safetensors"
    ):
        list(qs.train(one, tasks_for("protonet"), steps=9, batch=2, seed=3, **settings))
    assert load_tensors(tmp_path / "last.safetensors")[1]["step"] == 4
    assert one.w.isfinite()


class Spoilt(qs.PrototypicalNetwork):
    """Its loss is a number, and its gradient is none, in the middle of training."""

    def loss(self, episodes):
        own = super().loss(episodes)
        nothing = sum((0 * p).square().sum() for p in self.parameters())
        return own + nothing.sqrt() if self.progress == 0.5 else own


@pytest.mark.parametrize("clip", [10.0, None])
def test_a_gradient_that_is_not_finite_stops_the_run_before_it_is_taken(clip, tmp_path):
    one = Spoilt(mlp(256, 8))
    with pytest.raises(FloatingPointError, match=r"the norm of the gradient is nan at step 3 .*last.safetensors"):
        list(qs.train(one, tasks_for("protonet"), steps=4, batch=2, clip=clip, out=tmp_path, checkpoint_seconds=0.0))
    assert all(p.isfinite().all() for p in one.parameters())
    assert all(t.isfinite().all() for t in load_tensors(tmp_path / "last.safetensors")[0].values())


def test_validation_that_cannot_be_is_refused_before_training():
    for wrong in ({"every": 0}, {"episodes": 1}):
        with pytest.raises(ValueError, match=r"at least 1, on at least 2 tasks; got every=\d+, episodes=\d+"):
            qs.Validation(tasks_for("protonet"), **wrong)


def test_gradients_are_clipped():
    for clip, expected in ((0.5, 0.5), (None, 1.0)):
        one = Explodes()
        sgd = torch.optim.SGD(one.parameters(), lr=1.0)
        next(iter(qs.train(one, tasks_for("protonet"), steps=2, batch=1, optimizer=sgd, clip=clip, engine=LOOP)))
        assert one.w.item() == pytest.approx(1 - expected, abs=1e-4)


def test_a_checkpoint_of_another_method_or_seed_is_refused(tmp_path):
    run("protonet", 2, tmp_path)
    with pytest.raises(ValueError, match="holds a PrototypicalNetwork, not a MAML"):
        run("maml", 2, tmp_path, resume=True)
    with pytest.raises(ValueError, match="run with seed 0 or another schedule"):
        run("protonet", 2, tmp_path, resume=True, seed=1)


def test_a_run_goes_on_by_the_settings_it_was_begun_with(tmp_path):
    run("protonet", 4, tmp_path, stop=2)
    with pytest.raises(ValueError, match="is of a run with steps 4, not 6; resume with its own"):  # the schedule's
        run("protonet", 6, tmp_path, resume=True)
    with pytest.raises(ValueError, match="is of a run with batch 4, not 2"):
        run("protonet", 4, tmp_path, resume=True, batch=2)
    before = learner("protonet")
    adam = torch.optim.Adam(before.parameters(), lr=0.5)
    kept = {name: value.clone() for name, value in before.state_dict().items()}
    with pytest.raises(ValueError, match=r"is of a run with step sizes \[0.01\], not \[0.5\]"):
        qs.train(
            before, tasks_for("protonet"), steps=4, batch=4, optimizer=adam, scheduler=cosine(adam, 4), out=tmp_path,
            resume=True,
        )  # fmt: skip
    assert all(torch.equal(value, kept[name]) for name, value in before.state_dict().items())


def test_a_run_without_a_schedule_may_end_later_or_where_it_stands(tmp_path):
    def trained(steps):
        return qs.train(learner("protonet"), tasks_for("protonet"), steps=steps, batch=2, out=tmp_path, resume=True)

    first = trained(400)
    next(first)
    first.close()
    assert [p.step for p in trained(1)] == [1]  # of so many steps no row of the curve was written yet
    assert [p.step for p in trained(3)] == [2, 3]


def test_a_batch_that_cannot_be_shared_out_is_refused():
    with pytest.raises(ValueError, match="steps=0, batch=4 and 1 processes"):
        qs.train(learner("protonet"), tasks_for("protonet"), steps=0, batch=4)


def test_a_learner_of_regression_keeps_the_weights_of_the_least_error():
    torch.manual_seed(0)
    maml = qs.MAML(mlp(1, 16, 1), inner_lr=0.01, likelihood=qs.gaussian)
    validate = qs.Validation(qs.Sinusoids(5, 5), every=2, episodes=10)
    *_, last = qs.train(maml, qs.Sinusoids(5, 5), steps=6, batch=4, validate=validate)
    assert last.best == max(row[2] for row in last.curve if row[2] is not None) < 0


def test_two_processes_give_what_one_gives(tmp_path):
    for processes in (1, 2):
        script = Path(__file__).with_name("distributed_run.py")
        command = [sys.executable, "-W", "error", str(script), str(processes), str(tmp_path / f"{processes}.json")]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(script.parent), *sys.path])}
        subprocess.run(command, check=True, env=environment, timeout=300, capture_output=True)
    one, two = (json.loads((tmp_path / f"{n}.json").read_text()) for n in (1, 2))
    for name in one:
        torch.testing.assert_close(
            torch.tensor(one[name]["losses"]), torch.tensor(two[name]["losses"]), rtol=1e-4, atol=1e-5
        )
        torch.testing.assert_close(
            torch.tensor(one[name]["weights"]), torch.tensor(two[name]["weights"]), rtol=1e-3, atol=1e-4
        )
        assert one[name]["hash"] == two[name]["hash"]
        torch.testing.assert_close(
            torch.tensor(one[name]["scores"]), torch.tensor(two[name]["scores"]), rtol=1e-3, atol=1e-3
        )


def test_a_learner_is_told_how_far_its_training_has_come(tmp_path):
    class Notes(qs.PrototypicalNetwork):
        def loss(self, episodes):
            told.append(self.progress)
            return super().loss(episodes)

    told: list[float] = []
    one = Notes(mlp(256, 16))
    options = {"steps": 4, "batch": 2, "out": tmp_path, "engine": qs.Engine(chunk=None)}
    run = qs.train(one, tasks_for("protonet"), **options)
    next(run), next(run)
    run.close()
    again = Notes(mlp(256, 16))
    assert len(list(qs.train(again, tasks_for("protonet"), resume=True, **options))) == 2
    assert told == [0, 0.25, 0.5, 0.75]
    assert again.progress == 1


def test_weights_that_the_optimizer_does_not_move_have_no_part_in_its_clipping():
    one = learner("anil")
    assert isinstance(one, qs.ANIL)
    head = list(one.head.parameters())
    run = qs.train(one, tasks_for("anil"), steps=3, batch=2, optimizer=torch.optim.SGD(head, lr=0.1), clip=1e-3)
    for _ in run:
        norm = torch.stack([p.grad.norm() for p in head if p.grad is not None]).norm()
        torch.testing.assert_close(norm, torch.tensor(1e-3), rtol=1e-2, atol=0)

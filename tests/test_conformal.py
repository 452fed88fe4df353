import math

import numpy as np
import pytest
import torch
from learners import learner, padded, tasks_for
from torch import nn

import quickstudy as qs
from quickstudy.calibration import GRID, SPREAD, Calibration, between
from quickstudy.confidence import likeliest_temperature
from quickstudy.conformal import LENT, Own, answers_left_out, calibrate, of_own, sets, share_below, with_one_wrong
from quickstudy.evaluation import VALIDATION, episode_list
from quickstudy.left_out import left_out


def islands(spread: float) -> qs.LabelledData:
    """Twelve classes around points in four dimensions."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(12, 1, 4, generator=generator) + spread * torch.randn(12, 30, 4, generator=generator)
    return qs.LabelledData("islands", x.flatten(0, 1), torch.arange(360) // 30, tuple("abcdefghijkl"))


def halves(spread: float) -> tuple[qs.LabelledData, qs.LabelledData]:
    data = islands(spread)
    return data.select(range(6)), data.select(range(6, 12))


def test_shares_count_own_examples_and_a_few_of_other_tasks():
    own, values = np.array([0.2, 0.4, 0.6, 0.8]), np.array([0.1, 0.4, 0.9])
    np.testing.assert_allclose(share_below(values, own, None), [1 / 5, 3 / 5, 5 / 5])
    others = GRID.tolist()  # uniform: a value is its own share
    np.testing.assert_allclose(share_below(values, own, others), (np.array([0, 2, 4]) + LENT * values) / (4 + LENT))
    np.testing.assert_allclose(share_below(values, own[:0], others), values)
    np.testing.assert_allclose(share_below(values, own[:0], None), 1)


def test_an_own_example_is_judged_by_the_others_alone():
    support = qs.FewShot(islands(0.3), 3, 2, 1).sample(1, torch.Generator().manual_seed(0)).support
    one, (x, y) = qs.PrototypicalNetwork(nn.Identity()), (support.x[0], support.y[0])
    told, found = Calibration(2.0, 3.0, (), (), ()), []
    own = of_own(one, x, y, 3, told)
    for i in range(6):
        rest = torch.arange(6) != i
        centres = torch.stack([x[rest & (y == c)].mean(0) for c in range(3)])
        logits = -torch.cdist(x[i : i + 1], centres).square()[0].double()
        found.append(logits.log_softmax(-1))
        p = (logits / own.temperature).softmax(-1)
        apart = torch.cdist(centres, centres).sum() / 6
        assert own.right[i] == pytest.approx(p[y[i]].item(), rel=1e-4)
        assert own.unlike[i] == pytest.approx(
            (1 - p.max() + torch.cdist(x[i : i + 1], centres).min() / apart).item(), rel=1e-4
        )
    torch.testing.assert_close(own.centres, torch.stack([x[y == c].mean(0) for c in range(3)]))
    warmth = told.warmth(torch.stack(found), y)
    assert abs(warmth - 1) > 0.05  # its own examples move the temperature of other tasks
    assert own.temperature == pytest.approx(2.0 * warmth, rel=1e-4)


def test_only_examples_of_a_class_tell_nothing():
    support = qs.FewShot(islands(0.3), 3, 1, 1).sample(1, torch.Generator().manual_seed(0)).support
    own = of_own(
        qs.PrototypicalNetwork(nn.Identity()), support.x[0], support.y[0], 3, Calibration(1.5, 1.0, (), (), ())
    )
    assert len(own.right) == len(own.unlike) == 0
    assert own.temperature == 1.5
    assert own.centres.shape == (3, 4)


@pytest.mark.parametrize("shots", [1, 3])
def test_what_was_measured_on_some_classes_holds_for_others(shots):
    calibrating, testing = halves(0.8)
    one = qs.PrototypicalNetwork(nn.Identity()).eval()
    told = calibrate((one, qs.FewShot(calibrating, 4, shots, 5)))
    held = []
    for episode in qs.FewShot(testing, 4, shots, 5).sample(150, torch.Generator().manual_seed(1)):
        own = of_own(one, episode.support.x[0], episode.support.y[0], 4, told)
        with torch.no_grad():
            logits = one.predict(one.adapt(episode.support), episode.query.x).logits[0]
        within = sets((logits / own.temperature).softmax(-1).numpy(), own, told, 0.1)
        held.append(within[np.arange(20), episode.query.y[0].numpy()].mean())
    assert np.mean(held) == pytest.approx(0.9, abs=0.05)


@pytest.mark.parametrize("shots", [1, 3])
def test_of_the_queries_that_were_measured_as_many_are_missed_as_is_said(shots):
    one, tasks = qs.PrototypicalNetwork(nn.Identity()).eval(), qs.FewShot(islands(0.8), 4, shots, 5)
    told, answers, left, within = calibrate((one, tasks), episodes=60), [], [], {0.1: [], 0.3: [], 0.5: []}
    for batch in episode_list(tasks, 60, stream=VALIDATION):
        for support, query in ((episode.support, episode.query) for episode in batch):
            x, y = support.x[0], support.y[0]
            own, kept = of_own(one, x, y, 4, told), answers_left_out(one, x, y, 4)
            logits = one.predict(one.adapt(support), query.x).logits[0].double()
            answers.append((logits, query.y[0]))
            left += [(kept.log, y[kept.which])] if len(kept.which) else []
            for missed, found in within.items():
                held = sets((logits / own.temperature).softmax(-1).numpy(), own, told, missed)
                found.append(held[np.arange(20), query.y[0].numpy()])
    for missed, found in within.items():
        assert np.mean(found) == pytest.approx(1 - missed, abs=2 / 1200)  # of 1200 queries
    assert told.temperature == pytest.approx(likeliest_temperature(with_one_wrong(answers)))
    assert told.left_out == pytest.approx(likeliest_temperature(with_one_wrong(left or answers)))


def test_a_set_holds_the_classes_above_the_level_that_was_measured():
    own = Own(1.0, np.array([0.2, 0.4, 0.6, 0.8]), np.zeros(4), None)
    told = Calibration(1.0, 1.0, GRID.tolist(), (GRID**2).tolist(), ())
    assert told.level(0.1) == pytest.approx(0.01)
    assert told.level(0.5) == pytest.approx(0.25, abs=1e-3)
    p = np.array([[0.0, 0.1, 0.5, 0.9]])
    shares = share_below(p, own.right, told.right)
    assert sets(p, own, told, 0.1).tolist() == [[False, True, True, True]]
    assert sets(p, own, told, 0.8).tolist() == (shares > 0.64).tolist() == [[False, False, False, True]]
    assert sets(p, own, None, 0.5).tolist() == [[False, False, True, True]]  # where nothing was measured, the share


def test_a_tasks_temperature_lies_between_its_own_and_that_of_others():
    generator = torch.Generator().manual_seed(0)
    logits = 6 * torch.randn(400, 3, generator=generator, dtype=torch.float64)
    y = (logits / 2).softmax(-1).multinomial(1, generator=generator)[:, 0]  # honest at a temperature of 2
    told = Calibration(0.5, 1.25, (), (), ())
    assert told.warmth(logits[:0], y[:0]) == 1
    few, many = told.warmth(logits[:60], y[:60]), told.warmth(logits, y)
    assert 1 < few < many == pytest.approx(2 / 1.25, rel=0.15)

    def energy(warmth: float) -> float:
        p = (logits[:60] / (1.25 * warmth)).softmax(-1)[torch.arange(60), y[:60]]
        return -p.log().sum().item() + math.log(warmth) ** 2 / (2 * SPREAD**2)

    assert energy(few) < min(energy(few * 1.02), energy(few / 1.02))


def test_who_never_erred_is_not_taken_for_one_who_never_errs():
    logits = torch.tensor([[0.0, 9.0, 1.0], [7.0, 0.0, 3.0], [0.0, 1.0, 3.0]], dtype=torch.float64)
    answers = [(logits, torch.tensor([1, 0, 2]))]
    *same, (one, wrong) = with_one_wrong(answers)
    assert same == answers
    torch.testing.assert_close(one, logits[1:2])
    assert wrong.tolist() == [2]
    assert likeliest_temperature(answers) < 0.1 < 1 < likeliest_temperature(with_one_wrong(answers))


def test_of_very_many_examples_as_many_of_each_class_are_left_out():
    rows = torch.cat([torch.arange(200), torch.arange(330, 340)])  # 30 of six classes, 20 of one, 10 of another
    x, y = islands(0.8).x[rows], islands(0.8).y[rows].unique(return_inverse=True)[1]
    one = qs.PrototypicalNetwork(nn.Identity())
    found = answers_left_out(one, x, y, 8)
    assert y[found.which].bincount().sort().values.tolist() == [10, 12, 13, 13, 13, 13, 13, 13]
    torch.testing.assert_close(found.log, left_out(one, x, y, 8)[found.which].double())


def test_between_numbers_of_examples_all_lies_on_lines():
    low, high = (
        Calibration(0.5, 1.0, [0.0, 1.0], [0.0, 0.5], [1.0, 2.0]),
        Calibration(2.0, 9.0, [0.5, 1.0], [0.1, 0.5], [1.0, 4.0]),
    )
    measured = {1: low, 4: high}
    assert between(measured, 0.5) == between(measured, 1.0) == low
    assert between(measured, 9.0) == between(measured, 4.0) == high
    half = between(measured, 2.0)
    assert half[:2] == pytest.approx((1.0, 3.0))
    assert (half.right, half.levels, half.unlike) == ([0.25, 1.0], [0.05, 0.5], [1.0, 3.0])
    assert between({}, 1.0) is None


def test_padding_moves_no_calibration():
    one = learner("protonet").eval()
    told = [calibrate((one, tasks), episodes=20) for tasks in (tasks_for("protonet"), Padded(tasks_for("protonet")))]
    for mine, theirs in zip(*told, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-5)


class Padded:
    """The same tasks, each with examples that count for nothing."""

    def __init__(self, tasks: qs.Tasks):
        self.tasks = tasks

    def sample(self, count: int, generator: torch.Generator) -> qs.Episodes:
        episodes = self.tasks.sample(count, generator)
        return qs.Episodes(*(padded(one, 4) for one in (episodes.support, episodes.query)))

"""Demonstrations of Meta-World's experts, tasks of imitation, and their benchmark at a small setting."""

import builtins
import json
from pathlib import Path

import numpy as np
import pytest
import torch

import quickstudy as qs
from quickstudy.data import demonstrations as module
from quickstudy.data.metaworld import Arm

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture(scope="module")
def shown():
    return qs.demonstrations("reach-v3", goals=3, per_goal=2, disturbed=1, steps=80)


@pytest.fixture(scope="module")
def reach():
    return Arm("reach-v3")


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import robots

    return robots


def test_an_undisturbed_demonstration_is_what_comes_of_its_actions(shown, reach):
    moment = shown.begin(reach, 1, 1)
    for seen, action in zip(shown.states[1, 1].numpy(), shown.actions[1, 1].numpy(), strict=True):
        np.testing.assert_array_equal(moment.seen.astype(np.float32), seen)
        np.testing.assert_array_equal(reach.expert(moment), action)
        moment = reach.step(moment, action)
    assert moment.success
    np.testing.assert_allclose(moment.seen[:3], shown.goals[1].numpy(), atol=0.01)


def test_arms_do_not_see_each_other_and_go_on_from_any_moment(shown, reach):
    alone = shown.begin(reach, 0, 0)
    draw = np.random.default_rng(0)
    actions = draw.uniform(-1, 1, (5, 4))
    for action in actions:
        alone = reach.step(alone, action)
    one, other = shown.begin(reach, 0, 0), shown.begin(reach, 2, 1)
    for action in actions:
        one, other = reach.step(one, action), reach.step(other, draw.uniform(-1, 1, 4))
    np.testing.assert_array_equal(one.observation, alone.observation)
    np.testing.assert_array_equal(one.physics, alone.physics)
    np.testing.assert_allclose(one.observation[-3:], shown.goals[0].numpy())
    assert np.abs(other.seen - one.seen).max() > 0.01


def test_what_is_disturbed_is_the_motion_and_not_what_the_expert_would_do(shown):
    hands, clean = shown.states[:, :, :, :3], shown.actions[:, :, :-1, :3]
    moved = (hands[:, :, 1:] - hands[:, :, :-1]).diff(dim=2).square().mean((0, 2, 3))
    assert moved[2] > 4 * moved[:2].max()
    wanted = (5 * (shown.goals[:, None, None] - hands)).clamp(-1, 1)  # Meta-World's policy for reach
    torch.testing.assert_close(clean, wanted[:, :, :-1], atol=1e-5, rtol=0)
    assert (shown.tries, shown.undisturbed) >= (9, 2)


def test_demonstrations_repeat_and_those_of_another_seed_have_other_goals(shown):
    again = qs.demonstrations("reach-v3", goals=2, per_goal=2, disturbed=1, steps=80)
    for name in ("goals", "places", "states", "actions"):
        assert torch.equal(getattr(again, name), getattr(shown, name)[:2])
    other = qs.demonstrations("reach-v3", goals=1, per_goal=1, steps=80, seed=1)
    assert not torch.isclose(other.goals, shown.goals[:1]).any()
    assert len({tuple(place) for place in shown.places.flatten(0, 1).tolist()}) == 9


def test_support_is_one_undisturbed_demonstration_and_queries_are_of_another_of_the_same_goal(shown):
    tasks = qs.OneShotImitation(shown, shots=16, queries=6)
    episodes = tasks.sample(40, torch.Generator().manual_seed(0))
    assert episodes.support.x.shape == (40, 16, 10)
    assert episodes.query.y.shape == (40, 6, 4)
    inputs = tasks.inputs(shown.states.flatten(0, 1), shown.goals.repeat_interleave(3, 0)).unflatten(0, (3, 3))

    def place(x):  # of a moment: its goal and demonstration
        same = (inputs == x).all(-1).any(-1).nonzero().tolist()
        assert len(same) == 1
        return same[0]

    kinds = set()
    for support, query in zip(episodes.support.x, episodes.query.x, strict=True):
        (goal, one), (same, other) = ({tuple(place(x)) for x in part}.pop() for part in (support, query))
        assert {tuple(place(x)) for x in support} == {(goal, one)}
        assert goal == same
        assert one != other
        kinds |= {(one, other)}
    assert kinds == {(0, 1), (0, 2), (1, 0), (1, 2)}
    first = tasks.support(torch.tensor([2]), torch.tensor([1]))
    assert torch.equal(first.x[0, [0, -1]], inputs[2, 1, [0, -1]])
    assert torch.equal(first.y[0, [0, -1]], shown.actions[2, 1, [0, -1]])


def test_the_goal_is_an_input_only_where_it_is_told(shown):
    seen = shown.states[:, 0, :2]
    hidden, told = (qs.OneShotImitation(shown, told=told).inputs for told in (False, True))
    assert torch.equal(hidden(seen, shown.goals), hidden(seen, shown.goals + 1))
    torch.testing.assert_close(told(seen, shown.goals + 0.1)[..., :-3], hidden(seen, shown.goals))
    moved = told(seen, shown.goals + 0.1) - told(seen, shown.goals)
    torch.testing.assert_close(moved, (torch.arange(13) >= 10).float().expand_as(moved))


def test_bad_numbers_and_names_are_told(shown, reach, monkeypatch):
    with pytest.raises(ValueError, match="Meta-World has no environment 'reach'; it has assembly-v3"):
        Arm("reach")
    with pytest.raises(ValueError, match="drawer-open-v3 does not place both an object and a goal at random, as"):
        Arm("drawer-open-v3")
    with pytest.raises(ValueError, match=r"is less than 0.15 m from the goal at .*; move one of them"):
        reach.begin(np.array([0, 0.8, 0.1]), reach.hand, np.array([0, 0.7, 0.02]))
    with pytest.raises(ValueError, match="goals, per_goal and steps are at least 1, .* got goals=0, per_goal=2"):
        qs.demonstrations(goals=0)
    monkeypatch.setattr(module, "MOST", 2)
    with pytest.raises(ValueError, match="the expert of reach-v3 failed 2 times within 3 steps under a disturbance of"):
        qs.demonstrations(goals=1, steps=3)
    with pytest.raises(ValueError, match="a demonstration has 80 steps; got shots=20 and queries=81"):
        qs.OneShotImitation(shown, queries=81)
    parts = (getattr(shown, name)[:, :1] for name in ("places", "states", "actions"))
    alone = qs.Demonstrations("reach-v3", shown.goals, *parts, 1, 3)
    with pytest.raises(ValueError, match="each goal needs two demonstrations, one to see and one to be judged by; it"):
        qs.OneShotImitation(alone)


def test_without_meta_world_its_extra_is_named(monkeypatch):
    found = builtins.__import__

    def missing(name, *rest):
        if name.startswith("metaworld"):
            raise ImportError("No module named 'metaworld'")
        return found(name, *rest)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ImportError, match=r"robots need Meta-World .*: pip install 'quickstudy\[robotics\]'"):
        Arm()


def test_the_command_reproduces_tables_and_picture(benchmark, tmp_path, capsys, monkeypatch):
    import robots_imitation_page as page

    names = ["nearest", "alpaca", "told"]
    out = tmp_path / "results"
    words = ["run", "imitation", *names, "--kept", str(tmp_path / "kept"), "--goals", "1", "1", "2", "--draws", "2"]
    words += ["--length", "80", "--steps", "2", "--episodes", "2", "--out", str(out)]
    benchmark.main(words)
    assert capsys.readouterr().out.count("success") == 2 * len(names)
    benchmark.main(words)  # what has a result is passed over
    assert not capsys.readouterr().out
    for path in out.iterdir():
        about = json.loads(path.read_text())
        assert len(about["success"]) == len(about["distance"]) == len(about["spread"]) == 4
        assert all(one >= last for one, last in zip(about["success"], about["last"], strict=True))
        assert 0 < max(about["distance"]) < 1
        assert np.shape(about["shown"]["paths"]) == (2, 21, 6)
        assert np.shape(about["shown"]["demonstrations"]) == (2, 20, 6)
    text, image = tmp_path / "page.md", tmp_path / "picture.png"
    text.write_text((BENCHMARKS.parent / "docs" / "uses" / "robots.md").read_text())
    page.write(out, text, image)
    once = text.read_text()
    table = once.split("<!-- imitation -->")[1].split("<!-- end of imitation -->")[0]
    rows = [line for line in table.splitlines() if line.startswith("| bayesian | ALPaCA |")]
    assert len(rows) == 1
    assert rows[0].count("±") == 6
    assert once.count("| Told the goal | ") == 4
    assert image.stat().st_size > 5000
    monkeypatch.setattr(page, "picture", lambda every, path: None)
    page.write(out, text, image)
    assert text.read_text() == once
    broken = out / "robots-imitation-push-v3-told.json"
    broken.write_text(json.dumps(json.loads(broken.read_text()) | {"hash": "another"}))
    with pytest.raises(ValueError, match="the results of push-v3 in .* are of different rollouts; remove them"):
        page.write(out, text, image)


def test_a_method_or_a_result_that_is_not_there_is_told(benchmark, tmp_path, capsys):
    import robots_imitation_page as page

    with pytest.raises(SystemExit):
        benchmark.main(["run", "imitation", "nothing"])
    assert "no method 'nothing'; there are replay" in capsys.readouterr().err
    with pytest.raises(FileNotFoundError, match="no result of reach-v3 in .*; run python benchmarks/robots.py run imi"):
        page.write(tmp_path)


def test_the_expert_rolled_out_succeeds_everywhere_and_is_where_it_was_shown_to_be(benchmark, shown, reach):
    import robots_imitation_rollouts as rollouts

    goal, seen, start = rollouts.pairs(shown)
    assert not (seen == start).any()
    steps = shown.actions[goal, start]
    found = rollouts.roll_out(lambda _, step: (steps[:, step], torch.ones_like(steps[:, step])), shown)
    clean = (start < shown.undisturbed).numpy()
    assert found.success.any(1)[clean].all()
    np.testing.assert_allclose(found.paths[clean][:, :-1], shown.states[goal, start][clean], atol=1e-6)
    told = rollouts.told(found, shown)
    assert told["goals"] == 3
    assert (np.array(told["distance"])[clean] < 0.02).all()


def test_nearest_and_replay_do_what_was_done_in_the_demonstration_that_is_seen(benchmark, shown):
    from robots_imitation_methods import nearest, replay
    from robots_imitation_rollouts import pairs

    goal, seen, _ = pairs(shown)
    states, actions = shown.states[goal, seen], shown.actions[goal, seen]
    for step in (0, 7):
        assert torch.equal(replay(shown)(states[:, 30], step)[0], actions[:, step])
        assert torch.equal(nearest(shown)(states[:, step], 30)[0], actions[:, step])

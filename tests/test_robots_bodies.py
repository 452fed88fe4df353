"""Changed bodies: what is simulated, the tasks drawn from it, and the benchmark at a small setting."""

import json
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

import quickstudy as qs
from quickstudy.data.simulated import MASSES, ROBOTS, environment

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
pytestmark = pytest.mark.skipif(find_spec("mujoco") is None, reason="needs quickstudy[robotics]")
COUNTS = {"train": 6, "validation": 4, "test": 4}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("bodies")


@pytest.fixture(scope="module")
def bodies(folder) -> qs.Bodies:
    return qs.changed_bodies(**COUNTS, folder=folder)


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import robots

    return robots


def test_no_joint_and_no_mass_of_a_test_body_occurs_in_training(bodies):
    for robot in ROBOTS.values():
        joints = [joint for part in robot.joints.values() for joint in part]
        assert len(joints) == len(set(joints))
    for n, body in enumerate(bodies.bodies):
        assert body.joint in (*ROBOTS[bodies.robot].joints[body.part], "")
        bounds = MASSES[body.part] if body.kind == "mass" else MASSES["train"]
        assert any(low <= body.mass <= high for low, high in bounds)
        assert n in bodies.of(body.part, body.kind)
        assert n in bodies.of(body.part)
    test = [bodies.bodies[n] for n in bodies.of("test")]
    assert [body.kind for body in test] == ["joint", "mass"] * 2
    assert [bool(body.joint) for body in test] == [True, False] * 2


def test_a_change_leads_from_a_state_to_the_next(bodies):
    state = bodies.x[..., : bodies.states]
    torch.testing.assert_close(bodies.after(state, bodies.y)[..., :-1, :], state[..., 1:, :], atol=1e-4, rtol=1e-4)
    training = bodies.of("train")
    for numbers in (bodies.x[training], bodies.y[training]):
        rows = numbers.flatten(0, 2)
        torch.testing.assert_close(rows.mean(0), torch.zeros(rows.shape[1]), atol=1e-4, rtol=0)
        torch.testing.assert_close(rows.std(0), torch.ones(rows.shape[1]), atol=1e-4, rtol=0)


def test_a_motor_without_force_is_the_one_that_is_told():
    import numpy as np

    from quickstudy.data import simulated

    own, crippled = environment("HalfCheetah-v5").model, environment("HalfCheetah-v5")
    simulated.change(crippled, simulated.Body("test", "joint", "bshin", 2.0))
    model = crippled.model
    np.testing.assert_allclose(model.body_mass, 2 * own.body_mass)
    np.testing.assert_allclose(model.body_inertia, 2 * own.body_inertia)
    np.testing.assert_allclose(model.body_subtreemass, 2 * own.body_subtreemass)
    names = [model.joint(joint).name for joint, _ in model.actuator_trnid]
    assert [name for name, now in zip(names, model.actuator_gear[:, 0], strict=True) if now == 0] == ["bshin"]


def test_what_was_simulated_is_kept_and_repeats(bodies, folder, tmp_path, monkeypatch):
    again = qs.changed_bodies(**COUNTS, folder=tmp_path)
    assert torch.equal(again.x, bodies.x)
    assert again.bodies == bodies.bodies
    monkeypatch.setattr("quickstudy.data.bodies.simulated", lambda *about: pytest.fail("simulated again"))
    kept = qs.changed_bodies(**COUNTS, folder=folder)
    assert torch.equal(kept.y, bodies.y)


def test_a_task_is_of_one_body_and_its_query_of_another_trajectory(bodies):
    tasks = qs.BodyTransitions(bodies, bodies.of("test"), shots=12, queries=20)
    drawn = tasks.each(3, torch.Generator().manual_seed(0))
    rows = bodies.of("test").repeat_interleave(3)
    assert drawn.support.x.shape == (12, 12, 23)
    assert drawn.query.y.shape == (12, 20, 17)
    for row, support, query in zip(rows, drawn.support.x, drawn.query.x, strict=True):
        places = []
        for part in (support, query):
            trajectory, first = (bodies.x[row] == part[0]).all(-1).nonzero()[0]
            assert torch.equal(bodies.x[row, trajectory, first : first + len(part)], part)
            places.append(trajectory)
        assert places[0] != places[1]
    twice = [qs.BodyTransitions(bodies, bodies.of("train")).sample(3, torch.Generator().manual_seed(1)) for _ in "ab"]
    assert torch.equal(twice[0].support.x, twice[1].support.x)


def test_bad_requests_are_told(bodies):
    with pytest.raises(ValueError, match="the robot is one of HalfCheetah-v5, Ant-v5; not 'Hopper-v5'"):
        qs.changed_bodies("Hopper-v5")
    with pytest.raises(
        ValueError, match="each part needs at least 2 bodies, and a trajectory 2 transitions; got train=1"
    ):
        qs.changed_bodies(train=1)
    with pytest.raises(ValueError, match="needs 200 transitions in a row, .* of 6 bodies; trajectories have 150"):
        qs.BodyTransitions(bodies, bodies.of("train"), shots=(8, 200))


def test_without_the_simulator_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "gymnasium", None)
    with pytest.raises(ImportError, match=r"pip install 'quickstudy\[robotics\]'"):
        environment("HalfCheetah-v5")


def test_the_command_reproduces_tables_picture_and_page(benchmark, folder, tmp_path, capsys):
    import robots_bodies_page as page

    names = ["ridge", "global", "corrected", "fine-tune", "anil", "alpaca"]
    words = ["run", "bodies", *names, "--bodies", *map(str, COUNTS.values()), "--data-dir", str(folder)]
    words += ["--steps", "2", "--draws", "2", "--out", str(tmp_path)]
    benchmark.main(words)
    assert len(capsys.readouterr().out.splitlines()) == len(names)
    benchmark.main(words)  # what has a result is passed over
    assert not capsys.readouterr().out
    abouts = [json.loads((tmp_path / f"robots-bodies-{name}.json").read_text()) for name in names]
    assert len({json.dumps(about["hash"]) for about in abouts}) == 1
    for about in abouts:
        for scores in about["tests"].values():
            assert len(scores["one"]) == len(scores["ten"]) == 2
            assert min(scores["one"] + scores["ten"]) > 0
    text, image = tmp_path / "page.md", tmp_path / "picture.png"
    text.write_text("<!-- bodies -->\n<!-- end of bodies -->\n")
    page.write(tmp_path, text, image)
    rows = [line for line in text.read_text().splitlines() if line.startswith("| bayesian | ALPaCA |")]
    assert [row.count("±") for row in rows] == [6, 6]
    assert image.stat().st_size > 5000
    other = tmp_path / "robots-bodies-anil.json"
    other.write_text(json.dumps({**abouts[4], "hash": {}, "machine": "another"}))
    with pytest.raises(ValueError, match="anil was tested on other tasks than ridge; run both on one machine"):
        page.write(tmp_path, text, image)


def test_a_method_or_a_result_that_is_not_there_is_told(benchmark, tmp_path, capsys):
    import robots_bodies_page as page

    with pytest.raises(SystemExit):
        benchmark.main(["run", "bodies", "nothing"])
    assert "no method 'nothing'; there are ridge" in capsys.readouterr().err
    with pytest.raises(FileNotFoundError, match="no result in .*; run python benchmarks/robots.py run bodies first"):
        page.write(tmp_path)


def test_ten_steps_of_a_learner_that_knows_the_truth_have_no_error(benchmark, bodies):
    from robots_bodies_scores import ten_steps, windows

    class Knows(qs.MetaLearner):
        """Finds a query among all transitions, and tells what followed."""

        def adapt(self, support):
            return support.x

        def predict(self, memory, x):
            every, flat = bodies.x.flatten(0, 2), x.flatten(0, 1)
            near = torch.cdist(flat, every).argmin(1)
            return qs.gaussian(bodies.y.flatten(0, 2)[near].view(*x.shape[:2], -1))

    episodes = qs.BodyTransitions(bodies, bodies.of("test"), shots=8, queries=30).each(
        2, torch.Generator().manual_seed(0)
    )
    assert ten_steps(Knows(), episodes.support.x, bodies, episodes.query).max() < 1e-6
    seen = windows(episodes.query.x)
    assert seen.shape == (8, 4, 11, 23)
    assert torch.equal(seen[:, 1, 3], episodes.query.x[:, 8])

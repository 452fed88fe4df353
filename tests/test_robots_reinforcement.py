"""Reinforcement learning that adapts: the tasks, MAML's second-order gradient, and the benchmark at a small setting."""

import json
from pathlib import Path

import pytest
import torch

import quickstudy as qs

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import robots

    return robots


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_point_goes_where_it_is_sent_and_no_farther_than_a_step():
    world, goal = qs.Navigation2D(), torch.tensor([[0.3, -0.4], [0.1, 0.1]])
    state, reward, reached = world.step(goal, torch.zeros(2, 1, 2), torch.tensor([[[9.0, -0.5]], [[1.0, 1.0]]]))
    torch.testing.assert_close(state, torch.tensor([[[0.1, -0.05]], [[0.1, 0.1]]]))
    torch.testing.assert_close(reward, torch.tensor([[-((0.2**2 + 0.35**2) ** 0.5)], [0.0]]))
    assert reached.tolist() == [[False], [True]]
    goals = world.draw(1000, generator())
    assert goals.abs().max() <= 0.5
    assert goals.min() < -0.45
    with pytest.raises(ValueError, match="an episode has at least 1 step; horizon is 0"):
        qs.Navigation2D(0)


def test_arms_pay_as_often_as_their_chance_says():
    bandits, draw = qs.Bandits(3), generator()
    chances = bandits.draw(4, draw)
    arms = torch.arange(3).repeat(4, 5000)
    paid = bandits.pull(chances, arms, draw).view(4, 5000, 3).mean(1)
    torch.testing.assert_close(paid, chances, atol=0.03, rtol=0)
    with pytest.raises(ValueError, match="a bandit has at least 2 arms, not 1"):
        qs.Bandits(1)


def test_the_gradient_through_adaptation_is_that_of_finite_differences(benchmark):
    from robots_reinforcement_gradient import Batch, Policy, Trajectories, advantages, detached, flat, outer

    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(2, 5), torch.nn.Tanh(), torch.nn.Linear(5, 2))
    policy = Policy(net, 2).double()
    alive = torch.rand(3, 4, 6) < 0.8

    def did() -> Trajectories:
        parts = (torch.randn(3, 4, 6, 2), torch.randn(3, 4, 6, 2), torch.randn(3, 4, 6))
        return Trajectories(*(part.double() for part in parts), alive)

    before, after = did(), did()
    batch = Batch((before, advantages(before)), (after, advantages(after)))
    old = detached(outer(policy, batch, 0.3, None)[2])
    parameters = list(policy.parameters())
    with torch.no_grad():  # away from the old policy, where the ratio is not 1
        for p in parameters:
            p.add_(0.05 * torch.randn_like(p))
    found = flat(torch.autograd.grad(outer(policy, batch, 0.3, old)[0], parameters))
    begin = flat([p.detach() for p in parameters])

    def loss_at(values: torch.Tensor) -> float:
        torch.nn.utils.vector_to_parameters(values, parameters)
        with torch.no_grad():
            return outer(policy, batch, 0.3, old)[0].item()

    steps = 1e-5 * torch.eye(len(begin), dtype=torch.float64)
    expected = torch.tensor([(loss_at(begin + h) - loss_at(begin - h)) / 2e-5 for h in steps], dtype=torch.float64)
    torch.testing.assert_close(found, expected, atol=1e-7, rtol=1e-5)


def test_a_step_of_the_policy_gradient_is_that_of_each_task_by_itself(benchmark):
    from robots_reinforcement_gradient import Policy, Trajectories, adapted, advantages

    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(2, 5), torch.nn.Tanh(), torch.nn.Linear(5, 2))
    policy, alive = Policy(net, 2), torch.rand(3, 4, 6) < 0.8
    did = Trajectories(torch.randn(3, 4, 6, 2), torch.randn(3, 4, 6, 2), torch.randn(3, 4, 6), alive)
    gain = advantages(did)
    ours = adapted(policy, policy.weights(3), did, gain, 0.3)
    for task, exists in enumerate(alive):
        told = qs.gaussian(net(did.states[task]), policy.log_std.exp().expand(4, 6, 2)).log_prob(did.actions[task])
        loss = -(told * gain[task])[exists].mean()
        named = dict(policy.named_parameters())
        for (name, w), slope in zip(named.items(), torch.autograd.grad(loss, list(named.values())), strict=True):
            torch.testing.assert_close(ours[name][task], w - 0.3 * slope)


def test_advantages_have_mean_0_and_variance_1_over_the_steps_taken(benchmark):
    from robots_reinforcement_gradient import Trajectories, advantages

    draw = generator()
    alive = (torch.rand(3, 5, 7, generator=draw) < 0.7).cumprod(-1).bool()
    alive[..., 0] = True
    parts = torch.randn(3, 5, 7, 2, generator=draw), torch.zeros(3, 5, 7, 2), torch.randn(3, 5, 7, generator=draw)
    gain = advantages(Trajectories(*parts, alive))
    assert (gain[~alive] == 0).all()
    for mine, exists in zip(gain, alive, strict=True):
        assert mine[exists].mean().abs() < 1e-5
        assert mine[exists].std(correction=0) == pytest.approx(1, abs=1e-3)


def test_a_step_of_trpo_raises_the_surrogate_and_stays_in_the_region(benchmark):
    from robots_reinforcement_bandits import new_policy, pulled
    from robots_reinforcement_gradient import TRUST, Batch, advantages, outer, trust_region_step

    bandits, draw = qs.Bandits(4), generator()
    chances = torch.tensor([[0.9, 0.1, 0.1, 0.1]]).expand(50, -1)
    policy = new_policy(4)
    did = pulled(policy, policy.weights(50), bandits, chances, draw)
    batch = Batch(None, (did, advantages(did)))
    before = outer(policy, batch, 0.0, None)[0].item()
    assert 0 < trust_region_step(policy, batch, 0.0) <= TRUST
    assert policy.net[0].weight.flatten().argmax() == 0
    did = pulled(policy, policy.weights(50), bandits, chances, draw)
    assert did.rewards.mean() > 0.3
    assert before == pytest.approx(0, abs=1e-5)


def test_conjugate_gradients_solve_a_linear_system(benchmark):
    from robots_reinforcement_gradient import conjugate_gradients

    torch.manual_seed(0)
    root = torch.randn(6, 6).double()
    matrix, right = root @ root.T + torch.eye(6), torch.randn(6).double()
    torch.testing.assert_close(conjugate_gradients(lambda v: matrix @ v, right, 20), torch.linalg.solve(matrix, right))


def test_no_index_beats_the_best_policy_and_thompson_sampling_is_between(benchmark):
    from robots_reinforcement_bandits import greedy, optimum, played, random, thompson

    assert optimum(2, 1) == pytest.approx(0.5)
    assert optimum(2, 2) == pytest.approx(0.5 + 0.5 * 2 / 3 + 0.5 * 0.5)
    bandits, draw = qs.Bandits(5), generator()
    chances = bandits.draw(2000, draw)
    means = [played(index, bandits, chances, 10, draw).sum(1).mean() for index in (random, thompson, greedy)]
    assert means == sorted(means)
    assert means[0] == pytest.approx(5, abs=0.15)
    assert means[2] < optimum(5, 10) + 0.15


def test_beta_variables_have_their_mean_and_variance(benchmark):
    from robots_reinforcement_bandits import beta

    a, b = torch.full((20000, 1), 3.0), torch.full((20000, 1), 2.0)
    drawn = beta(a, b, generator())
    assert drawn.mean() == pytest.approx(0.6, abs=0.01)
    assert drawn.var() == pytest.approx(0.04, abs=0.003)


def test_a_trial_of_navigation_begins_anew_and_counts_nothing_after_the_goal(benchmark):
    from robots_reinforcement_recurrent import NavigationTrial

    trial = NavigationTrial(qs.Navigation2D(3), 2, torch.tensor([[0.1, 0.0], [0.5, 0.5]]))
    seen, rows = trial.begin(), []
    assert seen[0].tolist() == [0, 0, 0, 0, 0, 1]
    for _ in range(trial.steps):
        seen, _, alive = trial.step(torch.tensor([[1.0, 0.0], [0.0, 0.0]]))
        rows.append((alive.tolist(), seen[0, -1].item(), seen[0, :2].tolist()))
    assert [alive for alive, _, _ in rows] == [[True, True], [False, True], [False, True]] * 2
    assert [new for _, new, _ in rows] == [0, 0, 1] * 2
    assert rows[2][2] == [0, 0]


def test_a_recurrent_policy_learns_which_of_two_arms_pays(benchmark):
    from robots_reinforcement_recurrent import BanditTrial, Recurrent, meta_train

    class Opposites(qs.Bandits):
        """One arm always pays, the other never."""

        def draw(self, tasks, generator):
            first = (torch.rand(tasks, 1, generator=generator) < 0.5).float()
            return torch.cat([first, 1 - first], 1)

    torch.manual_seed(0)
    world, policy = Opposites(2), Recurrent(4, 2, hidden=16)
    curve = meta_train(policy, lambda draw: BanditTrial(world, 6, world.draw(200, draw), draw), 25, seed=0)
    assert curve[0] == pytest.approx(3, abs=0.4)
    assert curve[-1] > 3.9


def test_the_command_reproduces_tables_picture_and_page(benchmark, tmp_path, capsys):
    import robots_reinforcement_page as page

    words = ["run", "reinforcement", "--tasks", "6", "--share", "0.01", "--horizon", "8", "--out", str(tmp_path)]
    benchmark.main(words)
    told = capsys.readouterr().out.splitlines()
    benchmark.main(words)  # what has a result is passed over
    assert not capsys.readouterr().out
    abouts = [json.loads(path.read_text()) for path in tmp_path.glob("robots-reinforcement-*.json")]
    assert len(abouts) == len(told) == 12
    assert len({about["hash"] for about in abouts}) == 2  # one list of goals, one of bandits
    for about in abouts:
        rows = about["returns"] if "returns" in about else [one["sum"] for one in about["pulls"].values()]
        assert {len(row) for row in rows} == {6}
    text, image = tmp_path / "page.md", tmp_path / "picture.png"
    text.write_text("<!-- reinforcement -->\n<!-- end of reinforcement -->\n")
    page.write(tmp_path, text, image)
    rows = [line for line in text.read_text().splitlines() if line.startswith("| optimization | MAML |")]
    assert [row.count("±") for row in rows] == [4, 1]
    assert "| 6.66 |" in text.read_text()
    assert image.stat().st_size > 5000


def test_a_method_or_a_result_that_is_not_there_is_told(benchmark, tmp_path, capsys):
    import robots_reinforcement_page as page

    with pytest.raises(SystemExit):
        benchmark.main(["run", "reinforcement", "nothing"])
    assert "no method 'nothing'; there are navigation-random" in capsys.readouterr().err
    with pytest.raises(FileNotFoundError, match="no result of navigation in .*; run python benchmarks/robots.py"):
        page.write(tmp_path)

import math
from dataclasses import replace

import pytest
import torch
from learners import episodes_for, learner, padded, tasks_for, toy_data
from scipy import stats
from torch.distributions import Categorical

import quickstudy as qs
from quickstudy.conformal import calibrate
from quickstudy.evaluation import episode_list
from quickstudy.scores import reliability, score


def test_95_percent_intervals_cover_95_percent_in_simulation():
    generator = torch.Generator().manual_seed(0)
    draws, truth = 4000, 0.8
    covered = 0
    for _ in range(draws):
        queries = torch.rand(200, 75, generator=generator) < truth
        mean, half = qs.interval(queries.float().mean(1))
        covered += abs(mean - truth) <= half
    assert abs(covered / draws - 0.95) < 0.015  # four standard deviations


def test_paired_differences_cover_zero_95_percent_of_the_time_and_are_narrower_than_unpaired():
    generator = torch.Generator().manual_seed(0)
    covered, narrower = 0, 0
    for _ in range(2000):
        task = torch.rand(100, generator=generator)  # how hard each task is, for both
        a, b = (task + 0.1 * torch.randn(100, generator=generator) for _ in range(2))
        mean, half = qs.interval(a - b)
        covered += abs(mean) <= half
        narrower += half < qs.interval(a).half_width
    assert abs(covered / 2000 - 0.95) < 0.02
    assert narrower == 2000


def test_95_percent_intervals_cover_95_percent_where_tasks_of_a_draw_are_alike():
    generator = torch.Generator().manual_seed(0)
    draws, one_by_one = torch.arange(25).repeat_interleave(20)[:490], 0
    covered, repeats = 0, 4000
    for _ in range(repeats):
        scores = torch.randn(25, generator=generator)[draws] + torch.randn(490, generator=generator)
        mean, half = qs.interval(scores, draws)
        covered += abs(mean) <= half
        one_by_one += abs(mean) <= qs.interval(scores).half_width
    assert abs(covered / repeats - 0.95) < 0.015  # four standard deviations
    assert one_by_one / repeats < 0.6


def test_the_interval_over_draws_of_one_task_is_students():
    scores = torch.rand(12, generator=torch.Generator().manual_seed(0)).double()
    mean, half = qs.interval(scores, torch.arange(12))
    expected = stats.t.interval(0.95, 11, loc=scores.mean(), scale=scores.std() / 12**0.5)
    assert (mean - half, mean + half) == pytest.approx(expected, rel=1e-9)


def test_a_single_draw_tells_nothing_of_the_spread():
    assert qs.interval(torch.rand(20), torch.zeros(20, dtype=torch.long)).half_width == math.inf


def test_intervals_are_over_draws_where_these_differ_in_size_and_over_episodes_where_they_do_not():
    one, data = learner("protonet"), toy_data()
    varied = qs.evaluate(one, qs.FewShot(data, 3, (1, 5), 4), episodes=50)
    assert varied.draws.tolist() == [0] * 20 + [1] * 20 + [2] * 10
    assert varied.result == qs.interval(varied.scores["accuracy"], varied.draws)
    assert varied.results()["half_width"] == varied.result.half_width
    fixed = qs.evaluate(one, qs.FewShot(data, 3, 2, 4), episodes=50)
    assert fixed.draws is None
    assert fixed.result == qs.interval(fixed.scores["accuracy"])


def test_tasks_that_are_padded_were_drawn_one_by_one():
    class Padded:
        """As many examples as the longest task of a batch has."""

        def sample(self, tasks, generator):
            drawn = qs.FewShot(toy_data(), 3, 2, 4).sample(tasks, generator)
            more = int(torch.randint(1, 9, (), generator=generator))
            return qs.Episodes(padded(drawn.support, more), padded(drawn.query, more))

    assert qs.evaluate(learner("protonet"), Padded(), episodes=50).draws is None


def test_no_task_that_chooses_or_fits_is_one_that_tests():
    class Noted(qs.Sinusoids):
        def sample(self, tasks, generator):
            seeds.add(generator.initial_seed())
            return super().sample(tasks, generator)

    class NotedClasses(qs.FewShot):
        def sample(self, tasks, generator):
            seeds.add(generator.initial_seed())
            return super().sample(tasks, generator)

    seeds, tasks, classes = set(), Noted(5), NotedClasses(toy_data(), 3, 2, 4)
    one, other = qs.FromScratch(qs.MLP(1, 4, 1), steps=0, likelihood=qs.gaussian), learner("protonet")
    qs.evaluate(one, tasks, episodes=60)
    qs.evaluate(other, classes, episodes=60)
    tested, seeds = seeds, set()
    list(qs.train(other, qs.FewShot(toy_data(), 3, 2, 4), steps=1, validate=qs.Validation(classes, episodes=60)))
    qs.tune(one, tasks, episodes=60)
    qs.fit_confidence(other, classes, episodes=60)
    calibrate((other.eval(), classes), episodes=60)
    assert len(tested) == len(seeds) == 3
    assert not tested & seeds


def test_one_episode_has_no_interval():
    with pytest.raises(ValueError, match="at least 2 episodes, not 1"):
        qs.interval(torch.tensor([0.5]))
    with pytest.raises(ValueError, match="at least 2 episodes, not 1"):
        qs.evaluate(learner("protonet"), tasks_for("protonet"), episodes=1)


def test_a_task_without_a_query_is_refused():
    episodes = episodes_for("protonet", tasks=2)
    mask = torch.arange(episodes.query.y.shape[1]) >= torch.tensor([[0], [10**6]])
    with pytest.raises(ValueError, match="a task has no query: its mask is false for all of them"):
        qs.evaluate(learner("protonet"), [qs.Episodes(episodes.support, replace(episodes.query, mask=mask))])


def test_a_comparison_on_too_few_episodes_is_refused_before_anything_is_trained():
    for few in ({"episodes": 1}, {"shot_episodes": 1}):
        with pytest.raises(ValueError, match="an interval needs at least 2 episodes; got"):
            qs.compare({}, tasks_for("protonet"), {}, steps=1, **few)


def test_answers_that_are_no_numbers_are_wrong_and_told():
    diverging = qs.FineTune(qs.MLP(256, 4), classes=6, steps=30, lr=1e20)
    tasks = qs.FewShot(toy_data(), 3, 2, 4)
    with pytest.warns(RuntimeWarning, match="in 4 of 4 tasks the learner gives answers that are no numbers"):
        found = qs.evaluate(diverging, tasks, episodes=4, metrics={"auc": qs.roc_auc})
    assert found.result.mean == 0
    assert found.scores["auc"].isnan().all()


def test_answers_that_are_no_numbers_have_no_confidence_and_leave_the_others_theirs():
    bins = reliability(torch.tensor([float("nan"), 0.5]), torch.tensor([0.0, 1.0]))
    assert bins.sum(0).tolist() == [2, 0.5, 1]


def test_numbers_that_are_none_are_worse_than_any_however_far_off():
    tasks, far = qs.Sinusoids(5), qs.FromScratch(qs.MLP(1, 4, 1), steps=0, likelihood=lambda z: qs.gaussian(z + 1e6))
    lost = qs.FromScratch(qs.MLP(1, 4, 1), steps=30, lr=1e20, likelihood=qs.gaussian)
    with pytest.warns(RuntimeWarning, match="answers that are no numbers"):
        assert qs.evaluate(lost, tasks, episodes=4).goodness < qs.evaluate(far, tasks, episodes=4).goodness


def test_reliability_bins_hold_what_fell_into_them():
    bins = reliability(torch.tensor([0.05, 0.5, 0.52, 1.0]), torch.tensor([0.0, 1.0, 0.0, 1.0]))
    assert bins[:, 0].tolist() == [1, 0, 0, 0, 0, 0, 0, 2] + [0] * 6 + [1]
    torch.testing.assert_close(bins[7], torch.tensor([2, 1.02, 1], dtype=torch.float64), rtol=1e-6, atol=1e-6)


def test_the_calibration_error_is_the_weighted_gap_between_confidence_and_accuracy():
    bins = torch.zeros(15, 3, dtype=torch.float64)
    bins[7], bins[14] = torch.tensor([10, 5.2, 8]), torch.tensor([30, 29.0, 24])
    found = qs.Evaluation({"accuracy": torch.ones(2)}, bins, 0.0, "", 5, 0.2, False, qs.Engine())
    assert found.calibration_error == pytest.approx((10 * abs(0.52 - 0.8) + 30 * abs(29 / 30 - 0.8)) / 40)


def test_a_calibrated_forecaster_has_a_small_calibration_error_and_an_overconfident_one_a_large_one():
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(200, 50, 5, generator=generator)
    y = Categorical(logits=logits).probs.flatten(0, 1).multinomial(1, generator=generator).view(200, 50)
    query = qs.Examples(torch.zeros(200, 50, 1), y, 5)

    def error(logits):
        scores, bins = score(qs.categorical(logits), query)
        return qs.Evaluation(scores, bins, 0.0, "", 5, 0.2, False, qs.Engine()).calibration_error

    assert error(logits) < 0.02
    assert error(3 * logits) > 0.1


def test_scores_are_of_each_episode():
    logits = torch.tensor([[[5.0, 0.0], [5.0, 0.0]], [[0.0, 1.0], [0.0, 1.0]]])
    scores, _ = score(qs.categorical(logits), qs.Examples(torch.zeros(2, 2, 1), torch.tensor([[0, 1], [1, 1]]), 2))
    assert scores["accuracy"].tolist() == [0.5, 1.0]
    torch.testing.assert_close(scores["log_likelihood"][1], torch.tensor([0.0, 1.0]).log_softmax(0)[1])


def test_regression_is_scored_by_its_squared_error():
    mean, y = torch.tensor([[[1.0], [3.0]]]), torch.tensor([[[2.0], [0.0]]])
    scores, bins = score(qs.gaussian(mean), qs.Examples(torch.zeros(1, 2, 1), y))
    assert scores["squared_error"].tolist() == [5.0]
    assert bins is None


def test_the_same_seed_is_the_same_episodes_for_every_learner_and_another_seed_is_not():
    tasks = tasks_for("protonet")
    one, other = (qs.evaluate(learner(name), tasks, episodes=30) for name in ("protonet", "maml"))
    assert one.episodes_hash == other.episodes_hash
    assert qs.evaluate(learner("maml"), tasks, episodes=30, seed=1).episodes_hash != one.episodes_hash


def test_the_hash_of_an_episode_list_is_what_was_published():
    found = qs.evaluate(learner("protonet"), tasks_for("protonet"), episodes=5)
    assert found.episodes_hash == "13373baacfebaec988412cc8d9c0120967b66c50b582176425c59a068ddc1bb8"


def test_a_shorter_episode_list_is_the_beginning_of_a_longer_one():
    tasks = tasks_for("protonet")
    short, long = (torch.cat([e.query.x for e in episode_list(tasks, n)]) for n in (25, 50))
    assert len(short) == 25
    assert torch.equal(short, long[:25])


def test_evaluation_counts_as_many_episodes_as_it_claims_and_leaves_the_mode_alone():
    one = learner("protonet").train()
    found = qs.evaluate(one, tasks_for("protonet"), episodes=47)
    assert all(len(values) == 47 for values in found.scores.values())
    assert found.bins[:, 0].sum() == 47 * 12
    assert one.training


def test_a_learner_that_always_guesses_scores_at_chance():
    class Guess(qs.MetaLearner):
        def adapt(self, support):
            return support.x.new_zeros(len(support), support.ways)

        def predict(self, memory, x):
            return qs.categorical(memory[:, None].expand(-1, x.shape[1], -1))

    found = qs.evaluate(Guess(), qs.FewShot(toy_data(), 3, 1, 4), episodes=20)
    assert found.result.mean == pytest.approx(1 / 3) == found.chance
    assert found.scores["log_likelihood"].mean().item() == pytest.approx(-torch.log(torch.tensor(3.0)).item())
    assert found.calibration_error == pytest.approx(0, abs=1e-6)
    assert str(found) == "33.33% ± 0.00%"


def test_a_list_of_episodes_is_evaluated_whole_and_as_when_it_is_drawn():
    one, tasks = learner("protonet"), tasks_for("protonet")
    drawn = qs.evaluate(one, tasks, episodes=30)
    listed = qs.evaluate(one, list(episode_list(tasks, 30)))
    assert listed.episodes_hash == drawn.episodes_hash
    torch.testing.assert_close(listed.scores, drawn.scores)
    with pytest.raises(ValueError, match="at least 2 episodes, not 1"):
        qs.evaluate(one, list(episode_list(tasks, 1)))


def test_metrics_of_ones_own_are_scored_beside_the_others():
    tasks = tasks_for("protonet")
    asked = {"auc": qs.roc_auc, "gain": qs.delta_auprc, "queries": lambda _, query: query.y.shape[1] * torch.ones(20)}
    found = qs.evaluate(learner("protonet"), tasks, episodes=20, metrics=asked)
    assert len(found.scores["auc"]) == len(found.scores["gain"]) == 20
    assert found.scores["queries"].unique().tolist() == [
        tasks_for("protonet").sample(1, torch.Generator()).query.y.shape[1]
    ]


def test_rankings_of_two_classes_are_those_of_scikit_learn_and_padding_does_not_count():
    from sklearn.metrics import average_precision_score, roc_auc_score

    generator = torch.Generator().manual_seed(0)
    logits, y = torch.randn(3, 9, 2, generator=generator), torch.tensor([0, 1, 1, 0, 0, 0, 1, 0, 1]).expand(3, 9)
    mask = torch.arange(9).expand(3, 9) < torch.tensor([9, 7, 1])[:, None]
    query, predicted = qs.Examples(torch.zeros(3, 9, 1), y, 2, mask=mask), qs.categorical(logits)
    auc, gain = qs.roc_auc(predicted, query), qs.delta_auprc(predicted, query)
    for t, count in enumerate((9, 7)):
        right, told = y[t, :count].numpy(), predicted.probs[t, :count, 1].double().numpy()
        assert auc[t].item() == pytest.approx(roc_auc_score(right, told))
        assert gain[t].item() == pytest.approx(average_precision_score(right, told) - right.mean())
    assert auc[2].isnan()  # of one class alone
    assert gain[2].isnan()


def test_rankings_of_many_classes_are_the_mean_of_each_against_the_others():
    from sklearn.metrics import roc_auc_score

    y = torch.tensor([[0, 1, 2, 0, 1, 2, 2]])
    predicted = qs.categorical(torch.randn(1, 7, 3, generator=torch.Generator().manual_seed(0)))
    told = predicted.probs[0].double()
    expected = roc_auc_score(y[0], told / told.sum(1, keepdim=True), multi_class="ovr")
    assert qs.roc_auc(predicted, qs.Examples(torch.zeros(1, 7, 1), y, 3)).item() == pytest.approx(expected)
    with pytest.raises(TypeError, match="classes are ranked by their probabilities; Independent has none"):
        qs.roc_auc(qs.gaussian(torch.zeros(1, 7, 1)), qs.Examples(torch.zeros(1, 7, 1), torch.zeros(1, 7, 1)))


def test_answers_too_sure_for_single_precision_are_still_ranked():
    y, margins = torch.tensor([[0, 0, 0, 1, 1, 1]]), torch.tensor([20.0, 25, 30, 35, 40, 45])
    query = qs.Examples(torch.zeros(1, 6, 1), y, 2)
    sure = Categorical(logits=torch.stack([torch.zeros(6), margins], -1)[None])
    assert sure.probs[0, 1:, 1].eq(1).all()
    assert qs.roc_auc(sure, query).item() == 1
    assert qs.delta_auprc(sure, query).item() == pytest.approx(0.5)


@pytest.mark.parametrize("name", ["protonet", "cnp-regression"])
def test_queries_that_are_padding_count_in_no_score_and_in_no_bin(name):
    episodes, one = episodes_for(name), learner(name).eval()
    wider = padded(episodes.query, 5)
    memory = one.adapt(episodes.support)
    scores, bins = score(one.predict(memory, episodes.query.x), episodes.query)
    again, more_bins = score(one.predict(memory, wider.x), wider)
    for key, values in scores.items():
        torch.testing.assert_close(again[key], values)
    assert (bins is None) == (more_bins is None)
    if bins is not None:
        torch.testing.assert_close(more_bins, bins)


def test_tasks_that_do_not_give_what_they_are_asked_for_are_refused():
    class One:
        def sample(self, count, generator):
            return tasks_for("protonet").sample(1, generator)

    with pytest.raises(ValueError, match=r"One\.sample was asked for 20 tasks and gave 1; its first argument says how"):
        qs.evaluate(learner("protonet"), One(), episodes=40)


def test_a_network_of_more_outputs_is_ranked_by_those_that_tasks_have():
    y, logits = torch.tensor([[0, 1, 1, 0]]), torch.randn(1, 4, 5, generator=torch.Generator().manual_seed(0))
    query = qs.Examples(torch.zeros(1, 4, 1), y, 2)
    for ranked in (qs.roc_auc, qs.delta_auprc):
        assert ranked(qs.categorical(logits), query) == ranked(qs.categorical(logits[..., :2]), query)

import pytest
import torch
from learners import learner, tasks_for, toy_data
from scipy.optimize import minimize_scalar
from torch import nn

import quickstudy as qs
from quickstudy.confidence import least_of_most, likeliest_temperature, nats
from quickstudy.scores import tempered
from quickstudy.seeds import seeded


class Forecaster(qs.MetaLearner):
    """Answers with the logits that it is shown, `hotter` times as sure."""

    def __init__(self, hotter: float):
        super().__init__()
        self.hotter = hotter

    def adapt(self, support):
        return support.x

    def predict(self, memory, x):
        return qs.categorical(self.hotter * x)


class Honest:
    """Tasks whose queries are logits, and whose classes are drawn by them."""

    def sample(self, tasks: int, generator: torch.Generator) -> qs.Episodes:
        x = 2 * torch.randn(tasks, 60, 5, generator=generator)
        y = x.softmax(-1).flatten(0, 1).multinomial(1, generator=generator).view(tasks, 60)
        return qs.Episodes(qs.Examples(x[:, :5], y[:, :5], 5), qs.Examples(x, y, 5))


@pytest.mark.parametrize("hotter", [0.3, 1.0, 4.0])
def test_the_temperature_undoes_what_made_a_forecaster_too_sure(hotter):
    found = qs.fit_temperature(Forecaster(hotter), Honest(), episodes=200)
    assert found == pytest.approx(hotter, rel=0.05)


def test_it_is_the_minimum_that_a_search_over_all_queries_finds():
    one, tasks = Forecaster(2.5), Honest()
    batch = tasks.sample(20, seeded(0, "validation", 0))
    logits = one.predict(None, batch.query.x).logits.double().flatten(0, 1)
    best = minimize_scalar(lambda t: nats([(logits, batch.query.y.flatten())], t), bounds=(0.1, 10), method="bounded")
    assert qs.fit_temperature(one, tasks, episodes=20) == pytest.approx(best.x, rel=1e-3)


def test_a_fitted_temperature_calibrates_on_other_tasks_and_changes_no_answer():
    one, tasks = Forecaster(4.0), Honest()
    warm = qs.fit_temperature(one, tasks, episodes=100)
    plain, found = (qs.evaluate(one, tasks, episodes=100, seed=1, temperature=t) for t in (None, warm))
    assert plain.tempered_calibration_error is None
    assert torch.equal(plain.scores["accuracy"], found.scores["accuracy"])
    assert found.calibration_error == plain.calibration_error
    assert found.tempered_calibration_error < 0.02 < 0.1 < found.calibration_error
    assert found.scores["tempered_log_likelihood"].mean() > found.scores["log_likelihood"].mean() + 0.1


def test_answers_that_are_all_right_have_the_lowest_temperature():
    class Sure(Honest):
        def sample(self, tasks, generator):
            episodes = super().sample(tasks, generator)
            y = episodes.query.x.argmax(-1)
            return qs.Episodes(episodes.support, qs.Examples(episodes.query.x, y, 5))

    assert qs.fit_temperature(Forecaster(1.0), Sure(), episodes=10) == pytest.approx(0.02, rel=0.01)


def test_padding_has_no_say():
    class Padded(Honest):
        def sample(self, tasks, generator):
            episodes = super().sample(tasks, generator)
            mask = torch.arange(60).expand(tasks, 60) < 40
            x = torch.where(mask[..., None], episodes.query.x, 100 * episodes.query.x)
            return qs.Episodes(episodes.support, qs.Examples(x, episodes.query.y, 5, mask=mask))

    assert qs.fit_temperature(Forecaster(2.0), Padded(), episodes=200) == pytest.approx(2.0, rel=0.05)


def test_answers_that_are_no_numbers_move_no_temperature_and_are_never_covered():
    class Lost(Honest):
        def sample(self, tasks, generator):
            episodes = super().sample(tasks, generator)
            x = episodes.query.x.clone()
            x[0] = torch.nan  # one task of twenty
            return qs.Episodes(episodes.support, qs.Examples(x, episodes.query.y, 5))

    one = Forecaster(2.0)
    clean, lost = (qs.fit_confidence(one, tasks, missed=0.2, episodes=200) for tasks in (Honest(), Lost()))
    assert lost.temperature == pytest.approx(clean.temperature, rel=0.05)
    with pytest.warns(RuntimeWarning, match="in 10 of 200 tasks"):
        found = qs.evaluate(one, Lost(), episodes=200, seed=1, temperature=lost.temperature, threshold=lost.threshold)
    assert qs.interval(found.scores["covered"]).mean == pytest.approx(0.8, abs=0.01)


def test_every_engine_finds_the_same_and_the_learner_stays_in_its_mode():
    one = learner("protonet").train()
    found = [
        qs.fit_temperature(one, tasks_for("protonet"), episodes=40, engine=engine)
        for engine in (qs.Engine("loop", 1, 1), qs.Engine("loop", 5, 2))
    ]
    assert found[0] == pytest.approx(found[1], rel=1e-4)
    assert one.training


def test_regression_has_no_temperature():
    with pytest.raises(TypeError, match="numbers for targets"):
        qs.fit_temperature(learner("protonet"), qs.Sinusoids(5), episodes=10)
    with pytest.raises(TypeError, match="logits of classes; Independent has none"):
        tempered(qs.gaussian(torch.zeros(1, 1, 1)), 2.0)


def test_sets_hold_the_right_class_as_often_as_promised_on_other_tasks():
    one, tasks = Forecaster(4.0), Honest()
    fitted = qs.fit_confidence(one, tasks, missed=0.2)
    assert fitted.temperature == pytest.approx(qs.fit_temperature(one, tasks))
    found = qs.evaluate(one, tasks, episodes=200, seed=1, temperature=fitted.temperature, threshold=fitted.threshold)
    assert qs.interval(found.scores["covered"]).mean == pytest.approx(0.8, abs=0.01)
    assert 1 < found.scores["set_size"].mean() < 5


def test_sets_are_the_classes_that_reach_the_threshold():
    one, tasks = Forecaster(1.0), Honest()
    batch = tasks.sample(20, seeded(0, "episodes", 0))
    p = batch.query.x.softmax(-1)
    found = qs.evaluate(one, tasks, episodes=20, threshold=0.3)
    within = p >= 0.3
    right = within.gather(-1, batch.query.y[..., None])[..., 0]
    torch.testing.assert_close(found.scores["set_size"], within.sum(-1).float().mean(1))
    torch.testing.assert_close(found.scores["covered"], right.float().mean(1))


def test_the_threshold_counts_the_next_query_as_the_worst():
    right = torch.tensor([0.5, 0.1, 0.9, 0.3, 0.7, 0.8, 0.2, 0.4, 0.6])
    assert least_of_most(right, 0.1) == pytest.approx(0.1)  # one of ten may be missed: the one below
    assert least_of_most(right, 0.2) == pytest.approx(0.2)
    assert least_of_most(right, 0.09) == 0.0  # nine are too few for such a promise


@pytest.mark.parametrize("missed", [0.0, 1.0, -0.1])
def test_a_share_that_is_none_is_refused(missed):
    with pytest.raises(ValueError, match="may lack lies between 0 and 1; got"):
        qs.fit_confidence(Forecaster(1.0), Honest(), missed=missed)


def test_numbers_have_no_sets():
    with pytest.raises(TypeError, match="a prediction set is of classes; Independent has none"):
        qs.evaluate(learner("maml-regression"), tasks_for("maml-regression"), episodes=2, threshold=0.1)


def test_answering_the_surest_alone_is_told_from_the_bins():
    found = qs.evaluate(Forecaster(1.0), Honest(), episodes=200)
    shares, accuracies = zip(*found.selective, strict=True)
    assert shares[-1] == 1
    assert accuracies[-1] == pytest.approx(found.result.mean)
    assert list(shares) == sorted(shares)
    assert accuracies[0] > accuracies[-1] + 0.2  # an honest forecaster is right where it is sure
    count, _, correct = found.bins[-1].tolist()
    assert (shares[0], accuracies[0]) == pytest.approx((count / found.bins[:, 0].sum().item(), correct / count))


def test_a_right_class_that_was_called_impossible_moves_no_temperature():
    logits = torch.randn(400, 5, generator=seeded(0)).double() * 6
    y = torch.multinomial((logits / 2).softmax(-1), 1, generator=seeded(1))[:, 0]
    impossible = torch.cat([logits, torch.tensor([[0.0, 0, 0, 0, -torch.inf]])]), torch.cat([y, torch.tensor([4])])
    assert likeliest_temperature([impossible]) == pytest.approx(likeliest_temperature([(logits, y)]), rel=1e-4)
    assert 1.5 < likeliest_temperature([impossible]) < 49


def test_a_query_of_a_class_that_was_not_shown_moves_no_temperature():
    one, tasks = qs.PrototypicalNetwork(nn.Flatten()), qs.FewShot(toy_data(), 3, 1, 5)
    (episode,) = tasks.sample(1, torch.Generator().manual_seed(0))
    shown = qs.Examples(episode.support.x[:, :2], torch.tensor([[0, 1]]), 3)
    logits, y = one.predict(one.adapt(shown), episode.query.x).logits[0].double(), episode.query.y[0]
    assert (y == 2).sum() == 5
    alone = logits[y < 2], y[y < 2]
    assert likeliest_temperature([(logits, y)]) == pytest.approx(likeliest_temperature([alone]), rel=1e-4)

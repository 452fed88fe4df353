import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from learners import WAYS, learner, mlp, toy_data
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_iris, load_wine
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from torch import nn

import quickstudy as qs
from quickstudy import estimator_inputs
from quickstudy.allocator import free_memory
from quickstudy.catalogue import Setting, build
from quickstudy.conformal import sets, share_less_unlike, unlike_of
from quickstudy.inputs import pixels
from quickstudy.ready import Ready, opened
from quickstudy.runs import begin, learner_about
from quickstudy.training import KEPT


@parametrize_with_checks([qs.FewShotClassifier(), qs.FewShotRegressor()])
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


def few(shots: int = 5, seed: int = 0):
    """Examples of each wine, and the others."""
    x, y = load_wine(return_X_y=True)
    draw = np.random.default_rng(seed)
    support = np.concatenate([draw.permutation(np.flatnonzero(y == c))[:shots] for c in range(3)])
    rest = np.setdiff1d(np.arange(len(y)), support)
    return x[support], y[support], x[rest], y[rest]


def test_it_works_within_scikit_learns_tools():
    x, y = load_iris(return_X_y=True)
    x, y = x[::3], y[::3]
    one = qs.FewShotClassifier()
    assert cross_val_score(make_pipeline(StandardScaler(), one), x, y, cv=3).mean() > 0.9
    search = GridSearchCV(one, {"learner": ["table", qs.PrototypicalNetwork(nn.Identity())]}, cv=3).fit(x, y)
    assert search.best_score_ > 0.9
    assert CalibratedClassifierCV(one, cv=3).fit(x, y).score(x, y) > 0.9


def test_a_shipped_learner_learns_from_five_rows_of_each_class():
    accuracies = []
    for seed in range(10):
        x, y, queries, answers = few(seed=seed)
        accuracies.append(qs.FewShotClassifier("table").fit(x, y).score(queries, answers))
    assert np.mean(accuracies) > 0.9


def test_probabilities_are_the_learners_own_at_its_temperature():
    x, y, queries, _ = few()
    one = qs.FewShotClassifier().fit(x, y)
    ready = qs.load("table")
    encode = ready.inputs.fit(x)
    with torch.no_grad():
        memory = ready.learner.adapt(qs.Examples(encode(x)[None], torch.as_tensor(y)[None], 3))
        logits = ready.learner.predict(memory, encode(queries)[None]).logits[0]
    expected = (logits / one.temperature_).softmax(-1)
    np.testing.assert_allclose(one.predict_proba(queries), expected, rtol=1e-9)
    assert one.temperature_ != ready.calibrations[3][5].temperature == one.calibration_.temperature
    np.testing.assert_allclose(one.predict_log_proba(queries), np.log(one.predict_proba(queries)))


def test_decisions_are_log_odds():
    x, y, queries, _ = few()
    p = qs.FewShotClassifier().fit(x, y).predict_proba(queries)
    np.testing.assert_allclose(
        qs.FewShotClassifier().fit(x, y).decision_function(queries), np.log(p / (1 - p)), rtol=1e-6
    )
    two = qs.FewShotClassifier().fit(x[y < 2], y[y < 2])
    p = two.predict_proba(queries)
    np.testing.assert_allclose(two.decision_function(queries), np.log(p[:, 1] / p[:, 0]), rtol=1e-9)


def test_rows_may_hold_text_and_gaps():
    rows = np.array([[1.0, "red"], [1.2, "red"], [None, "blue"], [3.1, "blue"]], dtype=object)
    one = qs.FewShotClassifier().fit(rows, ["warm", "warm", "cold", "cold"])
    assert one.predict(np.array([[2.0, "red"], [None, "blue"]], dtype=object)).tolist() == ["warm", "cold"]


def test_a_data_frame_may_hold_text_and_gaps():
    frame = pd.DataFrame({"size": pd.array([1, 2, None, 9], dtype="Int64"), "colour": ["red", "red", "blue", None]})
    one = qs.FewShotClassifier().fit(frame, ["warm", "warm", "cold", "cold"])
    assert one.predict(frame.iloc[:2]).tolist() == ["warm", "warm"]
    with pytest.raises(ValueError, match="feature names"):
        one.predict(frame[["colour", "size"]])


def test_fitting_leaves_the_learner_and_its_clone_alone():
    protonet = qs.PrototypicalNetwork(mlp(4, 8))
    before = {name: tensor.clone() for name, tensor in protonet.state_dict().items()}
    x, y = load_iris(return_X_y=True)
    one = qs.FewShotClassifier(protonet).fit(x, y)
    assert clone(one).learner is not protonet
    assert all(torch.equal(before[name], tensor) for name, tensor in protonet.state_dict().items())


def pictures(classes: int) -> tuple[np.ndarray, np.ndarray]:
    data = toy_data()
    chosen = data.y < classes
    return data.x[chosen].numpy() / 255, np.array(data.classes)[data.y[chosen].numpy()]


@pytest.mark.parametrize("name", ["protonet-resnet12", "maml-conv4-task", "snail", "in-context", "linear-probe"])
def test_a_learner_of_your_own_takes_arrays_and_fewer_classes_than_it_was_built_for(name):
    x, y = pictures(2)
    if name in ("snail", "in-context", "linear-probe"):
        x = x.reshape(len(x), -1)
    one = qs.FewShotClassifier(learner(name))
    one.fit(x[::6], y[::6])
    p = one.predict_proba(x)
    assert p.shape == (24, 2)
    np.testing.assert_allclose(p.sum(1), 1, rtol=1e-6)


@pytest.mark.parametrize("name", ["maml-conv4-task", "in-context"])
def test_more_classes_than_a_learner_was_built_for_are_refused(name):
    x, y = pictures(5)
    x = x.reshape(len(x), -1) if name == "in-context" else x
    with pytest.raises(ValueError, match=r"was built for [34] classes, and there are 5; train one for more"):
        qs.FewShotClassifier(learner(name)).fit(x[::6], y[::6])


def test_a_run_is_opened_by_its_folder(tmp_path):
    setting = Setting("conv4-strided", 1, 16, 3)
    begin(tmp_path / "run", learner_about("protonet", setting), resume=False)
    torch.manual_seed(0)
    one = build("protonet", setting)
    qs.save_learner(one, tmp_path / "run" / KEPT)
    x, y = pictures(3)
    by_folder = qs.FewShotClassifier(tmp_path / "run").fit(x, y).predict_proba(x)
    np.testing.assert_array_equal(by_folder, qs.FewShotClassifier(one).fit(x, y).predict_proba(x))


def test_wrong_use_is_told():
    x, y, _, _ = few()
    with pytest.raises(ValueError, match="all examples are of one class, 1"):
        qs.FewShotClassifier().fit(x[y == 1], y[y == 1])
    with pytest.raises(ValueError, match=r"'tabel' is neither a learner that ships with quickstudy \(table, .*\) nor"):
        qs.FewShotClassifier("tabel").fit(x, y)
    with pytest.raises(TypeError, match="a learner is a MetaLearner, the name of one that ships.*not 3"):
        qs.FewShotClassifier(3).fit(x, y)
    with pytest.raises(ValueError, match="no learner 'tabel' ships with quickstudy; there are table"):
        qs.load("tabel")


def test_a_ready_learner_is_taken_as_it_is():
    ready = Ready(qs.PrototypicalNetwork(nn.Identity()), qs.load("table").inputs)
    assert opened(ready) is ready


def test_more_examples_are_as_if_all_had_come_at_once():
    x, y, queries, _ = few()
    names = np.array(["red", "rosé", "white"])[y]
    one = qs.FewShotClassifier(qs.PrototypicalNetwork(mlp(13, 8)))
    first = clone(one).fit(x[names != "rosé"], names[names != "rosé"])
    more = first.partial_fit(x[names == "rosé"], names[names == "rosé"])
    assert more is first
    assert more.classes_.tolist() == ["red", "rosé", "white"]
    again = qs.FewShotClassifier(first.learner).fit(x, names)
    np.testing.assert_allclose(more.predict_proba(queries), again.predict_proba(queries), atol=1e-6)
    np.testing.assert_array_equal(clone(one).partial_fit(x, names).classes_, more.classes_)


def coverage(one: qs.FewShotClassifier, missed: float, shots: int) -> tuple[float, float]:
    held, sizes = [], []
    for seed in range(30):
        x, y, queries, answers = few(shots, seed)
        within = clone(one).fit(x, y).predict_set(queries, missed)
        held.append(within[np.arange(len(answers)), answers].mean())
        sizes.append(within.sum(1).mean())
    return float(np.mean(held)), float(np.mean(sizes))


def test_sets_hold_the_right_class_as_often_as_promised_and_are_small():
    for missed in (0.1, 0.2):
        held, size = coverage(qs.FewShotClassifier("table"), missed, 5)
        assert held == pytest.approx(1 - missed, abs=0.07)
        assert size < 1.5


def test_a_learner_of_your_own_learns_from_its_own_examples_what_to_exclude():
    scaled = nn.Linear(13, 13, bias=False)
    with torch.no_grad():
        scaled.weight.copy_(torch.from_numpy(load_wine(return_X_y=True)[0]).std(0).reciprocal().diag())
    own = qs.FewShotClassifier(qs.PrototypicalNetwork(scaled))
    x, y, queries, _ = few(1)
    assert own.fit(x, y).predict_set(queries).all()  # one example of each class excludes nothing
    assert not own.none_of_these(queries).any()
    held, size = coverage(own, 0.2, 6)
    assert held > 0.8
    assert size < 3
    x, y, queries, _ = few(2)
    assert own.fit(x, y).predict_set(queries, 0.1).all()  # six examples can promise to miss one in seven
    assert not own.predict_set(queries, 0.2).all()


def test_strangers_are_told():
    x, y, queries, _ = few(5)
    for learner_ in ("table", qs.PrototypicalNetwork(nn.Identity())):
        one = qs.FewShotClassifier(learner_).fit(x, y)
        none = one.none_of_these(queries)
        assert ((none >= 0) & (none <= 1)).all()
        assert np.median(none) < 0.8
        assert one.none_of_these(queries[:3] * 30).min() > 0.9


VARIOUS = ("table", "protonet", "protonet-resnet12", "protonet-batch", "matching", "relation", "anil-conv4", "maml")
VARIOUS += ("dkt-mixture", "snail", "mann", "in-context", "tnp", "linear-probe", "simpleshot-conv4")


@pytest.mark.parametrize("name", VARIOUS)
def test_all_answers_at_once_are_those_asked_for_one_by_one_to_the_bit(name):
    if name == "table":
        x, y, queries, _ = few()
        one = qs.FewShotClassifier().fit(x, y)
    else:
        x, y = pictures(WAYS)
        flat = not any(part in name for part in ("conv4", "protonet"))
        x = x.reshape(len(x), -1) if flat else x
        one, queries = qs.FewShotClassifier(learner(name)).fit(x[::4], y[::4]), x
    found = one.answer(queries, 0.2)
    np.testing.assert_array_equal(found.probabilities, one.predict_proba(queries))
    np.testing.assert_array_equal(found.sets, sets(one.predict_proba(queries), one.own(), one.calibration_, 0.2))
    np.testing.assert_array_equal(found.sets, one.predict_set(queries, 0.2))
    z = one.encode_(queries)
    apart = share_less_unlike(
        unlike_of(one.ready_.learner, one.own(), z, one.predict_proba(queries)), one.own(), one.calibration_
    )
    np.testing.assert_array_equal(found.none_of_these, apart)
    np.testing.assert_array_equal(found.none_of_these, one.none_of_these(queries))
    assert found.classes.tolist() == one.classes_.tolist()


def test_each_query_is_read_and_encoded_once_for_all_answers():
    x, y, queries, _ = few()
    seen, read = [], []
    encoder = mlp(13, 8)
    encoder.register_forward_hook(lambda module, inputs, output: seen.append(len(inputs[0])))
    one = qs.FewShotClassifier(qs.PrototypicalNetwork(encoder)).fit(x, y)
    one.own()
    encode = one.encode_
    one.encode_ = lambda items: read.append(len(items)) or encode(items)
    seen.clear()
    found = one.answer(queries)
    assert (seen, read) == ([len(queries)], [len(queries)])
    assert found.embeddings.shape == (len(queries), 8)


@pytest.mark.parametrize("missed", [0.0, 1.0, 90.0])
def test_a_share_that_is_none_is_refused(missed):
    x, y, queries, _ = few()
    with pytest.raises(ValueError, match="may lack lies between 0 and 1; got"):
        qs.FewShotClassifier().fit(x, y).predict_set(queries, missed)


@pytest.mark.parametrize("ask", ["answer", "predict_set", "none_of_these"])
def test_nothing_is_told_before_anything_was_learned(ask):
    with pytest.raises(NotFittedError):
        getattr(qs.FewShotClassifier(), ask)(few()[2])


def test_items_that_are_no_list_are_told():
    one = qs.FewShotClassifier(Ready(qs.PrototypicalNetwork(nn.Flatten()), pixels(1, 16)))
    with pytest.raises(TypeError, match="needed a list of pictures; got 'a.png'"):
        one.fit("a.png", [1])
    with pytest.raises(ValueError, match="there are no pictures: the list is empty"):
        one.fit([], [])
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        one.fit(["a.png"], [1, 2])


def test_a_fitted_classifier_can_be_pickled_with_a_learner_of_your_own_and_of_molecules():
    data = toy_data(3, 4)
    rows = data.x.flatten(1).float().numpy()
    own = qs.FewShotClassifier(qs.PrototypicalNetwork(nn.Linear(256, 8))).fit(rows, data.y.numpy())
    molecules = qs.FewShotClassifier("molecules").fit(["CCO", "CCCO", "CCN", "CCCN"], ["o", "o", "n", "n"])
    for few, asked in ((own, rows), (molecules, ["CO", "CN"])):
        again = pickle.loads(pickle.dumps(few))
        np.testing.assert_array_equal(again.predict_proba(asked), few.predict_proba(asked))


def test_many_queries_are_asked_for_in_parts_with_the_same_answers(monkeypatch):
    x, y = load_wine(return_X_y=True)
    few = qs.FewShotClassifier("table").fit(x[::12], y[::12])
    numbers = qs.FewShotRegressor().fit(x[::12, 1:], x[::12, 0])
    whole = few.predict_proba(x), few.answer(x), numbers.predict(x[:, 1:], return_std=True)
    monkeypatch.setattr(estimator_inputs, "AT_ONCE", 50)
    np.testing.assert_allclose(few.predict_proba(x), whole[0], atol=1e-6)
    np.testing.assert_allclose(few.answer(x).none_of_these, whole[1].none_of_these, atol=1e-6)
    np.testing.assert_allclose(numbers.predict(x[:, 1:], return_std=True), whole[2], atol=1e-4)
    assert [len(part) for part in estimator_inputs.parts(few.ready_.learner, torch.zeros(120, 2))] == [50, 50, 20]
    together = qs.MAML(nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3, track_running_stats=False)))
    assert [len(part) for part in estimator_inputs.parts(together, torch.zeros(120, 2))] == [120]


def test_later_labels_are_of_the_kind_of_the_first():
    x, y = load_iris(return_X_y=True)
    few = qs.FewShotClassifier("table").fit(x[::10], y[::10])
    for wrong, said in (
        (["cat"], "labels so far are such as 0; cat is of another kind"),
        ([0.5], "Unknown label type"),
    ):
        with pytest.raises(ValueError, match=said):
            few.partial_fit(x[:1], wrong)
    with pytest.raises(ValueError, match="contains NaN"):
        few.partial_fit(x[:1], [np.nan])
    assert few.classes_.tolist() == [0, 1, 2]


def test_more_examples_that_fail_leave_what_was_learned_alone():
    x, y = load_iris(return_X_y=True)
    names = np.array(["c", "d", "e"])[y]
    torch.manual_seed(0)
    one = qs.FewShotClassifier(qs.MAML(mlp(x.shape[1], 3), inner_lr=0.1)).fit(x[::10], names[::10])
    before = one.predict_proba(x)
    with pytest.raises(ValueError, match="built for 3 classes, and there are 4"):
        one.partial_fit(x[:1], ["a"])
    assert one.classes_.tolist() == ["c", "d", "e"]
    np.testing.assert_array_equal(one.predict_proba(x), before)
    new = qs.FewShotClassifier("table")
    with pytest.raises(ValueError, match="all examples are of one class"):
        new.partial_fit(x[:2], ["a", "a"])
    with pytest.raises(NotFittedError):
        new.predict(x)
    assert new.partial_fit(x, names).classes_.tolist() == sorted(set(names))


def test_bytes_are_fractions_of_255_as_labelled_data_has_them():
    x = np.random.default_rng(0).integers(0, 256, (30, 4), dtype=np.uint8)
    y = np.arange(30) % 3
    one, other = (qs.FewShotClassifier(qs.PrototypicalNetwork(nn.Identity())) for _ in range(2))
    found = one.fit(x, y).predict_proba(x)
    np.testing.assert_array_equal(found, other.fit(np.float32(x) / 255, y).predict_proba(np.float32(x) / 255))


def test_a_learner_whose_weights_are_elsewhere_or_of_another_type_is_refused():
    for wrong, said in (
        (qs.PrototypicalNetwork(mlp(2, 4)).double(), "torch.float64 on cpu"),
        (qs.PrototypicalNetwork(mlp(2, 4)).to("meta"), "torch.float32 on meta"),
    ):
        with pytest.raises(ValueError, match=f"has weights of {said}, .*; pass learner.cpu\\(\\).float\\(\\)"):
            qs.FewShotClassifier(wrong).fit(np.zeros((4, 2)), [0, 0, 1, 1])


def test_a_learner_of_numbers_is_no_classifier_nor_one_of_classes_a_regressor():
    x = np.random.default_rng(0).random((6, 2))
    with pytest.raises(ValueError, match="this R2D2 tells numbers, and here are classes to be told apart"):
        qs.FewShotClassifier(qs.R2D2(mlp(2, 4), likelihood=qs.gaussian)).fit(x, [0, 1] * 3)
    with pytest.raises(TypeError, match="this R2D2 tells classes; take FewShotClassifier"):
        qs.FewShotRegressor(qs.R2D2(mlp(2, 4))).fit(x, x[:, 0])


def test_a_frame_may_hold_categories_beside_flags_and_numbers_with_gaps():
    frame = pd.DataFrame({"name": pd.Categorical(list("xyxy")), "flag": [True, False] * 2})
    frame["count"] = pd.array([1, None, 1, 2], dtype="Int64")
    assert qs.FewShotClassifier("table").fit(frame, list("abab")).predict(frame).tolist() == list("abab")


def test_of_a_frame_with_several_columns_no_text_is_chosen():
    texts = pd.DataFrame({"subject": ["hello", "hello"], "body": ["I lost my card", "what is a dollar in euros"]})
    with pytest.raises(ValueError, match="texts stand in one column; of subject, body, pass the one of them"):
        qs.FewShotClassifier("text").fit(texts, ["lost", "rate"])
    few = qs.FewShotClassifier("text").fit(texts[["body"]], ["lost", "rate"])
    assert few.predict(texts["body"]).tolist() == ["lost", "rate"]


def test_a_frame_may_hold_numbers_and_dates():
    days = pd.to_datetime(["2026-01-01", "2026-01-02", "2026-01-01", "2026-01-02"])
    frame = pd.DataFrame({"size": [1.0, 1.0, 1.0, 1.0], "day": days})
    assert qs.FewShotClassifier("table").fit(frame, list("abab")).predict(frame).tolist() == list("abab")
    with pytest.raises(ValueError, match="Expected"):  # scikit-learn's own words for a single column
        qs.FewShotClassifier("table").fit(frame["size"], list("abab"))


def test_more_examples_than_there_is_memory_for_are_refused(monkeypatch):
    x, y = load_iris(return_X_y=True)
    few = qs.FewShotClassifier().fit(x[::15], y[::15])
    monkeypatch.setattr(estimator_inputs, "free_memory", lambda: 100 * 12 * 8 * 8 * 100)
    message = (
        r"^150 examples need about 0\.0 GiB of memory to learn from, and 0\.0 GiB are free, enough for 100\. Pass f"
    )
    with pytest.raises(ValueError, match=message):
        qs.FewShotClassifier().fit(x, y)
    with pytest.raises(ValueError, match=message):
        qs.FewShotRegressor().fit(x, y)
    with pytest.raises(ValueError, match="^160 examples need"):
        few.partial_fit(x, y)
    assert qs.FewShotClassifier().fit(x[::2], y[::2]).score(x, y) > 0.9
    qs.FewShotClassifier(qs.PrototypicalNetwork(nn.Identity())).fit(x, y)  # which keeps none of them
    monkeypatch.setattr(estimator_inputs, "free_memory", lambda: None)  # nobody can tell
    qs.FewShotRegressor().fit(x, y)


def test_many_classes_of_one_example_are_learned_without_a_warning():
    x = np.arange(30.0)[:, None]
    assert len(qs.FewShotClassifier(qs.PrototypicalNetwork(nn.Identity())).fit(x, x[:, 0].astype(int)).classes_) == 30


def test_free_memory_is_a_number_where_linux_tells(monkeypatch):
    monkeypatch.setattr("quickstudy.allocator.Path.read_text", lambda path: "MemTotal: 9 kB\nMemAvailable:    3 kB\n")
    assert free_memory() == 3072
    monkeypatch.setattr("quickstudy.allocator.Path.read_text", lambda path: Path("/nowhere/at/all").read_bytes())
    assert free_memory() is None

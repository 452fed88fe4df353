import numpy as np
import pandas as pd
import pytest
import torch
from learners import learner, mlp
from sklearn.datasets import load_wine
from sklearn.exceptions import NotFittedError
from torch import nn

import quickstudy as qs
from quickstudy.catalogue import Setting, build
from quickstudy.checkpoint import load_tensors, save_tensors
from quickstudy.contract import parts_of
from quickstudy.runs import begin, keep_tuned, learner_about
from quickstudy.training import KEPT

X, Y = load_wine(return_X_y=True)


class Standing(nn.Identity):
    """What is seen of an example is itself."""

    out_features = 13


def saved(tmp_path, one=None, x=X, y=Y, **again) -> tuple[qs.FewShotClassifier, qs.FewShotClassifier]:
    before = (one or qs.FewShotClassifier()).fit(x[::9], y[::9])
    qs.save_task(before, tmp_path / "task.safetensors")
    return before, qs.load_task(tmp_path / "task.safetensors", **again)


def test_a_task_of_a_shipped_learner_answers_as_before_and_holds_no_weights(tmp_path):
    before, after = saved(tmp_path)
    np.testing.assert_allclose(before.predict_proba(X), after.predict_proba(X), rtol=1e-9)  # memory's layout may differ
    tensors, about = load_tensors(tmp_path / "task.safetensors")
    assert not [name for name in tensors if name.startswith("learner.")]
    assert about["source"] == {"shipped": "table"}


def test_labels_and_columns_keep_their_names(tmp_path):
    frame = pd.DataFrame(X[:, :3], columns=["alcohol", "acid", "ash"])
    frame["shop"] = np.where(Y == 0, "north", "south")
    names = np.array(["red", "white", "rosé"])[Y]
    fitted = qs.FewShotClassifier().fit(frame[::9], names[::9])
    qs.save_task(fitted, tmp_path / "task.safetensors")
    after = qs.load_task(tmp_path / "task.safetensors")
    np.testing.assert_array_equal(after.predict(frame), fitted.predict(frame))
    assert after.classes_.tolist() == ["red", "rosé", "white"]
    with pytest.raises(ValueError, match="feature names"):
        after.predict(frame[["shop", "ash", "acid", "alcohol"]])


def test_a_task_of_a_run_brings_the_learner_along(tmp_path):
    setting = Setting("conv4-strided", 1, 16, 3)
    begin(tmp_path / "run", learner_about("protonet", setting), resume=False)
    torch.manual_seed(0)
    qs.save_learner(build("protonet", setting), tmp_path / "run" / KEPT)
    x = np.random.default_rng(0).random((len(Y), 1, 16, 16), dtype=np.float32)
    before, after = saved(tmp_path, qs.FewShotClassifier(tmp_path / "run"), x)
    (tmp_path / "run" / KEPT).unlink()
    np.testing.assert_array_equal(before.predict_proba(x), after.predict_proba(x))


def test_a_task_of_a_run_keeps_the_settings_that_were_chosen_for_it(tmp_path):
    setting = Setting("conv4-strided", 1, 16, 3)
    begin(tmp_path / "run", learner_about("scratch", setting), resume=False)
    with pytest.raises(FileNotFoundError, match="has not chosen its settings yet; go on with it by --resume"):
        qs.FewShotClassifier(tmp_path / "run").fit(np.zeros((3, 1, 16, 16), np.float32), [0, 1, 2])
    keep_tuned(tmp_path / "run", {"lr": 0.02})
    x = np.random.default_rng(0).random((len(Y), 1, 16, 16), dtype=np.float32)
    before, after = saved(tmp_path, qs.FewShotClassifier(tmp_path / "run"), x)
    assert before.ready_.learner.lr == after.ready_.learner.lr == 0.02
    np.testing.assert_array_equal(before.predict_proba(x), after.predict_proba(x))


def test_a_learner_built_by_hand_is_given_again(tmp_path):
    torch.manual_seed(0)
    before, after = saved(
        tmp_path, qs.FewShotClassifier(qs.PrototypicalNetwork(mlp(13, 8))), learner=qs.PrototypicalNetwork(mlp(13, 8))
    )
    np.testing.assert_array_equal(before.predict_proba(X), after.predict_proba(X))
    with pytest.raises(ValueError, match="by a learner built by hand; pass one of the same making as learner="):
        qs.load_task(tmp_path / "task.safetensors")
    with pytest.raises(ValueError, match="by another learner than this PrototypicalNetwork"):
        qs.load_task(tmp_path / "task.safetensors", learner=qs.PrototypicalNetwork(mlp(13, 9)))


def test_a_prototype_holds_no_example(tmp_path):
    saved(
        tmp_path,
        qs.FewShotClassifier(qs.PrototypicalNetwork(nn.Identity())),
        learner=qs.PrototypicalNetwork(nn.Identity()),
    )
    tensors, about = load_tensors(tmp_path / "task.safetensors")
    shapes = {"memory.0": [1, 3, 13], "own.centres": [3, 13], "own.right": [20], "own.unlike": [20]}
    assert {name: list(tensor.shape) for name, tensor in tensors.items()} == shapes
    assert not about["holds_examples"]


def test_a_file_says_whether_it_holds_examples(tmp_path):
    for learner_, examples, holds in (
        ("table", slice(None, None, 9), True),  # Gaussian processes compare with each of them
        (qs.MatchingNetwork(nn.Identity()), slice(None, None, 9), True),
        (qs.PrototypicalNetwork(nn.Identity()), [0, 60, 140], True),  # the mean of one is that one
        (qs.MAML(mlp(13, 3), inner_lr=0.1), slice(None, None, 9), False),
        (qs.SNAIL(Standing(), ways=3, shots=7), slice(None, None, 9), True),  # beside their labels
        (qs.LinearProbe(Standing(), classes=3), slice(None, None, 9), False),
        (qs.LinearProbe(Standing(), classes=3), [0, 60, 140], True),  # as centres, by which strangers are told
    ):
        qs.save_task(qs.FewShotClassifier(learner_).fit(X[examples], Y[examples]), tmp_path / "task.safetensors")
        assert load_tensors(tmp_path / "task.safetensors")[1]["holds_examples"] == holds


def test_a_task_from_a_file_knows_what_its_examples_told_and_has_none_to_add_to(tmp_path):
    one = qs.FewShotClassifier(qs.PrototypicalNetwork(mlp(13, 8)))
    before, after = saved(tmp_path, one, learner=qs.PrototypicalNetwork(mlp(13, 8)))
    np.testing.assert_array_equal(before.predict_set(X, 0.2), after.predict_set(X, 0.2))
    np.testing.assert_allclose(before.none_of_these(X), after.none_of_these(X))
    qs.save_task(after, tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / "task.safetensors").read_bytes()
    with pytest.raises(ValueError, match="a task from a file holds no examples, to which more could be added"):
        after.partial_fit(X, Y)


def test_a_task_of_numbers_answers_as_before_and_says_whether_it_holds_examples(tmp_path):
    x, y = X[:, 1:], X[:, 0]
    frame = pd.DataFrame(x[::9, :3], columns=["acid", "ash", "alkali"])
    for before, again, holds in (
        (qs.FewShotRegressor(), None, True),  # Gaussian processes compare with each of them
        (qs.FewShotRegressor(qs.ALPaCA(mlp(3, 8), targets=1)), qs.ALPaCA(mlp(3, 8), targets=1), False),
    ):
        before.fit(frame if holds else frame.to_numpy(), y[::9])
        qs.save_task(before, tmp_path / "task.safetensors")
        after = qs.load_task(tmp_path / "task.safetensors", again)
        queries = pd.DataFrame(x[:, :3], columns=frame.columns) if holds else x[:, :3]
        for mine, other in zip(before.predict(queries, True), after.predict(queries, True), strict=True):
            np.testing.assert_allclose(mine, other, rtol=1e-6)
        tensors, about = load_tensors(tmp_path / "task.safetensors")
        assert about["holds_examples"] == holds
        assert (about["mean"], about["scale"]) == (before.mean_, before.scale_)
        qs.save_task(after, tmp_path / "again.safetensors")
        assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / "task.safetensors").read_bytes()
        if holds:
            assert not [name for name in tensors if name.startswith("learner.")]
            with pytest.raises(ValueError, match="feature names"):
                after.predict(queries[["ash", "acid", "alkali"]])
    with pytest.raises(ValueError, match="by another learner than this ALPaCA"):
        qs.load_task(tmp_path / "task.safetensors", qs.ALPaCA(mlp(3, 9), targets=1))
    with pytest.raises(NotFittedError):
        qs.save_task(qs.FewShotRegressor(), tmp_path / "none.safetensors")
    assert not (tmp_path / "none.safetensors").exists()


def test_what_cannot_be_right_is_refused(tmp_path):
    with pytest.raises(NotFittedError):
        qs.save_task(qs.FewShotClassifier(), tmp_path / "task.safetensors")
    assert not (tmp_path / "task.safetensors").exists()
    qs.save_learner(learner("protonet"), tmp_path / "learner.safetensors")
    with pytest.raises(ValueError, match="holds no adapted task"):
        qs.load_task(tmp_path / "learner.safetensors")
    saved(tmp_path)
    tensors, about = load_tensors(tmp_path / "task.safetensors")
    save_tensors(tmp_path / "old.safetensors", tensors, {**about, "hash": "0" * 64})
    with pytest.raises(ValueError, match="by another version of this learner, which would misread it"):
        qs.load_task(tmp_path / "old.safetensors")


@pytest.mark.parametrize("unit", ["D", "ns"])
def test_labels_that_would_come_back_as_something_else_are_refused(unit, tmp_path):
    dates = np.array(["2020-01-01", "2020-01-02", "2020-01-03"], f"M8[{unit}]")
    fitted = qs.FewShotClassifier().fit(X[::9], dates[Y[::9]])
    assert fitted.predict(X[:1]) == dates[:1]
    with pytest.raises(TypeError, match=rf"labels of type datetime64\[{unit}\], such as 2020.*numbers; fit with"):
        qs.save_task(fitted, tmp_path / "task.safetensors")
    assert not (tmp_path / "task.safetensors").exists()


def test_a_memory_with_fewer_axes_than_an_example_holds_none_of_them(tmp_path):
    x, y = torch.rand(4, 1, 64, 64).numpy(), [0, 0, 1, 1]
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(64 * 64, 64))
    encoder.out_features = 64
    few = qs.FewShotClassifier(qs.R2D2(encoder)).fit(x, y)
    qs.save_task(few, tmp_path / "task.safetensors")
    assert not load_tensors(tmp_path / "task.safetensors")[1]["holds_examples"]


def test_a_memory_shares_no_numbers_with_the_learner_that_goes_on_learning():
    learner = build("maml++", Setting(size=28, ways=2)).eval()
    memory = learner.adapt(qs.Examples(torch.rand(1, 4, 1, 28, 28), torch.tensor([[0, 0, 1, 1]]), 2))
    own = {p.untyped_storage().data_ptr() for p in learner.parameters()}
    assert all(part.untyped_storage().data_ptr() not in own for part in parts_of(memory)[1].values())

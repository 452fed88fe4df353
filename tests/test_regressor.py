import numpy as np
import pytest
import torch
from learners import mlp
from sklearn.base import clone
from sklearn.datasets import load_diabetes
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

import quickstudy as qs
from quickstudy.data.tables import Table
from quickstudy.encoders.table import TableEncoder

X, Y = load_diabetes(return_X_y=True)


def test_it_works_within_scikit_learns_tools():
    x, y = X[::5], Y[::5]
    one = qs.FewShotRegressor()
    assert cross_val_score(make_pipeline(StandardScaler(), one), x, y, cv=3).mean() > 0.3
    other = qs.DeepKernelMixture(nn.Identity(), kernels=3, kernel="linear", targets=1)
    search = GridSearchCV(one, {"learner": ["table-regression", other]}, cv=3).fit(x, y)
    assert search.best_score_ > 0.3


def test_predictions_are_the_learners_own_turned_back():
    x, y = X[:10], Y[:10]
    ready = qs.load("table-regression")
    encode, scale = TableEncoder.fit(x), y.std()
    with torch.no_grad():
        target = torch.as_tensor((y - y.mean()) / scale)[None, :, None]
        predicted = ready.learner.predict(ready.learner.adapt(qs.Examples(encode(x)[None], target)), encode(X)[None])
    mean, std = qs.FewShotRegressor().fit(x, y).predict(X, return_std=True)
    np.testing.assert_allclose(mean, y.mean() + scale * predicted.mean[0, :, 0].numpy(), rtol=1e-9)
    np.testing.assert_allclose(std, scale * predicted.stddev[0, :, 0].numpy(), rtol=1e-9)


def test_in_another_unit_it_answers_the_same():
    mean, std = qs.FewShotRegressor().fit(X[:10], Y[:10]).predict(X, return_std=True)
    shifted, wider = qs.FewShotRegressor().fit(X[:10], 1000 * Y[:10] - 7).predict(X, return_std=True)
    np.testing.assert_allclose(shifted, 1000 * mean - 7, rtol=1e-6)
    np.testing.assert_allclose(wider, 1000 * std, rtol=1e-6)


def test_it_is_less_sure_far_from_what_it_has_seen_and_with_fewer_examples():
    x = np.linspace(-1, 1, 20)[:, None]
    one = qs.FewShotRegressor().fit(x, np.sin(3 * x[:, 0]))
    _, (near, far) = one.predict(np.array([[0.0], [3.0]]), return_std=True)
    assert far > 2 * near
    _, of_few = qs.FewShotRegressor().fit(x[::6], np.sin(3 * x[::6, 0])).predict(x, return_std=True)
    assert of_few.mean() > one.predict(x, return_std=True)[1].mean()


def test_numbers_that_are_all_alike_are_answered_by_themselves():
    np.testing.assert_allclose(qs.FewShotRegressor().fit(X[:5], np.full(5, 7.0)).predict(X), 7, atol=1e-6)


def test_rows_may_hold_text_and_gaps():
    rows = np.array([[1.0, "red"], [1.2, "red"], [None, "blue"], [3.1, "blue"]], dtype=object)
    one = qs.FewShotRegressor().fit(rows, [1.0, 1.1, 5.0, 5.1])
    red, blue = one.predict(np.array([[None, "red"], [None, "blue"]], dtype=object))
    assert red < 3 < blue


def test_a_learner_of_your_own_takes_arrays_and_is_left_alone():
    torch.manual_seed(0)
    process = qs.DeepKernelTransfer(mlp(10, 16), kernel="rbf", targets=1)
    before = {name: tensor.clone() for name, tensor in process.state_dict().items()}
    one = qs.FewShotRegressor(process).fit(X[:20], Y[:20])
    assert one.predict(X).shape == (len(X),)
    assert clone(one).learner is not process
    assert all(torch.equal(before[name], tensor) for name, tensor in process.state_dict().items())


def test_wrong_use_is_told():
    with pytest.raises(NotFittedError):
        qs.FewShotRegressor().predict(X)
    with pytest.raises(TypeError, match="built for classes, but the tasks have targets"):
        qs.FewShotRegressor("table").fit(X, Y)
    for name in ("table", "images", "handwriting"):
        with pytest.raises(TypeError, match=rf"'{name}' was built for.*'table-regression' tells.*fier\('{name}'\)"):
            qs.FewShotRegressor(name).fit(X, Y)
    with pytest.raises(ValueError, match="this DeepKernelMixture tells numbers, and here are classes to be told apart"):
        qs.FewShotClassifier("table-regression").fit(X[:4], [0, 1, 0, 1])
    with pytest.raises(TypeError, match="this method classifies, but the tasks have numbers"):
        qs.FewShotRegressor(qs.PrototypicalNetwork(nn.Identity())).fit(X, Y)
    with pytest.raises(ValueError, match="could not convert string to float"):
        qs.FewShotRegressor().fit(X[:2], ["a", "b"])


def table(rows: int = 40) -> Table:
    """Two columns that tell of each other, and one of codes."""
    draw = np.random.default_rng(0)
    first = draw.normal(size=rows)
    return Table("toy", np.stack([first, 2 * first + 5, draw.integers(3, size=rows)], 1), np.zeros(rows, int))


def test_a_task_of_columns_is_one_of_numbers_told_from_others_of_its_table():
    tasks, widths = qs.TableColumns([table()], rows=(3, 6), queries=4), set()
    for step in range(12):
        episodes = tasks.sample(3, torch.Generator().manual_seed(step))
        support, query = episodes.support, episodes.query
        assert support.ways is None
        assert query.y.shape == (3, 4, 1)
        assert 3 <= support.x.shape[1] <= 6
        torch.testing.assert_close(support.y.mean(1), torch.zeros(3, 1), atol=1e-5, rtol=0)
        torch.testing.assert_close(support.y.std(1, correction=0), torch.ones(3, 1))
        widths.add(support.x.shape[2])
    assert widths == {1, 2}
    first, again = (tasks.sample(2, torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(first.query.y, again.query.y)


def test_in_tasks_of_columns_queries_tell_nothing_of_scales():
    tasks = qs.TableColumns([Table("toy", table().x[:, :2], np.zeros(40, int))], rows=20, queries=4, columns=1)
    support = tasks.sample(1, torch.Generator().manual_seed(0)).support
    torch.testing.assert_close(support.x, support.y)  # one is a line of the other, both at the support set's own scale


def test_tables_without_numbers_are_told():
    with pytest.raises(ValueError, match="no table has 13 rows, a column of numbers, and another"):
        qs.TableColumns([Table("codes", table().x[:, 2:].repeat(2, 1), np.zeros(40, int))], rows=(3, 9), queries=4)


def test_numbers_may_come_as_text():
    x = np.arange(8.0)[:, None]
    found = [qs.FewShotRegressor().fit(x, y).predict(x) for y in (np.arange(8.0), [str(n) for n in range(8)])]
    np.testing.assert_array_equal(*found)

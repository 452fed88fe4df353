"""The benchmark of recommendation at a small setting: its command, its tables and its page."""

import json
from pathlib import Path

import pytest
from movielens_files import written

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import recommendation

    return recommendation


def test_the_command_reproduces_tables_picture_and_page(benchmark, tmp_path, capsys):
    import recommendation_page as page

    names = ["both-means", "genres", "fine-tune", "melu", "cnp", "alpaca"]
    folder, out = written(tmp_path / "ml-100k", users=60, items=160, most=100), tmp_path / "results"
    assert benchmark.RELEASED["100k"] == 1997
    words = ["run", *names, "--data-dir", str(folder), "--steps", "2", "--out", str(out), "--folds", "0"]
    benchmark.main(words)
    assert capsys.readouterr().out.count("fold 0") == len(names)
    benchmark.main(words)  # what has a result is passed over
    assert not capsys.readouterr().out
    found = {name: json.loads((out / f"recommendation-100k-{name}.json").read_text())["folds"]["0"] for name in names}
    assert len({about["hash"] for about in found.values()}) == 1
    for about in found.values():
        for scores in about["tests"].values():
            assert len(scores["mae"]) == len(scores["within"]) >= 2
            assert 0 <= min(scores["mae"]) <= max(scores["mae"]) <= 4
            assert 1 / 32 <= min(scores["ndcg1"]) <= max(scores["ndcg1"]) <= 1
            assert 1 / 32 <= min(scores["ndcg3"]) <= max(scores["ndcg3"]) <= 1
    text = tmp_path / "page.md"
    text.write_text((BENCHMARKS.parent / "docs" / "uses" / "recommendation.md").read_text())
    page.write(out, "100k", text, tmp_path / "picture.png")
    rows = [line for line in text.read_text().splitlines() if line.startswith("| bayesian | ALPaCA |")]
    assert len(rows) == 1
    assert rows[0].count("±") == 4
    assert "Film" in text.read_text().split("<!-- example -->")[1]
    assert (tmp_path / "picture.png").stat().st_size > 5000
    once = text.read_text()
    page.write(out, "100k", text, tmp_path / "picture.png")
    assert text.read_text() == once


def test_a_method_or_a_page_that_is_not_there_is_told(benchmark, tmp_path, capsys):
    import recommendation_page as page

    with pytest.raises(SystemExit):
        benchmark.main(["run", "nothing"])
    assert "no method 'nothing'; there are global-mean" in capsys.readouterr().err
    with pytest.raises(FileNotFoundError, match="no result in .*; run python benchmarks/recommendation.py run first"):
        page.write(tmp_path, "100k")


def test_rankings_are_scored_as_by_scikit_learn_with_ties_too(benchmark):
    import numpy as np
    from recommendation_scores import ndcg
    from sklearn.metrics import ndcg_score

    draw = np.random.default_rng(0)
    truth = draw.integers(1, 6, (30, 10)).astype(float)
    for predicted in (draw.normal(size=(30, 10)), draw.integers(0, 3, (30, 10)).astype(float), np.zeros((30, 10))):
        for k in (1, 3, 10):
            each = [ndcg_score([2**t - 1], [p], k=k) for t, p in zip(truth, predicted, strict=True)]
            np.testing.assert_allclose(ndcg(truth, predicted, k), each)


def test_a_users_score_is_the_mean_over_their_draws_and_answers_are_ranked_before_they_are_cut_off(benchmark, tmp_path):
    import numpy as np
    from recommendation_scores import absolute, scored

    import quickstudy as qs
    from quickstudy.data.ratings import CELLS

    ratings = qs.movielens(written(tmp_path / "ml-100k"))
    users = qs.cold_start(ratings, released=1996, draws=3).tests[CELLS[1]]
    numbers = list(dict.fromkeys(one.user for one in users))
    assert len(users) == 3 * len(numbers)
    beyond = lambda some, items: [(5 + ratings.value[one.query].numpy(), None) for one in some]  # noqa: E731
    found = scored(qs.cold_start(ratings, released=1996), users, beyond, spread=1.0)
    assert found["ndcg1"] == found["ndcg3"] == [1.0] * len(numbers)  # as all are beyond five stars in the right order
    away = [[5 - ratings.value[one.query].mean().item() for one in users if one.user == number] for number in numbers]
    np.testing.assert_allclose(found["mae"], np.mean(away, 1), atol=1e-4)
    assert absolute(qs.cold_start(ratings, released=1996), users, beyond) == found["mae"]


def test_means_are_damped_and_a_users_is_of_what_items_leave(benchmark, tmp_path):
    import numpy as np
    import torch
    from recommendation_baselines import both_means, user_mean

    import quickstudy as qs

    ratings = qs.movielens(written(tmp_path / "ml-100k"))
    split = qs.cold_start(ratings, released=1996)
    found, one = both_means(split), next(iter(split.tests.values()))[0]
    item = int(ratings.item[split.train][0])
    rated = ratings.value[split.train][ratings.item[split.train] == item].numpy()
    np.testing.assert_allclose(found.item[item], (rated - found.mean).sum() / (len(rated) + 3), rtol=1e-5)
    rest = [float(ratings.value[row]) - found.mean - found.item[int(ratings.item[row])] for row in one.support]
    expected = found.mean + found.item[item] + sum(rest) / (len(rest) + 1)
    assert found(one.support, one.user, torch.tensor([item]))[0] == pytest.approx(expected, rel=1e-5)
    new = (~split.known).nonzero().flatten()
    assert len(set(user_mean(split)(one.support, one.user, new).tolist())) == 1
    np.testing.assert_allclose(found.item[new], 0)


def test_a_page_without_a_place_for_a_table_is_left_as_it_is(benchmark, tmp_path):
    from page_parts import fill

    page = tmp_path / "page.md"
    page.write_text("<!-- errors -->\nold\n<!-- end of errors -->\n")
    with pytest.raises(ValueError, match="has no place between <!-- costs --> and <!-- end of costs -->"):
        fill(page, {"errors": "new", "costs": "new"})
    assert "old" in page.read_text()
    fill(page, {"errors": "new"})
    assert page.read_text() == "<!-- errors -->\nnew\n<!-- end of errors -->\n"

import datetime
import json

import numpy as np
import pytest
import torch
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from quickstudy.encoders.table import FARTHEST, TableEncoder


def numbers(rows: int, seed: int = 0) -> np.ndarray:
    values = np.random.default_rng(seed).normal(3, [1, 10, 0.1], (rows, 3))
    values[1, 0] = values[2, 2] = np.nan
    return values


def test_numbers_are_filled_in_and_scaled_as_scikit_learn_does():
    support, rows = numbers(7), numbers(5, seed=1)
    expected = make_pipeline(SimpleImputer(strategy="median"), StandardScaler()).fit(support).transform(rows)
    found = TableEncoder.fit(support)(rows)
    np.testing.assert_allclose(found, np.clip(expected, -FARTHEST, FARTHEST) / np.sqrt(3), rtol=1e-5)


def test_categories_are_spread_out_as_scikit_learn_does_and_brought_to_one_scale():
    support = np.array([["red"], ["blue"], ["red"], ["green"]], dtype=object)
    rows = np.array([["green"], ["violet"], [None]], dtype=object)
    spread = OneHotEncoder(sparse_output=False, handle_unknown="ignore").fit(support)
    expected = StandardScaler().fit(spread.transform(support)).transform(spread.transform(rows)) / np.sqrt(3)
    np.testing.assert_allclose(TableEncoder.fit(support)(rows), expected, rtol=1e-5)


def test_rows_of_the_support_set_have_a_mean_square_norm_of_one_whatever_their_columns():
    mixed = np.concatenate([numbers(9).astype(object), np.array([list("abcabcaba")], dtype=object).T], 1)
    for rows in (numbers(9), mixed):
        assert TableEncoder.fit(rows)(rows).square().sum(1).mean().item() == pytest.approx(1, rel=1e-5)


def test_a_column_that_is_always_the_same_tells_nothing():
    support = np.array([[1.0, 4.0], [2.0, 4.0]])
    assert (TableEncoder.fit(support)(np.array([[1.0, 1e9]]))[:, 1] == 0).all()
    tenths = np.array([[1.0, 0.1], [2.0, 0.1], [3.0, 0.1]])  # whose deviation in floats is not quite zero
    assert tenths[:, 1].std() > 0
    assert (TableEncoder.fit(tenths)(np.array([[1.0, 0.2]]))[:, 1] == 0).all()


def test_a_value_far_from_the_few_that_were_seen_counts_as_far_and_no_farther():
    assert TableEncoder.fit(np.array([[0.0], [1.0]]))(np.array([[1e12]])).item() == FARTHEST


def test_numbers_that_are_written_as_text_are_numbers():
    text = np.array([["1"], ["2.5"], [""]], dtype=object)
    plain = np.array([[1.0], [2.5], [np.nan]])
    assert torch.equal(TableEncoder.fit(text)(text), TableEncoder.fit(plain)(plain))


@pytest.mark.parametrize("gap", ["NA", " n/a".upper(), "null", "?", "-"])
def test_a_text_that_stands_for_no_number_is_missing_among_numbers_and_a_category_among_words(gap):
    plain = np.array([[1.0], [2.5], [np.nan]])
    text = np.array([["1"], ["2.5"], [gap]], dtype=object)
    encoder = TableEncoder.fit(plain)
    assert torch.equal(TableEncoder.fit(text)(text), encoder(plain))
    assert torch.equal(encoder(text[2:]), encoder(plain[2:]))
    assert TableEncoder.fit(np.array([["red"], [gap]], dtype=object)).columns[0].levels == sorted([gap, "red"])


def test_what_is_no_number_is_a_category_and_infinity_is_refused():
    days = np.array([[datetime.date(2026, 1, 1)], [datetime.date(2026, 1, 2)]], dtype=object)
    assert TableEncoder.fit(days).columns[0].levels == ["2026-01-01", "2026-01-02"]
    with pytest.raises(ValueError, match="a column of numbers holds an infinite one; put a number there, or nothing"):
        TableEncoder.fit(np.array([["1"], ["1e400"]], dtype=object))


def test_it_survives_json():
    rows = np.array([[1.0, "red", 7.0], [3.0, "blue", 7.0], [None, "red", 7.0]], dtype=object)
    encoder = TableEncoder.fit(rows)
    again = TableEncoder.of(json.loads(json.dumps(encoder.about(), allow_nan=False)))
    assert torch.equal(again(rows), encoder(rows))


def test_text_where_numbers_were_is_named():
    with pytest.raises(
        ValueError,
        match="a column that held numbers in the support set holds 'red' now, in row [0-9]; leave that row out",
    ):
        TableEncoder.fit(np.array([[1.0], [2.0]]))(np.array([["red"]], dtype=object))


def test_a_column_without_a_value_tells_nothing_whatever_follows():
    few = np.array([[1.0, None], [2.0, ""], [4.0, None]], dtype=object)
    encoder = TableEncoder.fit(few)
    more = np.array([[2.0, "vip"], [2.0, 7], [2.0, None]], dtype=object)
    torch.testing.assert_close(encoder(more), encoder(few[1:2]).expand(3, -1), rtol=0, atol=0)


def test_a_whole_number_is_the_same_category_with_a_point_and_without():
    encoder = TableEncoder.fit(np.array([[1], [2], ["A"]], dtype=object))
    whole, point = (encoder(np.array([[one], [two]], dtype=object)) for one, two in ((1, 2), (1.0, np.float64(2))))
    torch.testing.assert_close(whole, point, rtol=0, atol=0)
    assert not whole[0].eq(whole[1]).all()

import datetime
import json

import numpy as np
import pytest
import torch
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from quickstudy.encoders.table import FARTHEST, TableEncoder, labels_of, meant, strays
from quickstudy.encoders.wrong_item import WrongItem
from quickstudy.numbers_told import finite


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


@pytest.mark.parametrize("gap", ["NA", " n/a".upper(), "n/a", "Null", "NaN", "?", "-", "#N/A", "unknown"])
def test_a_text_that_stands_for_no_number_is_missing_among_numbers_and_a_category_among_words(gap):
    plain = np.array([[1.0], [2.5], [np.nan]])
    text = np.array([["1"], ["2.5"], [gap]], dtype=object)
    encoder = TableEncoder.fit(plain)
    assert torch.equal(TableEncoder.fit(text)(text), encoder(plain))
    assert torch.equal(encoder(text[2:]), encoder(plain[2:]))
    assert TableEncoder.fit(np.array([["red"], [gap]], dtype=object)).columns[0].levels == sorted([gap, "red"])


def test_codes_with_an_underscore_are_no_numbers():
    encoder = TableEncoder.fit(np.array([["1_2"], ["3_4"], ["1_2"]], dtype=object))
    assert encoder.columns[0].levels == ["1_2", "3_4"]
    assert meant("1_2") == "1_2"
    assert not finite("1_2")


def test_what_is_no_number_is_a_category_and_infinity_is_refused():
    days = np.array([[datetime.date(2026, 1, 1)], [datetime.date(2026, 1, 2)]], dtype=object)
    assert TableEncoder.fit(days).columns[0].levels == ["2026-01-01", "2026-01-02"]
    with pytest.raises(
        ValueError, match="row 2, column 1: '1e400' is no number, and others in its column are. Write one, or nothing"
    ):
        TableEncoder.fit(np.array([["1"], ["1e400"]], dtype=object))


def test_it_survives_json():
    rows = np.array([[1.0, "red", 7.0], [3.0, "blue", 7.0], [None, "red", 7.0]], dtype=object)
    encoder = TableEncoder.fit(rows)
    again = TableEncoder.of(json.loads(json.dumps(encoder.about(), allow_nan=False)))
    assert torch.equal(again(rows), encoder(rows))


def test_text_where_numbers_were_is_named():
    message = (
        "^row 2, column 1: 'red' is no number, and the support set has numbers in its column. "
        "Write one, or leave the row out.$"
    )
    with pytest.raises(WrongItem, match=message):
        TableEncoder.fit(np.array([[1.0], [2.0]]))(np.array([["1"], ["red"]], dtype=object))


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


def column(*values: object) -> np.ndarray:
    return np.array(values, dtype=object)


@pytest.mark.parametrize(
    ("values", "places"),
    [
        (["5.1", "4.9", "n.b.", "4.7"], [2]),
        (["23", "45", "67", "1,234", "55"], [3]),
        (["1,5", "2,25", "0,75"], [0, 1, 2]),  # decimal commas throughout
        (["1,234", "2,345", "7"], [0, 1]),
        (["1.234,5", "7"], [0]),
        (["23", "45", "31", "67", "5O"], [4]),
        ([1.5, 2.5, "inf"], [2]),
        ([*map(str, range(20, 35)), *map(str, range(20, 35)), "old"], [30]),  # of many rows, few differ, yet many
    ],
)
def test_what_is_no_number_among_numbers_is_told_by_its_place(values, places):
    assert strays(column(*values)) == places
    with pytest.raises(
        WrongItem, match=f"^row {places[0] + 1}, column 2: {values[places[0]]!r} (is no number|may be read)"
    ):
        TableEncoder.fit(np.stack([column(*range(len(values))), column(*values)], 1))


@pytest.mark.parametrize(
    "values",
    [
        ["0", "0", "1", "2", "3+", "0", "1", "0"],  # dependents
        ["0", "1", "2", "0", "1", "3+"],
        ["A1", "B2", "7", "12", "C3"],
        ["38", "40", "M", "L"],
        ["red", "blue", "1.5"],
        ["1", "2", "A"],
        ["<5", "5-10", "10"],
        ["n/a", "red"],
        ["2026-01-02", "2026-01-03"],
    ],
)
def test_codes_among_categories_are_categories(values):
    assert strays(column(*values)) == []
    assert TableEncoder.fit(column(*values)[:, None]).columns[0].levels == sorted(set(values))


def test_labels_that_stand_for_no_number_are_none_among_numbers_alone():
    assert labels_of(column("1.5", "NA", "", 2.0)) == ["1.5", None, None, "2"]
    assert labels_of(column("NA", "yes", None, " ")) == ["NA", "yes", None, None]
    assert labels_of(column("none", "none")) == ["none", "none"]


def test_labels_mean_the_same_however_numbers_and_truths_are_written():
    assert meant("0") == meant("0.0") == meant("00")
    assert meant("True") == meant("true")
    assert meant("Cat") != meant("cat")
    assert meant("1.5") != meant("1")

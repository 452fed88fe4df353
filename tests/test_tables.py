import gzip
import tarfile

import numpy as np
import pytest
import torch

import quickstudy as qs
from quickstudy.data import tables as module
from quickstudy.data.tables import SPLITS, Table, read_table, tables
from quickstudy.encoders.table import TableEncoder


def written(rows: str) -> bytes:
    return gzip.compress(rows.encode(), mtime=0)


SMALL = written("a\ttarget\tb\n1\t7\t0.5\n2\t3\t1.5\n3\t7\t2.5\n")


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(module, "SPLITS", {"train": ("one",), "test": ("two",)})


def test_no_table_is_trained_and_tested_on():
    train, test = map(set, SPLITS.values())
    assert not train & test
    assert len(train | test) == 46


@pytest.mark.usefixtures("small")
def test_tables_are_read_from_files_and_from_tar_files(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "one.tsv.gz").write_bytes(SMALL)
    (tmp_path / "two.tsv.gz").write_bytes(SMALL)
    with tarfile.open(tmp_path / "all.tar", "w") as archive:
        archive.add(tmp_path / "two.tsv.gz", "pmlb/two.tsv.gz")
    (tmp_path / "two.tsv.gz").unlink()
    (train,), (test,) = tables(tmp_path)
    assert (train.name, test.name) == ("one", "two")
    np.testing.assert_array_equal(test.x, [[1, 0.5], [2, 1.5], [3, 2.5]])
    np.testing.assert_array_equal(test.y, [1, 0, 1])


@pytest.mark.usefixtures("small")
def test_a_table_that_is_not_there_is_named(tmp_path, monkeypatch):
    (tmp_path / "one.tsv.gz").write_bytes(SMALL)
    with pytest.raises(FileNotFoundError, match=r"two.tsv.gz is not in .*, nor in a tar file there"):
        tables(tmp_path)
    monkeypatch.delenv("QUICKSTUDY_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match="which folder holds the tables"):
        tables()


@pytest.mark.parametrize(
    "content",
    [b"no gzip", SMALL[:-9], written("a\tb\n1\t2\n"), written("a\ttarget\nred\t1\n"), written("")],
    ids=["no gzip", "cut short", "no target", "words", "empty"],
)
def test_what_is_no_table_is_refused(content):
    with pytest.raises(ValueError, match=r"iris.tsv.gz is no table of numbers with a target"):
        read_table("iris", content)


def toy(name: str, columns: int, counts: list[int]) -> Table:
    draw = np.random.default_rng(0)
    y = np.repeat(np.arange(len(counts)), counts)
    return Table(name, draw.normal(size=(len(y), columns)) + 10 * y[:, None], y)


def test_tasks_are_rows_of_one_table_as_their_own_support_set_encodes_them():
    tasks = qs.TableRows([toy("narrow", 2, [9, 9, 9]), toy("wide", 7, [9, 3, 9])], ways=3, shots=2, queries=4)
    seen = set()
    for step in range(8):
        episodes = tasks.sample(3, torch.Generator().manual_seed(step))
        ways, columns = episodes.support.ways, episodes.support.x.shape[2]
        assert (ways, columns) in ((3, 2), (2, 7))  # the class of three rows has too few
        assert episodes.query.x.shape == (3, ways * 4, columns)
        torch.testing.assert_close(episodes.support.x.square().sum(2).mean(1), torch.ones(3))
        seen.add(columns)
    assert seen == {2, 7}


def test_a_task_is_a_function_of_the_generator_alone():
    tasks = qs.TableRows([toy("narrow", 2, [9, 9]), toy("wide", 7, [9, 9])], shots=(1, 3), queries=4)
    first, again = (tasks.sample(2, torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(first.query.x, again.query.x)


def test_a_query_does_not_change_how_rows_are_encoded():
    table = toy("one", 3, [6, 6])
    tasks = qs.TableRows([table], shots=2, queries=4)
    episodes = tasks.sample(1, torch.Generator().manual_seed(0))
    rows = tasks.tasks[0].sample(1, _after_choice(0))
    encoder = TableEncoder.fit(rows.support.x[0].numpy())
    torch.testing.assert_close(encoder(rows.query.x[0].numpy()).float(), episodes.query.x[0])


def _after_choice(seed: int) -> torch.Generator:
    generator = torch.Generator().manual_seed(seed)
    torch.randint(1, (), generator=generator)
    return generator


def test_a_tar_file_that_is_none_is_named(tmp_path):
    (tmp_path / "other.tar").write_bytes(b"no tar file")
    with pytest.raises(ValueError, match=r"other.tar is no whole tar file \(.*\). Fetch it again, or put it elsewhere"):
        tables(tmp_path)


def test_a_column_with_gaps_is_told_from_and_not_told():
    x = np.random.default_rng(0).normal(size=(200, 3))
    x[::7, 0] = np.nan
    tasks = qs.TableColumns([Table("gaps", x, np.zeros(200, int))])
    assert tasks.tables[0][1].tolist() == [1, 2]
    with pytest.raises(ValueError, match="at least 1 query and 1 column to tell from; got 10 and 0"):
        qs.TableColumns([Table("gaps", x, np.zeros(200, int))], columns=0)


def test_a_table_without_two_classes_of_enough_rows_is_named():
    with pytest.raises(ValueError, match="2-way tasks need 2 classes; none has 0"):
        qs.TableRows([toy("none", 2, [3, 5])], shots=3, queries=4)
    with pytest.raises(ValueError, match="2-way tasks need 2 classes; lonely has 1"):
        qs.TableRows([toy("lonely", 2, [30, 5])], shots=3, queries=4)

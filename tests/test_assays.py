"""Assays of molecules: MoleculeNet's and FS-Mol's files, and an assay as a task."""

import gzip
import json

import pytest
import torch
from molecule_files import SMILES, activity, fs_mol, molecule_net

import quickstudy as qs


@pytest.fixture
def tox21(tmp_path) -> qs.Assays:
    return qs.molecule_net("tox21", molecule_net(tmp_path / "molecules"))


def test_the_last_assays_are_tested_on_and_what_was_not_measured_is_left_out(tox21):
    assert list(tox21.smiles) == SMILES
    assert [one.name for one in tox21.train] == ["A-0", "A-1", "A-2"]
    assert [one.name for one in tox21.test] == ["A-3", "A-4", "A-5"]
    for n, one in enumerate((*tox21.train, *tox21.test)):
        assert one.molecules.tolist() == [i for i in range(len(SMILES)) if (i + n) % 9]
        assert one.active.tolist() == [int(activity(n, SMILES[i])) for i in one.molecules.tolist()]


def test_rows_of_one_molecule_are_one_and_where_they_disagree_it_was_not_measured(tmp_path):
    rows = [("CO", 1, 0, ""), ("CN", 0, 1, 1), ("CO", 1, 1, 0), ("CO", 1, 0, 0), ("CS", "", 1, 0)]
    lines = ["smiles,A,B,C,D,E,F", *(",".join(map(str, (*row, *row[1:]))) for row in rows)]
    (tmp_path / "tox21.csv").write_text("\n".join(lines))
    found = qs.molecule_net("tox21", tmp_path)
    assert list(found.smiles) == ["CO", "CN", "CS"]
    assert [(one.molecules.tolist(), one.active.tolist()) for one in found.train] == [
        ([0, 1], [1, 0]),
        ([1, 2], [1, 1]),
        ([1, 0, 2], [1, 0, 0]),
    ]


def test_a_file_that_is_not_compressed_is_read_too_and_the_folder_may_hold_a_folder_of_molecules(tmp_path):
    folder = molecule_net(tmp_path / "molecules", "sider", 8)
    (folder / "sider.csv").write_bytes(gzip.decompress((folder / "sider.csv.gz").read_bytes()))
    (folder / "sider.csv.gz").unlink()
    assert len(qs.molecule_net("sider", tmp_path).test) == 6


def test_settings_are_chosen_on_the_last_training_assays_or_on_the_validation_assays_where_there_are_any(
    tox21, tmp_path
):
    choosing = tox21.to_choose(2)
    assert [[one.name for one in part] for part in (choosing.train, choosing.test)] == [["A-0"], ["A-1", "A-2"]]
    with pytest.raises(ValueError, match="3 of the 3 training assays cannot be held out; some must remain"):
        tox21.to_choose(3)
    many = qs.fs_mol(fs_mol(tmp_path / "fs-mol"))
    assert many.to_choose().test == many.validation
    assert many.to_choose().train == many.train


def test_molecules_that_are_kept_are_numbered_anew(tox21):
    kept = tox21.keep(torch.tensor([5, 2, 100]))
    assert kept.smiles == [SMILES[5], SMILES[2], SMILES[100]]
    first = kept.train[0]
    assert sorted(first.molecules.tolist()) == [0, 1, 2]
    for number, active in zip(first.molecules.tolist(), first.active.tolist(), strict=True):
        assert active == activity(0, kept.smiles[number])


def test_molecules_to_train_on_can_be_others_than_those_to_test_on(tox21):
    apart = tox21.apart(0.6)
    assert apart.smiles == tox21.smiles
    sides = [set(torch.cat([one.molecules for one in part]).tolist()) for part in (apart.train, apart.test)]
    assert not sides[0] & sides[1]
    assert 0.5 * len(SMILES) < len(sides[0]) < 0.7 * len(SMILES)
    assert len(sides[0] | sides[1]) == len(SMILES)
    for before, after in zip(tox21.test, apart.test, strict=True):
        assert after.active.tolist() == before.active[torch.isin(before.molecules, after.molecules)].tolist()
    assert tox21.apart(0.6, seed=1).test[0].molecules.tolist() != apart.test[0].molecules.tolist()
    with pytest.raises(ValueError, match="the share of molecules to train on lies between 0 and 1; it is 1.0"):
        tox21.apart(1.0)


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path):
    text = "\ufeffsmiles," + ",".join("ABCD") + "\n" + "".join(f"{one},1,0,1,0\n" for one in SMILES[:8])
    (tmp_path / "tox21.csv").write_text(text, encoding="utf-8")
    assert qs.molecule_net("tox21", tmp_path).smiles == SMILES[:8]


def test_files_that_are_none_or_not_there_are_told(tmp_path, monkeypatch):
    monkeypatch.delenv("QUICKSTUDY_DATA", raising=False)
    with pytest.raises(ValueError, match="assays are those of tox21, sider, muv; not 'bace'"):
        qs.molecule_net("bace", tmp_path)
    with pytest.raises(FileNotFoundError, match="muv.csv.gz is not in any folder, as none was named. Fetch it"):
        qs.molecule_net("muv")
    with pytest.raises(FileNotFoundError, match=f"muv.csv.gz is not in {tmp_path}"):
        qs.molecule_net("muv", tmp_path)
    path = tmp_path / "tox21.csv"
    path.write_text("smiles,A,B,C,D\nCCO,1,0,,1\nCCN,2,0,1,0\n")
    with pytest.raises(ValueError, match=r"tox21.csv, row 3: A is '2'; needed is 1 \(active\), 0 \(inactive\) or noth"):
        qs.molecule_net("tox21", tmp_path)
    path.write_text("smiles,A,B,C,D\nCCO,1,0\n")
    with pytest.raises(ValueError, match=r"tox21.csv, row 2 has too few or too many values, or no SMILES. Mend it"):
        qs.molecule_net("tox21", tmp_path)
    path.write_text("smiles,A\nCCO,1,\n")
    with pytest.raises(ValueError, match=r"row 2 has too few or too many values"):
        qs.molecule_net("tox21", tmp_path)
    path.write_text("smiles,A,B,C\nCCO,1,0,1\n")
    with pytest.raises(ValueError, match="has 3 assays; the last 3 are tested on, and more are needed"):
        qs.molecule_net("tox21", tmp_path)
    path.write_text("molecule,A\nCCO,1\n")
    with pytest.raises(ValueError, match="no column 'smiles', or no rows"):
        qs.molecule_net("tox21", tmp_path)
    (tmp_path / "sider.csv.gz").write_bytes(gzip.compress(b"smiles,A\n")[:-6])
    with pytest.raises(ValueError, match="sider.csv.gz cannot be read .* Fetch it again"):
        qs.molecule_net("sider", tmp_path)


def test_fs_mols_files_are_read_and_a_molecule_of_two_assays_has_one_number(tmp_path):
    assays = qs.fs_mol(fs_mol(tmp_path / "fs-mol").parent)
    assert [one.name for one in assays.train] == ["CHEMBL00", "CHEMBL01"]
    assert [one.name for one in assays.validation] == ["CHEMBL10", "CHEMBL11"]
    assert [one.name for one in assays.test] == ["CHEMBL20", "CHEMBL21"]
    assert len(set(assays.smiles)) == len(assays.smiles) == 90
    first, second = assays.train
    assert (first.molecules[:, None] == second.molecules).sum() == 30
    for n, one in enumerate(assays.test):
        assert one.active.tolist() == [int(activity(n, assays.smiles[i])) for i in one.molecules.tolist()]


def test_of_fs_mol_only_the_assays_that_are_listed_are_read(tmp_path):
    folder, listed = fs_mol(tmp_path / "fs-mol"), tmp_path / "few.json.gz"
    lists = {"train": ["CHEMBL01"], "valid": ["CHEMBL10"], "test": ["CHEMBL21"]}
    listed.write_bytes(gzip.compress(json.dumps(lists).encode()))
    assays = qs.fs_mol(folder, listed)
    assert [[one.name] for one in (*assays.train, *assays.validation, *assays.test)] == [*lists.values()]
    listed = tmp_path / "absent.json"
    listed.write_text(json.dumps(lists | {"train": ["CHEMBL9"]}))
    with pytest.raises(FileNotFoundError, match=r"CHEMBL9.jsonl.gz is not there. Unpack FS-Mol's files again"):
        qs.fs_mol(folder, listed)
    listed.write_text(json.dumps(lists | {"valid": []}))
    with pytest.raises(FileNotFoundError, match="the lists name no assay of valid. Fetch them again"):
        qs.fs_mol(folder, listed)
    cut = tmp_path / "cut.json.gz"
    cut.write_bytes(gzip.compress(json.dumps(lists).encode())[:-20])
    with pytest.raises(ValueError, match="cut.json.gz has no lists of train, valid, test"):
        qs.fs_mol(folder, cut)
    listed.write_text('{"train": []}')
    with pytest.raises(ValueError, match="absent.json has no lists of train, valid, test"):
        qs.fs_mol(folder, listed)


def test_fs_mols_files_that_are_none_or_not_there_are_told(tmp_path, monkeypatch):
    monkeypatch.delenv("QUICKSTUDY_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match="FS-Mol's folders train, valid and test are not in any folder"):
        qs.fs_mol()
    folder = fs_mol(tmp_path / "fs-mol")
    path = folder / "test" / "CHEMBL20.jsonl.gz"
    for text in ('{"SMILES": "CCO"}\n', '{"SMILES": "CCO", "Property": "0.5"}\n', "CCO\n", "[1]\n"):
        path.write_bytes(gzip.compress(text.encode()))
        with pytest.raises(ValueError, match=r"CHEMBL20.jsonl.gz, line 1 is none of FS-Mol's .* needed are SMILES and"):
            qs.fs_mol(folder)
    path.write_bytes(gzip.compress(b""))
    with pytest.raises(ValueError, match="CHEMBL20.jsonl.gz is empty"):
        qs.fs_mol(folder)
    path.write_bytes(b"{}")
    with pytest.raises(ValueError, match="CHEMBL20.jsonl.gz cannot be read"):
        qs.fs_mol(folder)


def numbered(assays, *args, **kwargs) -> qs.AssayTasks:
    """Tasks whose examples are the molecules' numbers."""
    return qs.AssayTasks(torch.arange(len(SMILES)), assays, *args, **kwargs)


def test_labels_are_those_of_the_assay_and_no_compound_is_both_told_and_asked(tox21):
    episodes = numbered(tox21.train, (4, 40)).sample(30, torch.Generator().manual_seed(0))
    assert len(set(episodes.support.classes[:, 0].tolist())) == 3
    for t in range(30):
        support, query = episodes.support.x[t].tolist(), episodes.query.x[t].tolist()
        assert len({*support, *query}) == len(support) + len(query)
        for part in (episodes.support, episodes.query):
            for number, y, label in zip(part.x[t].tolist(), part.y[t].tolist(), part.classes[t].tolist(), strict=True):
                assay = tox21.train[label // 2]
                assert assay.active[assay.molecules == number].tolist() == [y] == [label % 2]


def test_a_support_set_is_half_active_or_has_the_assays_share_and_at_least_one_of_each(tox21):
    draw = torch.Generator().manual_seed(0)
    assert (numbered(tox21.train, 20, balanced=1.0).sample(9, draw).support.y.sum(1) == 10).all()
    one = tox21.train[0]
    share = one.active.double().mean().item()
    assert (numbered([one], 20, balanced=0.0).sample(9, draw).support.y.sum(1) == round(20 * share)).all()
    rare = one._replace(active=(torch.arange(len(one.active)) < 3).long())
    assert (numbered([rare], 8, balanced=0.0).sample(9, draw).support.y.sum(1) == 1).all()
    episodes = numbered([rare], 20, balanced=1.0, queries=4).sample(9, draw)
    assert (episodes.support.y.sum(1) == 1).all()  # of three actives two are asked for
    assert (episodes.query.y.sum(1) == 2).all()


def test_assays_with_fewer_queries_are_padded(tox21):
    one = tox21.train[0]
    rare = one._replace(active=(torch.arange(len(one.active)) < 4).long())
    episodes = numbered([tox21.train[1], rare], 8, queries=6).sample(12, torch.Generator().manual_seed(0))
    few = episodes.support.classes[:, 0] >= 2
    left = 4 - episodes.support.y.sum(1)
    assert episodes.query.mask.sum(1).tolist() == torch.where(few, left + 6, 6 + 6).tolist()
    assert episodes.support.mask is None


def test_a_test_asks_for_all_other_compounds_and_fewer_draws_are_the_first(tox21):
    tasks = numbered(tox21.test, 16, balanced=0.0)
    tests = tasks.tests(11)
    assert [len(batch) for batch in tests] == [10, 1] * 3
    for number, batch in enumerate(tests):
        one = tox21.test[number // 2]
        for t in range(len(batch)):
            both = torch.cat([batch.support.x[t], batch.query.x[t]])
            assert both.sort().values.tolist() == one.molecules.tolist()
            assert batch.support.y[t].sum() + batch.query.y[t].sum() == one.active.sum()
    fewer = tasks.tests(3)
    assert (fewer[1].support.x == tests[2].support.x[:3]).all()
    assert not (tasks.tests(3, seed=1)[1].support.x == fewer[1].support.x).all()


def test_of_a_large_test_so_many_random_compounds_are_asked_for(tox21):
    (batch,) = numbered(tox21.test[:1], 16).tests(10, most=50)
    whole = tox21.test[0]
    assert batch.query.x.shape == (10, 50)
    assert batch.query.y.double().mean().item() == pytest.approx(whole.active.double().mean().item(), abs=0.08)
    for support, query in zip(batch.support.x.tolist(), batch.query.x.tolist(), strict=True):
        assert not set(support) & set(query)


def test_a_learner_learns_from_such_tasks_and_is_scored_by_areas(tox21):
    x = torch.tensor([[float(SMILES[i].count(letter)) for letter in "NO"] for i in range(len(SMILES))])
    torch.manual_seed(0)
    learner = qs.PrototypicalNetwork(qs.MLP(2, 8, 8))
    for _ in qs.train(learner, qs.AssayTasks(x, tox21.train, (4, 16)), steps=40, batch=4, engine=qs.Engine()):
        pass
    tests = qs.AssayTasks(x, tox21.test, 20, balanced=1.0).tests(4)
    metrics = {"auc": qs.roc_auc, "delta_auprc": qs.delta_auprc}
    found = qs.evaluate(learner, tests, metrics=metrics, engine=qs.Engine())
    assert len(found.scores["auc"]) == 12
    assert found.scores["auc"].mean() > 0.7
    assert found.scores["delta_auprc"].mean() > 0.2


def test_tasks_that_cannot_be_drawn_are_told(tox21):
    with pytest.raises(ValueError, match="got 0 assays, 16 queries and 0.5"):
        numbered([])
    with pytest.raises(ValueError, match=r"size is a number of at least 2, or a pair .* got 1"):
        numbered(tox21.train, 1)
    with pytest.raises(ValueError, match="share of balanced tasks from 0 to 1; got 3 assays, 16 queries and 2.0"):
        numbered(tox21.train, balanced=2.0)
    twice = qs.Assay("twice", torch.arange(40) % 20, torch.arange(40) % 2)
    with pytest.raises(ValueError, match="assay 'twice' lists a molecule twice, which could be told and asked"):
        numbered([twice], 4)
    with pytest.raises(ValueError, match="assay 'A-0' has .* active and .* inactive compounds; support sets of 90, w"):
        numbered(tox21.train, 90)
    one = tox21.train[0]
    with pytest.raises(ValueError, match="'A-0' has 1 active and .* Lower size, or leave the assay out"):
        numbered([one._replace(active=(torch.arange(len(one.active)) == 0).long())], 4)

"""The benchmark of drug discovery at a small setting: its command, its tables and its page."""

import argparse
import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from molecule_files import SMILES, molecule_net

pytest.importorskip("rdkit", reason="needs quickstudy[molecules]")
BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
NAMES = ["forest", "logistic", "multi-task", "fine-tune", "protonet", "in-context"]
SETTINGS = ["1-shot", "10-shot", "16", "32"]


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import drugs

    return drugs


def test_the_command_reproduces_tables_pictures_and_page(benchmark, tmp_path, capsys):
    import drugs_page as page

    folder, out = molecule_net(tmp_path / "molecules", unreadable=True), tmp_path / "results"
    words = ["run", *NAMES, "--data-dir", str(folder), "--kept", str(tmp_path / "kept"), "--out", str(out)]
    words += ["--data", "tox21", "--steps", "2", "--draws", "1", "--tasks", "6", "--settings", *SETTINGS]
    benchmark.main(words)
    assert [line.split()[:2] for line in capsys.readouterr().out.splitlines()] == [["tox21", name] for name in NAMES]
    benchmark.main(words)  # what has a result is passed over
    assert not capsys.readouterr().out
    found = {name: json.loads((out / f"drugs-tox21-{name}.json").read_text()) for name in NAMES}
    assert len({tests["hash"] for about in found.values() for tests in about["tests"].values()}) == len(SETTINGS)
    for about in found.values():
        assert about["molecules"] == len(SMILES)
        for name, tests in about["tests"].items():
            assert len(tests["auc"]) == len(tests["delta_auprc"]) == (6 if "shot" in name else 3)
            assert 0 <= min(tests["auc"]) <= max(tests["auc"]) <= 1
            assert max(tests["log_likelihood"]) < 0
    assert np.mean(found["forest"]["tests"]["10-shot"]["auc"]) > 0.7
    text = tmp_path / "page.md"
    text.write_text((BENCHMARKS.parent / "docs" / "uses" / "drugs.md").read_text())
    page.write(out, text, tmp_path)
    row = next(line for line in text.read_text().splitlines() if line.startswith("| metric | Prototypical network |"))
    assert row.count("±") == 2
    assert (tmp_path / "drugs.png").stat().st_size > 5000
    assert (tmp_path / "drugs-sizes.png").stat().st_size > 5000
    once = text.read_text()
    page.write(out, text, tmp_path)
    assert text.read_text() == once


def test_what_training_tells_of_the_compounds_of_the_tests_is_counted(benchmark, tmp_path, capsys):
    folder = molecule_net(tmp_path / "molecules")
    benchmark.main(["known", "--data", "tox21", "--data-dir", str(folder)])
    lines = gzip.decompress((folder / "tox21.csv.gz").read_bytes()).decode().splitlines()[1:]
    told, asked = zip(*((line.split(",")[:3], line.split(",")[3:6]) for line in lines), strict=True)
    shares = []
    for kinds in ("01", "1"):
        known = [any(value and value in kinds for value in values) for values in told]
        shares.append(np.mean([k for k, values in zip(known, asked, strict=True) for v in values if v and v in kinds]))
    assert 0 < shares[1] < shares[0]
    assert capsys.readouterr().out == f"tox21 measured: {shares[0]:.1%} active: {shares[1]:.1%}\n"


def test_a_method_or_a_result_that_is_not_there_is_told_and_so_are_results_of_different_tasks(
    benchmark, tmp_path, capsys
):
    import drugs_page as page

    with pytest.raises(SystemExit):
        benchmark.main(["run", "nothing"])
    assert "no method 'nothing'; there are forest" in capsys.readouterr().err
    with pytest.raises(FileNotFoundError, match=r"no result in .*; run python benchmarks/drugs.py run first"):
        page.write(tmp_path)
    for name in ("forest", "protonet"):
        (tmp_path / f"drugs-sider-{name}.json").write_text(json.dumps({"tests": {"16": {"hash": name}}}))
    with pytest.raises(ValueError, match=r"were tested on different tasks of sider; run them all anew"):
        page.found(tmp_path)


def test_tanimotos_similarity_is_the_shared_part_of_what_either_has(benchmark):
    from drugs_baselines import Tanimoto, tanimoto
    from rdkit.DataStructs import CreateFromBitString, TanimotoSimilarity

    draw = np.random.default_rng(0)
    a, b = (draw.integers(0, 2, (5, 30)).astype(float) for _ in range(2))
    bits = [[CreateFromBitString("".join(map(str, row.astype(int)))) for row in some] for some in (a, b)]
    np.testing.assert_allclose(
        tanimoto(a, b), [[TanimotoSimilarity(one, other) for other in bits[1]] for one in bits[0]]
    )
    np.testing.assert_allclose(tanimoto(0 * a, 0 * b), 1)
    np.testing.assert_allclose(Tanimoto()(a), tanimoto(a, a))
    np.testing.assert_allclose(Tanimoto().diag(a), np.diag(tanimoto(a, a)))


def test_a_baseline_is_asked_for_each_task_by_itself_and_its_certainties_end_somewhere(benchmark):
    from drugs_baselines import LEAST, Fitted

    import quickstudy as qs

    table = np.arange(8.0)[:, None]
    baseline = Fitted(lambda x, y, queries: (queries[:, 0] > x[y == 1].min()).astype(float), table)
    x, y = torch.tensor([[0, 5], [3, 1]]), torch.tensor([[0, 1], [0, 1]])
    found = baseline.predict(baseline.adapt(qs.Examples(x, y, 2)), torch.tensor([[4, 6], [0, 2]])).probs[..., 1]
    torch.testing.assert_close(found, torch.tensor([[LEAST, 1 - LEAST], [LEAST, 1 - LEAST]], dtype=torch.float64))


@pytest.mark.parametrize("name", ["forest", "neighbours", "process"])
def test_baselines_find_what_tells_active_from_inactive_compounds(benchmark, name):
    import drugs_baselines

    draw = np.random.default_rng(0)
    x = draw.integers(0, 2, (60, 30)).astype(float)
    x[:, :15] *= np.arange(60)[:, None] % 2
    x[:, 15:] *= 1 - np.arange(60)[:, None] % 2
    found = getattr(drugs_baselines, name)(x[:20], np.arange(20) % 2, x[20:])
    assert ((found > 0.5) == np.arange(20, 60) % 2).mean() > 0.9


def test_pre_training_compares_the_two_classes_of_an_assay_with_each_other_alone(benchmark):
    from drugs_methods import OneOfEachAssay

    import quickstudy as qs

    torch.manual_seed(0)
    learner = OneOfEachAssay(qs.LinearProbe(qs.MLP(3, 4), classes=6))
    x, classes = torch.randn(2, 5, 3), torch.tensor([[0, 1, 1, 0, 0], [4, 5, 4, 5, 5]])
    examples = qs.Examples(x, classes % 2, 2, classes=classes)
    logits = learner.head(learner.encoder(x.flatten(0, 1))).unflatten(0, (2, 5))
    pairs = torch.stack([logits[0, :, :2], logits[1, :, 4:]])
    expected = torch.nn.functional.cross_entropy(pairs.flatten(0, 1), (classes % 2).flatten())
    torch.testing.assert_close(learner.loss(qs.Episodes(examples, examples)), expected)


def test_molecules_that_are_embedded_once_get_the_same_answers(benchmark):
    from drugs_methods import METHODS, Molecules, seen

    import quickstudy as qs

    vectors = torch.cat([torch.randint(0, 3, (40, 2048)).float(), torch.randn(40, 5)], 1)
    molecules = Molecules(vectors, seen(vectors, torch.arange(30)), 2, SMILES[:40])
    for name in ("multi-task", "anil", "maml", "dkt", "graph-dkt"):
        learner = METHODS[name].build(molecules).eval()
        support = qs.Examples(torch.arange(8)[None], torch.arange(8)[None] % 2, 2)
        before = learner.predict(learner.adapt(support), torch.arange(8, 40)[None]).probs
        quick = benchmark.quicker(learner, 40)
        torch.testing.assert_close(quick.predict(quick.adapt(support), torch.arange(8, 40)[None]).probs, before)


def test_of_muv_actives_and_some_others_are_kept(benchmark):
    import quickstudy as qs

    active = torch.arange(100) % 10 == 3
    one = qs.Assay("one", torch.arange(100), active.long())
    kept = benchmark.few(qs.Assays("many", ["C"] * 100, (one,), (), (one,)), 20)
    assert len(kept) == 30
    assert active[kept].sum() == 10


def test_kept_apart_the_molecules_of_the_tests_set_no_scale(benchmark, tmp_path, monkeypatch):
    scaling = []
    monkeypatch.setattr(benchmark, "seen", lambda vectors, molecules: scaling.extend(molecules.tolist()) or vectors)
    folder = molecule_net(tmp_path / "molecules", unreadable=True)
    asked = argparse.Namespace(data_dir=folder, kept=tmp_path / "kept", choose=False)
    _, assays = benchmark.read(benchmark.COURSES["tox21-apart"], asked)
    tested = {number for one in assays.test for number in one.molecules.tolist()}
    assert tested
    assert scaling
    assert not tested & set(scaling)

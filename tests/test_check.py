import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch import nn

import quickstudy as qs
from quickstudy.catalogue import Setting, build
from quickstudy.checks import findings as room
from quickstudy.checks.findings import Checked, Finding, of_classes
from quickstudy.checks.items import check_items
from quickstudy.checks.labels import LeftOut, doubtful
from quickstudy.checks.pictures import check_pictures
from quickstudy.checks.rows import check_rows
from quickstudy.cli import main
from quickstudy.commands.check import guessed
from quickstudy.data.rows import RowsRead
from quickstudy.inputs import Fixed, pixels
from quickstudy.ready import Ready
from quickstudy.runs import begin, learner_about
from quickstudy.training import KEPT


def told(checked: Checked, kind: str) -> list[tuple[str, ...]]:
    """The examples of each finding of a kind."""
    return [finding.items for finding in checked.findings if finding.kind == kind]


def far_apart() -> tuple[np.ndarray, np.ndarray]:
    """Ten rows of each of three classes, which nobody could confuse."""
    draw, classes = np.random.default_rng(0), np.repeat(np.arange(3), 10)
    x = draw.normal(size=(30, 4)) + 10 * np.eye(4)[classes]
    return x.astype(object), np.array(["ash", "elm", "oak"], dtype=object)[classes]


def rows_of(x: np.ndarray, y: np.ndarray) -> RowsRead:
    return RowsRead([*"abcd"[: x.shape[1]], "kind"], np.concatenate([x, y[:, None]], 1))


def checked_rows(x: np.ndarray, y: np.ndarray) -> Checked:
    return check_rows(rows_of(x, y), "kind")


def test_of_good_rows_nothing_is_found():
    checked = checked_rows(*far_apart())
    assert checked.findings == []
    assert checked.counts == {"ash": 10, "elm": 10, "oak": 10}
    assert checked.left_out is not None
    assert checked.left_out.right == 30


def test_a_wrong_label_is_doubted():
    x, y = far_apart()
    y[3] = "oak"
    checked = checked_rows(x, y)
    (finding,) = (finding for finding in checked.findings if finding.kind == "doubtful")
    assert finding.items == ("row 4",)
    assert finding.labels == ("oak",)
    assert finding.detail.startswith("ash 9")


def test_equal_rows_are_repeated_within_a_class_and_in_conflict_across_classes():
    x, y = far_apart()
    x[1], x[12] = x[0], x[22]  # ash twice; elm and oak
    x[1] = [str(value) + "0" for value in x[1]]  # the same numbers, written otherwise
    checked = checked_rows(x, y)
    assert told(checked, "repeated") == [("row 1", "row 2")]
    assert told(checked, "conflict") == [("row 13", "row 23")]
    assert checked.left_out is not None
    assert "row 2" not in checked.left_out.items  # counted once
    assert {"row 13", "row 23"} <= set(checked.left_out.items)


def test_rows_that_are_nearly_the_same_under_different_classes_are_told():
    x, y = far_apart()
    x[12], x[1] = x[22] + 1e-3, x[0] + 1e-3  # the other two are of one class
    assert told(checked_rows(x, y), "near") == [("row 13", "row 23")]


def test_of_two_columns_rows_may_be_near_by_chance():
    x, y = far_apart()
    x[12] = x[22] + 1e-4
    assert told(checked_rows(x[:, :2], y), "near") == []


def test_rows_without_a_label_or_any_value_are_told_and_not_counted():
    x, y = far_apart()
    y[0], y[1], x[10], x[11, 0] = None, " ", None, None
    checked = checked_rows(x, y)
    assert told(checked, "unlabelled") == [("row 1",), ("row 2",)]
    assert told(checked, "blank") == [("row 11",)]
    assert checked.counts == {"ash": 8, "elm": 9, "oak": 10}


def test_what_is_no_number_in_a_column_of_numbers_is_told_and_its_row_left_out():
    x, y = far_apart()
    x[3, 1], x[7, 2] = "1,234", float("inf")
    checked = checked_rows(x, y)
    assert [(f.items, f.detail) for f in checked.findings if f.kind == "broken"] == [
        (("row 4",), "'1,234' in column 'b' is no number"),
        (("row 8",), "inf in column 'c' is no number"),
    ]
    assert checked.counts == {"ash": 8, "elm": 10, "oak": 10}
    assert checked.left_out is not None
    assert {"row 4", "row 8"}.isdisjoint(checked.left_out.items)


def test_labels_that_stand_for_none_among_numbers_are_told():
    x, _ = far_apart()
    y = np.array([0, 0.0, "NA", 1, 1.0, 1], dtype=object)
    checked = checked_rows(x[[0, 1, 2, 10, 11, 12]], y)
    assert told(checked, "unlabelled") == [("row 3",)]
    assert checked.counts == {"0": 2, "1": 3}


def test_rows_of_which_none_can_be_used_are_told():
    checked = checked_rows(np.full((2, 2), None, dtype=object), np.array(["a", None], dtype=object))
    assert checked.counts == {"a": 0}
    assert told(checked, "empty") == [("a",)]
    assert checked.left_out is None


def test_classes_are_told_that_are_empty_single_uneven_or_spelled_twice():
    found = {f.kind: f for f in of_classes({"cat": 10, "Cat ": 1, "dog": 2, "fox": 0})}
    assert set(found) == {"empty", "single", "uneven", "spelling"}
    assert found["single"].items == ("Cat ",)
    assert found["uneven"].detail == "10 examples of one, 1 of the other"
    assert found["spelling"].items == ("cat", "Cat ")
    assert of_classes({"cat": 9, "dog": 2}) == []
    assert [f.items for f in of_classes({"0": 2, "0.0": 2, "1": 2})] == [("0", "0.0")]
    assert [(f.kind, f.items) for f in of_classes({"cat": 9})] == [("only", ("cat",))]
    assert [f.kind for f in of_classes({"cat": 10, "dog": 2})] == ["uneven"]


def test_labels_are_not_doubted_where_there_is_one_class_or_one_example_of_each():
    x, y = far_apart()
    for chosen in ([0, 1, 2], [0, 10, 20]):
        checked = checked_rows(x[chosen], y[chosen])
        assert checked.left_out is None
        assert "two classes, and two examples of one" in checked.note


def test_of_many_rows_some_are_left_out_in_turn(monkeypatch):
    monkeypatch.setattr(room, "MOST", 12)
    checked = checked_rows(*far_apart())
    assert checked.left_out is not None
    assert len(checked.left_out.items) == 12
    assert checked.note == "labels of 12 examples were looked at, drawn at random from 30."


def test_a_label_is_in_doubt_where_another_class_is_as_likely_as_it_usually_is():
    p = np.array([[0.9, 0.1], [0.7, 0.3], [0.6, 0.4], [0.2, 0.8], [0.1, 0.9], [0.45, 0.55]])
    found = LeftOut([*"abcdef"], ["x", "x", "x", "y", "y", "x"], ["x", "y"], p)
    assert doubtful(found) == []  # 0.55 is less than the mean of 0.8 and 0.9, what is usual of y
    p = np.array([[0.9, 0.1], [0.7, 0.3], [0.6, 0.4], [0.2, 0.8], [0.1, 0.9], [0.1, 0.9]])
    assert doubtful(LeftOut([*"abcdef"], ["x", "x", "x", "y", "y", "x"], ["x", "y"], p)) == [(5, "y")]
    p = np.array([[0.99, 0.01], [0.99, 0.01], [0.01, 0.99], [0.01, 0.99], [0.05, 0.95], [0.15, 0.85]])
    found = LeftOut([*"abcdef"], ["x", "x", "y", "y", "x", "x"], ["x", "y"], p)
    assert doubtful(found) == [(4, "y")]  # 0.95 is less than is usual of y, 0.99, and enough


def test_the_interval_is_wilsons():
    found = LeftOut([*"abcd"], [*"xxyy"], ["x", "y"], np.array([[0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.6, 0.4]]))
    assert found.right == 3
    z, n, p = 1.959964, 4, 0.75
    middle, half = p + z**2 / (2 * n), z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    np.testing.assert_allclose(found.interval, np.array([middle - half, middle + half]) / (1 + z**2 / n), rtol=1e-5)


@pytest.fixture
def folder(tmp_path) -> Path:
    """Six digits each of zero, one and two, of 32 x 32 pixels."""
    data = load_digits()
    for c in range(3):
        (tmp_path / "digits" / f"d{c}").mkdir(parents=True)
        for i, row in enumerate(np.flatnonzero(data.target == c)[:6]):
            picture = Image.fromarray((data.images[row] * 15.9).astype(np.uint8)).resize((32, 32))
            picture.save(tmp_path / "digits" / f"d{c}" / f"{i}.png")
    return tmp_path / "digits"


def test_of_good_pictures_nothing_is_found(folder):
    checked = check_pictures(folder)
    assert checked.findings == []
    assert checked.counts == {"d0": 6, "d1": 6, "d2": 6}
    assert "labels were not doubted, for want of a learner" in checked.note


def test_files_that_cannot_be_read_are_told_and_end_nothing(folder, monkeypatch):
    (folder / "d0" / "empty.png").touch()
    (folder / "d0" / "text.jpg").write_text("no picture")
    (folder / "d1" / "cut.png").write_bytes((folder / "d1" / "0.png").read_bytes()[:200])
    (folder / "d1" / "folder.png").mkdir()
    (folder / "d2" / "gone.png").symlink_to(folder / "nowhere.png")
    Image.new("L", (2000, 30)).save(folder / "d2" / "bomb.png")
    Image.new("L", (1200, 30)).save(folder / "d2" / "near-bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 25_000)
    found = {f.items[0]: f.detail for f in check_pictures(folder).findings if f.kind == "broken"}
    assert found["d0/empty.png"] == "it is empty"
    assert found["d0/text.jpg"] == "it is no picture"
    assert "truncated" in found["d1/cut.png"]
    assert found["d1/folder.png"] == found["d2/gone.png"] == "it is no file"
    assert "decompression bomb" in found["d2/bomb.png"]
    assert "decompression bomb" in found["d2/near-bomb.png"]
    assert len(found) == 7


@pytest.mark.parametrize("kind", ["png", "jpg"])
def test_no_broken_file_ends_a_check(folder, kind):
    draw = np.random.default_rng(0)
    Image.fromarray(draw.integers(255, size=(32, 32, 3), dtype=np.uint8)).save(folder / f"whole.{kind}")
    whole = np.frombuffer((folder / f"whole.{kind}").read_bytes(), np.uint8)
    for i in range(40):
        broken = whole.copy()
        broken[draw.integers(len(whole), size=8)] = draw.integers(256, size=8)
        (folder / "d0" / f"broken{i}.{kind}").write_bytes(broken[: draw.integers(20, len(whole))].tobytes())
    assert len(told(check_pictures(folder), "broken")) > 10


def test_pictures_with_the_same_pixels_are_told_however_they_are_saved(folder):
    with Image.open(folder / "d0" / "0.png") as picture:
        picture.convert("RGB").save(folder / "d0" / "again.png")
        picture.save(folder / "d1" / "wrong.png", compress_level=0)
    with Image.open(folder / "d2" / "1.png") as picture:
        picture.save(folder / "d2" / "twice.png", compress_level=0)
    checked = check_pictures(folder)
    assert told(checked, "conflict") == [("d0/0.png", "d0/again.png", "d1/wrong.png")]
    assert told(checked, "repeated") == [("d2/1.png", "d2/twice.png")]
    assert ("d0/0.png", "d1/wrong.png") not in told(checked, "near")


def test_a_picture_saved_smaller_or_brighter_under_another_class_is_told(folder):
    draw = np.random.default_rng(0)
    coarse = Image.fromarray(draw.integers(30, 200, size=(12, 12, 3), dtype=np.uint8))
    picture = coarse.resize((64, 64), Image.Resampling.BICUBIC)
    picture.save(folder / "d0" / "photo.png")
    picture.resize((40, 40)).save(folder / "d1" / "smaller.jpg", quality=75)
    picture.point(lambda value: int(value * 1.2)).save(folder / "d2" / "brighter.png")
    checked = check_pictures(folder)
    assert ("d0/photo.png", "d1/smaller.jpg") in told(checked, "near")
    assert ("d0/photo.png", "d2/brighter.png") in told(checked, "near")
    assert len(told(checked, "near")) == 3


def test_pictures_are_compared_as_they_are_seen(tmp_path):
    (tmp_path / "icons").mkdir()
    for name in ("left", "right"):
        alpha = np.zeros((20, 20), dtype=np.uint8)
        alpha[:, :10] = 255 if name == "left" else 0
        alpha[:, 10:] = 255 - alpha[:1, :1]
        icon = Image.new("RGBA", (20, 20), "black")
        icon.putalpha(Image.fromarray(alpha))
        icon.save(tmp_path / "icons" / f"{name}.png")
    (tmp_path / "same").mkdir()
    Image.open(tmp_path / "icons" / "left.png").save(tmp_path / "same" / "again.png", compress_level=1)
    assert told(check_pictures(tmp_path), "conflict") == [("icons/left.png", "same/again.png")]


def test_pictures_within_folders_of_a_class_are_told(folder):
    (folder / "d0" / "more").mkdir()
    (folder / "d0" / "0.png").rename(folder / "d0" / "more" / "0.png")
    (folder / "d1" / ".thumbs").mkdir()
    (folder / "d1" / "0.png").rename(folder / "d1" / ".thumbs" / "0.png")
    found = [(f.items, f.detail) for f in check_pictures(folder).findings]
    assert found == [(("d0",), "1, such as d0/more/0.png")]


def test_blank_pictures_are_not_nearly_the_same(folder):
    for c in range(2):
        Image.new("L", (32, 32), 100 * c).save(folder / f"d{c}" / "blank.png")
    assert told(check_pictures(folder), "near") == []


def test_pictures_unlike_most_are_told(folder):
    with Image.open(folder / "d0" / "0.png") as picture:
        picture.transpose(Image.Transpose.ROTATE_90).convert("RGBA").resize((31, 32)).save(folder / "d0" / "odd.png")
        picture.transpose(Image.Transpose.ROTATE_180).save(folder / "d0" / "other.gif")
        (folder / "d0" / "notes.txt").write_text("not a picture, nor said to be one")
    checked = check_pictures(folder)
    assert [f.detail for f in checked.findings if f.kind == "odd"] == [
        "size 31x32, and of most 32x32",
        "colours RGBA, and of most L",
    ]
    assert told(checked, "unread") == [("d0/other.gif",)]


def run_folder(tmp_path) -> Path:
    setting = Setting("conv4-strided", 1, 16, 3)
    begin(tmp_path / "run", learner_about("protonet", setting), resume=False)
    torch.manual_seed(0)
    qs.save_learner(build("protonet", setting), tmp_path / "run" / KEPT)
    return tmp_path / "run"


def test_a_learner_of_pictures_doubts_a_picture_in_the_wrong_folder(folder, tmp_path):
    (folder / "d0" / "0.png").rename(folder / "d1" / "wrong.png")
    near = Ready(qs.PrototypicalNetwork(nn.Flatten()), pixels(1, 16))
    checked = check_pictures(folder, near)
    assert told(checked, "doubtful")[0] == ("d1/wrong.png",)
    assert checked.left_out is not None
    assert len(checked.left_out.items) == 18
    of_run = check_pictures(folder, run_folder(tmp_path))
    assert of_run.left_out is not None
    assert of_run.left_out.probabilities.shape == (18, 3)


def test_a_learner_that_takes_other_examples_is_refused(folder):
    with pytest.raises(ValueError, match="takes rows; pass a learner of pictures with --learner"):
        check_pictures(folder, "table")
    with pytest.raises(ValueError, match="takes no rows of tables; take 'table'"):
        check_rows(rows_of(*far_apart()), "kind", qs.PrototypicalNetwork(nn.Identity()))
    with pytest.raises(ValueError, match="holds no class folders"):
        check_pictures(folder / "d0")


def vectors(texts) -> torch.Tensor:
    """Of a text how often each letter occurs."""
    return torch.tensor([[float(text.lower().count(letter)) for letter in "abcdefgh"] for text in texts])


LETTERS = Ready(qs.PrototypicalNetwork(nn.Identity()), Fixed("texts", lambda: vectors))
WORDS = ["aaaa", "aaab", "aaac", "ffff", "fffg", "fffh"]
HALVES = ["early"] * 3 + ["late"] * 3


def test_of_good_texts_nothing_is_found():
    checked = check_items(WORDS, HALVES, LETTERS)
    assert (checked.findings, checked.counts, checked.left_out.right) == ([], {"early": 3, "late": 3}, 6)


def test_texts_that_are_blank_unlabelled_repeated_in_conflict_or_nearly_alike_are_told():
    texts = [*WORDS, " AAAA ", "ffff", None, "bbbb", "aaaaab" * 3]
    labels = [*HALVES, "early", "early", "early", None, "late"]
    checked = check_items(texts, labels, LETTERS)
    assert told(checked, "repeated") == [("row 1", "row 7")]
    assert told(checked, "conflict") == [("row 4", "row 8")]
    assert told(checked, "blank") == [("row 9",)]
    assert told(checked, "unlabelled") == [("row 10",)]
    assert ("row 1", "row 11") in told(checked, "near")
    assert ("row 1", "row 2") not in told(checked, "near")  # as near, and of one class
    assert ("row 4", "row 8") not in told(checked, "near")  # quite the same
    assert "row 7" not in checked.left_out.items  # counted once
    assert checked.counts == {"early": 5, "late": 4}


def test_a_wrong_label_of_a_text_is_doubted():
    checked = check_items([*WORDS, "aaad", "fffb", "ggff"], [*HALVES, "early", "late", "early"], LETTERS)
    assert told(checked, "doubtful")[0] == ("row 9",)


ALCOHOLS = ["CCO", "CCCO", "CCCCO", "CC(C)O", "CCCCCO"]
RINGS = ["c1ccccc1", "Cc1ccccc1", "CCc1ccccc1", "Clc1ccccc1", "Brc1ccccc1"]


def molecules(path: Path, smiles: list[str], labels: list[str]) -> str:
    lines = [f"{one},{label},{n}" for n, (one, label) in enumerate(zip(smiles, labels, strict=True))]
    path.write_text("\n".join(["SMILES,kind,weight", *lines]) + "\n")
    return str(path)


def test_molecules_are_compared_by_what_they_are_and_those_that_are_none_are_told(monkeypatch, capsys, tmp_path):
    pytest.importorskip("rdkit")
    smiles = [*ALCOHOLS, *RINGS, "OCC", "C1=CC=CC=C1C", "C1CC", "CCCCCCCO", "CCCCCCCCO"]
    labels = ["alcohol"] * 5 + ["ring"] * 5 + ["alcohol", "alcohol", "ring", "alcohol", "ring"]
    file, found = molecules(tmp_path / "few.csv", smiles, labels), tmp_path / "found.json"
    code, out, _ = run(monkeypatch, capsys, file, "--label", "kind", "--json", str(found))
    assert code == 1
    assert "molecules in column 'SMILES', labelled by column 'kind', of 2 classes: alcohol 8, ring 6" in out
    about = json.loads(found.read_text())
    items = {finding["kind"]: finding["items"] for finding in about["findings"]}
    assert items["repeated"] == ["row 1", "row 11"]
    assert items["conflict"] == ["row 7", "row 12"]
    assert items["broken"] == ["row 13"]
    assert "row 13 (ring): 'C1CC' is no SMILES of a molecule" in out
    assert items["near"] == ["row 14", "row 15"]
    assert about["left_out"]["learner"] == "molecules"
    assert "95% interval" in out


def test_what_a_file_holds_is_told_by_its_columns():
    def rows(*names: str, value: object = "x") -> RowsRead:
        return RowsRead([*names], np.full((2, len(names)), value, dtype=object))

    assert guessed(rows("text", "label"), None, None) == "texts"
    assert guessed(rows("text", "shop", "label"), None, None) == "rows"
    assert guessed(rows("note", "shop", "label"), None, "note") == "texts"
    assert guessed(rows("smiles", "weight", "label"), None, None) == "molecules"
    assert guessed(rows("structure", "label", value=1.5), None, None) == "rows"
    assert guessed(rows("mol", "SMILES", "label"), None, "SMILES") == "molecules"


def test_rows_have_no_content_that_is_a_text():
    with pytest.raises(ValueError, match="'table' takes rows, and neither texts nor molecules; take 'text' or 'mol"):
        check_items(WORDS, HALVES, "table")


def run(monkeypatch, capsys, *words: str) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["quickstudy", "check", *words])
    code = 0
    try:
        main()
    except SystemExit as stop:
        code = stop.code or 0
    found = capsys.readouterr()
    return code, found.out, found.err


def written(path: Path, x: np.ndarray, y: np.ndarray) -> str:
    path.write_text(
        "a,b,c,d,kind\n" + "\n".join(",".join(map(str, [*row, label])) for row, label in zip(x, y, strict=True)) + "\n"
    )
    return str(path)


def test_the_command_says_what_it_found_and_ends_with_1(monkeypatch, capsys, tmp_path):
    x, y = far_apart()
    x[1], y[3] = x[0], "oak"
    file, found = written(tmp_path / "few.csv", x, y), tmp_path / "found.json"
    code, out, _ = run(monkeypatch, capsys, file, "--json", str(found))
    assert code == 1
    assert "30 rows, labelled by column 'kind', of 3 classes: ash 9, elm 10, oak 11" in out
    assert "the same example several times: 1\n  row 1 (ash), row 2 (ash)\n  -> Keep one" in out
    assert "labels that the other examples speak against: 1\n  row 4 (oak): ash 9" in out
    assert "Shown all other examples, 'table' gives 28 of 29 the label they have: 96.6%" in out
    assert "2 found." in out
    about = json.loads(found.read_text())
    assert [finding["kind"] for finding in about["findings"]] == ["repeated", "doubtful"]
    assert about["left_out"]["accuracy"] == pytest.approx(28 / 29)
    assert len(about["left_out"]["answers"]) == 29


def test_the_command_ends_with_0_where_nothing_is_found(monkeypatch, capsys, tmp_path, folder):
    code, out, _ = run(monkeypatch, capsys, written(tmp_path / "few.csv", *far_apart()), "--label", "kind")
    assert code == 0
    assert "Nothing was found wrong." in out
    monkeypatch.setattr("quickstudy.commands.check.find_spec", lambda name: None)
    code, out, _ = run(monkeypatch, capsys, str(folder))
    assert code == 0
    assert "18 pictures, of 3 classes: d0 6, d1 6, d2 6" in out
    assert "Note: labels were not doubted, for want of a learner: pip install" in out


def test_long_lists_are_cut_and_names_are_no_markup(monkeypatch, capsys, folder):
    for i in range(12):
        (folder / "d0" / f"[bold]{i:02}.png").touch()
    with Image.open(folder / "d1" / "0.png") as picture:
        for i in range(5):
            picture.save(folder / "d1" / f"again{i}.png")
    code, out, _ = run(monkeypatch, capsys, str(folder))
    assert code == 1
    assert "cannot be read: 12" in out
    assert "d0/[bold]00.png: it is empty" in out
    assert "and 2 more; --json FILE has them all." in out
    assert "d1/0.png, d1/again0.png, d1/again1.png, d1/again2.png, and 2 more" in out


def test_wrong_use_is_told_in_one_line_and_nothing_is_written(monkeypatch, capsys, tmp_path, folder):
    (x, y), prices = far_apart(), np.array([*np.arange(29) + 0.5, "unsure"])
    cases = [
        ([str(tmp_path / "none.csv")], "no such file"),
        ([written(tmp_path / "few.csv", *far_apart()), "--label", "sort"], "has no column 'sort'"),
        ([str(folder), "--learner", "table"], "'table' takes rows; pass a learner of pictures"),
        ([str(folder), "--learner", str(tmp_path)], "no run in"),
        (
            [written(tmp_path / "few.csv", *far_apart()), "--learner", "tabel"],
            "'tabel' is neither a learner that ships",
        ),
        ([written(tmp_path / "few.csv", *far_apart()), "--learner", "table-regression"], "tells numbers, and here are"),
        ([written(tmp_path / "one.csv", x[:1], y[:1]), "--learner", "table-regression"], "tells numbers, and here are"),
        ([written(tmp_path / "prices.csv", x, prices)], "column 'kind' of"),
        ([written(tmp_path / "prices.csv", x, prices)], "prices.csv holds measures, and classes alone are checked."),
    ]
    for words, complaint in cases:
        code, _, err = run(monkeypatch, capsys, *words, "--json", str(tmp_path / "found.json"))
        assert code == 2, words
        assert complaint in err.replace("\n", " ")
    assert not (tmp_path / "found.json").exists()


def test_a_finding_knows_its_kind():
    assert {Finding(kind, (), ()).kind for kind in room.KINDS} == set(room.KINDS)


def test_an_index_without_a_name_is_not_learned_from(monkeypatch, capsys, tmp_path):
    x, y = far_apart()
    rows = [",".join(map(str, [*one, label])) for one, label in zip(x, y, strict=True)]
    lines = [",a,b,c,d,kind", *(f"{n},{row}" for n, row in enumerate([*rows, rows[0]]))]
    (tmp_path / "few.csv").write_text("\n".join(lines) + "\n")
    monkeypatch.setattr(sys, "argv", ["quickstudy", "check", str(tmp_path / "few.csv")])
    with pytest.raises(SystemExit) as stop:
        main()
    said = capsys.readouterr().out
    assert stop.value.code == 1  # the last row is the first again, but for its number
    assert "left out: a column without a name" in " ".join(said.split())

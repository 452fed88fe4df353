"""Labelled texts, and the readers of CLINC150, Banking77 and FewRel."""

import gzip

import pytest
import text_files as files
import torch

import quickstudy as qs
from quickstudy.data.fewrel import Related, marked


def lengths(texts) -> torch.Tensor:
    return torch.tensor([[float(len(text))] for text in texts])


def test_clinc150_has_domains_for_groups_and_queries_that_are_out_of_scope(tmp_path):
    texts = qs.clinc150(files.clinc(tmp_path / "text" / "clinc150").parents[1])
    assert len(texts.rows.classes) == 18
    assert texts.rows.groups is not None
    assert texts.rows.groups[:4] == ("domain 0", "domain 1", "domain 2", "domain 0")
    assert texts.outside == ("who wins", *["what is art"] * 3)
    assert texts.listed()[12:14] == [files.sentence(1, 0), files.sentence(1, 1)]
    assert texts.rows.counts.tolist() == [12] * 18


def test_banking77_comes_as_in_the_test_file_and_then_as_in_the_other(tmp_path, monkeypatch):
    monkeypatch.setenv("QUICKSTUDY_DATA", str(files.banking(tmp_path)))
    texts = qs.banking77()
    assert texts.first(3).listed()[3:6] == [files.sentence(1, n) + ", sir" for n in range(3)]
    assert texts.rows.groups is None
    assert texts.outside == ()


def test_a_byte_order_mark_is_no_part_of_a_text_file(tmp_path):
    folder = files.written(tmp_path) / "banking77"
    expected = qs.banking77(folder).texts
    (folder / "test.csv").write_text((folder / "test.csv").read_text(), encoding="utf-8-sig")
    assert qs.banking77(folder).texts == expected


def test_fewrel_marks_both_things_behind_their_names(tmp_path):
    wiki, medicine = (qs.fewrel(files.fewrel(tmp_path), domain) for domain in ("wiki", "pubmed"))
    expected = "New York , thing : please ax oy the az * thing * 0 of # New York #"
    assert wiki.first(1).listed()[0].replace("  ", " ") == expected
    assert wiki.rows.classes[0] == "relation 00"
    assert medicine.rows.classes[0] == "P90"
    assert len(qs.fewrel(tmp_path, "nyt").rows.classes) == 24
    one = Related(["a", "b"], [0], [0, 1])
    assert marked(one) == "a , a b : * # a # b *"
    assert qs.fewrel(tmp_path, "wiki", lambda one: one.name(one.tail)).listed()[0] == "thing"


def test_embeddings_belong_to_their_texts_after_any_selection(tmp_path):
    texts = qs.clinc150(files.clinc(tmp_path))
    some = texts.keep(lambda name: name in ("intent_03", "intent_11")).first(5)
    data = some.embedded(lengths)
    assert data.classes == ("intent_03", "intent_11")
    assert data.groups == ("domain 0", "domain 2")
    assert data.counts.tolist() == [5, 5]
    rows = some.rows.examples(torch.arange(10)).tolist()
    assert data.x.tolist() == [[float(len(texts.texts[row]))] for row in rows]
    assert all(f"{files.WORDS[11]}x" in text for text in some.listed()[5:])


def test_a_class_of_fewer_texts_keeps_what_it_has():
    texts = qs.LabelledTexts.of("some", {"b": ["1", "2", "3"], "a": ["4"]})
    assert texts.first(2).listed() == ["4", "1", "2"]


@pytest.mark.parametrize("read", [qs.clinc150, qs.banking77, qs.fewrel])
def test_files_that_are_not_there_are_named(read, tmp_path, monkeypatch):
    monkeypatch.delenv("QUICKSTUDY_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match=r"is not in .*test_files_that.*Fetch it from https://github.com/"):
        read(tmp_path)
    with pytest.raises(FileNotFoundError, match="is not in any folder, as none was named"):
        read()


def test_broken_files_are_told(tmp_path):
    folder = files.written(tmp_path)
    (folder / "clinc150" / "data_full.json.gz").write_bytes(b"\x1f\x8b no gzip")
    with pytest.raises(ValueError, match=r"data_full.json.gz is not a whole file of text.*Fetch it again"):
        qs.clinc150(folder / "clinc150")
    whole = bytearray(gzip.compress(bytes(range(256)) * 40))
    whole[20:60] = b"\xff" * 40
    (folder / "clinc150" / "data_full.json.gz").write_bytes(whole)
    with pytest.raises(ValueError, match=r"data_full.json.gz is not a whole file of text.*Fetch it again"):
        qs.clinc150(folder / "clinc150")
    (folder / "clinc150" / "data_full.json").write_text('{"val": [["a text", "unknown"]]}')
    with pytest.raises(ValueError, match="is not CLINC150's .*class 'unknown' is in no group"):
        qs.clinc150(folder / "clinc150")
    (folder / "banking77" / "test.csv").write_text("text,category\nonly a text\n")
    with pytest.raises(ValueError, match="test.csv of Banking77 has columns text and category; a row is"):
        qs.banking77(folder / "banking77")
    (folder / "fewrel" / "val_nyt.json").write_text('{"P1": [{"tokens": ["a"], "h": []}]}')
    with pytest.raises(ValueError, match=r"val_nyt.json or pid2name.json is not FewRel's \(IndexError"):
        qs.fewrel(folder / "fewrel", "nyt")
    with pytest.raises(ValueError, match="a domain of FewRel is one of wiki, nyt, pubmed, semeval; not 'web'"):
        qs.fewrel(folder, "web")
    with pytest.raises(ValueError, match="none: there are no texts"):
        qs.LabelledTexts.of("none", {})
    with pytest.raises(ValueError, match="two: at least 1 text of each class is kept, not 0"):
        qs.LabelledTexts.of("two", {"a": ["b"], "c": ["d"]}).first(0)

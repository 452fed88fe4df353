import sys
from dataclasses import replace

import pytest
import torch
from learners import toy_data
from PIL import Image

import quickstudy as qs
from quickstudy.data.labelled import Mapped
from quickstudy.seeds import seeded


def test_data_come_back_as_they_were_written_and_tasks_are_the_same(tmp_path):
    data = toy_data(8, 10)
    qs.save_arrow(data, tmp_path / "toy.arrow")
    found = qs.arrow_data(tmp_path / "toy.arrow")
    assert isinstance(found.x, Mapped)
    assert found.classes == data.classes
    assert found.x.shape == data.x.shape
    assert torch.equal(found.to("cpu").x, data.x)
    mine, theirs = (qs.FewShot(d, 3, 2, 4).sample(5, seeded(0, 1)) for d in (found, data))
    assert torch.equal(mine.query.x, theirs.query.x)
    assert torch.equal(mine.support.y, theirs.support.y)


def test_pictures_that_do_not_lie_row_by_row_in_memory_are_written_as_they_are(tmp_path):
    data = toy_data(8, 10)
    columns = data.x.permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0)  # as a table by columns would be
    assert not columns.is_contiguous()
    qs.save_arrow(replace(data, x=columns), tmp_path / "toy.arrow")
    assert torch.equal(qs.arrow_data(tmp_path / "toy.arrow").x.index_select(0, torch.arange(len(data))), data.x)


def test_splits_share_the_file_and_draw_their_own_classes(tmp_path):
    data = toy_data(8, 10)
    qs.save_arrow(data, tmp_path / "toy.arrow")
    for part, expected in zip(qs.arrow_data(tmp_path / "toy.arrow").split(0.5, 0.5), data.split(0.5, 0.5), strict=True):
        assert part.classes == expected.classes
        assert part.x.whole.data_ptr() == part.select([0]).x.whole.data_ptr()
        assert torch.equal(part.x.index_select(0, torch.arange(len(part))), expected.x)


def test_a_folder_is_packed_as_it_would_be_read(tmp_path):
    for name, colour in (("b", 200), ("a", 50)):
        for i in range(3):
            file = tmp_path / "pictures" / name / f"{i}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (20, 20), (colour, i, 0)).save(file)
    qs.pack_folder(tmp_path / "pictures", tmp_path / "packed.arrow", size=16)
    found, expected = qs.arrow_data(tmp_path / "packed.arrow"), qs.image_folder(tmp_path / "pictures", size=16)
    assert found.classes == expected.classes == ("a", "b")
    assert torch.equal(found.x.index_select(0, torch.arange(6)), expected.x)
    assert torch.equal(found.y, expected.y)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["packed.arrow", "pictures"]


def test_what_is_no_such_file_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no such file: .*none\.arrow"):
        qs.arrow_data(tmp_path / "none.arrow")
    (tmp_path / "text.arrow").write_text("hello")
    with pytest.raises(ValueError, match="is no Arrow file of quickstudy"):
        qs.arrow_data(tmp_path / "text.arrow")
    qs.save_arrow(toy_data(), tmp_path / "toy.arrow")
    whole = (tmp_path / "toy.arrow").read_bytes()
    (tmp_path / "half.arrow").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="is no Arrow file of quickstudy"):
        qs.arrow_data(tmp_path / "half.arrow")
    mapped = qs.arrow_data(tmp_path / "toy.arrow")
    for refused in (lambda: qs.save_arrow(mapped, tmp_path / "two.arrow"), mapped.rotated):
        with pytest.raises(ValueError, match="memory-mapped"):
            refused()


def test_without_pyarrow_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"pip install 'quickstudy\[arrow\]'"):
        qs.save_arrow(toy_data(), tmp_path / "toy.arrow")


def test_origins_are_written_too(tmp_path):
    data = qs.LabelledData(
        "few", torch.zeros(4, 1, 2, 2), torch.arange(4) % 2, ("a", "b"), origins=torch.tensor([3, 1, 0, 3])
    )
    qs.save_arrow(data, tmp_path / "few.arrow")
    assert qs.arrow_data(tmp_path / "few.arrow").origins.tolist() == [3, 1, 0, 3]

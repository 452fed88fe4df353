import csv
import io
import os
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from PIL import Image

import quickstudy as qs
from quickstudy.data import arrow, files
from quickstudy.data import tiny_imagenet as module
from quickstudy.data.labelled import Mapped
from quickstudy.data.sources import splits

SPLITS = {
    "train": {"n00000001": "n10000001 n10000002", "n00000002": "n10000003"},
    "val": {"n00000003": "n20000001"},
    "test": {"n00000004": "n30000001 n30000002"},
}
CLASSES = ["n10000001", "n10000002", "n10000003", "n20000001", "n30000001", "n30000002", "n40000001"]
PICTURES = 11  # so that _10 comes after _9, not after _1


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """The official zip in small: 64x64 pictures, each of another red, in classes of another green."""
    monkeypatch.setattr(arrow, "cache_directory", lambda: tmp_path / "cache")
    monkeypatch.setattr(module, "SPLITS", SPLITS)
    data = tmp_path / "data"
    data.mkdir()
    with zipfile.ZipFile(data / "tiny-imagenet-200.zip", "w") as archive:
        for name, content in official().items():
            archive.writestr(name, content)
    return data


def official() -> dict[str, bytes]:
    pictures = {
        f"tiny-imagenet-200/train/{name}/images/{name}_{i}.JPEG": jpeg(20 * i, 30 * c)
        for c, name in enumerate(CLASSES)
        for i in range(PICTURES)
    }
    other = {"tiny-imagenet-200/val/images/val_0.JPEG": jpeg(0, 0), "tiny-imagenet-200/wnids.txt": b"n10000001"}
    return pictures | other


def jpeg(red: int, green: int) -> bytes:
    image, content = Image.new("RGB", (64, 64), (red, green, 0)), io.BytesIO()
    image.paste((0, 0, 255), (0, 32, 64, 64))  # blue below
    image.save(content, "JPEG", quality=100, subsampling=0)
    return content.getvalue()


def pixels(data: qs.LabelledData) -> torch.Tensor:
    return data.x.index_select(0, torch.arange(len(data)))


def test_classes_are_on_the_side_where_tieredimagenet_has_them_with_their_category(folder):
    train, val, test = qs.tiny_imagenet(folder)
    assert train.classes == ("n10000001", "n10000002", "n10000003")
    assert train.groups == ("n00000001", "n00000001", "n00000002")
    assert (val.classes, test.classes) == (("n20000001",), ("n30000001", "n30000002"))
    assert (val.groups, test.groups) == (("n00000003",), ("n00000004", "n00000004"))
    assert all(isinstance(part.x, Mapped) and part.counts.unique().tolist() == [PICTURES] for part in (train, val))
    assert [part.name for part in (train, val, test)] == [f"tiny-imagenet {s}" for s in SPLITS]


def test_pictures_come_in_order_upright_and_in_colour(folder):
    test = qs.tiny_imagenet(folder)[2]
    x = pixels(test)
    assert x.shape == (2 * PICTURES, 3, 64, 64)
    expected = torch.tensor([[20 * i, 30 * c] for c in (4, 5) for i in range(PICTURES)])
    assert (x[:, :2, 10, 10].int() - expected).abs().max() <= 3  # red by picture, green by class, as JPEG keeps them
    assert x[:, 2, 50, 10].min() > 250
    assert x[:, 2, 10, 10].max() < 5
    assert qs.tiny_imagenet(folder, size=84)[2].x.shape == (2 * PICTURES, 3, 84, 84)


def test_the_zip_the_folder_it_unpacks_to_and_a_flat_zip_give_the_same_data(folder, tmp_path):
    expected = qs.tiny_imagenet(folder)
    (tmp_path / "unpacked").mkdir()
    with zipfile.ZipFile(folder / "tiny-imagenet-200.zip") as archive:
        archive.extractall(tmp_path / "unpacked")
    (tmp_path / "flat" / "tiny-imagenet").mkdir(parents=True)
    with zipfile.ZipFile(tmp_path / "flat" / "tiny-imagenet" / "tiny_imagenet_200x120.zip", "w") as archive:
        for name, content in official().items():
            archive.writestr(f"tiny-imagenet/{Path(name).stem.split('_')[0]}/{Path(name).name}", content)
    for other in ("unpacked", "flat"):
        for found, part in zip(qs.tiny_imagenet(tmp_path / other), expected, strict=True):
            assert torch.equal(pixels(found), pixels(part))
            assert torch.equal(found.y, part.y)
            assert (found.classes, found.groups) == (part.classes, part.groups)


def no_packing(*_):
    raise AssertionError("packed again")


def test_a_second_load_maps_what_was_packed_and_another_zip_is_packed_anew(folder, monkeypatch):
    before = pixels(qs.tiny_imagenet(folder)[0])
    with monkeypatch.context() as patch:
        patch.setattr(arrow, "_pack", no_packing)
        assert torch.equal(pixels(qs.tiny_imagenet(folder)[0]), before)
    with zipfile.ZipFile(folder / "tiny-imagenet-200.zip", "w") as archive:
        for name, content in official().items():
            archive.writestr(name, jpeg(7, 7) if "n10000001_0." in name else content)
    assert not torch.equal(pixels(qs.tiny_imagenet(folder)[0]), before)


@pytest.mark.parametrize("damage", [lambda whole: whole[: len(whole) // 2], lambda _: b"", lambda _: b"broken"])
def test_a_damaged_pack_is_packed_anew(folder, monkeypatch, damage):
    before = pixels(qs.tiny_imagenet(folder)[1])
    path = folder / "tiny-imagenet-64-val.arrow"
    path.write_bytes(damage(path.read_bytes()))
    assert torch.equal(pixels(qs.tiny_imagenet(folder)[1]), before)
    monkeypatch.setattr(arrow, "_pack", no_packing)
    assert torch.equal(pixels(qs.tiny_imagenet(folder)[1]), before)


def test_where_the_folder_cannot_be_written_the_users_cache_is(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(arrow, "_writable", lambda path: path.parent == tmp_path / "cache")
    before = pixels(qs.tiny_imagenet(folder)[0])
    assert [path.name for path in folder.iterdir()] == ["tiny-imagenet-200.zip"]
    monkeypatch.setattr(arrow, "_writable", lambda _: False)
    assert torch.equal(pixels(qs.tiny_imagenet(folder)[0]), before)
    for path in (tmp_path / "cache").iterdir():
        path.unlink()
    with pytest.raises(PermissionError, match=r"packed once into a file, but neither .*data nor .*cache can be"):
        qs.tiny_imagenet(folder)


def test_a_broken_picture_is_named_and_nothing_half_written_is_left(folder):
    with zipfile.ZipFile(folder / "tiny-imagenet-200.zip", "w") as archive:
        for name, content in official().items():
            archive.writestr(name, content[:200] if "n20000001_3." in name else content)
    with pytest.raises(ValueError, match=r"n20000001_3.JPEG is not a readable picture"):
        qs.tiny_imagenet(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["tiny-imagenet-200.zip", "tiny-imagenet-64-train.arrow"]


def test_a_damaged_zip_a_truncated_one_and_one_with_pictures_missing_are_named(folder):
    path = folder / "tiny-imagenet-200.zip"
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[whole.index(b"n10000001_0.JPEG") + 200] ^= 1
    path.write_bytes(flipped)
    with pytest.raises(ValueError, match=r"tiny-imagenet-200.zip is damaged \(Bad CRC-32"):
        qs.tiny_imagenet(folder)
    path.write_bytes(whole[:-2000])
    with pytest.raises(ValueError, match=r"tiny-imagenet-200.zip is not a whole zip file"):
        qs.tiny_imagenet(folder)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in official().items():
            if "n10000002_4." not in name:
                archive.writestr(name, content)
    with pytest.raises(ValueError, match="not the whole Tiny ImageNet.*: n10000002 has 10, others 11"):
        qs.tiny_imagenet(folder)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "empty")
    with pytest.raises(ValueError, match="not the whole Tiny ImageNet.*: n10000001 has 0, others 500"):
        qs.tiny_imagenet(folder)
    assert [path.name for path in folder.iterdir()] == ["tiny-imagenet-200.zip"]


def test_a_folder_without_it_is_told_what_to_put_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no Tiny ImageNet in .*looked for .*Put tiny-imagenet-200.zip there"):
        qs.tiny_imagenet(tmp_path)


def test_a_download_is_checked_against_its_pinned_hash(folder, monkeypatch):
    def download(url, known_hash, **_):
        assert (url, known_hash) == (module.URL, f"md5:{module.MD5}")
        return str(folder / "tiny-imagenet-200.zip")

    monkeypatch.delenv("QUICKSTUDY_DATA", raising=False)
    monkeypatch.setattr(files.pooch, "retrieve", download)
    assert len(qs.tiny_imagenet()[2].classes) == 2


def test_without_pyarrow_the_extra_is_named_before_anything_is_read(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setattr(module, "read_image", None)
    with pytest.raises(ImportError, match=r"pip install 'quickstudy\[arrow\]'"):
        qs.tiny_imagenet(folder)


def test_the_command_line_has_it_by_name_in_any_size_and_in_colour_alone(folder):
    assert splits("tiny-imagenet", folder)[0].x.shape[1:] == (3, 64, 64)
    assert splits("tiny-imagenet", folder, size=32, channels=3)[0].x.shape[1:] == (3, 32, 32)
    with pytest.raises(ValueError, match="tiny-imagenet has colour pictures of 64 pixels, not 1 x 64"):
        splits("tiny-imagenet", folder, channels=1)


REAL = os.environ.get("QUICKSTUDY_DATA")


@pytest.mark.skipif(not REAL, reason="set QUICKSTUDY_DATA to a folder with the real Tiny ImageNet to count it")
def test_the_real_tiny_imagenet_has_its_counts(tmp_path):
    real = module.find(Path(REAL))
    (tmp_path / real.name).symlink_to(real)  # so that it is packed here, not there
    parts = qs.tiny_imagenet(tmp_path, size=16)
    assert [len(part.classes) for part in parts] == [61, 17, 45]
    assert [len(set(part.groups)) for part in parts] == [17, 6, 8]
    assert len({tuple(part.counts.unique().tolist()) for part in parts}) == 1
    lists = Path(REAL) / "splits" / "tiered_imagenet_split"
    if not lists.is_dir():
        return
    names = {module.PICTURE.search(file)[1] for file in module.listing(real)}
    for part, split in zip(parts, ("train", "val", "test"), strict=True):
        rows = csv.reader((lists / f"{split}.csv").read_text().split())
        listed = {name: group for name, group in rows if name in names}
        assert dict(zip(part.classes, part.groups, strict=True)) == listed

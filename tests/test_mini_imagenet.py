import csv
import io
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

import quickstudy as qs
from quickstudy.data import arrow
from quickstudy.data import mini_imagenet as module
from quickstudy.data.labelled import Mapped
from quickstudy.data.sources import splits

SPLITS = {"train": "n10000001 n10000002 n10000003", "val": "n20000001 n20000002", "test": "n30000001"}
PICTURES = 3


@pytest.fixture(autouse=True)
def small(tmp_path, monkeypatch):
    """Six classes instead of a hundred."""
    monkeypatch.setattr(module, "cache_directory", lambda: tmp_path / "cache")
    monkeypatch.setattr(arrow, "cache_directory", lambda: tmp_path / "cache")
    monkeypatch.setattr(module, "SPLITS", SPLITS)


@pytest.fixture
def folder(tmp_path) -> Path:
    """Pictures and lists, the pictures larger than they will be, the lists in an order of their own."""
    data = tmp_path / "data"
    (data / "images").mkdir(parents=True)
    for split, names in SPLITS.items():
        rows = [(f"{name}{i:08d}.jpg", name) for i in range(PICTURES) for name in names.split()]
        for file, name in rows:
            (data / "images" / file).write_bytes(jpeg(int(file[9:17]), int(name[1:]) % 97))
        write_list(data / f"{split}.csv", rows)
    return data


def jpeg(i: int, c: int) -> bytes:
    image, content = Image.new("RGB", (120, 100), (50 * i, c, 0)), io.BytesIO()
    image.paste((0, 0, 255), (0, 50, 120, 100))  # blue below
    image.save(content, "JPEG", quality=100, subsampling=0)
    return content.getvalue()


def write_list(path: Path, rows, header=("filename", "label")) -> None:
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def pixels(data: qs.LabelledData) -> torch.Tensor:
    return data.x.index_select(0, torch.arange(len(data)))


def export(parts, folder: Path, label=lambda part, y: part.classes[y]) -> Path:
    """The arrays of a data set, as they are exported from pickles."""
    folder.mkdir()
    for split, part in zip(SPLITS, parts, strict=True):
        images = pixels(part).permute(0, 2, 3, 1).numpy()
        np.savez(folder / f"{split}.npz", images=images, labels=[label(part, y) for y in part.y.tolist()])
    return folder


class Table(dict):
    """A dataset of the hub: columns by name, rows by number."""

    def __init__(self, features, columns):
        super().__init__(columns)
        self.features = features

    def __getitem__(self, key):
        return super().__getitem__(key) if isinstance(key, str) else {name: self[name][key] for name in self}

    def cast_column(self, name, kind):
        assert not kind.decode
        return self


class Picture:
    def __init__(self, decode=True):
        self.decode = decode


def hub_of(monkeypatch, tables):
    library = SimpleNamespace(Image=Picture, ClassLabel=SimpleNamespace, load_dataset=lambda _: tables)
    monkeypatch.setitem(sys.modules, "datasets", library)


def table(folder: Path, files, label, names=None) -> Table:
    pictures = [{"bytes": (folder / "images" / file).read_bytes(), "path": None} for file in files]
    kind = SimpleNamespace(names=names) if names else "int64"
    return Table({"image": Picture(), "label": kind}, {"image": pictures, "label": [label(file) for file in files]})


def listed(folder: Path, split: str) -> list[str]:
    return list(module.read_list(folder, split))


def test_splits_share_no_class_and_pictures_are_mapped_upright_and_in_colour(folder):
    parts = qs.mini_imagenet(folder)
    assert [part.classes for part in parts] == [tuple(names.split()) for names in SPLITS.values()]
    assert [part.name for part in parts] == ["mini-imagenet train", "mini-imagenet val", "mini-imagenet test"]
    for part in parts:
        assert isinstance(part.x, Mapped)
        assert part.x.shape == (PICTURES * len(part.classes), 3, 84, 84)
        assert part.counts.tolist() == [PICTURES] * len(part.classes)
        x = pixels(part)
        for c, name in enumerate(part.classes):
            top = x[part.table[c], :, 10, 10].int()  # red by picture, green by class, as JPEG keeps them
            expected = torch.tensor([[50 * i, int(name[1:]) % 97, 0] for i in range(PICTURES)])
            assert (top - expected).abs().max() <= 3
        assert x[:, 2, 70, 10].min() > 250


def test_lists_may_lie_with_other_splits_and_all_in_a_folder_of_its_own(folder, tmp_path):
    expected = pixels(qs.mini_imagenet(folder)[1])
    root = tmp_path / "root"
    (root / "splits" / "mini-imagenet-ravi").mkdir(parents=True)
    (root / "mini-imagenet").mkdir()
    (folder / "images").rename(root / "mini-imagenet" / "images")
    for split in SPLITS:
        (folder / f"{split}.csv").rename(root / "splits" / "mini-imagenet-ravi" / f"{split}.csv")
    assert torch.equal(pixels(qs.mini_imagenet(root)[1]), expected)


def same(parts, expected, names: bool = True) -> bool:
    return all(
        torch.equal(pixels(one), pixels(other))
        and torch.equal(one.y, other.y)
        and (not names or one.classes == other.classes)
        for one, other in zip(parts, expected, strict=True)
    )


def test_arrays_give_the_same_data_with_names_or_with_numbers(folder, tmp_path):
    expected = qs.mini_imagenet(folder)
    assert same(qs.mini_imagenet(export(expected, tmp_path / "named")), expected)
    numbered = qs.mini_imagenet(export(expected, tmp_path / "numbered", lambda _, y: y))
    assert same(numbered, expected, names=False)
    assert numbered[1].classes == ("val 00", "val 01")


def test_the_hub_gives_the_same_data_by_class_or_by_split(folder, tmp_path, monkeypatch):
    expected = qs.mini_imagenet(folder)
    names = sorted(" ".join(SPLITS.values()).split())
    files = [file for split in SPLITS for file in listed(folder, split)]
    by_class = {  # all classes in each of its splits
        split: table(folder, part, lambda file: names.index(file[:9]), names)
        for split, part in (("train", files[:10]), ("validation", files[10:12]), ("test", files[12:]))
    }
    hub_of(monkeypatch, by_class)
    assert same(qs.mini_imagenet(hub="someone/by-class"), expected)
    by_split = {
        {"val": "validation"}.get(split, split): table(
            folder, listed(folder, split), lambda file, split=split: SPLITS[split].split().index(file[:9])
        )
        for split in SPLITS
    }
    hub_of(monkeypatch, by_split)
    assert same(qs.mini_imagenet(hub="someone/by-split"), expected, names=False)
    monkeypatch.setitem(sys.modules, "datasets", None)
    assert same(qs.mini_imagenet(hub="someone/by-class"), expected)  # from the cache
    with pytest.raises(ImportError, match=r"pip install 'quickstudy\[hub\]'"):
        qs.mini_imagenet(hub="someone/else")


def test_a_dataset_of_the_hub_that_is_another_is_refused(folder, monkeypatch):
    files = listed(folder, "train")
    hub_of(monkeypatch, {"train": table(folder, files, lambda file: files.index(file))})
    with pytest.raises(ValueError, match=r"a/b is not of Ravi & Larochelle's split: it has 9 classes, 0 of them among"):
        qs.mini_imagenet(hub="a/b")
    hub_of(monkeypatch, {"whole": table(folder, files, lambda _: 0)})
    with pytest.raises(ValueError, match="a/b has splits whole, with none of the classes by WordNet id; needed train"):
        qs.mini_imagenet(hub="a/b")
    hub_of(monkeypatch, {"train": Table({"text": "string", "label": "int64"}, {})})
    with pytest.raises(ValueError, match="a/b train has columns text, label; needed one of pictures, and one of label"):
        qs.mini_imagenet(hub="a/b")
    hub_of(monkeypatch, {"test": table(folder, files, lambda _: -1, ["a class"])})
    with pytest.raises(ValueError, match="a/b test has pictures without a label; drop that split, or those rows"):
        qs.mini_imagenet(hub="a/b")


def no_packing(*_):
    raise AssertionError("packed again")


def test_a_second_load_maps_what_was_packed_and_other_pictures_are_packed_anew(folder, tmp_path, monkeypatch):
    before = qs.mini_imagenet(folder)
    arrays = export(before, tmp_path / "arrays")
    qs.mini_imagenet(arrays)
    with monkeypatch.context() as patch:
        patch.setattr(arrow, "_pack", no_packing)
        assert same(qs.mini_imagenet(folder), before)
        assert same(qs.mini_imagenet(arrays), before)
    (folder / "images" / "n3000000100000001.jpg").write_bytes(jpeg(5, 5))
    assert not same(qs.mini_imagenet(folder), before)


@pytest.mark.parametrize("damage", [lambda whole: whole[: len(whole) // 2], lambda _: b"", lambda _: b"broken"])
def test_a_damaged_pack_is_packed_anew(folder, damage):
    before = qs.mini_imagenet(folder)
    first = [pixels(part).clone() for part in before]
    path = folder / "mini-imagenet-84-val.arrow"
    path.write_bytes(damage(path.read_bytes()))
    assert all(torch.equal(pixels(part), x) for part, x in zip(qs.mini_imagenet(folder), first, strict=True))


def test_a_folder_without_it_is_told_what_is_needed(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"no mini-ImageNet in .*: neither images/ with train.csv, nor train"):
        qs.mini_imagenet(tmp_path)
    (tmp_path / "mini-imagenet-cache-train.pkl").write_bytes(b"")
    with pytest.raises(FileNotFoundError, match=r"how to export mini-imagenet-cache-train.pkl, which is not read"):
        qs.mini_imagenet(tmp_path)
    monkeypatch.delenv("QUICKSTUDY_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match="mini-ImageNet is not downloaded by itself; name the folder"):
        qs.mini_imagenet()


def test_lists_that_are_missing_or_of_another_split_are_named(folder):
    rows = [(file, "n30000001") for file in listed(folder, "test")]
    (folder / "test.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"no test.csv in .*looked for .*Fetch Ravi & Larochelle's lists"):
        qs.mini_imagenet(folder)
    write_list(folder / "test.csv", rows, ("file", "class"))
    with pytest.raises(ValueError, match=r"test.csv has columns file, class; needed filename and label"):
        qs.mini_imagenet(folder)
    write_list(folder / "test.csv", [(file, "n10000001") for file, _ in rows])
    with pytest.raises(ValueError, match=r"test.csv is not of .* split: it has 1 classes, 0 of them among the 1 for"):
        qs.mini_imagenet(folder)
    write_list(folder / "test.csv", [("n39.jpg", "n30000001"), *rows])
    with pytest.raises(FileNotFoundError, match=r"images lacks 1 of the 4 pictures that test.csv lists, such as n39"):
        qs.mini_imagenet(folder)


def test_a_class_of_two_splits_is_named(folder, tmp_path):
    arrays = export(qs.mini_imagenet(folder), tmp_path / "words", lambda part, y: f"bird {y}")
    with pytest.raises(ValueError, match="class 'bird 0' is in mini-imagenet train and in mini-imagenet val"):
        qs.mini_imagenet(arrays)


def test_a_broken_picture_is_named_and_nothing_half_written_is_left(folder):
    (folder / "images" / "n1000000200000001.jpg").write_bytes(jpeg(1, 1)[:300])
    before = sorted(folder.rglob("*"))
    with pytest.raises(ValueError, match=r"n1000000200000001.jpg is not a readable picture"):
        qs.mini_imagenet(folder)
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": np.zeros((3, 84, 84, 3), np.uint8)}, "it holds images.; needed arrays images and labels"),
        (
            {"images": np.zeros((3, 84, 84, 3)), "labels": [0, 1, 2]},
            r"images float64 \[3, 84, 84, 3\] and labels",
        ),
        ({"images": np.zeros((3, 3, 84, 84), np.uint8), "labels": [0, 1, 2]}, r"images uint8 \[3, 3, 84, 84\]"),
        (
            {"images": np.zeros((3, 84, 84, 3), np.uint8), "labels": [[0], [1], [2]]},
            r"labels int64 \[3, 1\]; needed uint8 \[N, 84",
        ),
        ({"images": np.zeros((3, 84, 84, 3), np.uint8), "labels": [0, 1]}, r"labels int64 \[2\]; needed uint8 \[N, 84"),
        ({"images": np.zeros((2, 84, 84, 3), np.uint8), "labels": [0, 1]}, "it has 2 classes, 0 of them among the 3"),
        ({"images": np.zeros((1, 84, 84, 3), np.uint8), "labels": np.array([{}])}, "cannot be read .Object arrays"),
    ],
)
def test_arrays_that_are_none_of_it_are_named(tmp_path, arrays, message):
    np.savez(tmp_path / "train.npz", **arrays)
    with pytest.raises(ValueError, match=f"train.npz .*{message}"):
        qs.mini_imagenet(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["train.npz"]


def test_damaged_arrays_are_named(folder, tmp_path):
    path = export(qs.mini_imagenet(folder), tmp_path / "arrays") / "val.npz"
    whole = path.read_bytes()
    path.write_bytes(whole[:-2000])
    with pytest.raises(ValueError, match="val.npz is not a whole zip file"):
        qs.mini_imagenet(path.parent)
    flipped = bytearray(whole)
    flipped[5000] ^= 1
    path.write_bytes(flipped)
    with pytest.raises(ValueError, match=r"val.npz cannot be read \(Bad CRC-32"):
        qs.mini_imagenet(path.parent)


def test_the_command_line_has_it_by_name_in_its_own_size(folder):
    assert splits("mini-imagenet", folder, size=84, channels=3)[2].x.shape == (PICTURES, 3, 84, 84)
    with pytest.raises(ValueError, match="mini-imagenet has colour pictures of 84 pixels, not 3 x 64"):
        splits("mini-imagenet", folder, size=64)


LISTS = Path(os.environ.get("QUICKSTUDY_DATA", "")) / "splits" / "mini-imagenet-ravi"


@pytest.mark.skipif(not LISTS.is_dir(), reason="set QUICKSTUDY_DATA to a folder with splits/mini-imagenet-ravi")
def test_the_real_lists_are_those_of_ravi_and_larochelle(monkeypatch):
    monkeypatch.undo()
    for split, count in (("train", 64), ("val", 16), ("test", 20)):
        labels = list(module.read_list(LISTS.parent.parent, split).values())
        assert len(set(labels)) == count
        assert all(labels.count(name) == 600 for name in set(labels))

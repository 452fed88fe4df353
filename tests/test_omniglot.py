import io
import os
import zipfile
from pathlib import Path

import pytest
import torch
from PIL import Image

import quickstudy as qs
from quickstudy.data import files
from quickstudy.data import omniglot as module

CHARACTERS = {"images_background.zip": 12, "images_evaluation.zip": 4}


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A tiny Omniglot: 6 + 2 alphabets of 2 characters, each drawing a different grey."""
    monkeypatch.setattr(files, "cache_directory", lambda: tmp_path / "cache")
    monkeypatch.setattr(module, "cache_directory", lambda: tmp_path / "cache")
    sizes = {name: (module.ZIPS[name][0], count // 2, count) for name, count in CHARACTERS.items()}
    monkeypatch.setattr(module, "ZIPS", sizes)
    data = tmp_path / "data"
    (data / "splits" / "vinyals").mkdir(parents=True)
    names = []
    for name, count in CHARACTERS.items():
        names += write_zip(data / name, count)
    for split, part in (("train", names[:9]), ("val", names[9:12]), ("test", names[12:])):
        lines = [f"{character}/rot{turn:03d}" for character in part for turn in (0, 90, 180, 270)]
        (data / "splits" / "vinyals" / f"{split}.txt").write_text("\n".join(lines) + "\n")
    return data


def write_zip(path: Path, count: int, drawings: int = 20) -> list[str]:
    names = [f"{path.stem[7:]}{c // 2}/character{c % 2 + 1:02d}" for c in range(count)]
    with zipfile.ZipFile(path, "w") as archive:
        for c, name in enumerate(names):
            for d in range(drawings):
                archive.writestr(f"{path.stem}/{name}/{c:04d}_{d + 1:02d}.png", png(c * drawings + d))
    return names


def png(number: int) -> bytes:
    image, content = Image.new("L", (105, 105), 255), io.BytesIO()
    image.paste(255 - number % 200, (0, 0, 52, 105))  # ink on the left
    image.save(content, "png")
    return content.getvalue()


def test_every_class_is_on_one_side_of_the_split_with_all_its_rotations(folder):
    parts = qs.omniglot(folder)
    assert [len(part.classes) for part in parts] == [36, 12, 16]
    characters = [{name.rsplit("/", 1)[0] for name in part.classes} for part in parts]
    assert [len(part) for part in characters] == [9, 3, 4]
    assert not characters[0] & characters[1] | characters[0] & characters[2] | characters[1] & characters[2]


def test_rotations_are_turns_of_the_same_drawings_and_classes_of_their_own(folder):
    train, _, _ = qs.omniglot(folder)
    first = [train.x[train.table[c]] for c in (0, 9, 18, 27)]
    for turn, drawings in enumerate(first):
        assert torch.equal(drawings, torch.rot90(first[0], turn, (-2, -1)))
        assert train.classes[9 * turn] == f"background0/character01/rot{90 * turn:03d}"
    assert train.counts.tolist() == [20] * 36


def test_ink_is_bright_on_black_and_drawings_keep_their_class(folder):
    train, _, _ = qs.omniglot(folder, rotations=False)
    assert train.x.shape == (180, 1, 28, 28)
    assert train.x[:, 0, 14, 5].tolist() == list(range(180))
    assert train.x[:, 0, 14, 25].unique().tolist() == [0]
    assert train.y.tolist() == [c for c in range(9) for _ in range(20)]


def test_lakes_split_keeps_alphabets_whole(folder):
    parts = qs.omniglot(folder, split="lake", rotations=False)
    assert [len(part.classes) for part in parts] == [2, 10, 4]
    assert set(parts[2].groups) == {"evaluation0", "evaluation1"}
    assert set(parts[0].groups) == {"background0"}


def test_the_cache_is_read_the_second_time_and_made_anew_for_other_zips(folder, monkeypatch):
    before = qs.omniglot(folder)[0]
    assert (folder / "omniglot-28.safetensors").exists()
    with monkeypatch.context() as patch:
        patch.setattr(module, "read_image", None)
        assert torch.equal(qs.omniglot(folder)[0].x, before.x)
    (folder / "omniglot-28.safetensors").write_bytes(b"broken")
    assert torch.equal(qs.omniglot(folder)[0].x, before.x)
    names = write_zip(folder / "images_background.zip", 12)
    with zipfile.ZipFile(folder / "images_background.zip", "a") as archive:
        archive.writestr("note.txt", "another zip")
    assert names
    monkeypatch.setattr(module, "read_image", None)
    with pytest.raises(TypeError):
        qs.omniglot(folder)


def test_the_folder_may_be_named_by_the_environment(folder, monkeypatch):
    monkeypatch.setenv("QUICKSTUDY_DATA", str(folder))
    assert len(qs.omniglot()[0].classes) == 36
    monkeypatch.setenv("QUICKSTUDY_DATA", str(folder / "nowhere"))
    with pytest.raises(FileNotFoundError, match=r"no such folder: .*nowhere \(from the variable QUICKSTUDY_DATA\)"):
        qs.omniglot()


def nothing_is_left(folder: Path) -> bool:
    return (
        not list(folder.rglob("*.safetensors"))
        and not list(folder.rglob("*.part"))
        and not (folder.parent / "cache").exists()
    )


def test_a_truncated_zip_is_named_and_nothing_is_left(folder):
    path = folder / "images_evaluation.zip"
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(ValueError, match=r"images_evaluation.zip is not a whole zip file.*bytes\); needed Omniglot's"):
        qs.omniglot(folder)
    assert nothing_is_left(folder)


def test_a_zip_with_a_flipped_bit_is_named_and_nothing_is_left(folder):
    path = folder / "images_evaluation.zip"
    content = bytearray(path.read_bytes())
    at = content.index(b"IDAT") + 6
    content[at] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"images_evaluation.zip is damaged \(Bad CRC-32"):
        qs.omniglot(folder)
    assert nothing_is_left(folder)


def test_a_zip_of_other_counts_is_named_with_what_was_expected_and_found(folder):
    write_zip(folder / "images_background.zip", 10)
    expected = "expected 6 alphabets, 12 characters and 240 drawings; found 5, 10 and 200"
    with pytest.raises(ValueError, match=expected):
        qs.omniglot(folder)
    assert nothing_is_left(folder)


def test_a_missing_zip_is_named_with_where_it_was_looked_for(folder):
    (folder / "images_background.zip").unlink()
    with pytest.raises(FileNotFoundError, match=r"images_background.zip is not in .*looked for .*omniglot/images_back"):
        qs.omniglot(folder)


def test_a_list_of_unknown_characters_is_refused(folder):
    (folder / "splits" / "vinyals" / "val.txt").write_text("Klingon/character01/rot000\n")
    with pytest.raises(ValueError, match="lists 'Klingon/character01', which is no character of Omniglot"):
        qs.omniglot(folder)


def test_a_download_that_is_not_what_was_pinned_is_refused(tmp_path, monkeypatch):
    def wrong(*_, **__):
        raise ValueError("MD5 hash of downloaded file does not match")

    monkeypatch.delenv("QUICKSTUDY_DATA", raising=False)
    monkeypatch.setattr(files.pooch, "retrieve", wrong)
    with pytest.raises(ValueError, match="the download of https.*images_background.zip is not the file it should be"):
        qs.omniglot()


def test_being_offline_is_said_with_what_to_do(monkeypatch):
    def offline(*_, **__):
        raise OSError("no route to host")

    monkeypatch.delenv("QUICKSTUDY_DATA", raising=False)
    monkeypatch.setattr(files.pooch, "retrieve", offline)
    with pytest.raises(ConnectionError, match=r"could not download .* --data-dir or the variable QUICKSTUDY_DATA"):
        qs.omniglot()


REAL = os.environ.get("QUICKSTUDY_DATA")


@pytest.mark.skipif(not REAL, reason="set QUICKSTUDY_DATA to a folder with the real Omniglot to count it")
def test_the_real_omniglot_has_the_counts_of_the_papers():
    parts = qs.omniglot(REAL)
    assert [len(part.classes) for part in parts] == [4 * 1028, 4 * 172, 4 * 423]
    assert all(part.counts.unique().tolist() == [20] for part in parts)
    lake = qs.omniglot(REAL, split="lake", rotations=False)
    assert sum(len(part.classes) for part in lake) == 1623
    assert len(set(lake[2].groups)) == 20

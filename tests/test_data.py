import numpy as np
import pytest
import torch
from learners import toy_data
from PIL import Image

import quickstudy as qs
from quickstudy.data.files import read_image
from quickstudy.data.folder import image_folder_splits
from quickstudy.data.sources import glyph_splits, splits


@pytest.fixture
def folder(tmp_path):
    for c, name in enumerate(("cat", "dog", "emu")):
        (tmp_path / name).mkdir()
        for i in range(4):
            Image.new("RGB", (40, 30), (10 * c, i, 200)).save(tmp_path / name / f"{i}.png")
    Image.new("L", (20, 20), 77).save(tmp_path / "cat" / "grey.JPG")
    (tmp_path / "cat" / "notes.txt").write_text("not a picture, and not named like one")
    return tmp_path


def test_a_folder_of_class_folders_is_read_in_order(folder):
    data = qs.image_folder(folder, size=32)
    assert data.classes == ("cat", "dog", "emu")
    assert data.counts.tolist() == [5, 4, 4]
    assert data.x.shape == (13, 3, 32, 32)
    assert data.x[data.table[2][1], :, 0, 0].tolist() == [20, 1, 200]
    assert data.x[data.table[0][4], :, 5, 5].tolist() == [77, 77, 77]
    assert qs.image_folder(folder, size=32, colour=False).x.shape == (13, 1, 32, 32)


def test_a_text_file_named_png_is_named(folder):
    (folder / "dog" / "9.png").write_text("woof")
    with pytest.raises(ValueError, match=r"dog/9.png is not a readable picture"):
        qs.image_folder(folder)


@pytest.mark.parametrize(
    ("levels", "told"),
    [(np.full((4, 4), 0.5, np.float32), "fractions"), (np.full((4, 4), 200, np.int32), "only the lowest 8 are in use")],
)
def test_grey_levels_that_would_all_be_black_are_refused(tmp_path, levels, told):
    Image.fromarray(levels).save(tmp_path / "one.tif")
    with pytest.raises(ValueError, match=f"one.tif is not a readable picture .*{told}.*; save it with 8 bits"):
        read_image(tmp_path / "one.tif", "one.tif", 4)


def test_a_size_that_is_none_is_no_fault_of_the_picture(folder):
    with pytest.raises(ValueError, match="pictures are resized to at least 1 pixel, not 0"):
        qs.image_folder(folder, size=0)


def test_a_truncated_picture_is_named(folder):
    path = folder / "dog" / "big.png"
    Image.effect_noise((100, 100), 50).save(path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ValueError, match=r"dog/big.png is not a readable picture"):
        qs.image_folder(folder)


def test_an_empty_class_and_an_empty_folder_are_named(folder, tmp_path_factory):
    (folder / "fox").mkdir()
    with pytest.raises(
        ValueError, match=r"class 'fox' in .* has no pictures \(.png, .jpg, .* or .tiff\). Add some, or rem"
    ):
        qs.image_folder(folder)
    (folder / "fox" / "red").mkdir()
    (folder / "cat" / "0.png").rename(folder / "fox" / "red" / "0.png")
    with pytest.raises(ValueError, match="They lie deeper, such as fox/red/0.png: move them up, or remove the folder"):
        qs.image_folder(folder)
    empty = tmp_path_factory.mktemp("empty")
    with pytest.raises(ValueError, match="holds no class folders"):
        qs.image_folder(empty)
    with pytest.raises(FileNotFoundError, match="no such folder"):
        qs.image_folder(empty / "nowhere")
    (empty / ".DS_Store").touch()
    with pytest.raises(ValueError, match="holds no class folders; needed .*/CLASS, each with pictures \\(.png, .jpg"):
        qs.image_folder(empty)
    with pytest.raises(ValueError, match=".DS_Store is a file; needed a folder that holds one of pictures \\(.png"):
        qs.image_folder(empty / ".DS_Store")


def test_a_class_with_too_few_pictures_is_named(folder):
    with pytest.raises(ValueError, match="need 5 examples per class; 'dog' of .* has 4"):
        qs.FewShot(qs.image_folder(folder, size=32), 2, 1, 4)


def test_folders_named_train_val_and_test_are_the_split(folder, tmp_path_factory):
    root = tmp_path_factory.mktemp("root")
    for part, name in (("train", "cat"), ("val", "dog"), ("test", "emu")):
        (root / part).mkdir()
        (folder / name).rename(root / part / name)
    assert [part.classes for part in image_folder_splits(root, size=32)] == [("cat",), ("dog",), ("emu",)]
    (root / "val").rename(root / "validation")
    with pytest.raises(ValueError, match="root0 has train and test, and no val; needed train, val and test, each with"):
        image_folder_splits(root, size=32)


def test_a_class_may_be_called_like_a_split(tmp_path):
    for name in ("train", "plane", "car", "ship", "bus"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (8, 8)).save(tmp_path / name / "one.png")
    parts = image_folder_splits(tmp_path, size=32)
    assert sorted(name for part in parts for name in part.classes) == ["bus", "car", "plane", "ship", "train"]


def test_a_split_has_every_class_once_and_keeps_groups_whole():
    data = toy_data(10)
    parts = data.split(0.6, 0.2, 0.2, seed=3)
    assert [len(part.classes) for part in parts] == [6, 2, 2]
    assert sorted(name for part in parts for name in part.classes) == sorted(data.classes)
    for part in parts:
        for c, name in enumerate(part.classes):
            assert torch.equal(part.x[part.table[c]], data.x[data.table[data.classes.index(name)]])
    grouped = qs.LabelledData("g", data.x, data.y, data.classes, tuple("aabbccddee"))
    halves = grouped.split(0.6, 0.4, seed=1)
    assert not set(halves[0].groups) & set(halves[1].groups)
    assert [part.classes for part in data.split(0.5, 0.5, seed=4)] != [
        part.classes for part in data.split(0.5, 0.5, seed=5)
    ]


def test_splits_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="add up to at most 1"):
        toy_data().split(0.9, 0.2)
    with pytest.raises(ValueError, match="toy has 3 classes, too few to split"):
        toy_data(3).split(0.1, 0.1, 0.8)


def test_labelled_data_refuses_what_does_not_belong_together():
    with pytest.raises(ValueError, match="class 'a' is listed twice"):
        qs.LabelledData("twice", torch.zeros(2, 1), torch.tensor([0, 1]), ("a", "a"))


@pytest.mark.parametrize("labels", [[0, 1, 2], [-1, 0, 1]])
def test_labels_of_no_class_are_refused(labels):
    with pytest.raises(ValueError, match=f"labels lie from {labels[0]} to {labels[2]}, and there are 2 classes, which"):
        qs.LabelledData("far", torch.zeros(3, 1), torch.tensor(labels), ("a", "b"))


@pytest.mark.usefixtures("unchecked")
def test_labels_that_are_none_are_refused():
    for y in (torch.zeros(3), torch.zeros(3, 1, dtype=torch.long)):
        with pytest.raises(TypeError, match=r"odd: y is torch.*a whole number.* Pass y of shape \[3\], of torch.long"):
            qs.LabelledData("odd", torch.zeros(3, 1), y, ("a", "b"))
    with pytest.raises(TypeError, match="y of odd is a tensor, and here a list; pass torch.as_tensor"):
        qs.LabelledData("odd", torch.zeros(3, 1), [0, 1, 1], ("a", "b"))
    with pytest.raises(TypeError, match="x of odd is a tensor, and here a ndarray; pass torch.as_tensor"):
        qs.LabelledData("odd", torch.zeros(3, 1).numpy(), torch.zeros(3).long(), ("a", "b"))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("dtype", [torch.int32, torch.int16, torch.uint8])
def test_labels_of_any_integer_type_number_the_classes(dtype):
    data = qs.LabelledData("small", torch.arange(4.0)[:, None], torch.tensor([0, 1, 1, 0], dtype=dtype), ("a", "b"))
    assert data.y.dtype == torch.int64
    assert data.select([1]).x.flatten().tolist() == [1, 2]
    assert data.table.tolist() == [[0, 3], [1, 2]]


@pytest.mark.usefixtures("unchecked")
def test_labelled_data_in_place_of_tasks_are_told_what_is_missing():
    data, one = toy_data(), qs.PrototypicalNetwork(torch.nn.Flatten())
    tasks = qs.FewShot(data, 2, 1, 2)
    one.setting = 1
    for asked in (
        lambda: qs.train(one, data, steps=1),
        lambda: qs.train(one, tasks, steps=1, validate=data),
        lambda: qs.train(one, tasks, steps=1, validate=qs.Validation(data)),
        lambda: qs.evaluate(one, data),
        lambda: qs.fit_temperature(one, data),
        lambda: qs.fit_confidence(one, data),
        lambda: qs.tune(one, data, {"setting": [1]}),
    ):
        with pytest.raises(
            TypeError, match=r"toy is labelled data, and needed are tasks drawn from it; pass qs.FewShot"
        ):
            asked()


def test_digits_are_ten_real_classes():
    data = qs.digits()
    assert len(data) == 1797
    assert data.classes == tuple("0123456789")
    assert data.x.shape[1:] == (1, 28, 28)
    assert data.x.dtype == torch.uint8
    means = torch.stack([data.x[data.y == c].float().mean(0).flatten() for c in range(10)])
    nearest = torch.cdist(data.x.float().flatten(1), means).argmin(1)
    assert (nearest == data.y).float().mean() > 0.85  # the labels belong to the pictures


def test_the_parts_of_the_glyphs_have_no_alphabet_in_common():
    train, val, test = glyph_splits(50, 25, 25)
    assert [len(part.classes) for part in (train, val, test)] == [50, 25, 25]
    assert len({*train.groups, *val.groups, *test.groups}) == 4
    assert not set(train.groups) & {*val.groups, *test.groups}


def test_sources_that_are_not_there_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no data 'nothing': it is neither a folder, nor an .arrow file, nor"):
        splits("nothing")
    with pytest.raises(ValueError, match="digits are for testing only"):
        splits("digits")
    with pytest.raises(ValueError, match="glyphs has grey pictures of 28 pixels, not 3 x 84"):
        splits("glyphs", size=84, channels=3)


def test_a_class_that_is_learned_from_is_not_tested_on(tmp_path):
    for part, name in (("train", "cat"), ("val", "dog"), ("test", "cat")):
        (tmp_path / part / name).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / part / name / "one.png")
    with pytest.raises(
        ValueError, match=r"class 'cat' is in \S+ train and in \S+ test; splits share no class\. Put it into one"
    ):
        image_folder_splits(tmp_path, size=32)

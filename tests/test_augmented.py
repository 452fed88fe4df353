import pytest
import torch
from learners import toy_data

import quickstudy as qs
from quickstudy.seeds import seeded
from quickstudy.tasks import crop, cutmix, cutout, either, flip, mixup, rotate
from quickstudy.tasks.augmented import beta

X = torch.rand(3, 4, 2, 8, 8, generator=torch.Generator().manual_seed(0))


def test_a_flip_mirrors_about_half_of_the_images_and_changes_no_pixel():
    found = flip(X.repeat(1, 100, 1, 1, 1), seeded(0, 1))
    mirrored = (found == X.repeat(1, 100, 1, 1, 1).flip(-1)).flatten(2).all(2)
    same = (found == X.repeat(1, 100, 1, 1, 1)).flatten(2).all(2)
    assert (mirrored ^ same).all()
    assert 0.4 < mirrored.float().mean() < 0.6


def test_a_crop_shifts_each_image_by_itself():
    found, shifts = crop(2)(X, seeded(0, 1)), set()
    for image, before in zip(found.flatten(0, 1), X.flatten(0, 1), strict=True):
        wide = torch.nn.functional.pad(before, (2, 2, 2, 2))
        matches = [(i, j) for i in range(5) for j in range(5) if torch.equal(image, wide[:, i : i + 8, j : j + 8])]
        assert len(matches) == 1
        shifts.add(matches[0])
    assert len(shifts) > 4


def test_a_rotation_turns_about_the_centre_by_no_more_than_asked():
    torch.testing.assert_close(rotate(0)(X, seeded(0, 1)), X)

    centre = torch.zeros(1, 1, 1, 9, 9)
    centre[..., 4, 4] = 1
    assert rotate(180)(centre, seeded(0, 1))[..., 4, 4].item() == pytest.approx(1)
    beside = torch.zeros(1, 50, 1, 9, 9)
    beside[..., 4, 7] = 1  # to the right of the centre: its angle afterwards is that of the turn
    turned = rotate(40)(beside, seeded(0, 1))[0, :, 0]
    mass, place = turned.sum((1, 2)), torch.arange(9.0) - 4
    angles = torch.atan2((turned.sum(2) * place).sum(1) / mass, (turned.sum(1) * place).sum(1) / mass).rad2deg()
    assert 30 < angles.abs().max() < 43
    assert angles.min() < -20 < 20 < angles.max()


def test_mixup_keeps_the_larger_part_of_each_image_and_takes_the_rest_from_its_own_task():
    x = torch.eye(4).view(1, 4, 1, 2, 2).repeat(2, 1, 1, 1, 1)
    x[1] *= 10
    found = mixup(1.0)(x, seeded(0, 1)).flatten(2)
    torch.testing.assert_close(found.sum(-1), torch.tensor([[1.0] * 4, [10.0] * 4]))
    assert (found[0].argmax(-1) == torch.arange(4)).all()
    assert found[0].diagonal().min() >= 0.5
    assert found[0].diagonal().min() < 0.95


def test_the_weights_of_mixup_are_beta_distributed():
    found = beta(2.0, torch.zeros(100, 100, 1, 1, 1), seeded(0, 1)).flatten()
    assert found.mean().item() == pytest.approx(0.5, abs=0.01)
    assert found.var().item() == pytest.approx(1 / 20, abs=0.002)


def test_augmented_tasks_are_a_function_of_the_seed_and_keep_their_labels():
    plain = qs.FewShot(toy_data(), 3, 2, 4)
    tasks = qs.Augmented(plain, [flip, crop(2), rotate(10), mixup(0.2)])
    one, two = (tasks.sample(4, seeded(0, 5)) for _ in range(2))
    before = plain.sample(4, seeded(0, 5))
    assert torch.equal(one.query.x, two.query.x)
    assert not torch.equal(one.query.x, before.query.x)
    assert torch.equal(one.query.y, before.query.y)
    assert one.query.x.shape == before.query.x.shape
    assert isinstance(tasks, qs.Tasks)


def test_cutmix_takes_a_rectangle_of_less_than_half_from_another_image_of_the_task():
    x = torch.arange(1.0, 9).view(2, 4, 1, 1, 1).expand(2, 4, 1, 20, 20).repeat(1, 10, 1, 1, 1)
    found = cutmix(1.0)(x, seeded(0, 1))
    strange, shapes = found != x, set()
    for task, images in enumerate(strange):
        for n, image in enumerate(images[:, 0]):
            rows, columns = image.any(1).sum(), image.any(0).sum()
            assert image.sum() == rows * columns <= 0.55 * 400  # a rectangle; half of the area, up to whole pixels
            assert found[task, n, 0][image].unique().numel() <= 1
            shapes.add((int(rows), int(columns)))
    assert len(shapes) > 20
    assert set(found[0].unique().tolist()) <= {1.0, 2.0, 3.0, 4.0}  # of its own task


def test_cutout_leaves_a_rectangle_of_zeros_of_the_share_asked_where_it_lies_within():
    found = cutout(0.25)(torch.ones(4, 100, 2, 20, 20), seeded(0, 1))
    gone = (found == 0).float().mean((2, 3, 4)).flatten()
    assert gone.max() == pytest.approx(0.25)
    assert (gone > 0).all()
    assert torch.equal(found[:, :, 0], found[:, :, 1])  # of all channels


def test_either_changes_each_image_by_one_of_some():
    found = either(lambda x, _: x + 1, lambda x, _: x + 2)(torch.zeros(1, 400, 1, 2, 2), seeded(0, 1))
    each = found[0].flatten(1)
    assert torch.equal(each.min(1).values, each.max(1).values)
    assert 150 < (each[:, 0] == 1).sum() < 250
    assert (each[:, 0] == 2).sum() == 400 - (each[:, 0] == 1).sum()

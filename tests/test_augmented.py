from dataclasses import replace

import kornia.augmentation as kornia
import pytest
import torch
from learners import toy_data

import quickstudy as qs
from quickstudy.seeds import seeded
from quickstudy.tasks import ByLibrary, crop, flip, mixup, rotate
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


def test_a_picture_that_is_not_square_is_turned_without_being_sheared():
    wide = torch.zeros(1, 50, 1, 11, 33)
    wide[..., 5, 20] = 1  # four to the right of the centre
    turned = rotate(90)(wide, seeded(0, 1))[0, :, 0]
    mass = turned.sum((1, 2))
    across = (turned.sum(1) * (torch.arange(33.0) - 16)).sum(1) / mass
    down = (turned.sum(2) * (torch.arange(11.0) - 5)).sum(1) / mass
    torch.testing.assert_close(torch.hypot(across, down), torch.full((50,), 4.0), atol=0.3, rtol=0)
    assert down.abs().max() > 3.5


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


@pytest.mark.parametrize(("alpha", "own"), [(0.001, 0.99), (0.2, 0.9), (1.0, 0.75)])
def test_the_smaller_the_alpha_the_less_is_mixed(alpha, own):
    share = beta(alpha, torch.zeros(100, 100, 1, 1, 1), seeded(0, 1))
    assert torch.maximum(share, 1 - share).mean().item() == pytest.approx(own, abs=0.01)


def test_an_alpha_that_is_not_positive_is_refused():
    with pytest.raises(ValueError, match="mixup's alpha is positive, and less is mixed the smaller it is; got 0"):
        mixup(0)


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


def examples(x: torch.Tensor) -> qs.Examples:
    return qs.Examples(x, torch.arange(x.shape[1]).expand(x.shape[:2]), ways=x.shape[1])


def test_a_transform_of_a_library_changes_each_set_of_images_by_itself():
    mirror = ByLibrary(kornia.RandomHorizontalFlip(p=1.0))
    torch.testing.assert_close(mirror(examples(X), seeded(0, 1)).x, X.flip(-1))

    x = torch.arange(1.0, 9).view(2, 4, 1, 1, 1).expand(2, 4, 1, 20, 20).repeat(1, 10, 1, 1, 1)
    mix = ByLibrary(kornia.RandomMixUpV2(lambda_val=(0.0, 0.5), data_keys=["input"]))
    found = mix(examples(x), seeded(0, 1))
    assert torch.equal(found.y, examples(x).y)
    assert not torch.equal(found.x, x)
    assert (found.x[0] >= 1).all()
    assert (found.x[0] <= 4).all()
    assert (found.x[1] >= 5).all()
    assert ((found.x - x).abs() <= 1.5).all()  # at least half of each image is its own


def test_a_library_draws_from_the_seed_of_the_tasks_and_leaves_the_random_numbers_of_others_alone():
    shift = ByLibrary(lambda x: x + torch.rand(len(x), 1, 1, 1))
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    one = shift(examples(X), seeded(0, 1)).x
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(one, shift(examples(X), seeded(0, 1)).x)
    assert not torch.equal(one, shift(examples(X), seeded(0, 2)).x)


def test_of_several_transforms_each_set_goes_through_one():
    found = ByLibrary(lambda x: x + 1, lambda x: x + 2)(examples(torch.zeros(400, 3, 1, 2, 2)), seeded(0, 1))
    x = found.x.flatten(1)
    assert torch.equal(x.min(1).values, x.max(1).values)
    assert 150 < (x[:, 0] == 1).sum() < 250
    assert (x[:, 0] == 2).sum() == 400 - (x[:, 0] == 1).sum()


def test_a_transform_may_say_whose_label_an_example_has():
    turned = ByLibrary(lambda x, numbers: (x.flip(0), numbers.flip(0)), labels=True)
    before = replace(examples(X), classes=examples(X).y + 10)
    found = turned(before, seeded(0, 1))
    assert torch.equal(found.x, X.flip(1))
    assert torch.equal(found.y, before.y.flip(1))
    assert torch.equal(found.classes, before.classes.flip(1))  # pyright: ignore[reportArgumentType, reportOptionalMemberAccess]


def test_what_is_no_transform_of_images_is_refused():
    with pytest.raises(ValueError, match="got no transform"):
        ByLibrary()
    many = examples(X.repeat(20, 1, 1, 1, 1))
    with pytest.raises(ValueError, match=r"transform 1 made \[4, 2, 4, 8\] of images \[4, 2, 8, 8\]; as many images"):
        ByLibrary(lambda x: x, lambda x: x[:, :, ::2])(many, seeded(0, 1))
    with pytest.raises(
        ValueError, match=r"transform 0 gave \[1, 2, 3, 4\] for the numbers of 4 images; one from 0 to 3"
    ):
        ByLibrary(lambda x, numbers: (x, numbers + 1), labels=True)(many, seeded(0, 1))
    with pytest.raises(ValueError, match=r"transform 0 gave \[0, 1\] for the numbers of 4 images"):
        ByLibrary(lambda x, numbers: (x, numbers[:2]), labels=True)(many, seeded(0, 1))


def test_a_run_whose_tasks_a_library_changes_is_a_function_of_its_seed():
    """A thread would draw them while the loss takes random numbers too."""

    def losses() -> list[float]:
        torch.manual_seed(0)
        net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 8), torch.nn.Dropout(0.5))
        data = replace(toy_data(), x=torch.rand(len(toy_data()), 1, 8, 8, generator=seeded(0, "x")))
        tasks = qs.Augmented(qs.FewShot(data, 3, 2, 4), [ByLibrary(lambda x: x + torch.rand(len(x), 1, 1, 1))])
        assert not tasks.early
        return [p.loss for p in qs.train(qs.PrototypicalNetwork(net), tasks, steps=20, batch=2)]

    first = losses()
    assert all(losses() == first for _ in range(3))

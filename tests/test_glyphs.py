"""The generated handwriting: seeded, endless, and drawn so that a character can be told from others, but not easily."""

import hashlib

import pytest
import torch
from torch.nn.functional import avg_pool2d

from quickstudy.data.glyphs import INVENTORY, compose, draw, glyphs, ink, inventory, spline
from quickstudy.seeds import seeded
from quickstudy.tasks.few_shot import FewShot

DRAWINGS = 20


@pytest.fixture(scope="module")
def data():
    return glyphs(100)


def test_every_machine_draws_the_same_pixels():
    pixels = glyphs(50, drawings=4).x.numpy().tobytes()  # equal under ATEN_CPU_CAPABILITY=default, avx2 and avx512
    assert hashlib.sha256(pixels).hexdigest() == "e1ae844d60aa9bfc0b9b829534a085829091dcdc86b45902ca28e083d7fda5dc"


def blurred(data):
    """Drawings as vectors, in which strokes a pixel or two apart still overlap: [character, drawing, pixel]."""
    x = data.x.float() / 255
    for _ in range(2):
        x = avg_pool2d(x, 3, stride=1, padding=1)
    return x.flatten(1).unflatten(0, (-1, DRAWINGS))


def test_a_seed_repeats_bit_for_bit_and_another_seed_draws_others():
    assert torch.equal(glyphs(3, seed=5).x, glyphs(3, seed=5).x)
    assert not torch.equal(glyphs(3, seed=5).x, glyphs(3, seed=6).x)


def test_the_global_random_state_is_neither_used_nor_moved():
    torch.manual_seed(0)
    before, first = torch.get_rng_state(), glyphs(2).x
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(1)
    assert torch.equal(glyphs(2).x, first)


def test_a_larger_set_begins_with_the_smaller_one(data):
    small = glyphs(37)  # ends within an alphabet
    assert torch.equal(data.x[: len(small)], small.x)
    assert torch.equal(data.y[: len(small)], small.y)
    assert data.classes[:37] == small.classes


def test_alphabets_differ(data):
    alphabets = data.x.unflatten(0, (4, -1))
    assert all(not torch.equal(alphabets[a], alphabets[b]) for a in range(4) for b in range(a))


def test_images_are_bright_ink_on_a_black_ground(data):
    assert data.x.shape == (100 * DRAWINGS, 1, 28, 28)
    assert data.x.dtype == torch.uint8
    assert data.x.max() == 255
    assert 0.75 < (data.x == 0).float().mean() < 0.9  # 0.81 in Omniglot
    assert 0.06 < data.x.float().mean() / 255 < 0.12  # 0.08 in Omniglot


def test_every_drawing_has_ink_and_all_of_it_on_the_paper(data):
    assert (data.x.amax((1, 2, 3)) > 127).all()
    edge = torch.ones(28, 28, dtype=torch.bool)
    edge[1:-1, 1:-1] = False
    assert (data.x[:, 0, edge] > 127).float().mean() < 1e-3


def test_a_line_has_the_width_of_its_pen_and_no_gaps():
    along = torch.linspace(0.1, 0.9, 60)
    line = torch.stack([along, torch.full([60], 14.5 / 28), torch.full([60], 0.02), torch.full([60], 0.8 / 59)], 1)
    thick = line * torch.tensor([1, 1, 2, 1])
    image, heavy = ink(torch.stack([line, thick]), 28)[:, 0, :, 4:-4].float() / 255
    assert image.amax(0).min() > 0.8
    assert image.std(1).max() < 0.02  # the same all along
    assert 1 < image.sum(0).mean() < 3  # pixels
    assert 1.7 < heavy.sum(0).mean() / image.sum(0).mean() < 2.3


def test_a_size_shows_the_same_drawings_at_another_resolution():
    small, large = (glyphs(5, size=size).x.float() for size in (28, 56))
    difference = (avg_pool2d(large, 2) - small).abs().mean() / small.mean()
    unrelated = (small.flip(0) - small).abs().mean() / small.mean()
    assert difference < 0.25 * unrelated


def test_drawings_of_a_character_differ_but_less_than_characters_do(data):
    drawings = blurred(data)
    within = torch.cdist(drawings, drawings)  # [C, D, D]
    off_diagonal = ~torch.eye(DRAWINGS, dtype=torch.bool)
    assert within[:, off_diagonal].min() > 0.1
    between = torch.cdist(drawings[:, 0], drawings[:, 0])[~torch.eye(100, dtype=torch.bool)]
    assert within[:, off_diagonal].mean() < 0.85 * between.mean()


def test_raw_pixels_tell_characters_apart_but_poorly(data):
    episodes = FewShot(data, ways=5, shots=1, queries=5).sample(400, seeded(0, "episodes"))
    nearest = torch.cdist(episodes.query.x.flatten(2), episodes.support.x.flatten(2)).argmin(-1)
    accuracy = (episodes.support.y.gather(1, nearest) == episodes.query.y).float().mean()
    assert 0.35 < accuracy < 0.6  # chance is 0.2; 0.46 on Omniglot


def test_characters_of_an_alphabet_are_different_sets_of_its_strokes():
    most = 8 + 28 + 56 + 70  # as many as there are sets of one to four of eight strokes
    strokes = inventory(seeded(0, "alphabet", 0))
    assert len(strokes) == INVENTORY == 8
    parts, present = compose(strokes, most, seeded(0, "characters"))
    shape = parts - parts[:, :, :1]  # a stroke is known by its shape, whatever its place and size
    shape = shape / shape.flatten(2).norm(dim=-1)[..., None, None]
    known = strokes - strokes[:, :1]
    known = known / known.flatten(1).norm(dim=-1)[:, None, None]
    error, which = (shape[:, :, None] - known).abs().amax((-1, -2)).min(-1)  # [C, part]
    assert error[present].max() < 1e-4
    assert (present[:, :-1] >= present[:, 1:]).all()  # so that a stroke joins one that is there
    sets = {tuple(sorted(row[there].tolist())) for row, there in zip(which, present, strict=True)}
    assert len(sets) == most
    assert all(len(set(strokes)) == len(strokes) for strokes in sets)


def test_strokes_of_an_alphabet_are_of_different_kinds():
    for a in range(50):
        strokes = inventory(seeded(0, "alphabet", a))
        straight = (strokes[:, -1] - strokes[:, 0]).norm(dim=-1) > 0.99 * strokes.diff(dim=1).norm(dim=-1).sum(1)
        assert straight.sum() <= 4  # upright, level and slanted bar, and dot


def test_the_spots_of_a_line_overlap():
    generator = seeded(0, "alphabet", 0)
    pen = draw(*compose(inventory(generator), 100, generator), 10, generator)
    width, step = pen[..., 2:].unbind(-1)
    assert (step < 2.5 * width).float().mean() > 0.99


def test_the_spline_passes_through_its_control_points():
    weights = spline().float()
    assert torch.allclose(weights.sum(1), torch.ones(len(weights)), atol=1e-5)
    assert torch.allclose(weights[:: (len(weights) - 1) // 6], torch.eye(7), atol=1e-4)


def test_classes_are_named_by_alphabet_and_character():
    data = glyphs(7, drawings=2, per_alphabet=3)
    assert data.name == "glyphs"
    assert data.classes[0] == "alphabet00/character00"
    assert data.classes[5:] == ("alphabet01/character02", "alphabet02/character00")
    assert data.groups == ("alphabet00",) * 3 + ("alphabet01",) * 3 + ("alphabet02",)
    assert data.y.tolist() == [c for c in range(7) for _ in range(2)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"characters": 0}, "characters of at least 1, not 0. Raise characters"),
        ({"drawings": 0}, "drawings of at least 1, not 0. Raise drawings"),
        ({"per_alphabet": -2}, "per_alphabet of at least 1, not -2. Raise per_alphabet"),
        ({"size": 15}, "size of at least 16, not 15. Raise size"),
        ({"per_alphabet": 163}, "at most 162 characters, not 163. Lower per_alphabet"),
    ],
)
def test_numbers_out_of_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        glyphs(**arguments)

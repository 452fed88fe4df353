import io

import numpy as np
import pytest
import torch
from PIL import Image

from quickstudy.data.files import read_image
from quickstudy.inputs import Drawings, pixels


def half_and_half(mode: str = "L") -> Image.Image:
    """Black on the left, white on the right."""
    values = np.zeros((20, 20), dtype=np.uint8)
    values[:, 10:] = 255
    return Image.fromarray(values).convert(mode)


def test_pictures_are_squares_of_floats_and_arrays_of_floats_are_taken_as_they_are():
    encode = pixels(1, 10).fit([])
    x = encode([half_and_half("RGB"), np.asarray(half_and_half()), np.full((1, 10, 10), 0.5)])
    assert x.shape == (3, 1, 10, 10)
    assert x[0, 0, :, :4].max() == 0
    assert x[0, 0, :, 6:].min() == 1
    torch.testing.assert_close(x[0], x[1])
    assert x[2].unique().tolist() == [0.5]
    assert pixels(3, 10).fit([])([half_and_half()]).shape == (1, 3, 10, 10)
    with pytest.raises(
        ValueError, match=r"picture 1 is an array of shape \(1, 8, 8\); this learner takes \(1, 10, 10\)"
    ):
        encode([np.zeros((1, 8, 8))])


def test_drawings_have_ink_at_one_whatever_the_paper():
    paper = np.full((30, 30), 250, dtype=np.uint8)
    paper[10:20, 14:16] = 10
    dark, light = Drawings()([paper, 255 - paper])
    torch.testing.assert_close(dark, light, atol=0.01, rtol=0)
    assert dark[0, 14, 14] > 0.8 > 0.1 > dark[0, 0, 0]


def test_a_picture_is_turned_as_its_camera_says_and_put_on_white():
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera lay on its side
    half_and_half("RGB").save(file := io.BytesIO(), "jpeg", exif=exif)
    x = read_image(file.getvalue(), "a", 20)[0].float()
    assert x[:8].mean() < 20 < 235 < x[12:].mean()
    clear = half_and_half("RGBA")
    clear.putalpha(0)
    assert read_image(clear, "a", 20).min() == 255


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_of_sixteen_bits_the_upper_eight_are_seen(mode, tmp_path):
    values = np.linspace(0, 65535, 400).reshape(20, 20).astype(np.uint16)
    Image.fromarray(values).save(tmp_path / "deep.png")
    found = read_image(tmp_path / "deep.png", "deep", 20, mode)
    assert torch.equal(found, torch.from_numpy((values >> 8).astype(np.uint8)).expand_as(found))


@pytest.mark.parametrize(
    ("picture", "complaint"),
    [
        (b"no picture", "cannot identify image file"),
        (np.zeros((4, 4)), "an array of float64 of shape \\[4, 4\\]; needed bytes"),
        (np.zeros((4, 4, 3, 1), dtype=np.uint8), "an array of uint8 of shape \\[4, 4, 3, 1\\]"),
        (np.zeros((3, 5, 5), dtype=np.uint8), "an array of uint8 of shape \\[3, 5, 5\\]"),
        (torch.zeros(4, 4), "a Tensor; needed a path, bytes, a PIL picture or an array of bytes"),
        (Image.new("1", (10_000, 6_000)), "it has 10000 x 6000 pixels, more than 50,000,000"),
    ],
)
def test_what_is_no_picture_is_told(picture, complaint):
    with pytest.raises(
        ValueError, match=f"mine is not a readable picture \\(.*{complaint}.*Remove it, or save it again"
    ):
        read_image(picture, "mine", 20)


def test_part_of_a_picture_is_told():
    half_and_half("RGB").resize((200, 200)).save(file := io.BytesIO(), "png")
    with pytest.raises(ValueError, match="mine is not a readable picture"):
        read_image(file.getvalue()[:200], "mine", 20)


def test_an_array_of_one_channel_is_grey():
    grey = np.random.default_rng(0).integers(0, 256, (20, 20), dtype=np.uint8)
    assert torch.equal(read_image(grey[..., None], "grey", 20), read_image(grey, "grey", 20))

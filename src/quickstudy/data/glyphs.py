"""Glyphs: endless invented handwriting in the spirit of Omniglot, made from a seed, with nothing to download.

An alphabet has a small inventory of pen strokes; a character joins one to four of them; a drawing is the
character once more, by an unsteady hand. Characters of one alphabet share strokes, so they are easily confused.
"""

import math

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Generator, Tensor

from quickstudy.data.labelled import LabelledData
from quickstudy.seeds import seeded

EXACT = torch.float64  # so that one machine's last bit is never another machine's pixel
KINDS = torch.tensor(
    [  # turns of the pen at the five inner control points, first heading (in half turns), length, frequency
        [0.0, 0.0, 0.0, 0.0, 0.0, 0.5, 1.0, 3.0],  # upright bar
        [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 3.0],  # level bar
        [0.0, 0.0, 0.0, 0.0, 0.0, 0.3, 1.0, 1.0],  # slash or backslash
        [0.0, 0.0, 0.0, 0.0, 0.0, 0.2, 0.1, 0.5],  # dot
        [0.1, 0.1, 0.1, 0.1, 0.1, 0.5, 1.0, 2.0],  # bow
        [0.2, 0.2, 0.2, 0.2, 0.2, 0.5, 0.8, 2.0],  # arc
        [0.4, 0.4, 0.4, 0.4, 0.4, 0.0, 0.6, 1.0],  # loop
        [0.3, 0.3, 0.4, 0.5, 0.6, 0.0, 0.8, 0.3],  # spiral
        [0.0, 0.0, 0.0, 0.5, 0.4, 0.0, 1.0, 2.0],  # hook
        [0.6, 0.6, 0.4, 0.0, 0.0, 0.0, 1.0, 1.0],  # bar with a closed eye
        [0.0, 0.0, 0.5, 0.0, 0.0, 0.0, 0.9, 2.0],  # right angle
        [0.0, 0.0, 0.7, 0.0, 0.0, 0.2, 0.9, 1.0],  # wedge
        [0.0, 0.5, 0.0, 0.5, 0.0, 0.0, 0.8, 1.0],  # box, open on one side
        [0.0, 0.7, 0.0, -0.7, 0.0, 0.0, 1.0, 0.7],  # zigzag
        [0.4, 0.4, 0.0, -0.4, -0.4, 0.0, 1.0, 1.0],  # wave
        [0.5, 0.5, -0.8, 0.5, 0.5, 0.0, 1.0, 0.5],  # two bumps
    ],
    dtype=EXACT,
)
CONTROLS, SAMPLES = 7, 60  # of a stroke: control points, and points at which the pen leaves ink
INVENTORY = 8  # strokes of an alphabet
STROKES = (0.15, 0.42, 0.3, 0.13)  # the share of characters with one, two, three and four strokes
CHUNK = 512  # drawings inked at a time, to bound the memory


def glyphs(
    characters: int = 1000, *, drawings: int = 20, per_alphabet: int = 25, size: int = 28, seed: int = 0
) -> LabelledData:
    """Invented characters, each drawn several times, alphabet by alphabet: bright ink on black.

    An alphabet is a function of the seed and its number, not of the others, so a larger set begins with the smaller;
    and it is the same on every machine.
    To compare pixel by pixel they are about as hard as Omniglot's characters.

    Args:
        characters: The number of classes; the last alphabet is cut short where it does not fit.
        drawings: Examples of each class.
        per_alphabet: Characters of an alphabet; each is a different set of its strokes.
        size: Height and width of an image, in pixels; the pen grows with it.
        seed: Another seed, other alphabets.

    Raises:
        ValueError: A number out of range.

    Example:
        >>> data = glyphs(30, drawings=4)
        >>> data.x.shape, data.classes[-1]
        (torch.Size([120, 1, 28, 28]), 'alphabet01/character04')
    """
    most = sum(math.comb(INVENTORY, n + 1) for n in range(len(STROKES)))
    given = {"characters": characters, "drawings": drawings, "per_alphabet": per_alphabet, "size": size}
    for (name, value), least in zip(given.items(), (1, 1, 1, 16), strict=True):
        if value < least:
            raise ValueError(f"glyphs needs {name} of at least {least}, not {value}. Raise {name}.")
    if per_alphabet > most:
        raise ValueError(f"an alphabet has at most {most} characters, not {per_alphabet}. Lower per_alphabet.")
    images, classes = [], []
    for a in range(math.ceil(characters / per_alphabet)):
        generator = seeded(seed, "alphabet", a)
        alphabet, present = compose(inventory(generator), per_alphabet, generator)
        pen = draw(alphabet, present, drawings, generator)  # [C * D, P, 4]
        images += [ink(some, size) for some in pen.split(CHUNK)]
        classes += [f"alphabet{a:02d}/character{c:02d}" for c in range(per_alphabet)]
    classes = tuple(classes[:characters])
    x = torch.cat(images)[: characters * drawings]
    y = torch.arange(characters).repeat_interleave(drawings)
    return LabelledData("glyphs", x, y, classes, tuple(name.split("/")[0] for name in classes))


def inventory(generator: Generator) -> Float[Tensor, "stroke control 2"]:
    """The strokes of an alphabet, of different kinds: control points around their mean, about 1 unit across."""
    kind = KINDS[torch.multinomial(KINDS[:, -1], INVENTORY, generator=generator)]
    turns, heading, length = kind[:, :5], kind[:, 5:6], kind[:, 6]
    quarter = torch.randint(4, [INVENTORY, 1], generator=generator) / 2 * turns.any(-1, keepdim=True)  # not of bars
    turns = turns + 0.05 * torch.randn(turns.shape, generator=generator, dtype=EXACT) * turns.any(-1, keepdim=True)
    heading = heading + quarter + 0.03 * torch.randn(heading.shape, generator=generator, dtype=EXACT)
    side = torch.randint(2, heading.shape, generator=generator) * 2 - 1  # its mirror image as often
    angle = math.pi * side * torch.cat([heading, turns], 1).cumsum(1)
    path = torch.stack([angle.cos(), angle.sin()], -1).cumsum(1)
    path = torch.cat([torch.zeros(INVENTORY, 1, 2, dtype=EXACT), path], 1)
    length = length * (0.45 + 0.65 * torch.rand(INVENTORY, generator=generator, dtype=EXACT))
    extent = (path.amax(1) - path.amin(1)).amax(-1)
    return (path - path.mean(1, keepdim=True)) * (length / extent)[:, None, None]


def compose(
    strokes: Float[Tensor, "stroke control 2"], count: int, generator: Generator
) -> tuple[Float[Tensor, "character part control 2"], Bool[Tensor, "character part"]]:
    """Characters that differ in their set of strokes, centred, in image sides; and which of their parts are there.

    Each stroke but the first touches, at its start, middle or end, such a place of an earlier one, or stands apart.
    """
    most = len(STROKES)
    sets = [torch.combinations(torch.arange(len(strokes)), n) for n in range(1, most + 1)]
    weights = torch.cat([torch.full([len(s)], share / len(s)) for s, share in zip(sets, STROKES, strict=True)])
    table = torch.cat([torch.nn.functional.pad(s, (0, most - s.shape[1]), value=-1) for s in sets])
    chosen = table[torch.multinomial(weights, count, generator=generator)]  # [C, part]
    order = (torch.rand(chosen.shape, generator=generator) + (chosen < 0)).argsort(1)  # absent parts last
    chosen = chosen.gather(1, order)
    present = chosen >= 0
    parts = strokes[chosen] * (0.15 * torch.randn(*chosen.shape, 1, 1, generator=generator, dtype=EXACT)).exp()
    joints = torch.randint(3, [2, *chosen.shape], generator=generator) * (CONTROLS // 2)
    apart = torch.rand(*chosen.shape, 1, generator=generator) < 0.25
    gap = torch.randn(*chosen.shape, 2, generator=generator, dtype=EXACT) * torch.where(apart, 0.35, 0.03)
    every = torch.arange(count)
    for j in range(1, most):
        earlier = torch.randint(j, [count], generator=generator)
        there, here = parts[every, earlier, joints[0, :, j]], parts[every, j, joints[1, :, j]]
        parts[:, j] += (there - here + gap[:, j])[:, None]
    hidden = ~present[..., None, None]
    low, high = (parts.masked_fill(hidden, math.inf).amin((1, 2)), parts.masked_fill(hidden, -math.inf).amax((1, 2)))
    width = (high - low).amax(-1).clamp(min=0.6)
    scale = (0.4 + 0.06 * present.sum(1) + 0.25 * torch.rand(count, generator=generator, dtype=EXACT)) / width
    return (parts - (low + high)[:, None, None] / 2) * scale[:, None, None, None], present


def draw(
    alphabet: Float[Tensor, "character part control 2"],
    present: Bool[Tensor, "character part"],
    drawings: int,
    generator: Generator,
) -> Float[Tensor, "drawing point 4"]:
    """Each character drawn anew: the pen's x, y and width in image sides, and the length of line that it inks there."""
    shape = [len(alphabet), drawings, len(STROKES)]

    def noise(scale: float, *axes: int) -> Tensor:
        return scale * torch.randn(axes, generator=generator, dtype=EXACT)

    eye = torch.eye(2, dtype=EXACT)
    path = alphabet[:, None] + noise(0.015, *shape, CONTROLS, 2)  # a trembling hand
    middle = path.mean(-2, keepdim=True)
    path = (path - middle) @ (eye + noise(0.15, *shape, 2, 2)) + middle + noise(0.025, *shape, 1, 2)  # uneven strokes
    path = path @ (eye + noise(0.13, *shape[:2], 1, 2, 2))  # turned, slanted, stretched
    width = 0.019 * (noise(0.1, *shape[:2], 1, 1, 1) + noise(0.1, *shape, CONTROLS, 1)).exp()  # pressure
    pen = torch.einsum("pk,...kd->...pd", spline(), torch.cat([path, width], -1))  # [C, D, part, P + 1, 3]
    step = pen.diff(dim=-2)[..., :2].norm(dim=-1, keepdim=True) * present[:, None, :, None, None]
    pen = torch.cat([(pen[..., 1:, :] + pen[..., :-1, :]) / 2, step], -1).flatten(2, 3).flatten(0, 1)
    seen = pen[..., 3:] > 0
    low, high = (pen[..., :2].where(seen, math.inf).amin(1), pen[..., :2].where(seen, -math.inf).amax(1))
    shrink = (0.9 / (high - low).amax(-1, keepdim=True)).clamp(max=1)  # all of it stays on the paper
    room = (0.9 - (high - low) * shrink) / 2
    centre = torch.minimum(torch.maximum(noise(0.06, len(pen), 2), -room), room)
    at = (pen[..., :2] - (low + high)[:, None] / 2) * shrink[:, None] + centre[:, None]
    return torch.cat([at + 0.5, pen[..., 2:]], -1)


def spline() -> Float[Tensor, "point control"]:
    """The weights of the control points in the points of a Catmull-Rom spline through them, ends doubled."""
    t = torch.linspace(0, CONTROLS - 1, SAMPLES + 1, dtype=EXACT)
    span = t.long().clamp(max=CONTROLS - 2)
    u = t - span
    cubic = torch.stack([-u + 2 * u**2 - u**3, 2 - 5 * u**2 + 3 * u**3, u + 4 * u**2 - 3 * u**3, u**3 - u**2], 1) / 2
    index = (span[:, None] + torch.arange(-1, 3)).clamp(0, CONTROLS - 1)
    return torch.zeros(len(t), CONTROLS, dtype=EXACT).scatter_add(1, index, cubic)


def ink(pen: Float[Tensor, "drawing point 4"], size: int) -> UInt8[Tensor, "drawing 1 {size} {size}"]:
    """The drawings as images: a Gaussian spot of ink at every point, worth the length of line that it stands for."""
    x, y, width, step = pen[..., None, :].unbind(-1)  # [D, P, 1]
    pixel = (torch.arange(size, dtype=EXACT) + 0.5) / size
    spread = [((pixel - at) / width).square() / -2 for at in (x, y)]  # [D, P, size]
    across, down = (power.clamp(min=-30).exp() for power in spread)  # a denormal number would cost thrice the time
    paper = (down * step / (width * math.sqrt(2 * math.pi))).mT @ across  # a long line is 1 along its middle
    shade = (1 - torch.exp(-2 * paper) - 0.05) / 0.9
    return (shade.clamp(0, 1) * 255).round().to(torch.uint8)[:, None]

"""Augmentation of image tasks as tensor operations, where the images lie: on the CPU, or on another device."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample, pad

from quickstudy.contract import Episodes, Examples
from quickstudy.seeds import drawing_from
from quickstudy.tasks.few_shot import FewShot

Images = Float[Tensor, "task example channel height width"]
Augmentation = Callable[[Images, torch.Generator], Images]


class Augmented:
    """Tasks whose images are changed at random, each by itself, as they are drawn; for meta-training.

    Args:
        tasks: Where tasks come from.
        augmentations: Applied one after the other, to support and query images alike; a transform of another library
            by `ByLibrary`.

    Example:
        >>> from quickstudy.data.labelled import LabelledData
        >>> data = LabelledData("toy", torch.rand(40, 1, 28, 28), torch.arange(40) % 8, tuple("abcdefgh"))
        >>> tasks = Augmented(FewShot(data, 3, 1, 4), [flip, crop(2), rotate(15), mixup(0.2)])
        >>> tasks.sample(16, torch.Generator().manual_seed(0)).query.x.shape
        torch.Size([16, 12, 1, 28, 28])
    """

    def __init__(self, tasks: FewShot, augmentations: "Sequence[Augmentation | ByLibrary]"):
        self.tasks, self.augmentations = tasks, tuple(augmentations)
        self.early = getattr(tasks, "early", True) and not any(isinstance(one, ByLibrary) for one in self.augmentations)
        """Whether batches may be drawn in a thread: not where they take the random numbers of the whole process."""

    def sample(self, tasks: int, generator: torch.Generator) -> Episodes:
        """A batch of tasks, a function of the generator's state alone."""
        episodes = self.tasks.sample(tasks, generator)
        return Episodes(*(self._augmented(part, generator) for part in (episodes.support, episodes.query)))

    def _augmented(self, examples: Examples, generator: torch.Generator) -> Examples:
        for augmentation in self.augmentations:
            if isinstance(augmentation, ByLibrary):
                examples = augmentation(examples, generator)
            else:
                examples = replace(examples, x=augmentation(examples.x, generator))
        return examples


class ByLibrary:
    """A transform of another library, such as Kornia or torchvision, of each task's support or query images.

    What mixes images so mixes those of one task. A task's labels are whole numbers; the loss of mixed labels is, on
    average, that of labels drawn by the images' shares, which `labels` allows.

    Args:
        transforms: From images [N, C, H, W] to as many of the same size. Of several, each set of images goes through
            one, drawn at random. They draw from PyTorch's own random generator, which is seeded by the tasks' and left
            as it was.
        labels: Whether they are given the numbers of the images, too, [N] from 0 to N - 1, and give both back: an
            example then has the label of the image whose number stands in its place.

    Raises:
        ValueError: No transform; or images of another shape, or other numbers, that come back.

    Example:
        >>> brighter = ByLibrary(lambda x: x + torch.rand(len(x), 1, 1, 1))
        >>> images = Examples(torch.zeros(2, 3, 1, 8, 8), torch.arange(3).expand(2, 3), ways=3)
        >>> brighter(images, torch.Generator().manual_seed(0)).x.shape
        torch.Size([2, 3, 1, 8, 8])
    """

    def __init__(self, *transforms: Callable[..., Any], labels: bool = False):
        if not transforms:
            raise ValueError("ByLibrary got no transform; give one of another library, or several to draw from.")
        self.transforms, self.labels = transforms, labels

    def __call__(self, examples: Examples, generator: torch.Generator) -> Examples:
        which = torch.randint(len(self.transforms), (len(examples),), generator=generator).tolist()
        with drawing_from(int(torch.randint(2**62, (1,), generator=generator))):
            changed = [self._changed(number, images) for number, images in zip(which, examples.x, strict=True)]
        x, numbers = (torch.stack(parts) for parts in zip(*changed, strict=True))
        rows = torch.arange(len(x), device=x.device)[:, None]
        classes = None if examples.classes is None else examples.classes[rows, numbers]
        return replace(examples, x=x, y=examples.y[rows, numbers], classes=classes)

    def _changed(self, number: int, images: Tensor) -> tuple[Tensor, Tensor]:
        places = torch.arange(len(images), device=images.device)
        change = self.transforms[number]
        x, numbers = change(images, places) if self.labels else (change(images), places)
        if x.shape != images.shape:
            raise ValueError(
                f"transform {number} made {list(x.shape)} of images {list(images.shape)}; as many images of the same "
                f"size must come back."
            )
        if numbers.shape != places.shape or not torch.isin(numbers, places).all():
            raise ValueError(
                f"transform {number} gave {numbers.tolist()} for the numbers of {len(images)} images; one from 0 to "
                f"{len(images) - 1} for each must come back."
            )
        return x, numbers.long()


def flip(x: Images, generator: torch.Generator) -> Images:
    """Half of the images, mirrored left to right."""
    mirrored = _random(x, generator) < 0.5
    return torch.where(mirrored[..., None, None, None], x.flip(-1), x)


def crop(padding: int) -> Augmentation:
    """Each image shifted by up to so many pixels each way, what moves in from outside being zero."""

    def shift(x: Images, generator: torch.Generator) -> Images:
        height, width = x.shape[-2:]
        offsets = (torch.stack([_random(x, generator), _random(x, generator)]) * (2 * padding + 1)).long()  # [2, T, N]
        rows, columns = (
            offset[..., None] + torch.arange(size, device=x.device)
            for offset, size in zip(offsets, (height, width), strict=True)
        )
        wide = pad(x, (padding,) * 4)
        wide = wide.gather(3, rows[:, :, None, :, None].expand(*x.shape[:4], wide.shape[-1]))
        return wide.gather(4, columns[:, :, None, None].expand(x.shape))

    return shift


def rotate(degrees: int | float) -> Augmentation:
    """Each image turned about its centre by up to so many degrees either way, bilinearly; corners become zero."""

    def turn(x: Images, generator: torch.Generator) -> Images:
        angle = (2 * _random(x, generator).flatten() - 1) * math.radians(degrees)
        tall = x.shape[-2] / x.shape[-1]  # a grid's places go from -1 to 1 either way, whichever is longer
        zero, across, down = torch.zeros_like(angle), -angle.sin() * tall, angle.sin() / tall
        matrix = torch.stack([angle.cos(), across, zero, down, angle.cos(), zero], -1).view(-1, 2, 3)
        images = x.flatten(0, 1)
        grid = affine_grid(matrix.to(x.dtype), list(images.shape), align_corners=False)
        return grid_sample(images, grid, align_corners=False).view_as(x)

    return turn


def mixup(alpha: int | float) -> Augmentation:
    """Each image with a little of another one of its set: x + (1 - m) (other - x), after Zhang et al. (2018).

    m is drawn from Beta(alpha, alpha) and at least 1/2, and the label stays that of the larger part, where the paper
    mixes labels too: a task's labels are whole numbers. https://arxiv.org/abs/1710.09412

    Raises:
        ValueError: An alpha that is not positive; the smaller it is, the less is mixed.
    """
    if not alpha > 0:
        raise ValueError(f"mixup's alpha is positive, and less is mixed the smaller it is; got {alpha}.")

    def mix(x: Images, generator: torch.Generator) -> Images:
        other = x.gather(1, _random(x, generator).argsort(1)[..., None, None, None].expand_as(x))
        share = beta(alpha, x, generator)
        own = torch.maximum(share, 1 - share)[..., None, None, None]
        return own * x + (1 - own) * other

    return mix


def beta(alpha: int | float, x: Images, generator: torch.Generator) -> Float[Tensor, "task example"]:
    """Draws from Beta(alpha, alpha), one for each image."""
    shape = torch.full((2, *x.shape[:2]), alpha + 1.0)
    larger = torch._standard_gamma(shape, generator=generator)  # pyright: ignore[reportPrivateImportUsage]
    uniform = 1 - torch.rand(shape.shape, generator=generator)
    first, second = larger.log() + uniform.log() / alpha  # of gammas of alpha, which are too small for a float
    return (first - second).sigmoid().to(x.device, x.dtype)


def _random(x: Images, generator: torch.Generator) -> Float[Tensor, "task example"]:
    """A uniform number for each image; drawn on the CPU, so that every device draws the same."""
    return torch.rand(x.shape[:2], generator=generator).to(x.device)

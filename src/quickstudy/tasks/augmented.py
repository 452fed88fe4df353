"""Augmentation of image tasks as tensor operations, where the images lie: on the CPU, or on another device."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample, pad

from quickstudy.contract import Episodes, Examples
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

    def __init__(self, tasks: FewShot, augmentations: Sequence[Augmentation]):
        self.tasks, self.augmentations = tasks, tuple(augmentations)
        self.early = not any(isinstance(one, ByLibrary) for one in self.augmentations)
        """Whether batches may be drawn in a thread: not where they take the random numbers of the whole process."""

    def sample(self, tasks: int, generator: torch.Generator) -> Episodes:
        """A batch of tasks, a function of the generator's state alone."""
        episodes = self.tasks.sample(tasks, generator)
        return Episodes(*(self._augmented(part, generator) for part in (episodes.support, episodes.query)))

    def _augmented(self, examples: Examples, generator: torch.Generator) -> Examples:
        x = examples.x
        for augmentation in self.augmentations:
            x = augmentation(x, generator)
        return replace(examples, x=x)


class ByLibrary:
    """A transform of another library, such as Kornia or torchvision, of each task's support or query images.

    What mixes images, such as Kornia's `RandomMixUpV2(lambda_val=(0.0, 0.5), data_keys=["input"])`, so mixes those of
    one task. Labels stay as they are: a task's labels are whole numbers.

    Args:
        transforms: From images [N, C, H, W] to as many of the same size. Of several, each set of images goes through
            one, drawn at random. They draw from PyTorch's own random generator, which is seeded by the tasks' and left
            as it was.

    Raises:
        ValueError: No transform, or images that come back in another shape.

    Example:
        >>> brighter = ByLibrary(lambda x: x + torch.rand(len(x), 1, 1, 1))
        >>> brighter(torch.zeros(2, 3, 1, 8, 8), torch.Generator().manual_seed(0)).shape
        torch.Size([2, 3, 1, 8, 8])
    """

    def __init__(self, *transforms: Callable[[Tensor], Tensor]):
        if not transforms:
            raise ValueError("ByLibrary got no transform; give one of another library, or several to draw from.")
        self.transforms = transforms

    def __call__(self, x: Images, generator: torch.Generator) -> Images:
        which = torch.randint(len(self.transforms), (len(x),), generator=generator).tolist()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(torch.randint(2**62, (1,), generator=generator)))
            changed = [self.transforms[number](images) for number, images in zip(which, x, strict=True)]
        for number, images in zip(which, changed, strict=True):
            if images.shape != x.shape[1:]:
                raise ValueError(
                    f"transform {number} made {list(images.shape)} of images {list(x.shape[1:])}; as many images of "
                    f"the same size must come back."
                )
        return torch.stack(changed)


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
        zero = torch.zeros_like(angle)
        matrix = torch.stack([angle.cos(), -angle.sin(), zero, angle.sin(), angle.cos(), zero], -1).view(-1, 2, 3)
        images = x.flatten(0, 1)
        grid = affine_grid(matrix.to(x.dtype), list(images.shape), align_corners=False)
        return grid_sample(images, grid, align_corners=False).view_as(x)

    return turn


def mixup(alpha: int | float) -> Augmentation:
    """Each image with a little of another one of its set: x + (1 - m) (other - x), after Zhang et al. (2018).

    m is drawn from Beta(alpha, alpha) and at least 1/2, and the label stays that of the larger part, where the paper
    mixes labels too: a task's labels are whole numbers. https://arxiv.org/abs/1710.09412
    """

    def mix(x: Images, generator: torch.Generator) -> Images:
        other = x.gather(1, _random(x, generator).argsort(1)[..., None, None, None].expand_as(x))
        share = beta(alpha, x, generator)
        own = torch.maximum(share, 1 - share)[..., None, None, None]
        return own * x + (1 - own) * other

    return mix


def beta(alpha: int | float, x: Images, generator: torch.Generator) -> Float[Tensor, "task example"]:
    """Draws from Beta(alpha, alpha), one for each image."""
    shape = torch.full((2, *x.shape[:2]), float(alpha))
    gammas = torch._standard_gamma(shape, generator=generator)  # pyright: ignore[reportPrivateImportUsage]
    first, second = gammas.clamp(min=1e-30)
    return (first / (first + second)).to(x.device, x.dtype)


def _random(x: Images, generator: torch.Generator) -> Float[Tensor, "task example"]:
    """A uniform number for each image; drawn on the CPU, so that every device draws the same."""
    return torch.rand(x.shape[:2], generator=generator).to(x.device)

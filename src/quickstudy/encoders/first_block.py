"""The first block of `Conv4` on a CPU: the same numbers as its four layers, sooner.

A first layer has few input channels, and its input needs no gradient. So it is a product with the image's patches,
and the statistics of what comes out follow from the patches' own mean and covariance, which are small: nothing of the
size of the output is kept or passed over twice.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import pad

from quickstudy.encoders.norm import remember
from quickstudy.functional import functional
from quickstudy.peers import alone, sum_over_peers
from quickstudy.stacked import apart, apply_stacked, hooked, together

ROWS = 2048  # of the output at a time, so that it stays in the cache


class FirstBlock(nn.Sequential):
    """Convolution, batch normalisation, maximum over 2x2 (unless the convolution strides by 2), rectifier."""

    def forward(self, input: Float[Tensor, "example channel height width"]) -> Tensor:
        convolution, norm = self[0], self[1]
        suits, plain = _suits(input), not any(map(hooked, self))
        if not (isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d) and suits and plain):
            return super().forward(channel_last(input) if suits else input)
        strided = convolution.stride[0] == 2
        examples, _, height, width = input.shape
        patches = lay_out(input, strided)  # [4 or 1, channel x 9, M]
        weight = convolution.weight.flatten(1)  # [D, channel x 9]
        bias = weight.new_zeros(len(weight)) if convolution.bias is None else convolution.bias
        if norm.training or not norm.track_running_stats:
            mean, covariance, count = moments(patches, shared=norm.track_running_stats)
            mean, variance = weight @ mean + bias, ((weight @ covariance) * weight).sum(1)
            remember(norm, mean, variance, count)
        else:
            mean, variance = norm.running_mean, norm.running_var
            assert mean is not None
            assert variance is not None
        scale = norm.weight * torch.rsqrt(variance + norm.eps)
        weight, shift = weight * scale[:, None], norm.bias + (bias - mean) * scale
        y = (
            torch.addmm(shift, patches[0].T, weight.T.contiguous()).relu()
            if strided
            else PatchMaximum.apply(patches, weight, shift)
        )
        return y.view(examples, height // 2, width // 2, -1).permute(0, 3, 1, 2)

    def stacked(self, weights: Mapping[str, Tensor], x: Tensor, tasks: int) -> Tensor:
        """One task after the other, where that is the faster way."""
        if not isinstance(self[1], nn.BatchNorm2d):
            return apply_stacked(nn.Sequential(*self), weights, x, tasks)
        own = [{name: w[task] for name, w in weights.items()} for task in range(tasks)]
        call = functional(self)
        outputs = [call(w, images) for w, images in zip(own, apart(x, tasks), strict=True)]
        return together(torch.stack(outputs))


def channel_last(x: Float[Tensor, "example channel height width"]) -> Tensor:
    """The same images. Those of one channel lie with it last too, by strides that make all layers keep that order."""
    mapped = torch._C._functorch.maybe_current_level() is not None  # pyright: ignore[reportAttributeAccessIssue]
    if x.shape[1] > 1 or mapped:  # torch.func.vmap knows no such order
        return x
    return x.reshape(len(x), *x.shape[2:], 1).permute(0, 3, 1, 2)


def _suits(x: Tensor) -> bool:
    """On a CPU, in full precision, as long as no gradient of the images is asked for."""
    even = x.shape[-1] % 2 == 0 and x.shape[-2] % 2 == 0
    plain = x.device.type == "cpu" and not torch.is_autocast_enabled("cpu") and not torch.compiler.is_compiling()
    return plain and even and not x.requires_grad


def lay_out(x: Float[Tensor, "example channel height width"], strided: bool) -> Float[Tensor, "place patch row"]:
    """The 3x3 patches of an image padded by 1: those of every 2x2 block side by side, or the first of each alone."""
    windows = pad(x, (1, 1, 1, 1)).unfold(2, 3, 2 if strided else 1).unfold(3, 3, 2 if strided else 1)
    windows = windows.permute(1, 4, 5, 0, 2, 3)  # [channel, 3, 3, example, height, width]
    if not strided:
        height, width = x.shape[2] // 2, x.shape[3] // 2
        windows = windows.unflatten(5, (width, 2)).unflatten(4, (height, 2)).permute(5, 7, 0, 1, 2, 3, 4, 6)
    return windows.reshape(1 if strided else 4, 9 * x.shape[1], -1)


def moments(patches: Float[Tensor, "place patch row"], shared: bool) -> tuple[Tensor, Tensor, Tensor | int]:
    """The mean and the covariance of the patches, and their number; over all peers, where these share statistics."""
    count, mean = patches.shape[0] * patches.shape[2], patches.mean((0, 2))
    if shared and not alone():
        sums = sum_over_peers(torch.cat([mean * count, mean.new_tensor([count])]))
        count, mean = sums[-1], sums[:-1] / sums[-1]
    centred = patches - mean[:, None]
    scatter = (centred @ centred.mT).sum(0)
    return mean, (sum_over_peers(scatter) if shared and not alone() else scatter) / count, count


def products(patches: Float[Tensor, "place patch row"], weight: Float[Tensor, "d patch"]) -> Tensor:
    """Every patch by every weight, [place, row, D], without a copy of the patches."""
    y = patches.new_empty(patches.shape[0], patches.shape[2], len(weight))
    for place, out in zip(patches, y, strict=True):
        torch.mm(place.T, weight.T, out=out)
    return y


class PatchMaximum(torch.autograd.Function):
    """relu(max over a block's patches of (W patch) + b), which keeps its input and output and recomputes the rest."""

    @staticmethod
    def forward(patches: Tensor, weight: Tensor, shift: Tensor) -> Tensor:
        y = patches.new_empty(patches.shape[2], len(weight))
        for block, out in zip(patches.split(ROWS, 2), y.split(ROWS), strict=True):
            torch.amax(products(block, weight), 0, out=out)
        return y.add_(shift).relu_()

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        ctx.save_for_backward(*inputs, output)

    @staticmethod
    def backward(ctx, gradient: Tensor):  # pyright: ignore[reportIncompatibleMethodOverride]
        patches, weight, _, y = ctx.saved_tensors
        by_weight, by_shift = torch.zeros_like(weight), 0
        rows = zip(patches.split(ROWS, 2), y.split(ROWS), gradient.split(ROWS), strict=True)
        for block, out, g in rows:
            with torch.no_grad():
                highest = products(block, weight)
                torch.eq(highest, highest.amax(0), out=highest)
                ties = highest.sum(0)  # equal patches, which share the gradient
            g = torch.ops.aten.threshold_backward(g, out, 0)
            by_shift = by_shift + g.sum(0)
            by_patch = highest * (g / ties) if torch.is_grad_enabled() else highest.mul_(g / ties)
            by_weight = by_weight + (block @ by_patch).sum(0).T
        return None, by_weight, by_shift

    @staticmethod
    def vmap(info, in_dims, *tensors):
        """One call after another: what `torch.func.vmap` maps over need not be small."""
        one = [
            PatchMaximum.apply(
                *(t if dim is None else t.select(dim, i) for t, dim in zip(tensors, in_dims, strict=True))
            )
            for i in range(info.batch_size)
        ]
        return torch.stack(one), 0

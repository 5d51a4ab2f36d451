"""Structural similarity, which takes at most a fifth of a training step.

Owns the index and its gradient. Does not own the training loss built from it (``hemgs.training.losses``).

The convention is that of 3DGS (arXiv 2308.04079) and of all methods derived from it. It has an 11 x 11 Gaussian window
of standard deviation 1.5, one plane per colour channel, zeros beyond the border, and a mean over all pixels. The
original SSIM paper leaves out the border. scikit-image mirrors it, and averages without it. Inside a margin of
:data:`RADIUS` pixels the maps agree.

One pass blurs four moments per channel, with the symmetric window along rows and then along columns. The index needs
only the sum of the two second moments. The gradient is analytic: the window is its own adjoint, so the backward pass is
one blur of three maps. On the CPU a blur is a sum of shifted copies. This is faster than grouped convolution, and gives
the same bits for any number of threads.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from hemgs.metrics.metric import Metric, check_images, visible_part

#: Window of 3DGS: 11 taps, standard deviation 1.5 pixels (Wang et al. 2004, section III-B).
RADIUS = 5
SIGMA = 1.5
#: Stabilising constants (K1 L)^2 and (K2 L)^2 with K1 = 0.01, K2 = 0.03, L = 1 (Wang et al. 2004).
C1 = 0.01**2
C2 = 0.03**2


def _taps() -> list[float]:
    weights = [math.exp(-(k**2) / (2.0 * SIGMA**2)) for k in range(RADIUS + 1)]
    total = weights[0] + 2.0 * sum(weights[1:])
    return [weight / total for weight in weights]


#: Window weights at distance 0, 1, ..., RADIUS; the full symmetric window sums to 1.
TAPS = _taps()


def load(device: torch.device) -> Mapping[str, Metric]:
    """Return the metric ``ssim``, which computes on the device of its images."""
    return {"ssim": ssim}


def ssim(image: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return the mean structural similarity of two images.

    With a mask, both images are equal in hidden pixels, and the mean is over visible ones. Hidden pixels still lie in
    the windows of visible ones next to them.

    Args:
        image, target: ``[H, W, 3]`` floating point, range [0, 1].
        mask: ``[H, W] bool``, true for the pixels that count; ``None`` for all.

    Returns:
        Scalar tensor in [-1, 1], 1 where the images are equal. Differentiable once, in both arguments.

    Raises:
        ValueError: the shapes differ or the tensors are not floating point.

    >>> image = torch.linspace(0, 1, 768).reshape(16, 16, 3)
    >>> round(float(ssim(image, image)), 6), float(ssim(image, 1 - image)) < 0
    (1.0, True)
    """
    check_images(image, target)
    result: Tensor = _MeanSsim.apply(visible_part(image, target, mask), target, mask)  # type: ignore[no-untyped-call]
    return result


class _MeanSsim(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, image: Tensor, target: Tensor, mask: Tensor | None) -> Tensor:
        moments = _moments(image, target)
        ctx.save_for_backward(image, target, mask, *moments)
        index = _index(*moments)[0]
        return index.mean() if mask is None else (index * mask[..., None]).sum() / (mask.sum() * index.shape[-1])

    @staticmethod
    @once_differentiable  # type: ignore[misc, untyped-decorator, unused-ignore]
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        image, target, mask, mean_a, mean_b, square, cross = ctx.saved_tensors
        index, numerator_mean, numerator_cov, inverse, denominator_mean, denominator_var = _index(
            mean_a, mean_b, square, cross
        )
        scale: Tensor = gradient / (index.numel() if mask is None else mask.sum() * index.shape[-1])
        by_square = -index / denominator_var
        by_cross = 2.0 * numerator_mean * inverse
        # Both means enter the index in the same way, each times the other or times itself.
        by_other = 2.0 * (numerator_cov - numerator_mean) * inverse
        by_self = 2.0 * index * (1.0 / denominator_var - 1.0 / denominator_mean)

        def towards(own: Tensor, other: Tensor, own_mean: Tensor, other_mean: Tensor) -> Tensor:
            maps = torch.stack((by_other * other_mean + by_self * own_mean, by_square, by_cross))
            if mask is not None:
                maps *= mask[..., None]
            by_mean, by_own_square, by_product = blur(maps)
            by_own: Tensor = by_mean + 2.0 * own * by_own_square + other * by_product
            return by_own * scale

        first = towards(image, target, mean_a, mean_b) if ctx.needs_input_grad[0] else None
        second = towards(target, image, mean_b, mean_a) if ctx.needs_input_grad[1] else None
        return first, second, None


def _moments(image: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return windowed means of a, b, a² + b² and ab, each ``[H, W, 3]``."""
    planes = image.new_empty((4, *image.shape))
    planes[0] = image
    planes[1] = target
    torch.mul(image, image, out=planes[2]).addcmul_(target, target)
    torch.mul(image, target, out=planes[3])
    blurred = blur(planes)
    return blurred[0], blurred[1], blurred[2], blurred[3]


def _index(
    mean_a: Tensor, mean_b: Tensor, square: Tensor, cross: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return the index and the factors that its gradient uses, each ``[H, W, 3]``.

    Returns:
        index, both factors of the numerator, 1 / denominator, both factors of the denominator.
    """
    product = mean_a * mean_b
    squares = mean_a * mean_a + mean_b * mean_b
    numerator_mean = 2.0 * product + C1
    numerator_cov = 2.0 * (cross - product) + C2
    denominator_mean = squares + C1
    denominator_var = square - squares + C2
    inverse = 1.0 / (denominator_mean * denominator_var)
    index = numerator_mean * numerator_cov * inverse
    return index, numerator_mean, numerator_cov, inverse, denominator_mean, denominator_var


def blur(planes: Tensor) -> Tensor:
    """Blur ``[M, H, W, 3]`` with the Gaussian window along W and H, zeros beyond the border; same shape and dtype.

    >>> [round(value, 4) for value in blur(torch.ones(1, 11, 11, 3))[0, 5, 5].tolist()]
    [1.0, 1.0, 1.0]
    """
    return _blur_by_convolution(planes) if planes.is_cuda else _blur_by_shifts(planes)


def _blur_by_shifts(planes: Tensor) -> Tensor:
    for axis in (2, 1):
        length = planes.shape[axis]
        total = planes * TAPS[0]
        for distance in range(1, min(RADIUS, length - 1) + 1):
            kept = length - distance
            total.narrow(axis, 0, kept).add_(planes.narrow(axis, distance, kept), alpha=TAPS[distance])
            total.narrow(axis, distance, kept).add_(planes.narrow(axis, 0, kept), alpha=TAPS[distance])
        planes = total
    return planes


def _blur_by_convolution(planes: Tensor) -> Tensor:
    num_maps, height, width, num_channels = planes.shape
    groups = num_maps * num_channels
    window = planes.new_tensor(TAPS[:0:-1] + TAPS)
    flat = planes.permute(0, 3, 1, 2).reshape(1, groups, height, width)
    flat = F.conv2d(flat, window.expand(groups, 1, 1, -1), padding=(0, RADIUS), groups=groups)
    flat = F.conv2d(flat, window[:, None].expand(groups, 1, -1, 1), padding=(RADIUS, 0), groups=groups)
    return flat.reshape(num_maps, num_channels, height, width).permute(0, 2, 3, 1)

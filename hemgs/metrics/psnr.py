"""Peak signal-to-noise ratio.

Owns the formula for one pair of images. Does not own averaging over views: a scene's PSNR is the mean of its views'
PSNRs, never the PSNR of the mean error.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from hemgs.metrics.metric import Metric, check_images, visible_part


def load(device: torch.device) -> Mapping[str, Metric]:
    """Return the metric ``psnr``, which computes on the device of its images."""
    return {"psnr": psnr}


def psnr(image: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return the PSNR in dB, from one mean squared error over all pixels and channels.

    This is the formula of the released code of 3DGS (arXiv 2308.04079).

    Args:
        image, target: ``[H, W, 3]`` floating point, range [0, 1], so that the peak is 1.
        mask: ``[H, W] bool``, true for the pixels that count; ``None`` for all.

    Returns:
        Scalar tensor; ``inf`` where the images are equal. Differentiable elsewhere.

    Raises:
        ValueError: the shapes differ or the tensors are not floating point.

    >>> round(float(psnr(torch.full((4, 4, 3), 0.5), torch.full((4, 4, 3), 0.4))), 3)
    20.0
    """
    check_images(image, target)
    squares = (visible_part(image, target, mask) - target) ** 2
    return -10.0 * torch.log10(torch.mean(squares if mask is None else squares[mask]))

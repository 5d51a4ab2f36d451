"""Peak signal-to-noise ratio.

Owns the formula for one pair of images. Does not own averaging over views: a scene's PSNR is the mean of its
views' PSNRs, never the PSNR of the mean error.
"""

from __future__ import annotations

import torch
from torch import Tensor


def psnr(image: Tensor, target: Tensor) -> Tensor:
    """PSNR in dB, from one mean squared error over all pixels and channels (3DGS, arXiv 2308.04079, released code).

    Args:
        image, target: ``[H, W, 3]`` floating point, range [0, 1], so that the peak is 1.

    Returns:
        Scalar tensor; ``inf`` where the images are equal. Differentiable elsewhere.

    Raises:
        ValueError: the shapes differ or the tensors are not floating point.
    """
    check_images(image, target)
    return -10.0 * torch.log10(torch.mean((image - target) ** 2))


def check_images(image: Tensor, target: Tensor) -> None:
    """Raises ``ValueError`` unless both are floating-point ``[H, W, 3]`` of one shape, dtype and device."""
    if image.shape != target.shape:
        raise ValueError(f"images differ in shape: {tuple(image.shape)} and {tuple(target.shape)}")
    if image.ndim != 3 or image.shape[-1] != 3 or image.numel() == 0:
        raise ValueError(f"expected [H, W, 3], found {tuple(image.shape)}")
    if not image.is_floating_point() or image.dtype != target.dtype:
        raise ValueError(f"expected one floating-point dtype, found {image.dtype} and {target.dtype}")
    if image.device != target.device:
        raise ValueError(f"images are on {image.device} and {target.device}")

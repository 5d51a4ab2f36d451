"""The type of all metrics, and the check of their images."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

#: Function of two images, each ``[H, W, 3]`` floating point in [0, 1], that returns a scalar.
Metric = Callable[[Tensor, Tensor], Tensor]


def check_images(image: Tensor, target: Tensor) -> None:
    """Raise ``ValueError`` unless both are floating-point ``[H, W, 3]`` of one shape, dtype and device.

    >>> import torch
    >>> check_images(torch.zeros(4, 4, 3), torch.zeros(4, 5, 3))
    Traceback (most recent call last):
    ValueError: images differ in shape: (4, 4, 3) and (4, 5, 3)
    """
    if image.shape != target.shape:
        raise ValueError(f"images differ in shape: {tuple(image.shape)} and {tuple(target.shape)}")
    if image.ndim != 3 or image.shape[-1] != 3 or image.numel() == 0:
        raise ValueError(f"expected [H, W, 3], found {tuple(image.shape)}")
    if not image.is_floating_point() or image.dtype != target.dtype:
        raise ValueError(f"expected one floating-point dtype, found {image.dtype} and {target.dtype}")
    if image.device != target.device:
        raise ValueError(f"images are on {image.device} and {target.device}")

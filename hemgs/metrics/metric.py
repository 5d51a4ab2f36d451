"""The type of all metrics, and the checks of their images and masks."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor


class Metric(Protocol):
    """A function of two images that returns a scalar."""

    def __call__(self, image: Tensor, target: Tensor, mask: Tensor | None = None, /) -> Tensor:
        """Return the metric of two images, each ``[H, W, 3]`` floating point in [0, 1].

        Args:
            image, target: the view and the photograph.
            mask: ``[H, W] bool``, true for the pixels that count; ``None`` for all. Nothing may depend on the image
                where it is false, and a mean is taken over the pixels that count.
        """
        ...


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


def visible_part(image: Tensor, target: Tensor, mask: Tensor | None) -> Tensor:
    """Return the image with the target's values where the mask is false, so that hidden pixels are equal in both.

    Args:
        image, target: ``[H, W, 3]`` floating point.
        mask: ``[H, W] bool``; ``None`` hides nothing.

    Raises:
        ValueError: the mask has another shape, type or device.

    >>> visible_part(torch.ones(1, 2, 3), torch.zeros(1, 2, 3), torch.tensor([[True, False]]))[..., 0].tolist()
    [[1.0, 0.0]]
    """
    if mask is None:
        return image
    if mask.dtype != torch.bool or mask.shape != image.shape[:2] or mask.device != image.device:
        raise ValueError(
            f"expected a mask {tuple(image.shape[:2])} of bool on {image.device}, found {tuple(mask.shape)} of "
            f"{mask.dtype} on {mask.device}"
        )
    return torch.where(mask[..., None], image, target)

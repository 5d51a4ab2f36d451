"""The loss of a rendered view in training. Does not own the metrics in it (``hemgs.metrics``)."""

from __future__ import annotations

from torch import Tensor

from hemgs.metrics.metric import visible_part
from hemgs.metrics.ssim import ssim


def reconstruction_loss(image: Tensor, target: Tensor, ssim_weight: float, mask: Tensor | None = None) -> Tensor:
    """Return ``(1 - w) * mean |image - target| + w * (1 - SSIM)``, a differentiable scalar.

    With a mask, both means are over visible pixels, and the gradient of hidden ones is exactly zero.

    Args:
        image, target: ``[H, W, 3] float32``; the target in [0, 1], the image not clamped.
        ssim_weight: w, in [0, 1].
        mask: ``[H, W] bool``, true for visible pixels; ``None`` for all.
    """
    if mask is None:
        absolute = (image - target).abs().mean()
    else:
        differences = (visible_part(image, target, mask) - target).abs()
        absolute = differences.sum() / (mask.sum() * differences.shape[-1])
    return (1.0 - ssim_weight) * absolute + ssim_weight * (1.0 - ssim(image, target, mask))

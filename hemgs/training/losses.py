"""The loss of a rendered view in training. Does not own the metrics in it (``hemgs.metrics``)."""

from __future__ import annotations

from torch import Tensor

from hemgs.metrics.ssim import ssim


def reconstruction_loss(image: Tensor, target: Tensor, ssim_weight: float) -> Tensor:
    """Return ``(1 - w) * mean |image - target| + w * (1 - SSIM)``, a differentiable scalar.

    Args:
        image, target: ``[H, W, 3] float32``; the target in [0, 1], the image not clamped.
        ssim_weight: w, in [0, 1].
    """
    absolute = (image - target).abs().mean()
    return (1.0 - ssim_weight) * absolute + ssim_weight * (1.0 - ssim(image, target))

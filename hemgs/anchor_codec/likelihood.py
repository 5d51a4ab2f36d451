"""Price of a value under quantised Gaussians, or mixtures of two: the training-time form of the coder's tables."""

from __future__ import annotations

import math

import torch
from torch import Tensor

#: Least probability in the price (HAC, arXiv 2403.14530, released code: 1e-6); the coder escapes.
MIN_PROBABILITY = 1e-9
#: Narrowest and widest standard deviation in steps, log2; within the range of the coder's tables.
MIN_LOG2_SCALE, MAX_LOG2_SCALE = -4.0, 8.0


def gaussian_bits(values: Tensor, mean: Tensor, log2_scale: Tensor) -> Tensor:
    """Return the bits of each value, in units of its step; differentiable.

    Args:
        values, mean: in steps, any shape.
        log2_scale: log2 of the standard deviation in steps; clamped to the coder's range.

    Returns:
        bits, same shape, at most ``-log2(MIN_PROBABILITY)``.
    """
    return _bits(_probabilities(values, mean, log2_scale))


def mixture_bits(values: Tensor, first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor], weight: Tensor) -> Tensor:
    """Return the bits of values under mixtures of two Gaussians; see :func:`gaussian_bits`.

    Args:
        values: values in steps, any shape.
        first, second: mean and log2_scale of each Gaussian.
        weight: weight of the first, 0 to 1.
    """
    return _bits(torch.lerp(_probabilities(values, *second), _probabilities(values, *first), weight))


def _bits(probabilities: Tensor) -> Tensor:
    return -torch.log2(probabilities.clamp_min(MIN_PROBABILITY))


def _probabilities(values: Tensor, mean: Tensor, log2_scale: Tensor) -> Tensor:
    """Return the probability of values one step wide."""
    inverse = torch.exp2(-log2_scale.clamp(MIN_LOG2_SCALE, MAX_LOG2_SCALE)) * math.sqrt(0.5)
    distance = (values - mean).abs()
    # With a positive distance both terms are small in the tail, so their difference is precise.
    upper = torch.erfc((distance - 0.5) * inverse)
    lower = torch.erfc((distance + 0.5) * inverse)
    return 0.5 * (upper - lower)

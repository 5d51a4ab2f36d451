"""Price of a value under a Gaussian that is quantised with a step: the training-time form of the coder's tables."""

from __future__ import annotations

import math

import torch
from torch import Tensor

#: Probabilities below this are priced as this (HAC, arXiv 2403.14530, released code: 1e-6); the coder escapes.
MIN_PROBABILITY = 1e-9
#: Narrowest and widest standard deviation in steps, log2; within what the coder's tables cover.
MIN_LOG2_SCALE, MAX_LOG2_SCALE = -4.0, 8.0


def gaussian_bits(values: Tensor, mean: Tensor, log2_scale: Tensor) -> Tensor:
    """Bits of values in units of their step, one by one; differentiable.

    Args:
        values, mean: in steps, any shape.
        log2_scale: log2 of the standard deviation in steps; clamped to what the coder can express.

    Returns:
        bits, same shape, at most ``-log2(MIN_PROBABILITY)``.
    """
    inverse = torch.exp2(-log2_scale.clamp(MIN_LOG2_SCALE, MAX_LOG2_SCALE)) * math.sqrt(0.5)
    distance = (values - mean).abs()
    # With the distance made positive both terms are small in the tail, so their difference keeps its digits.
    upper = torch.erfc((distance - 0.5) * inverse)
    lower = torch.erfc((distance + 0.5) * inverse)
    return -torch.log2((0.5 * (upper - lower)).clamp_min(MIN_PROBABILITY))

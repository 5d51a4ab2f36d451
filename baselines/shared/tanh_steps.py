"""HAC's adaptive steps: a base step times ``1 + tanh(r)`` (arXiv 2403.14530, section 4.2), in float and in integers.

Steps of bitstreams are those of the coder (``hemgs.coding.quantize``): base steps times powers of ``2^(1/64)``. r
chooses the nearest of these. The factor is in (0, 2); here its least value is 1/16, the least of the coder.

Owns the way from r to a step. Does not own the network that predicts r.
"""

from __future__ import annotations

import functools
import math
from decimal import Context, Decimal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hemgs.anchor_codec.prediction import Integers
from hemgs.coding.fixed_point import ACTIVATION_BITS
from hemgs.coding.quantize import MAX_STEP_INDEX, STEP_FRACTION

#: Least and greatest index of a step: log2 of the factor is -4 to 1.
LEAST_INDEX, GREATEST_INDEX = -MAX_STEP_INDEX, STEP_FRACTION
#: Digits of the arithmetic that finds thresholds. A threshold is uncertain only if it agrees with an integer in thirty
#: of them.
_DIGITS = 40


def log2_factors(learned: Tensor) -> Tensor:
    """Return ``log2(1 + tanh(r))`` of any ``learned`` r, at least that of the least step; differentiable."""
    # 1 + tanh(r) = 2 / (1 + exp(-2 r)), which neither overflows nor cancels as a logarithm.
    log2 = 1 - torch.nn.functional.softplus(-2 * learned) / math.log(2)
    return log2.clamp_min(LEAST_INDEX / STEP_FRACTION)


@functools.cache
def thresholds() -> NDArray[np.int64]:
    """Return the least r, in units of ``2^-ACTIVATION_BITS``, of each step but the least one; ascending, ``int64``.

    The function uses decimal arithmetic. Its logarithms and exponentials are correctly rounded, and therefore equal on
    every machine.
    """
    context = Context(prec=_DIGITS)
    log_two, found = context.ln(Decimal(2)), []
    for index in range(LEAST_INDEX + 1, GREATEST_INDEX + 1):
        # The border to the step before, half an index below, in octaves; then r = ln(f / (2 - f)) / 2.
        octaves = context.divide(Decimal(2 * index - 1), Decimal(2 * STEP_FRACTION))
        factor = context.exp(context.multiply(octaves, log_two))
        ratio = context.divide(factor, context.subtract(Decimal(2), factor))
        units = context.multiply(context.ln(ratio), Decimal(1 << (ACTIVATION_BITS - 1)))
        found.append(math.ceil(units))
    result = np.array(found, np.int64)
    result.setflags(write=False)
    return result


def step_indices(learned: Integers) -> Integers:
    """Return the index of the step of each r, any shape; ``learned`` is in units of ``2^-ACTIVATION_BITS``."""
    return LEAST_INDEX + np.searchsorted(thresholds(), learned, side="right").astype(np.int64)

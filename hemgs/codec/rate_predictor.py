"""Quantisation steps from the prior and λ: one model, every rate (arXiv 2411.18473, section 3.3.1).

A step is a base step times ``2^(r + g (t - 1/2))``: r is learned per anchor and channel. The second term keeps the
range of rates from collapsing in training. With g = 1 it is the high-rate law: the step is proportional to the root of
λ. The paper duplicates λ to the width of the prior before its network. In a linear layer, duplicated columns equal one
column, so this network has one.

Owns steps in float (training) and in exact integers (coding).
"""

from __future__ import annotations

import decimal
import math

import torch
from torch import Tensor

from hemgs.anchor_codec.networks import Mlp
from hemgs.coding.fixed_point import ACTIVATION_BITS
from hemgs.coding.quantize import STEP_FRACTION
from hemgs.core.types import LmbdaInterval

#: The learned part of a step stays within 2^-2 and 2^2.
MAX_LOG2_RATIO = 2.0

_ONE = 1 << ACTIVATION_BITS
#: Digits of the logarithms for the integer form of λ, about three times those of a float64.
_DIGITS = 50


def rate_input(lmbda: float, interval: LmbdaInterval) -> float:
    """Return λ as an input of networks in training: ``t`` in [0, 1], logarithmic over the interval.

    Raises:
        ConfigError: λ lies outside the interval.
    """
    interval.check(lmbda)
    return min(max(math.log(lmbda / interval.low) / math.log(interval.high / interval.low), 0.0), 1.0)


def fixed_rate_input(lmbda: float, interval: LmbdaInterval) -> int:
    """Return λ as an input of integer networks: ``t`` in units of ``2^-ACTIVATION_BITS``, rounded half to even.

    Decimal arithmetic gives the same integer everywhere: its logarithms are correctly rounded. Those of a C library
    need not be.

    Raises:
        ConfigError: λ lies outside the interval.
    """
    interval.check(lmbda)
    with decimal.localcontext(prec=_DIGITS):
        value, low, high = (decimal.Decimal(number) for number in (lmbda, interval.low, interval.high))
        scaled = (value / low).ln() / (high / low).ln() * _ONE
        return int(scaled.to_integral_value(decimal.ROUND_HALF_EVEN))


class RatePredictor(Mlp):
    """log2 of the steps of C channels, relative to their base steps.

    Args:
        prior_dim: width of the prior feature.
        hidden: width of the hidden layer.
        channels: C.
        octaves: g, octaves between the steps of the smallest and the largest λ before anything is learned.
    """

    def __init__(self, prior_dim: int, hidden: int, channels: int, octaves: float) -> None:
        super().__init__(prior_dim + 1, hidden, channels, quiet=True)
        self.octaves = octaves

    def log2_steps(self, prior: Tensor, rate_input: Tensor) -> Tensor:
        """Predict ``[n, C]`` from a prior ``[n, prior_dim]`` and ``rate_input`` ``[n, 1]`` in [0, 1]; float32."""
        learned = self(torch.cat([prior, rate_input], dim=1)).clamp(-MAX_LOG2_RATIO, MAX_LOG2_RATIO)
        return learned + self.octaves * (rate_input - 0.5)


def fixed_step_index(learned: Tensor, rate_input: int, octaves: float) -> Tensor:
    """Return the index of a step in the coder's table, ``1 / STEP_FRACTION`` octaves each, ``int64``.

    Args:
        learned: ``[n, C] float64`` integers, output of the exported network.
        rate_input: ``t`` in units of ``2^-ACTIVATION_BITS``.
        octaves: g of the rate predictor.
    """
    # One float64 product, rounded once, is equal on every device.
    offset = math.floor((rate_input - _ONE // 2) * octaves + 0.5)
    limit = int(MAX_LOG2_RATIO * _ONE)
    log2_step = learned.floor().to(torch.int64).clamp(-limit, limit) + offset
    surplus = _ONE // STEP_FRACTION
    return torch.div(log2_step + surplus // 2, surplus, rounding_mode="floor")

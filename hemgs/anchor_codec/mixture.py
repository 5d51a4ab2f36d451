"""Predictions that are mixtures of two Gaussians, in float and in integers (HAC++, arXiv 2501.12255, section 4.3).

Both Gaussians of a scalar have its step. Weights are the softmax of two logits; in integers, multiples of 1/256.

Owns such predictions, their code length and their tables. Does not own the networks or the coder
(``hemgs.coding.mixture``).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from decimal import Context, Decimal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hemgs.anchor_codec.likelihood import mixture_bits
from hemgs.anchor_codec.prediction import FixedPrediction, Integers, Prediction
from hemgs.coding.fixed_point import ACTIVATION_BITS
from hemgs.coding.mixture import MAX_DISTANCE, WHOLE_WEIGHT

#: Digits of the arithmetic that finds thresholds. One is uncertain only if it agrees with an integer in thirty digits.
_DIGITS = 40


@dataclass(frozen=True)
class MixturePrediction:
    """The networks' prediction for n anchors with C channels.

    Attributes:
        first, second: both Gaussians; the first has the step.
        logit: ``[n, C]``, logit of the first minus that of the second.
    """

    first: Prediction
    second: Prediction
    logit: Tensor

    def bits(self, values: Tensor) -> Tensor:
        """Return the code length of values in base steps, ``[n, C]``."""
        inverse = torch.exp2(-self.first.log2_step)
        first, second = (
            (part.mean * inverse, part.log2_scale - self.first.log2_step) for part in (self.first, self.second)
        )
        return mixture_bits(values * inverse, first, second, torch.sigmoid(self.logit))


@dataclass(frozen=True)
class FixedMixture:
    """A :class:`MixturePrediction` in integers.

    Attributes:
        first, second: both Gaussians, with equal steps.
        weight: ``[n, C] int64`` weight of the first, 0 to WHOLE_WEIGHT.
    """

    first: FixedPrediction
    second: FixedPrediction
    weight: Integers

    def table_rows(self) -> tuple[Integers, *tuple[NDArray[np.integer], ...]]:
        """Return the first centre of each symbol's distribution, and the arguments of ``checked_mixtures``."""
        centre, level, offset = self.first.table_rows()
        other, other_level, other_offset = self.second.table_rows()
        distance = (other - centre).clip(-MAX_DISTANCE, MAX_DISTANCE)
        return centre, level, offset, other_level, other_offset, distance, self.weight

    def bits(self, symbols: Integers) -> NDArray[np.float64]:
        """Estimate the code length of symbols without tables or coder, ``[n, C]``."""
        first, second = (
            tuple(torch.from_numpy(value) for value in part.in_steps()) for part in (self.first, self.second)
        )
        weight = torch.from_numpy(self.weight / WHOLE_WEIGHT)
        bits = mixture_bits(torch.from_numpy(symbols).double(), (first[0], first[1]), (second[0], second[1]), weight)
        return bits.numpy()


@functools.cache
def weight_thresholds() -> NDArray[np.int64]:
    """Return the least logit, in units of ``2^-ACTIVATION_BITS``, of each weight but 0; ascending, ``int64``.

    The function uses decimal arithmetic. Its logarithms are correctly rounded, and therefore equal on every machine.
    """
    context, found = Context(prec=_DIGITS), []
    for weight in range(1, WHOLE_WEIGHT + 1):
        # The border to the weight before: sigmoid(logit) = (weight - 1/2) / WHOLE_WEIGHT.
        odds = context.divide(Decimal(2 * weight - 1), Decimal(2 * (WHOLE_WEIGHT - weight) + 1))
        units = context.multiply(context.ln(odds), Decimal(1 << ACTIVATION_BITS))
        found.append(int(units.to_integral_value("ROUND_CEILING")))
    result = np.array(found, np.int64)
    result.setflags(write=False)
    return result


def weights_of(logits: Integers) -> Integers:
    """Return the weight of the first Gaussian for logits of any shape, in units of ``2^-ACTIVATION_BITS``."""
    return np.searchsorted(weight_thresholds(), logits, side="right").astype(np.int64)

"""Predictions of the scalars of anchors: steps, means and scales, in float and in exact integers.

Channels have exponents: powers of two near their spread, which scale predictions. Networks with outputs around one can
therefore serve channels that span three orders of magnitude, in float and in integers.

Owns predictions, their code length and their tables. Does not own the networks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hemgs.anchor_codec.likelihood import MAX_LOG2_SCALE, MIN_LOG2_SCALE, gaussian_bits
from hemgs.coding import quantize, tables
from hemgs.coding.fixed_point import ACTIVATION_BITS
from hemgs.core.errors import BitstreamError

Integers = NDArray[np.int64]

#: Channel exponents stay within +- this, so that integer means cannot overflow.
MAX_EXPONENT = 12
#: Fractional bits of means. They are more than those of activations, for channels much narrower than a base step.
MEAN_BITS = 16
#: log2 of the unit of step indices.
_STEP_BITS = quantize.STEP_FRACTION.bit_length() - 1


@torch.no_grad()
def start_distribution(values: Tensor, exponents: Tensor, bias: Tensor) -> None:
    """Start a network, whose outputs are means and then log-scales, at the mean and spread of ``values``.

    Args:
        values: ``[n, C]`` in base steps.
        exponents: ``[C] int64``, written.
        bias: ``[2 C]`` bias of the network's last layer, written.
    """
    channels = len(exponents)
    mean, spread = values.mean(dim=0), values.std(dim=0).clamp_min(1e-6)
    exponents.copy_(torch.log2(spread).round().clamp(-MAX_EXPONENT, MAX_EXPONENT).to(torch.int64))
    unit = torch.exp2(exponents.to(values.dtype))
    bias[:channels] = mean / unit
    bias[channels:] = torch.log2(spread / unit)


@dataclass(frozen=True)
class Prediction:
    """The prediction of a group's networks for n anchors with C channels; all ``[n, C] float32``.

    Attributes:
        log2_step: log2 of the step over the base step.
        mean: mean in base steps.
        log2_scale: log2 of the standard deviation over the base step.
    """

    log2_step: Tensor
    mean: Tensor
    log2_scale: Tensor

    @property
    def step(self) -> Tensor:
        """The step over the base step."""
        return torch.exp2(self.log2_step)

    def select(self, rows: Tensor) -> Prediction:
        """Return the prediction of some anchors, by index ``[m] int64``."""
        return Prediction(*(part.index_select(0, rows) for part in (self.log2_step, self.mean, self.log2_scale)))

    def bits(self, values: Tensor) -> Tensor:
        """Return the code length of values in base steps, ``[n, C]``."""
        inverse = torch.exp2(-self.log2_step)
        return gaussian_bits(values * inverse, self.mean * inverse, self.log2_scale - self.log2_step)


@dataclass(frozen=True)
class FixedPrediction:
    """Predictions for n anchors with C channels; all ``[n, C] int64``.

    Attributes:
        step_index: index of the step in the coder's table.
        mean: mean in base steps, ``MEAN_BITS`` fractional bits.
        log2_scale: log2 of the standard deviation over the base step, ``ACTIVATION_BITS`` fractional bits.
    """

    step_index: Integers
    mean: Integers
    log2_scale: Integers

    def columns(self, columns: slice) -> FixedPrediction:
        """Return the prediction of some channels."""
        return FixedPrediction(self.step_index[:, columns], self.mean[:, columns], self.log2_scale[:, columns])

    def table_rows(self) -> tuple[Integers, NDArray[np.uint8], NDArray[np.uint8]]:
        """Return the centre of each symbol's distribution, and the scale level and mean offset of its table."""
        reciprocal = quantize.reciprocals()[self.step_index + quantize.MAX_STEP_INDEX]
        surplus = MEAN_BITS + quantize.MULTIPLIER_BITS - tables.MEAN_FRACTION_BITS
        centre, offset = quantize.split_mean((self.mean * reciprocal + (1 << (surplus - 1))) >> surplus)
        surplus = ACTIVATION_BITS - _STEP_BITS
        log2_scale = ((self.log2_scale + (1 << (surplus - 1))) >> surplus) - self.step_index
        low, high = (int(bound * quantize.STEP_FRACTION) for bound in (MIN_LOG2_SCALE, MAX_LOG2_SCALE))
        return centre, tables.level_of_log2(log2_scale.clip(low, high)), offset

    def bits(self, symbols: Integers) -> NDArray[np.float64]:
        """Estimate the code length of symbols without tables or coder, ``[n, C]``."""
        mean, log2_scale = self.in_steps()
        bits = gaussian_bits(torch.from_numpy(symbols).double(), torch.from_numpy(mean), torch.from_numpy(log2_scale))
        return bits.numpy()

    def in_steps(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return mean and log2 of the standard deviation in steps, for estimates."""
        log2_step = self.step_index / quantize.STEP_FRACTION
        mean = self.mean / (1 << MEAN_BITS) * np.exp2(-log2_step)
        return mean, self.log2_scale / (1 << ACTIVATION_BITS) - log2_step


def checked_exponents(values: Integers) -> Integers:
    """Read channel exponents from a file's array.

    Raises:
        BitstreamError: a value is one that no encoder writes.
    """
    exponents = np.asarray(values, dtype=np.int64)
    if np.abs(exponents).max(initial=0) > MAX_EXPONENT:
        raise BitstreamError(f"channel exponents outside +-{MAX_EXPONENT}", "get the file again from its source")
    return exponents


def scaled_symbols(symbols: Integers, step_index: Integers, exponents: Integers, device: torch.device | str) -> Tensor:
    """Convert decoded symbols to network inputs, ``[n, C] float64`` integers around one."""
    multiplier = quantize.step_multipliers()[step_index + quantize.MAX_STEP_INDEX]
    surplus = quantize.MULTIPLIER_BITS - ACTIVATION_BITS
    values = (symbols * multiplier + (1 << (surplus - 1))) >> surplus
    return torch.from_numpy(shift_left(values, -exponents)).double().to(device)


def whole(values: Tensor, bits: int = 0) -> Integers:
    """Return ``values * 2^bits`` rounded down; outputs of exact networks are integers already."""
    return (values * (1 << bits)).floor().to(torch.int64).cpu().numpy()


def shift_left(values: Integers, bits: Integers) -> Integers:
    """Return ``values * 2^bits`` by channel, rounded down where bits are negative."""
    return np.where(bits >= 0, values << np.maximum(bits, 0), values >> np.maximum(-bits, 0))

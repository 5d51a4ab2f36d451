"""The entropy model in exact integer arithmetic: what encoder and decoder both evaluate, bit for bit.

Mirrors :class:`hemgs.entropy.model.AttributeGroup` step by step. Nothing here depends on device, thread count, batch
size or order of summation: networks are :class:`~hemgs.coding.fixed_point.FixedMlp`, all after them is ``int64``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hemgs.coding import quantize, tables
from hemgs.coding.fixed_point import ACTIVATION_BITS, FixedMlp
from hemgs.core.errors import BitstreamError
from hemgs.entropy.hyperprior import Hyperprior
from hemgs.entropy.likelihood import MAX_LOG2_SCALE, MIN_LOG2_SCALE, gaussian_bits
from hemgs.entropy.model import MAX_EXPONENT, AttributeGroup
from hemgs.entropy.rate_predictor import fixed_step_index

Integers = NDArray[np.int64]

#: Fractional bits of means: more than activations have, so that channels much narrower than a base step keep theirs.
MEAN_BITS = 16
#: log2 of the unit of step indices.
_STEP_BITS = quantize.STEP_FRACTION.bit_length() - 1


@dataclass(frozen=True)
class FixedPrediction:
    """Predictions for n anchors with C channels; all ``[n, C] int64``.

    Attributes:
        step_index: of the step in the coder's table.
        mean: in base steps, ``MEAN_BITS`` fractional bits.
        log2_scale: of the standard deviation over the base step, ``ACTIVATION_BITS`` fractional bits.
    """

    step_index: Integers
    mean: Integers
    log2_scale: Integers

    def table_rows(self) -> tuple[Integers, NDArray[np.uint8], NDArray[np.uint8]]:
        """Centre of each symbol's distribution, and the scale level and mean offset that name its table."""
        reciprocal = quantize.reciprocals()[self.step_index + quantize.MAX_STEP_INDEX]
        surplus = MEAN_BITS + quantize.MULTIPLIER_BITS - tables.MEAN_FRACTION_BITS
        centre, offset = quantize.split_mean((self.mean * reciprocal + (1 << (surplus - 1))) >> surplus)
        surplus = ACTIVATION_BITS - _STEP_BITS
        log2_scale = ((self.log2_scale + (1 << (surplus - 1))) >> surplus) - self.step_index
        low, high = (int(bound * quantize.STEP_FRACTION) for bound in (MIN_LOG2_SCALE, MAX_LOG2_SCALE))
        return centre, tables.level_of_log2(log2_scale.clip(low, high)), offset

    def bits(self, symbols: Integers) -> NDArray[np.float64]:
        """The model's own estimate of the code length of symbols, ``[n, C]``: no tables, no coder."""
        log2_step = self.step_index / quantize.STEP_FRACTION
        mean = self.mean / (1 << MEAN_BITS) * np.exp2(-log2_step)
        log2_scale = self.log2_scale / (1 << ACTIVATION_BITS) - log2_step
        bits = gaussian_bits(torch.from_numpy(symbols).double(), torch.from_numpy(mean), torch.from_numpy(log2_scale))
        return bits.numpy()


class FixedGroup:
    """Integer twin of an :class:`~hemgs.entropy.model.AttributeGroup`.

    Args:
        networks: hyperprior, rate predictor, distribution.
        exponents: ``[C] int64``.
        octaves: of the rate predictor.
    """

    def __init__(self, networks: Sequence[FixedMlp], exponents: Integers, octaves: float) -> None:
        self.hyperprior, self.rate_predictor, self.distribution = networks
        self.exponents = exponents
        self.octaves = octaves

    @staticmethod
    def export(group: AttributeGroup) -> FixedGroup:
        """Rounds a trained group."""
        networks = [network.fixed() for network in (group.hyperprior, group.rate_predictor, group.distribution)]
        return FixedGroup(networks, group.exponents.cpu().numpy(), group.rate_predictor.octaves)

    def integers(self) -> list[Integers]:
        """Everything that a bitstream stores of this group, in :meth:`from_integers` order."""
        networks = (self.hyperprior, self.rate_predictor, self.distribution)
        return [part.cpu().numpy() for network in networks for part in network.integers()] + [self.exponents]

    @staticmethod
    def shapes(group: AttributeGroup) -> list[tuple[int, ...]]:
        """Shapes of :meth:`integers`."""
        networks = (group.hyperprior, group.rate_predictor, group.distribution)
        return [shape for network in networks for shape in network.shapes()] + [(group.channels,)]

    @staticmethod
    def from_integers(parts: Sequence[Integers], octaves: float, device: torch.device | str) -> FixedGroup:
        """Rebuilds a group from a bitstream.

        Raises:
            BitstreamError: values that no encoder writes.
        """
        exponents = parts[-1]
        if np.abs(exponents).max(initial=0) > MAX_EXPONENT:
            raise BitstreamError(f"channel exponents outside +-{MAX_EXPONENT}", "get the file again from its source")
        tensors = [torch.from_numpy(np.asarray(part, dtype=np.int64)) for part in parts[:-1]]
        try:
            networks = [FixedMlp.from_integers(tensors[first : first + 4], device) for first in (0, 4, 8)]
        except ValueError as fault:
            raise BitstreamError(f"networks: {fault}", "get the file again from its source") from fault
        return FixedGroup(networks, np.asarray(exponents, dtype=np.int64), octaves)

    def predict(self, hash_features: Tensor, previous: Tensor | None, rate: int) -> FixedPrediction:
        """Predicts n anchors.

        Args:
            hash_features: ``[n, hash_dim] float64`` integers.
            previous: ``[n, previous_dim] float64`` integers, from :meth:`as_previous`, or ``None``.
            rate: ``t`` in units of ``2^-ACTIVATION_BITS``.
        """
        prior = self.hyperprior(Hyperprior.inputs(hash_features, previous))
        joined = torch.cat([prior, torch.full_like(prior[:, :1], rate)], dim=1)
        step_index = fixed_step_index(self.rate_predictor(joined), rate, self.octaves).cpu().numpy()
        output = self.distribution(joined).to(torch.int64).cpu().numpy()
        channels = len(self.exponents)
        mean = _shift_left(output[:, :channels], self.exponents + (MEAN_BITS - ACTIVATION_BITS))
        log2_scale = output[:, channels:] + (self.exponents << ACTIVATION_BITS)
        return FixedPrediction(step_index, mean, log2_scale)

    def as_previous(self, symbols: Integers, step_index: Integers, device: torch.device | str) -> Tensor:
        """This group's decoded symbols as the next group's input, ``[n, C] float64`` integers around one."""
        multiplier = quantize.step_multipliers()[step_index + quantize.MAX_STEP_INDEX]
        surplus = quantize.MULTIPLIER_BITS - ACTIVATION_BITS
        values = (symbols * multiplier + (1 << (surplus - 1))) >> surplus
        return torch.from_numpy(_shift_left(values, -self.exponents)).double().to(device)


def _shift_left(values: Integers, bits: Integers) -> Integers:
    """``values * 2^bits`` by channel, rounded down where bits are negative."""
    return np.where(bits >= 0, values << np.maximum(bits, 0), values >> np.maximum(-bits, 0))

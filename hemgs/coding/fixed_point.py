"""Small networks in exact integer arithmetic, so that every device computes the same bits.

Numbers are integers held in float64: products and sums of integers below 2^53 are exact in any order of summation,
on any device, with any BLAS. A layer is an integer matrix product, a bias, a rounded shift and a clamp; nothing else
is allowed between decoded bits and a probability (Balle, Johnston, Minnen, "Integer Networks for Data Compression
with Latent-Variable Models", ICLR 2019).

The same networks can be had in floating point, as codecs of research have them: what exactness costs is measured with
these. Nothing is rounded in them then, and what they give depends on the order of summation.

Owns the number format and the layers. Does not know what the networks predict.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

#: Fractional bits of inputs, hidden values and outputs. 8 cost no measurable rate against float tables.
ACTIVATION_BITS = 8
#: Fractional bits of weights; biases have ACTIVATION_BITS. Coded weights cost about this many bits each.
WEIGHT_BITS = 8
#: Activations saturate here: far above any sensible value, and low enough for the bound below.
ACTIVATION_LIMIT = 1 << 24
#: Largest sum that float64 holds exactly.
EXACT_LIMIT = 1 << 53

_ALL = slice(None)


@dataclass(frozen=True)
class FixedLayer:
    """Integer weights ``[out, in]`` and biases ``[out]``, both ``float64`` holding integers.

    Attributes:
        weight_bits: fractional bits of the weights; biases have those of the activations.
    """

    weight: Tensor
    bias: Tensor
    weight_bits: int = WEIGHT_BITS

    def __post_init__(self) -> None:
        unit = 1 << self.weight_bits
        bound = float((self.weight.abs().sum(dim=1) * ACTIVATION_LIMIT + self.bias.abs() * unit).max())
        if not bound + unit < EXACT_LIMIT:
            raise ValueError(f"weights too large for exact arithmetic: sums could reach {bound:.3g} >= 2^53")

    def sums(self, inputs: Tensor, columns: slice = _ALL, others: Tensor | None = None) -> Tensor:
        """Weighted sums of inputs before they are rounded; see :meth:`FixedMlp.first_sums`."""
        if others is None:
            others = self.bias * (1 << self.weight_bits)
        return torch.addmm(others, inputs, self.weight[:, columns].T)


class FixedMlp:
    """A multi-layer perceptron with ReLU between its layers, evaluated exactly.

    Args:
        layers: first to last; at least one.
        relu_last: whether a ReLU follows the last layer too.
        exact: whether layers round what they give; without it, weights and values need not be integers.

    Raises:
        ValueError: a partial sum could exceed 2^53, so that results would depend on the order of summation.
    """

    def __init__(self, layers: Sequence[FixedLayer], *, relu_last: bool = False, exact: bool = True) -> None:
        self.layers = tuple(layers)
        self.relu_last = relu_last
        self.exact = exact

    def __call__(self, inputs: Tensor) -> Tensor:
        """``[n, in] float64`` integers to ``[n, out] float64`` integers.

        Inputs and outputs have the fractional bits that the biases have: ``ACTIVATION_BITS`` in all networks that a
        bitstream stores.
        """
        return self.finish(self.first_sums(inputs))

    def first_sums(self, inputs: Tensor, columns: slice = _ALL, others: Tensor | None = None) -> Tensor:
        """Sums of the first layer before they are rounded, ``[n, hidden]``, over all of its inputs or some.

        Args:
            inputs: ``[n, in]`` or those of ``columns`` alone.
            columns: which inputs.
            others: sums over other inputs, to add to; the first ones bring the bias.
        """
        return self.layers[0].sums(inputs.clamp(-ACTIVATION_LIMIT, ACTIVATION_LIMIT), columns, others)

    def finish(self, sums: Tensor) -> Tensor:
        """The outputs, from :meth:`first_sums` over all inputs; leaves those as they are."""
        values = self._rounded(0, sums)
        for number, layer in enumerate(self.layers[1:], 1):
            values = self._rounded(number, layer.sums(values))
        return values

    def _rounded(self, number: int, sums: Tensor) -> Tensor:
        """What layer ``number`` makes of its sums."""
        unit = 1 << self.layers[number].weight_bits
        lowest = 0 if self.relu_last or number < len(self.layers) - 1 else -ACTIVATION_LIMIT
        values = sums.add(unit / 2).div_(unit).floor_() if self.exact else sums.div(unit)
        return values.clamp_(lowest, ACTIVATION_LIMIT)

    def stored(self) -> list[Tensor]:
        """Weights and biases in order, as a bitstream stores them: :func:`stored_values`."""
        return [
            stored_values(part, bits, self.exact)
            for layer in self.layers
            for part, bits in ((layer.weight, layer.weight_bits), (layer.bias, ACTIVATION_BITS))
        ]

    @staticmethod
    def from_stored(parts: Sequence[Tensor], device: torch.device | str = "cpu") -> FixedMlp:
        """The inverse of :meth:`stored`; exact if the parts are integers."""
        pairs = zip(parts[0::2], parts[1::2], strict=True)
        layers = [
            FixedLayer(restored_values(weight, WEIGHT_BITS, device), restored_values(bias, ACTIVATION_BITS, device))
            for weight, bias in pairs
        ]
        return FixedMlp(layers, exact=not parts[0].is_floating_point())

    @staticmethod
    def from_linear(layers: Sequence[torch.nn.Linear], *, exact: bool = True) -> FixedMlp:
        """Rounds trained layers: :func:`rounded_values`."""
        return FixedMlp(
            [
                FixedLayer(
                    rounded_values(layer.weight, WEIGHT_BITS, exact), rounded_values(layer.bias, ACTIVATION_BITS, exact)
                )
                for layer in layers
            ],
            exact=exact,
        )


def rounded_values(trained: Tensor, bits: int, exact: bool) -> Tensor:
    """Trained values in units of ``2^-bits``, ``float64``: whole ones if exact, else what float16 holds of them."""
    if exact:
        return torch.round(trained.detach().double() * (1 << bits))
    return trained.detach().half().double() * (1 << bits)


def stored_values(values: Tensor, bits: int, exact: bool) -> Tensor:
    """:func:`rounded_values` as a bitstream stores them: the ``int64`` that they are if exact, else ``float16``."""
    return values.to(torch.int64) if exact else (values / (1 << bits)).half()


def restored_values(stored: Tensor, bits: int, device: torch.device | str) -> Tensor:
    """The inverse of :func:`stored_values`, ``float64``; the type says whether values are exact."""
    return stored.double().to(device) * ((1 << bits) if stored.is_floating_point() else 1)

"""Small networks in exact integer arithmetic, so that every device computes the same bits.

Numbers are integers held in float64: products and sums of integers below 2^53 are exact in any order of summation,
on any device, with any BLAS. A layer is an integer matrix product, a bias, a rounded shift and a clamp; nothing else
is allowed between decoded bits and a probability (Balle, Johnston, Minnen, "Integer Networks for Data Compression
with Latent-Variable Models", ICLR 2019).

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


@dataclass(frozen=True)
class FixedLayer:
    """Integer weights ``[out, in]`` and biases ``[out]``, both ``float64`` holding integers."""

    weight: Tensor
    bias: Tensor

    def __post_init__(self) -> None:
        bound = float((self.weight.abs().sum(dim=1) * ACTIVATION_LIMIT + self.bias.abs() * (1 << WEIGHT_BITS)).max())
        if not bound + (1 << WEIGHT_BITS) < EXACT_LIMIT:
            raise ValueError(f"weights too large for exact arithmetic: sums could reach {bound:.3g} >= 2^53")


class FixedMlp:
    """A multi-layer perceptron with ReLU between its layers, evaluated exactly.

    Args:
        layers: first to last; at least one.

    Raises:
        ValueError: a partial sum could exceed 2^53, so that results would depend on the order of summation.
    """

    def __init__(self, layers: Sequence[FixedLayer]) -> None:
        self.layers = tuple(layers)

    def __call__(self, inputs: Tensor) -> Tensor:
        """``[n, in] float64`` integers to ``[n, out] float64`` integers, ``ACTIVATION_BITS`` fractional bits each."""
        values = inputs.clamp(-ACTIVATION_LIMIT, ACTIVATION_LIMIT)
        for number, layer in enumerate(self.layers):
            values = torch.addmm(layer.bias * (1 << WEIGHT_BITS), values, layer.weight.T)
            values = values.add_((1 << WEIGHT_BITS) / 2).div_(1 << WEIGHT_BITS).floor_()
            lowest = 0 if number < len(self.layers) - 1 else -ACTIVATION_LIMIT
            values = values.clamp_(lowest, ACTIVATION_LIMIT)
        return values

    def integers(self) -> list[Tensor]:
        """Weights and biases in order, ``int64``: what a bitstream stores."""
        return [part.to(torch.int64) for layer in self.layers for part in (layer.weight, layer.bias)]

    @staticmethod
    def from_integers(parts: Sequence[Tensor], device: torch.device | str = "cpu") -> FixedMlp:
        """The inverse of :meth:`integers`."""
        pairs = zip(parts[0::2], parts[1::2], strict=True)
        return FixedMlp([FixedLayer(weight.double().to(device), bias.double().to(device)) for weight, bias in pairs])

    @staticmethod
    def from_linear(layers: Sequence[torch.nn.Linear]) -> FixedMlp:
        """Rounds trained layers to integers."""
        return FixedMlp(
            [
                FixedLayer(
                    torch.round(layer.weight.detach().double() * (1 << WEIGHT_BITS)),
                    torch.round(layer.bias.detach().double() * (1 << ACTIVATION_BITS)),
                )
                for layer in layers
            ]
        )

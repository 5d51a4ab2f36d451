"""Small networks in exact integer arithmetic, so that every device computes the same bits.

Numbers are integers in float64. Products and sums of integers below 2^53 are exact in any order of summation, on any
device, with any BLAS. A layer is an integer matrix product, a bias, a rounded shift and a clamp. Nothing else may be
between decoded bits and a probability (Balle, Johnston, Minnen, "Integer Networks for Data Compression with
Latent-Variable Models", ICLR 2019).

The same networks also exist in floating point, as codecs of research have them, to measure what exactness costs. They
round nothing, and their outputs depend on the order of summation.

Owns the number format and the layers. Does not own the predictions of networks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

#: Fractional bits of inputs, hidden values and outputs. 8 of them cost no measurable rate, compared with floats.
ACTIVATION_BITS = 8
#: Fractional bits of weights; biases have ACTIVATION_BITS. A coded weight takes about this many bits.
WEIGHT_BITS = 8
#: Activations saturate here. The limit is far above any sensible value, and low enough for EXACT_LIMIT.
ACTIVATION_LIMIT = 1 << 24
#: Largest sum that float64 represents exactly.
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
        """Return weighted sums of inputs before rounding; see :meth:`FixedMlp.first_sums`."""
        if others is None:
            others = self.bias * (1 << self.weight_bits)
        return torch.addmm(others, inputs, self.weight[:, columns].T)


class FixedMlp:
    """A multi-layer perceptron with ReLU between its layers, evaluated exactly.

    Args:
        layers: first to last; at least one.
        relu_last: whether a ReLU follows the last layer too.
        exact: whether layers round their outputs; without it, weights and values need not be integers.

    Raises:
        ValueError: a partial sum could exceed 2^53, so that results would depend on the order of summation.
    """

    def __init__(self, layers: Sequence[FixedLayer], *, relu_last: bool = False, exact: bool = True) -> None:
        self.layers = tuple(layers)
        self.relu_last = relu_last
        self.exact = exact

    def __call__(self, inputs: Tensor) -> Tensor:
        """Evaluate the network: ``[n, in] float64`` integers to ``[n, out] float64`` integers.

        Inputs and outputs have as many fractional bits as the biases: ``ACTIVATION_BITS`` in all networks that a
        bitstream contains.
        """
        return self.finish(self.first_sums(inputs))

    def first_sums(self, inputs: Tensor, columns: slice = _ALL, others: Tensor | None = None) -> Tensor:
        """Return the first layer's sums before rounding, ``[n, hidden]``, over all of its inputs or some.

        Args:
            inputs: ``[n, in]``, or only those of ``columns``.
            columns: which inputs.
            others: sums over other inputs, to add to; without them, the bias is added.
        """
        return self.layers[0].sums(inputs.clamp(-ACTIVATION_LIMIT, ACTIVATION_LIMIT), columns, others)

    def finish(self, sums: Tensor) -> Tensor:
        """Return the outputs, from :meth:`first_sums` over all inputs, which it does not change."""
        values = self._rounded(0, sums)
        for number, layer in enumerate(self.layers[1:], 1):
            values = self._rounded(number, layer.sums(values))
        return values

    def _rounded(self, number: int, sums: Tensor) -> Tensor:
        """Return the outputs of layer ``number``, given its sums."""
        unit = 1 << self.layers[number].weight_bits
        lowest = 0 if self.relu_last or number < len(self.layers) - 1 else -ACTIVATION_LIMIT
        values = sums.add(unit / 2).div_(unit).floor_() if self.exact else sums.div(unit)
        return values.clamp_(lowest, ACTIVATION_LIMIT)

    def stored(self) -> list[Tensor]:
        """Return weights and biases in order, as a bitstream stores them: :func:`stored_values`."""
        return [
            stored_values(part, bits, self.exact)
            for layer in self.layers
            for part, bits in ((layer.weight, layer.weight_bits), (layer.bias, ACTIVATION_BITS))
        ]

    @staticmethod
    def from_stored(parts: Sequence[Tensor], device: torch.device | str = "cpu") -> FixedMlp:
        """Invert :meth:`stored`; the network is exact if the parts are integers."""
        pairs = zip(parts[0::2], parts[1::2], strict=True)
        layers = [
            FixedLayer(restored_values(weight, WEIGHT_BITS, device), restored_values(bias, ACTIVATION_BITS, device))
            for weight, bias in pairs
        ]
        return FixedMlp(layers, exact=not parts[0].is_floating_point())

    @staticmethod
    def from_linear(layers: Sequence[torch.nn.Linear], *, exact: bool = True) -> FixedMlp:
        """Round trained layers: :func:`rounded_values`."""
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
    """Return trained values in units of ``2^-bits``, ``float64``: rounded to integers if exact, else to float16.

    >>> rounded_values(torch.tensor([0.3, -1.0]), bits=8, exact=True).tolist()
    [77.0, -256.0]
    """
    if exact:
        return torch.round(trained.detach().double() * (1 << bits))
    return trained.detach().half().double() * (1 << bits)


def stored_values(values: Tensor, bits: int, exact: bool) -> Tensor:
    """Return :func:`rounded_values` as a bitstream stores them: ``int64`` if exact, else ``float16``.

    >>> stored_values(torch.tensor([77.0, -256.0]), bits=8, exact=True).tolist()
    [77, -256]
    """
    return values.to(torch.int64) if exact else (values / (1 << bits)).half()


def restored_values(stored: Tensor, bits: int, device: torch.device | str) -> Tensor:
    """Invert :func:`stored_values`, to ``float64``; integers are exact values, floats are not.

    >>> restored_values(torch.tensor([0.5]).half(), bits=8, device="cpu").tolist()
    [128.0]
    """
    return stored.double().to(device) * ((1 << bits) if stored.is_floating_point() else 1)

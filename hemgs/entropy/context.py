"""The autoregressive network: a context feature from neighbours that were decoded before (arXiv 2411.18473, 3.3.3).

Each neighbour passes the first layer of a two-layer perceptron with its decoded values and its relative position; the
results are averaged, nearer ones weighing more, and pass the second layer. An anchor without neighbours gets a learned
constant. In float for training, in exact integers for coding; both start from the same integers per pair.

Owns the network and what of a pair it sees. Does not own which anchors are neighbours (``hemgs.entropy.neighbours``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hemgs.coding.fixed_point import ACTIVATION_BITS, FixedMlp
from hemgs.entropy.neighbours import ContextWindow, Neighbours
from hemgs.entropy.networks import Mlp

#: Inputs per pair beside the neighbour's values: relative position and distance, over the window's radius.
PAIR_INPUTS = 4
#: Fractional bits of the weights 1/distance.
_PAIR_WEIGHT_BITS = 12
_ONE = 1 << ACTIVATION_BITS


@dataclass(frozen=True)
class Pairs:
    """Pairs of some anchors with their neighbours.

    Attributes:
        anchor: ``[P] int64`` position among the anchors asked for.
        neighbour: ``[P] int64`` index in the neighbour table.
        inputs: ``[P, PAIR_INPUTS] float64`` integers with ``ACTIVATION_BITS`` fractional bits.
        weights: ``[P] float64`` positive integers.
        counts: ``[n] int64`` neighbours of each anchor.
    """

    anchor: Tensor
    neighbour: Tensor
    inputs: Tensor
    weights: Tensor
    counts: Tensor

    def split(self, sizes: list[int]) -> list[Pairs]:
        """The pairs of the first anchors, of the next, and so on.

        Args:
            sizes: numbers of anchors; their sum is n. Pairs must stand anchor after anchor.
        """
        ends = torch.tensor([0, *sizes]).cumsum(0)
        num_pairs = torch.nn.functional.pad(self.counts.cumsum(0), (1, 0)).cpu()[ends].diff().tolist()
        parts = (part.split(num_pairs) for part in (self.anchor, self.neighbour, self.inputs, self.weights))
        return [
            Pairs(anchor - first, neighbour, inputs, weights, counts)
            for first, anchor, neighbour, inputs, weights, counts in zip(
                ends.tolist(), *parts, self.counts.split(sizes), strict=False
            )
        ]


class ContextTable:
    """The neighbours of an anchor set, for networks on any device.

    Args:
        coords: ``[N, 3] int64`` in raster order.
        neighbours: of these anchors.
        window: that they were found with.
        device: where pairs are wanted.
    """

    def __init__(
        self, coords: Tensor, neighbours: Neighbours, window: ContextWindow, device: torch.device | str
    ) -> None:
        self._coords = coords.to(device)
        self._starts = torch.from_numpy(neighbours.starts).to(device)
        self._indices = torch.from_numpy(neighbours.indices).to(device)
        self._radius = window.radius

    def num_pairs(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """How many neighbours each of the anchors ``rows`` (``[n] int64``) has."""
        return np.diff(self._starts.cpu().numpy())[rows]

    def pairs(self, rows: Tensor) -> Pairs:
        """All pairs of the anchors ``rows`` (``[n] int64``), anchor after anchor, nearest first."""
        first = self._starts[rows]
        counts = self._starts[rows + 1] - first
        anchor = torch.repeat_interleave(counts)
        within = torch.arange(len(anchor), device=rows.device) - (counts.cumsum(0) - counts)[anchor]
        neighbour = self._indices[first[anchor] + within].to(torch.int64)
        delta = self._coords[neighbour] - self._coords[rows[anchor]]
        # The square root of an integer below 2^53 is rounded alike everywhere (IEEE 754).
        distance = (delta.square().sum(dim=1, keepdim=True) << (2 * ACTIVATION_BITS)).double().sqrt().floor().long()
        scaled = torch.cat([delta << ACTIVATION_BITS, distance], dim=1)
        inputs = torch.div(scaled, self._radius, rounding_mode="floor").double()
        one = 1 << (_PAIR_WEIGHT_BITS + ACTIVATION_BITS)
        weights = torch.div(one, distance.squeeze(1).clamp(_ONE, one), rounding_mode="floor").double()
        return Pairs(anchor, neighbour, inputs, weights, counts)


class ContextNetwork(Mlp):
    """Context feature of an attribute group with C channels.

    Args:
        channels: C.
        width: H, of the context feature.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__(channels + PAIR_INPUTS, width, width)
        self.channels = channels
        self.empty = nn.Parameter(torch.zeros(width))

    @property
    def outputs(self) -> int:
        """Width of what the distribution network sees: the feature and the number of neighbours."""
        return self.empty.numel() + 1

    def context(self, values: Tensor, pairs: Pairs, most: int) -> Tensor:
        """Context of n anchors, ``[n, outputs] float32``.

        Args:
            values: ``[P, C] float32`` decoded values of each pair's neighbour, scaled to around one.
            pairs: of the n anchors.
            most: number of neighbours that counts as one.
        """
        inputs = torch.cat([values, (pairs.inputs / _ONE).to(values.dtype)], dim=1)
        weights = pairs.weights.to(values.dtype).unsqueeze(1)
        messages = torch.relu(self.first(inputs)) * weights
        num = len(pairs.counts)
        pooled = messages.new_zeros(num, messages.shape[1]).index_add(0, pairs.anchor, messages)
        total = weights.new_zeros(num, 1).index_add(0, pairs.anchor, weights)
        feature = torch.relu(self.second(pooled / total.clamp_min(1)))
        feature = torch.where(pairs.counts.unsqueeze(1) > 0, feature, self.empty)
        return torch.cat([feature, pairs.counts.unsqueeze(1).to(feature.dtype) / most], dim=1)

    def fixed(self) -> FixedContext:  # type: ignore[override]
        """Its exact integer form, as exported to a bitstream."""
        empty = torch.round(self.empty.detach().double() * _ONE)
        return FixedContext(super().fixed(), empty)

    def shapes(self) -> list[tuple[int, ...]]:
        """Shapes of :meth:`FixedContext.integers`."""
        return [*super().shapes(), tuple(self.empty.shape)]


class FixedContext:
    """Integer twin of :class:`ContextNetwork`; integers are ``float64`` with ``ACTIVATION_BITS`` fractional bits.

    Args:
        network: both layers.
        empty: ``[H]``, the feature of an anchor without neighbours.
    """

    def __init__(self, network: FixedMlp, empty: Tensor) -> None:
        first, second = network.layers
        self._inner, self._outer = FixedMlp([first], relu_last=True), FixedMlp([second], relu_last=True)
        self._empty = empty

    @property
    def width(self) -> int:
        """H."""
        return self._empty.numel()

    def integers(self) -> list[Tensor]:
        """What a bitstream stores, ``int64``."""
        return [*self._inner.integers(), *self._outer.integers(), self._empty.to(torch.int64)]

    @staticmethod
    def from_integers(parts: Sequence[Tensor], device: torch.device | str) -> FixedContext:
        """The inverse of :meth:`integers`.

        Raises:
            ValueError: weights too large for exact arithmetic.
        """
        return FixedContext(FixedMlp.from_integers(parts[:4], device), parts[4].double().to(device))

    def keys(self, values: Tensor) -> Tensor:
        """What the first layer makes of n neighbours' values ``[n, C]``: sums before rounding, ``[n, H]``."""
        return self._inner.first_sums(values, slice(None, -PAIR_INPUTS))

    def context(self, keys: Tensor, pairs: Pairs, most: int) -> Tensor:
        """Context of n anchors, ``[n, H + 1]``.

        Args:
            keys: ``[N, H]`` of :meth:`keys`, at least of all neighbours.
            pairs: of the n anchors.
            most: number of neighbours that counts as one.
        """
        sums = self._inner.first_sums(pairs.inputs, slice(-PAIR_INPUTS, None), keys[pairs.neighbour])
        messages = self._inner.finish(sums)
        num = len(pairs.counts)
        weights = pairs.weights.unsqueeze(1)
        pooled = messages.new_zeros(num, self.width).index_add_(0, pairs.anchor, messages.mul_(weights))
        total = weights.new_zeros(num, 1).index_add_(0, pairs.anchor, weights).clamp_(min=1)
        # Of integers below 2^53: a quotient below an integer is never rounded up to it.
        feature = self._outer(pooled.div_(total).floor_())
        feature = torch.where(pairs.counts.unsqueeze(1) > 0, feature, self._empty)
        count = torch.div(pairs.counts.unsqueeze(1) << ACTIVATION_BITS, most, rounding_mode="floor")
        return torch.cat([feature, count.double()], dim=1)

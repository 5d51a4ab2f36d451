"""The autoregressive network: a context feature from neighbours that were decoded before (arXiv 2411.18473, 3.3.3).

The network computes two averages over an anchor's neighbours, with weights of one over the squared distance.

* The average of the neighbours' values, times a learned gain for each channel, is added to the distribution's mean.
* The first layer of a two-layer perceptron sees the values and the relative position of each neighbour. The second
  layer sees the average of the results; its output is an input of the distribution network. An anchor without
  neighbours has a
  learned constant instead.

The network exists in float for training and in exact integers for coding. Both use the same integers per pair.

Owns the network and its inputs per pair. Does not own the choice of neighbours (``hemgs.codec.neighbours``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hemgs.anchor_codec.networks import Mlp
from hemgs.anchor_codec.stored_networks import NUM_MLP_ARRAYS
from hemgs.codec.neighbours import Neighbours
from hemgs.codec.settings import ContextWindow
from hemgs.coding.fixed_point import (
    ACTIVATION_BITS,
    ACTIVATION_LIMIT,
    FixedMlp,
    restored_values,
    rounded_values,
    stored_values,
)

#: Inputs per pair in addition to the neighbour's values: relative position and distance, over the window's radius.
PAIR_INPUTS = 4
#: Weight of a neighbour one voxel away; it falls with the square of the distance, to no less than 1.
_NEAREST_WEIGHT = 1 << 16
#: Largest gain in a bitstream, so that products with activations are exact.
_MAX_GAIN = 1 << 15
#: Number of arrays that a bitstream stores of the network: two layers, then two constants.
NUM_CONTEXT_ARRAYS = NUM_MLP_ARRAYS + 2
_ONE = 1 << ACTIVATION_BITS


@dataclass(frozen=True)
class Pairs:
    """Pairs of some anchors with their neighbours.

    Attributes:
        anchor: ``[P] int64`` position among the given anchors.
        neighbour: ``[P] int64`` index in the neighbour table.
        inputs: ``[P, PAIR_INPUTS] float64`` integers with ``ACTIVATION_BITS`` fractional bits.
        weights: ``[P] float64`` positive integers, falling with the squared distance.
        counts: ``[n] int64`` neighbours of each anchor.
    """

    anchor: Tensor
    neighbour: Tensor
    inputs: Tensor
    weights: Tensor
    counts: Tensor

    def split(self, sizes: list[int]) -> list[Pairs]:
        """Split the pairs into those of the first anchors, of the next ones, and so on.

        Args:
            sizes: numbers of anchors; their sum is n. Pairs must be ordered by anchor.
        """
        ends = torch.tensor([0, *sizes], device="cpu").cumsum(0)
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
        neighbours: neighbours of these anchors.
        window: window of the neighbours.
        device: device of the pairs.
    """

    def __init__(
        self, coords: Tensor, neighbours: Neighbours, window: ContextWindow, device: torch.device | str
    ) -> None:
        self._coords = coords.to(device)
        self._starts = torch.from_numpy(neighbours.starts).to(device)
        self._indices = torch.from_numpy(neighbours.indices).to(device)
        self._radius = window.radius

    def num_pairs(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the number of neighbours of each anchor in ``rows`` (``[n] int64``)."""
        return np.diff(self._starts.cpu().numpy())[rows]

    def pairs(self, rows: Tensor) -> Pairs:
        """Return all pairs of the anchors ``rows`` (``[n] int64``), ordered by anchor, nearest first."""
        first = self._starts[rows]
        counts = self._starts[rows + 1] - first
        anchor = torch.repeat_interleave(counts)
        within = torch.arange(len(anchor), device=rows.device) - (counts.cumsum(0) - counts)[anchor]
        neighbour = self._indices[first[anchor] + within].to(torch.int64)
        delta = self._coords[neighbour] - self._coords[rows[anchor]]
        # The square root of an integer below 2^53 is rounded in the same way on every machine (IEEE 754).
        squares = delta.square().sum(dim=1)
        distance = (squares << (2 * ACTIVATION_BITS)).double().sqrt().floor().long()
        scaled = torch.cat([delta << ACTIVATION_BITS, distance.unsqueeze(1)], dim=1)
        inputs = torch.div(scaled, self._radius, rounding_mode="floor").double()
        weights = torch.div(_NEAREST_WEIGHT, squares.clamp(1, _NEAREST_WEIGHT), rounding_mode="floor").double()
        return Pairs(anchor, neighbour, inputs, weights, counts)


@dataclass(frozen=True)
class Seen:
    """The neighbours of n anchors as inputs in training.

    Attributes:
        pairs: pairs of the n anchors.
        values: ``[P, C] float32`` decoded values of each pair's neighbour.
        present: ``[P, C]``, zero where a value is masked (and zero itself); ``None`` if no value is.
    """

    pairs: Pairs
    values: Tensor
    present: Tensor | None = None


class ContextNetwork(Mlp):
    """Context of an attribute group with C channels.

    Args:
        channels: C.
        width: H, the width of the context feature.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__(channels + PAIR_INPUTS, width, width)
        self.channels = channels
        self.empty = nn.Parameter(torch.zeros(width))
        self.gain = nn.Parameter(torch.zeros(channels))

    @property
    def outputs(self) -> int:
        """Width of the distribution network's inputs from here: the feature and the number of neighbours."""
        return self.empty.numel() + 1

    def context(self, seen: Seen, most: int) -> tuple[Tensor, Tensor]:
        """Compute the context of n anchors.

        Args:
            seen: neighbours, with values scaled to around one.
            most: number of neighbours that counts as one.

        Returns:
            inputs of the distribution network ``[n, outputs]``, and the addend of its means ``[n, C]``; float32.
        """
        pairs, num = seen.pairs, len(seen.pairs.counts)
        weights = pairs.weights.to(seen.values.dtype).unsqueeze(1)

        def pooled(values: Tensor) -> Tensor:
            return values.new_zeros(num, values.shape[1]).index_add(0, pairs.anchor, values * weights)

        total = pooled(torch.ones_like(weights)).clamp_min(1)
        inputs = torch.cat([seen.values, (pairs.inputs / _ONE).to(seen.values.dtype)], dim=1)
        feature = torch.relu(self.second(pooled(torch.relu(self.first(inputs))) / total))
        feature = torch.where(pairs.counts.unsqueeze(1) > 0, feature, self.empty)
        weight = total if seen.present is None else pooled(seen.present).clamp_min(1)
        count = pairs.counts.unsqueeze(1).to(feature.dtype) / most
        return torch.cat([feature, count], dim=1), self.gain * pooled(seen.values) / weight

    def fixed(self, exact: bool = True) -> FixedContext:  # type: ignore[override]
        """Return the network's form in a bitstream, in integers unless ``exact`` is false."""
        empty, gain = (rounded_values(part, ACTIVATION_BITS, exact) for part in (self.empty, self.gain))
        return FixedContext(super().fixed(exact), empty, gain.clamp(-_MAX_GAIN, _MAX_GAIN))

    def shapes(self) -> list[tuple[int, ...]]:
        """Return the shapes of :meth:`FixedContext.stored`."""
        return [*super().shapes(), tuple(self.empty.shape), tuple(self.gain.shape)]


class FixedContext:
    """:class:`ContextNetwork` in integers, which are ``float64`` with ``ACTIVATION_BITS`` fractional bits.

    Args:
        network: both layers, which decide whether arithmetic is exact.
        empty: ``[H]``, the feature of an anchor without neighbours.
        gain: ``[C]``.

    Raises:
        ValueError: constants are too large for exact arithmetic, or not finite.
    """

    def __init__(self, network: FixedMlp, empty: Tensor, gain: Tensor) -> None:
        self._inner, self._outer = (FixedMlp([layer], relu_last=True, exact=network.exact) for layer in network.layers)
        self._empty, self._gain = empty, gain
        if not bool((gain.abs() <= _MAX_GAIN).all()):
            raise ValueError(f"a gain of {float(gain.abs().max()) / _ONE:g} is too large for exact arithmetic")
        if not bool(empty.isfinite().all()):
            raise ValueError("the feature of an anchor without neighbours is not finite")

    @property
    def width(self) -> int:
        """H."""
        return self._empty.numel()

    @property
    def channels(self) -> int:
        """C."""
        return self._gain.numel()

    def stored(self) -> list[Tensor]:
        """Return the arrays that a bitstream stores; see :meth:`FixedMlp.stored`."""
        constants = [stored_values(part, ACTIVATION_BITS, self._inner.exact) for part in (self._empty, self._gain)]
        return [*self._inner.stored(), *self._outer.stored(), *constants]

    @staticmethod
    def from_stored(parts: Sequence[Tensor], device: torch.device | str) -> FixedContext:
        """Build the network from the arrays of :meth:`stored`.

        Raises:
            ValueError: as for the class.
        """
        empty, gain = (restored_values(part, ACTIVATION_BITS, device) for part in parts[NUM_MLP_ARRAYS:])
        return FixedContext(FixedMlp.from_stored(parts[:NUM_MLP_ARRAYS], device), empty, gain)

    def memory(self, num: int, present: Tensor | None) -> Memory:
        """Allocate memory for the decoded values of ``num`` anchors; ``present`` as in :class:`Memory`."""
        device = self._gain.device
        keys = torch.zeros(num, self.width, dtype=torch.float64, device=device)
        return Memory(keys, torch.zeros(num, self.channels, dtype=torch.float32, device=device), present)

    def remember(self, memory: Memory, rows: Tensor | slice, values: Tensor) -> None:
        """Store the decoded values of some anchors, ``[n, C]``."""
        memory.keys[rows] = self._inner.first_sums(values, slice(None, -PAIR_INPUTS))
        memory.values[rows] = values.clamp(-ACTIVATION_LIMIT, ACTIVATION_LIMIT).float()

    def context(self, memory: Memory, pairs: Pairs, most: int) -> tuple[Tensor, Tensor]:
        """Compute the context of n anchors.

        Args:
            memory: decoded values, at least of all neighbours.
            pairs: pairs of the n anchors.
            most: number of neighbours that counts as one.

        Returns:
            inputs of the distribution network ``[n, H + 1]``, and the addend of its means ``[n, C]``, the latter with
            twice as many fractional bits.
        """
        num, weights = len(pairs.counts), pairs.weights.unsqueeze(1)

        def pooled(values: Tensor) -> Tensor:
            return values.new_zeros(num, values.shape[1]).index_add_(0, pairs.anchor, values * weights)

        # A quotient of integers below 2^53 that is less than an integer is never rounded up to it.
        total = pooled(torch.ones_like(weights)).clamp_(min=1)
        sums = self._inner.first_sums(pairs.inputs, slice(-PAIR_INPUTS, None), memory.keys[pairs.neighbour])
        feature = self._outer(self._mean(pooled(self._inner.finish(sums)), total))
        feature = torch.where(pairs.counts.unsqueeze(1) > 0, feature, self._empty)
        count = torch.div(pairs.counts.unsqueeze(1) << ACTIVATION_BITS, most, rounding_mode="floor")
        if memory.present is not None:
            total = pooled(memory.present[pairs.neighbour].double()).clamp_(min=1)
        expected = self._mean(pooled(memory.values[pairs.neighbour].double()), total)
        return torch.cat([feature, count.double()], dim=1), expected.mul_(self._gain)

    def _mean(self, sums: Tensor, total: Tensor) -> Tensor:
        """Return quotients, rounded down where arithmetic is exact."""
        means = sums.div_(total)
        return means.floor_() if self._inner.exact else means


@dataclass(frozen=True)
class Memory:
    """The decoder's memory of N anchors, as context of later anchors.

    Attributes:
        keys: ``[N, H] float64``, the first layer's sums over their values, before rounding.
        values: ``[N, C] float32`` integers, exact because activations stay within 2^24.
        present: ``[N, C] bool``, false where a value is masked (and zero itself); ``None`` if no value is.
    """

    keys: Tensor
    values: Tensor
    present: Tensor | None

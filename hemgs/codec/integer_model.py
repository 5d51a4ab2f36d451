"""The entropy model in exact integer arithmetic, which encoder and decoder evaluate to the same bits.

It has the steps of :class:`hemgs.codec.model.AttributeGroup`. Nothing here depends on device, thread count, batch size
or order of summation: networks are :class:`~hemgs.coding.fixed_point.FixedMlp`, and all values after them are
``int64``. Only groups with networks in floating point are different. Other machines may fail to decode their files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from hemgs.anchor_codec.channels import FixedChannels
from hemgs.anchor_codec.prediction import (
    MEAN_BITS,
    FixedPrediction,
    Integers,
    scaled_symbols,
    shift_left,
    whole,
)
from hemgs.anchor_codec.stored_networks import Stored, StoredParts, StoredShape
from hemgs.codec.context import NUM_CONTEXT_ARRAYS, FixedContext, Memory, Pairs
from hemgs.codec.model import FULL_CONTEXT, AttributeGroup, Hyperprior
from hemgs.codec.rate_predictor import fixed_step_index
from hemgs.coding.fixed_point import ACTIVATION_BITS, FixedMlp


class FixedGroup:
    """An :class:`~hemgs.codec.model.AttributeGroup` in integers.

    Args:
        hyperprior, rate_predictor, distribution: networks.
        autoregressive: network; ``None`` where the group has none.
        exponents: ``[C] int64``.
        octaves: octaves of the rate predictor.
        channels: networks of the chunks of channels.
    """

    def __init__(
        self,
        hyperprior: FixedMlp,
        rate_predictor: FixedMlp,
        autoregressive: FixedContext | None,
        distribution: FixedMlp,
        exponents: Integers,
        octaves: float,
        channels: FixedChannels,
    ) -> None:
        self.hyperprior, self.rate_predictor, self.distribution = hyperprior, rate_predictor, distribution
        self.autoregressive = autoregressive
        self.exponents = exponents
        self.octaves = octaves
        self.channels = channels

    @property
    def exact(self) -> bool:
        """Whether predictions have the same bits on every machine."""
        return self.distribution.exact

    @staticmethod
    def export(group: AttributeGroup) -> FixedGroup:
        """Round a trained group."""
        chunks = [] if group.channel_context is None else group.channel_context.mlps()
        return FixedGroup(
            group.hyperprior.fixed(group.exact),
            group.rate_predictor.fixed(group.exact),
            None if group.autoregressive is None else group.autoregressive.fixed(group.exact),
            group.distribution.fixed(group.exact),
            group.exponents.cpu().numpy(),
            group.rate_predictor.octaves,
            FixedChannels([network.fixed(group.exact) for network in chunks], group.channels),
        )

    def stored(self) -> list[Stored]:
        """Return all arrays of this group in a bitstream, in the order of :meth:`from_stored`."""
        networks = [self.hyperprior, self.rate_predictor, self.autoregressive, self.distribution]
        networks += self.channels.networks
        parts = [part for network in networks if network is not None for part in network.stored()]
        return [part.cpu().numpy() for part in parts] + [self.exponents]

    @staticmethod
    def shapes(group: AttributeGroup) -> list[StoredShape]:
        """Return the shapes of :meth:`stored`, which a decoder needs."""
        networks = [shape for network in group.networks() for shape in network.shapes()]
        return [StoredShape(shape, in_half=not group.exact) for shape in networks] + [StoredShape((group.channels,))]

    @staticmethod
    def from_stored(parts: StoredParts, octaves: float, context_dim: int, chunks: int = 1) -> FixedGroup:
        """Build a group from the next arrays of a bitstream; settings as in :class:`~hemgs.codec.model.AttributeGroup`.

        Raises:
            BitstreamError: a value is one that no encoder writes.
        """
        hyperprior, rate_predictor = parts.mlp(), parts.mlp()
        autoregressive = parts.network(FixedContext.from_stored, NUM_CONTEXT_ARRAYS) if context_dim else None
        distribution = parts.mlp()
        channel_networks = [parts.mlp() for _ in range(chunks - 1)]
        exponents = parts.exponents()
        channels = FixedChannels(channel_networks, len(exponents))
        return FixedGroup(hyperprior, rate_predictor, autoregressive, distribution, exponents, octaves, channels)

    def prior(self, locations: Tensor, previous: Tensor | None) -> Tensor:
        """Compute the prior feature, ``[n, prior_dim] float64`` integers.

        Args:
            locations: ``[n, location_dim] float64`` integers.
            previous: ``[n, previous_dim] float64`` integers, from :meth:`scaled`, or ``None``.
        """
        return self.hyperprior(Hyperprior.inputs(locations, previous))

    def step_index(self, prior: Tensor, rate_input: int) -> Integers:
        """Return the index of each step in the coder's table, ``[n, C]``; ``rate_input`` as in :meth:`prior_sums`."""
        return (
            fixed_step_index(self.rate_predictor(_with_rate_input(prior, rate_input)), rate_input, self.octaves)
            .cpu()
            .numpy()
        )

    def prior_sums(self, prior: Tensor, rate_input: int) -> Tensor:
        """Return the distribution network's sums over prior and rate input, which need no neighbours, ``[n, hidden]``.

        Args:
            prior: result of :meth:`prior`.
            rate_input: ``t`` in units of ``2^-ACTIVATION_BITS``.
        """
        inputs = _with_rate_input(prior, rate_input)
        return self.distribution.first_sums(inputs, slice(inputs.shape[1]))

    def predict(
        self, prior_sums: Tensor, step_index: Integers, memory: Memory | None = None, pairs: Pairs | None = None
    ) -> FixedPrediction:
        """Predict n anchors; see :meth:`AttributeGroup.predict`.

        Args:
            prior_sums: result of :meth:`prior_sums`.
            step_index: result of :meth:`step_index`.
            memory: the autoregressive network's memory, with at least all neighbours.
            pairs: pairs of the n anchors; both only with an autoregressive network.
        """
        channels, expected = len(self.exponents), None
        if self.autoregressive is not None:
            assert memory is not None and pairs is not None
            context, expected = self.autoregressive.context(memory, pairs, FULL_CONTEXT)
            prior_sums = self.distribution.first_sums(context, slice(-context.shape[1], None), prior_sums)
        means, log2_scales = self.distribution.finish(prior_sums).split(channels, dim=1)
        mean = whole(means, MEAN_BITS - ACTIVATION_BITS)
        if expected is not None:
            mean = mean + whole(expected)
        log2_scale = whole(log2_scales) + (self.exponents << ACTIVATION_BITS)
        return FixedPrediction(step_index, shift_left(mean, self.exponents), log2_scale)

    def pieces(
        self, base: FixedPrediction, symbols: Integers, parts: Mapping[str, slice]
    ) -> Iterator[tuple[str, int, slice, FixedPrediction]]:
        """Yield the pieces of n anchors in coding order: attribute, number of the chunk, columns, prediction.

        Args:
            base: result of :meth:`predict`.
            symbols: ``[n, C]``. Before the next piece, the caller must fill in those of the pieces before.
            parts: columns by attribute; one attribute where channels are coded in chunks.
        """
        if not self.channels.networks:
            for attribute, columns in parts.items():
                yield attribute, 0, columns, base.columns(columns)
            return
        (attribute,) = parts
        for chunk, columns in enumerate(self.channels.columns):
            yield (
                attribute,
                chunk,
                columns,
                self._corrected(base, chunk, columns, symbols) if chunk else base.columns(columns),
            )

    def _corrected(self, base: FixedPrediction, chunk: int, columns: slice, symbols: Integers) -> FixedPrediction:
        """Predict a chunk, given the symbols of all channels before it."""
        device = self.distribution.layers[0].weight.device
        before, surplus = slice(columns.start), MEAN_BITS - ACTIVATION_BITS
        values = scaled_symbols(symbols[:, before], base.step_index[:, before], self.exponents[before], device)
        means = (shift_left(base.mean[:, before], -self.exponents[before]) + (1 << (surplus - 1))) >> surplus
        change, log2_scale = self.channels.correction(chunk, values - torch.from_numpy(means).double().to(device))
        own = base.columns(columns)
        mean = own.mean + shift_left(whole(change, surplus), self.exponents[columns])
        return FixedPrediction(own.step_index, mean, own.log2_scale + whole(log2_scale))

    def scaled(self, symbols: Integers, step_index: Integers, device: torch.device | str) -> Tensor:
        """Convert decoded symbols to network inputs, ``[n, C] float64`` integers around one."""
        return scaled_symbols(symbols, step_index, self.exponents, device)


def _with_rate_input(prior: Tensor, rate_input: int) -> Tensor:
    return torch.cat([prior, torch.full_like(prior[:, :1], rate_input)], dim=1)

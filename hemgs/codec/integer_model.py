"""The entropy model in exact integer arithmetic: what encoder and decoder both evaluate, bit for bit.

Mirrors :class:`hemgs.codec.model.AttributeGroup` step by step. Nothing here depends on device, thread count, batch
size or order of summation: networks are :class:`~hemgs.coding.fixed_point.FixedMlp`, all after them is ``int64``. Only
a group that asks for networks in floating point gets such, and with them a file that other machines may fail to decode.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from hemgs.anchor_codec.channels import FixedChannels
from hemgs.anchor_codec.prediction import (
    MEAN_BITS,
    FixedPrediction,
    Integers,
    checked_exponents,
    scaled_symbols,
    shift_left,
    whole,
)
from hemgs.anchor_codec.stored_networks import Stored, StoredShape
from hemgs.codec.context import FixedContext, Memory, Pairs
from hemgs.codec.model import FULL_CONTEXT, AttributeGroup, Hyperprior
from hemgs.codec.rate_predictor import fixed_step_index
from hemgs.coding.fixed_point import ACTIVATION_BITS, FixedMlp
from hemgs.core.errors import BitstreamError


class FixedGroup:
    """Integer twin of an :class:`~hemgs.codec.model.AttributeGroup`.

    Args:
        hyperprior, rate_predictor, distribution: networks.
        autoregressive: network; ``None`` where the group has none.
        exponents: ``[C] int64``.
        octaves: of the rate predictor.
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
        """Whether predictions are alike wherever and however they are computed."""
        return self.distribution.exact

    @staticmethod
    def export(group: AttributeGroup) -> FixedGroup:
        """Rounds a trained group."""
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
        """Everything that a bitstream stores of this group, in :meth:`from_stored` order."""
        networks = [self.hyperprior, self.rate_predictor, self.autoregressive, self.distribution]
        networks += self.channels.networks
        parts = [part for network in networks if network is not None for part in network.stored()]
        return [part.cpu().numpy() for part in parts] + [self.exponents]

    @staticmethod
    def shapes(group: AttributeGroup) -> list[StoredShape]:
        """What a decoder must know of :meth:`stored`."""
        networks = [shape for network in group.networks() for shape in network.shapes()]
        return [StoredShape(shape, in_half=not group.exact) for shape in networks] + [StoredShape((group.channels,))]

    @staticmethod
    def from_stored(parts: Sequence[Stored], octaves: float, device: torch.device | str, chunks: int = 1) -> FixedGroup:
        """Rebuilds a group from a bitstream; ``chunks`` as of :class:`~hemgs.codec.model.AttributeGroup`.

        Raises:
            BitstreamError: values that no encoder writes.
        """
        exponents = checked_exponents(parts[-1])
        tensors = [torch.from_numpy(part) for part in parts[:-1]]
        end = len(tensors) - 4 * (chunks - 1)
        first, second, context, last = tensors[:4], tensors[4:8], tensors[8 : end - 4], tensors[end - 4 : end]
        later = [tensors[place : place + 4] for place in range(end, len(tensors), 4)]
        try:
            return FixedGroup(
                FixedMlp.from_stored(first, device),
                FixedMlp.from_stored(second, device),
                FixedContext.from_stored(context, device) if context else None,
                FixedMlp.from_stored(last, device),
                exponents,
                octaves,
                FixedChannels([FixedMlp.from_stored(part, device) for part in later], len(exponents)),
            )
        except ValueError as fault:
            raise BitstreamError(f"networks: {fault}", "get the file again from its source") from fault

    def prior(self, locations: Tensor, previous: Tensor | None) -> Tensor:
        """Prior feature ``[n, prior_dim] float64`` integers.

        Args:
            locations: ``[n, location_dim] float64`` integers.
            previous: ``[n, previous_dim] float64`` integers, from :meth:`scaled`, or ``None``.
        """
        return self.hyperprior(Hyperprior.inputs(locations, previous))

    def step_index(self, prior: Tensor, rate: int) -> Integers:
        """Index of each step in the coder's table, ``[n, C]``; ``rate`` is ``t`` in units of ``2^-ACTIVATION_BITS``."""
        return fixed_step_index(self.rate_predictor(_with_rate(prior, rate)), rate, self.octaves).cpu().numpy()

    def known(self, prior: Tensor, rate: int) -> Tensor:
        """What prior and rate bring to the distribution network, ``[n, hidden]``: all that needs no neighbours.

        Args:
            prior: of :meth:`prior`.
            rate: ``t`` in units of ``2^-ACTIVATION_BITS``.
        """
        inputs = _with_rate(prior, rate)
        return self.distribution.first_sums(inputs, slice(inputs.shape[1]))

    def predict(
        self, known: Tensor, step_index: Integers, memory: Memory | None = None, pairs: Pairs | None = None
    ) -> FixedPrediction:
        """Predicts n anchors; see :meth:`AttributeGroup.predict`.

        Args:
            known: of :meth:`known`.
            step_index: of :meth:`step_index`.
            memory: of the autoregressive network; holds at least all neighbours.
            pairs: of the n anchors; both only with an autoregressive network.
        """
        channels, expected = len(self.exponents), None
        if self.autoregressive is not None:
            assert memory is not None and pairs is not None
            context, expected = self.autoregressive.context(memory, pairs, FULL_CONTEXT)
            known = self.distribution.first_sums(context, slice(-context.shape[1], None), known)
        means, log2_scales = self.distribution.finish(known).split(channels, dim=1)
        mean = whole(means, MEAN_BITS - ACTIVATION_BITS)
        if expected is not None:
            mean = mean + whole(expected)
        log2_scale = whole(log2_scales) + (self.exponents << ACTIVATION_BITS)
        return FixedPrediction(step_index, shift_left(mean, self.exponents), log2_scale)

    def pieces(
        self, base: FixedPrediction, symbols: Integers, parts: Mapping[str, slice]
    ) -> Iterator[tuple[str, int, slice, FixedPrediction]]:
        """What is coded of n anchors at once, in order: attribute, number of the chunk, columns, prediction.

        Args:
            base: of :meth:`predict`.
            symbols: ``[n, C]``; by the time that a piece is asked for, those of the pieces before stand in it.
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
        """The prediction of a chunk, given the symbols of all channels before it."""
        device = self.distribution.layers[0].weight.device
        before, surplus = slice(columns.start), MEAN_BITS - ACTIVATION_BITS
        values = scaled_symbols(symbols[:, before], base.step_index[:, before], self.exponents[before], device)
        means = (shift_left(base.mean[:, before], -self.exponents[before]) + (1 << (surplus - 1))) >> surplus
        change, log2_scale = self.channels.correction(chunk, values - torch.from_numpy(means).double().to(device))
        own = base.columns(columns)
        mean = own.mean + shift_left(whole(change, surplus), self.exponents[columns])
        return FixedPrediction(own.step_index, mean, own.log2_scale + whole(log2_scale))

    def scaled(self, symbols: Integers, step_index: Integers, device: torch.device | str) -> Tensor:
        """Decoded symbols as networks take them, ``[n, C] float64`` integers around one."""
        return scaled_symbols(symbols, step_index, self.exponents, device)


def _with_rate(prior: Tensor, rate: int) -> Tensor:
    return torch.cat([prior, torch.full_like(prior[:, :1], rate)], dim=1)

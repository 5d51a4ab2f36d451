"""Symbols of the three coded attributes: the traversal that encoder and decoder share.

A symbol comes from quantising a value in the encoder's stream, and from the entropy decoder in the decoder's. Only
:func:`traverse` decides the table of a symbol. Symbols are in the order of waves. A wave contains the anchors whose
neighbours all belong to earlier waves, in raster order. The decoder needs that order. The encoder knows all symbols and
codes in large batches.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hemgs.anchor_codec.location_grid import exact_lookup
from hemgs.anchor_codec.prediction import Integers
from hemgs.anchor_codec.streams import SymbolStream, chunks, every
from hemgs.anchors.params import SCALING_DIM
from hemgs.codec.anchor_set import AnchorSet
from hemgs.codec.context import Memory
from hemgs.codec.header import HemgsHeader
from hemgs.codec.integer_model import FixedGroup
from hemgs.core.device import one_torch_thread

#: Anchors, or pairs of them, that a loop processes together. It limits memory and changes no bit.
CHUNK = 16384


@dataclass(frozen=True)
class FixedModel:
    """The integer entropy model of one bitstream.

    Attributes:
        header: settings.
        signs: ``[num_entries, features] int8`` hash grid.
        features, geometry: the two groups, both exact or both not.
    """

    header: HemgsHeader
    signs: Tensor
    features: FixedGroup
    geometry: FixedGroup


def traverse(model: FixedModel, anchors: AnchorSet, masks: NDArray[np.bool_], stream: SymbolStream) -> None:
    """Code all anchors in coding order: all features, then all scalings and offsets.

    Args:
        model: the integer entropy model.
        anchors: N anchors; their device does the arithmetic.
        masks: ``[N, K] bool``.
        stream: the stream that writes or reads the symbols.
    """
    num, all_channels = len(masks), len(model.features.exponents)
    header = model.header
    hashed = exact_lookup(header.entropy.grid, model.signs, anchors.coords, header.low, header.high)
    # Sums in floating point depend on how many threads share them.
    with nullcontext() if model.features.exact else one_torch_thread():
        features = _GroupPass(model, model.features, {"features": every(num, all_channels)}, anchors, hashed, stream)
        features.run(None)
        selects = {"scalings": every(num, SCALING_DIM), "offsets": masks.repeat(3, axis=1)}
        _GroupPass(model, model.geometry, selects, anchors, hashed, stream).run(features)


class _GroupPass:
    """All symbols of one attribute group.

    Args:
        model: the integer entropy model.
        group: the group.
        selects: by attribute, in the order of the group's channels: which symbols are coded, ``[N, C]``.
        anchors: the anchors to code.
        hashed: hash-grid features of the anchors.
        stream: the stream that writes or reads the symbols.
    """

    def __init__(
        self,
        model: FixedModel,
        group: FixedGroup,
        selects: dict[str, NDArray[np.bool_]],
        anchors: AnchorSet,
        hashed: Tensor,
        stream: SymbolStream,
    ) -> None:
        self._model, self._group, self._anchors, self._stream = model, group, anchors, stream
        self._select, self._hashed = np.concatenate(list(selects.values()), axis=1), hashed
        #: Whether anchors are predicted wave by wave. A decoder must wait for the symbols of earlier waves. An encoder
        #: whose sums depend on their order must sum in the decoder's order.
        self._waits = group.autoregressive is not None and not (stream.complete and group.exact)
        ends = np.cumsum([select.shape[1] for select in selects.values()]).tolist()
        starts = [0, *ends[:-1]]
        self._columns = {name: slice(*ends) for name, *ends in zip(selects, starts, ends, strict=True)}
        self._steps = np.zeros((anchors.coords.shape[0], ends[-1]), dtype=np.int16)
        self._device = anchors.coords.device

    def run(self, previous: _GroupPass | None) -> None:
        """Code the group, given the one decoded before it."""
        prior = torch.cat([self._prior(rows, previous) for rows in chunks(len(self._steps), CHUNK)])
        memory = self._memory()
        # Waves are too small to divide among threads; waiting would cost more than it saves.
        with one_torch_thread() if self._waits else nullcontext():
            for rows, sizes in self._blocks():
                self._code(rows, sizes, prior, memory)
        for attribute, columns in self._columns.items():
            for chunk in chunks(len(self._steps), CHUNK):
                self._stream.end(attribute, chunk, self._steps[chunk, columns])

    def scaled(self, rows: slice) -> Tensor:
        """Return decoded values of some rows as network inputs, ``[n, C] float64`` integers."""
        symbols = np.concatenate([self._stream.symbols[attribute][rows] for attribute in self._columns], axis=1)
        return self._group.scaled(symbols, self._steps[rows].astype(np.int64), self._device)

    def _prior(self, rows: slice, previous: _GroupPass | None) -> Tensor:
        """Compute the prior feature of some rows, and set their steps. Activations up to 2^24 are exact in float32."""
        locations = self._hashed[rows].double()
        if self._anchors.scene_agnostic is not None:
            locations = torch.cat([locations, self._anchors.scene_agnostic[rows]], dim=1)
        prior = self._group.prior(locations, None if previous is None else previous.scaled(rows))
        steps = self._group.step_index(prior, self._model.header.rate_input)
        self._steps[rows] = steps
        for attribute, columns in self._columns.items():
            self._stream.start(attribute, rows, steps[:, columns], self._select[rows, columns])
        return prior.float()

    def _memory(self) -> Memory | None:
        """Make the autoregressive network's memory of all anchors, filled with the known symbols."""
        network = self._group.autoregressive
        if network is None:
            return None
        present = None if self._select.all() else torch.from_numpy(self._select).to(self._device)
        memory = network.memory(len(self._steps), present)
        if not self._waits:
            for rows in chunks(len(self._steps), CHUNK):
                network.remember(memory, rows, self.scaled(rows))
        return memory

    def _blocks(self) -> Iterator[tuple[Integers, list[int]]]:
        """Return the order of coding in blocks that fit into memory with their pairs, and the sizes of batches."""
        order, starts = self._anchors.waves.order, self._anchors.waves.starts
        costs = np.ones(len(order), np.int64)
        if self._group.autoregressive is not None and self._anchors.table is not None:
            costs = np.maximum(self._anchors.table.num_pairs(order), 1)
        firsts = np.flatnonzero(np.diff(np.cumsum(costs) // CHUNK, prepend=-1))
        for first, end in itertools.pairwise([*firsts.tolist(), len(order)]):
            inner = starts[np.searchsorted(starts, first, "right") : np.searchsorted(starts, end)]
            yield order[first:end], np.diff([first, *(inner if self._waits else ()), end]).tolist()

    def _code(self, rows: Integers, sizes: list[int], prior: Tensor, memory: Memory | None) -> None:
        """Code the anchors ``rows`` in batches of ``sizes``."""
        network, table = self._group.autoregressive, self._anchors.table
        index = torch.from_numpy(rows).to(self._device)
        prior_sums = self._group.prior_sums(prior[index].double(), self._model.header.rate_input).split(sizes)
        pairs = [None] * len(sizes) if network is None or table is None else table.pairs(index).split(sizes)
        steps = self._steps[rows].astype(np.int64)
        select = self._select[rows]
        end = 0
        for number, size in enumerate(sizes):
            part = slice(end, end := end + size)
            prediction = self._group.predict(prior_sums[number], steps[part], memory, pairs[number])
            symbols = np.zeros(prediction.mean.shape, dtype=np.int64)
            for attribute, chunk, columns, piece in self._group.pieces(prediction, symbols, self._columns):
                symbols[:, columns] = self._stream.code(attribute, rows[part], piece, select[part, columns], chunk)
            if self._waits and network is not None and memory is not None:
                values = self._group.scaled(symbols, steps[part], self._device)
                network.remember(memory, index[part], values)

"""Symbols of the three coded attributes: one traversal that both encoder and decoder walk.

The encoder's and the decoder's streams differ only in whether a symbol comes from quantising a value or from the
entropy decoder; which table it is coded with is decided in one place, :func:`traverse`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hemgs.coding.quantize import dequantize, quantize
from hemgs.coding.rans import GaussianDecoder, GaussianEncoder
from hemgs.core.errors import BitstreamError
from hemgs.entropy.fixed import FixedGroup, FixedPrediction, Integers
from hemgs.entropy.hashgrid import fixed_features
from hemgs.entropy.header import Header
from hemgs.entropy.model import SCALING_DIM

#: Anchors predicted at once; bounds memory, changes no bit.
CHUNK = 16384
#: The entropy-coded attributes, in coding order.
ATTRIBUTES = ("features", "scalings", "offsets")


@dataclass(frozen=True)
class FixedModel:
    """The integer entropy model of one bitstream.

    Attributes:
        header: settings.
        signs: ``[num_entries, features] int8`` hash grid.
        features, geometry: the two groups.
    """

    header: Header
    signs: Tensor
    features: FixedGroup
    geometry: FixedGroup


class SymbolStream(Protocol):
    """Source or sink of symbols, called in coding order."""

    def code(self, attribute: str, rows: slice, prediction: FixedPrediction, select: NDArray[np.bool_]) -> Integers:
        """Symbols ``[n, C] int64`` of some rows of an attribute; zero where ``select`` is false, which is not coded."""
        ...


def traverse(model: FixedModel, coords: Tensor, masks: NDArray[np.bool_], stream: SymbolStream) -> None:
    """Walks all anchors in coding order.

    Args:
        model: the integer entropy model.
        coords: ``[N, 3] int64`` stored locations, in coding order; their device does the arithmetic.
        masks: ``[N, K] bool``.
        stream: takes or gives the symbols.
    """
    header, device = model.header, coords.device
    low, high = (torch.tensor(bound, device=device) for bound in (header.low, header.high))
    signs = model.signs.to(device)
    for rows in _chunks(coords.shape[0]):
        hashed = fixed_features(header.entropy.grid, signs, coords[rows], low, high)
        prediction = model.features.predict(hashed, None, header.rate)
        everything = np.ones(prediction.mean.shape, dtype=bool)
        symbols = stream.code("features", rows, prediction, everything)
        previous = model.features.as_previous(symbols, prediction.step_index, device)
        prediction = model.geometry.predict(hashed, previous, header.rate)
        scaling, offset = _columns(prediction, slice(0, SCALING_DIM)), _columns(prediction, slice(SCALING_DIM, None))
        stream.code("scalings", rows, scaling, np.ones(scaling.mean.shape, dtype=bool))
        stream.code("offsets", rows, offset, np.repeat(masks[rows], 3, axis=1))


class WritingStream:
    """Quantises values and encodes them.

    Args:
        values: ``[N, C] float64`` by attribute.
        base_steps: by attribute.
    """

    def __init__(self, values: dict[str, NDArray[np.float64]], base_steps: dict[str, float]) -> None:
        self._values, self._base_steps = values, base_steps
        self._encoders = {name: GaussianEncoder() for name in ATTRIBUTES}
        self.symbols = {name: np.zeros(values[name].shape, dtype=np.int64) for name in ATTRIBUTES}
        self.estimated_bits = dict.fromkeys(ATTRIBUTES, 0.0)

    def code(self, attribute: str, rows: slice, prediction: FixedPrediction, select: NDArray[np.bool_]) -> Integers:
        values, step = self._values[attribute][rows], prediction.step_index
        symbols = np.where(select, quantize(values, self._base_steps[attribute], step), 0).astype(np.int64)
        centre, level, offset = prediction.table_rows()
        residual = symbols - centre
        self._encoders[attribute].push(residual[select].astype(np.int32), level[select], offset[select])
        self.estimated_bits[attribute] += float(prediction.bits(symbols)[select].sum())
        self.symbols[attribute][rows] = symbols
        return symbols

    def finish(self) -> dict[str, bytes]:
        """The coded streams by attribute."""
        return {name: encoder.finish() for name, encoder in self._encoders.items()}


class ReadingStream:
    """Decodes symbols and restores values.

    Args:
        streams: coded streams by attribute.
        shapes: ``(N, C)`` by attribute.
        base_steps: by attribute.
    """

    def __init__(
        self, streams: dict[str, bytes], shapes: dict[str, tuple[int, int]], base_steps: dict[str, float]
    ) -> None:
        self._base_steps = base_steps
        self._decoders = {name: GaussianDecoder(streams[name]) for name in ATTRIBUTES}
        self.symbols = {name: np.zeros(shapes[name], dtype=np.int64) for name in ATTRIBUTES}
        self.values = {name: np.zeros(shapes[name], dtype=np.float32) for name in ATTRIBUTES}

    def code(self, attribute: str, rows: slice, prediction: FixedPrediction, select: NDArray[np.bool_]) -> Integers:
        centre, level, offset = prediction.table_rows()
        symbols = np.zeros(centre.shape, dtype=np.int64)
        try:
            symbols[select] = self._decoders[attribute].pull(level[select], offset[select]) + centre[select]
        except BitstreamError as fault:
            raise BitstreamError(f"section {attribute}: {fault.message}", fault.fix) from fault
        self.symbols[attribute][rows] = symbols
        self.values[attribute][rows] = dequantize(symbols, self._base_steps[attribute], prediction.step_index)
        return symbols

    def finish(self) -> None:
        """Checks that every stream was used up."""
        for name, decoder in self._decoders.items():
            try:
                decoder.finish()
            except BitstreamError as fault:
                raise BitstreamError(f"section {name}: {fault.message}", fault.fix) from fault


def _chunks(num: int) -> Iterator[slice]:
    for first in range(0, num, CHUNK):
        yield slice(first, min(first + CHUNK, num))


def _columns(prediction: FixedPrediction, columns: slice) -> FixedPrediction:
    return FixedPrediction(
        prediction.step_index[:, columns], prediction.mean[:, columns], prediction.log2_scale[:, columns]
    )

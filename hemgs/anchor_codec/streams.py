"""Streams of symbols: the encoder's and the decoder's side of the entropy coder, for all anchor codecs.

An encoder's stream quantises values and collects symbols; a decoder's stream decodes symbols and restores values. A
codec has one loop over its anchors for both, so that one place decides a symbol's table.

Owns both streams. Does not own any order of coding or prediction.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hemgs.anchor_codec.channels import chunk_columns
from hemgs.anchor_codec.mixture import FixedMixture
from hemgs.anchor_codec.prediction import FixedPrediction, Integers
from hemgs.anchor_codec.steps import ATTRIBUTES
from hemgs.coding.mixture import MixtureDecoder, MixtureEncoder
from hemgs.coding.quantize import dequantize, quantize
from hemgs.coding.rans import GaussianDecoder, GaussianEncoder
from hemgs.core.errors import BitstreamError

#: Anchors that a loop processes together. It limits memory and changes no bit.
CHUNK = 16384
#: No attribute's channels are coded in chunks.
ONE_CHUNK: Mapping[str, int] = {}
_LENGTH = struct.Struct("<I")
_CUT = "get the file again from its source"
#: Some anchors, as an index of numpy; or some of their channels, which share one stream with the others. (A chunk's
#: number selects a stream: each chunk has its own.)
Rows = slice | Integers | tuple[slice, slice]
#: The prediction that decides a symbol's table; for some attributes it is a mixture.
CodedPrediction = FixedPrediction | FixedMixture


class SymbolStream(Protocol):
    """A source or sink of symbols, called in coding order."""

    #: Symbols ``[N, C] int64`` by attribute; those that are not coded are zero.
    symbols: dict[str, Integers]
    #: Whether an attribute's symbols are all known once :meth:`start` has seen its steps.
    complete: bool

    def start(self, attribute: str, rows: Rows, step_index: Integers, select: NDArray[np.bool_]) -> None:
        """Set the steps of some rows of an attribute, before any of its symbols; ``select`` marks the coded ones."""
        ...

    def code(
        self, attribute: str, rows: Rows, prediction: CodedPrediction, select: NDArray[np.bool_], chunk: int = 0
    ) -> Integers:
        """Code the symbols of some rows of a chunk of an attribute's channels; return them, ``[n, c]``."""
        ...

    def end(self, attribute: str, rows: Rows, step_index: Integers) -> None:
        """Set the steps of some rows of an attribute again, after all of its symbols."""
        ...


class WritingStream:
    """Quantises values and encodes them.

    Args:
        values: ``[N, C] float64`` by attribute.
        base_steps: base steps by attribute.
        mixed: attributes whose predictions are mixtures.
        chunks: number of chunks of an attribute's channels, each with its own stream; 1 where it is not given.
    """

    complete = True

    def __init__(
        self,
        values: dict[str, NDArray[np.float64]],
        base_steps: dict[str, float],
        mixed: Collection[str] = (),
        chunks: Mapping[str, int] = ONE_CHUNK,
    ) -> None:
        self._values, self._base_steps = values, base_steps
        self._columns = _columns({name: part.shape[1] for name, part in values.items()}, chunks)
        self._encoders = {
            name: [MixtureEncoder() if name in mixed else GaussianEncoder() for _ in parts]
            for name, parts in self._columns.items()
        }
        self.symbols = {name: np.zeros(values[name].shape, dtype=np.int64) for name in ATTRIBUTES}
        self.estimated_bits = dict.fromkeys(ATTRIBUTES, 0.0)

    def start(self, attribute: str, rows: Rows, step_index: Integers, select: NDArray[np.bool_]) -> None:
        symbols = quantize(self._values[attribute][rows], self._base_steps[attribute], step_index)
        self.symbols[attribute][rows] = np.where(select, symbols, 0)

    def code(
        self, attribute: str, rows: Rows, prediction: CodedPrediction, select: NDArray[np.bool_], chunk: int = 0
    ) -> Integers:
        symbols = self.symbols[attribute][_place(rows, self._columns[attribute][chunk])]
        centre, *tables = prediction.table_rows()
        residual = symbols - centre
        encoder = self._encoders[attribute][chunk]
        encoder.push(residual[select].astype(np.int32), *(part[select] for part in tables))
        self.estimated_bits[attribute] += float(prediction.bits(symbols)[select].sum())
        return symbols

    def end(self, attribute: str, rows: Rows, step_index: Integers) -> None:
        """Do nothing: the steps were set at the start."""

    def finish(self) -> dict[str, bytes]:
        """Return the coded streams by attribute."""
        return {name: joined([each.finish() for each in encoders]) for name, encoders in self._encoders.items()}


class ReadingStream:
    """Decodes symbols and restores values.

    Args:
        streams: coded streams by attribute.
        shapes: ``(N, C)`` by attribute.
        base_steps: base steps by attribute.
        mixed: attributes whose predictions are mixtures.
        chunks: as in :class:`WritingStream`.

    Raises:
        BitstreamError: streams that are cut.
    """

    complete = False

    def __init__(
        self,
        streams: dict[str, bytes],
        shapes: dict[str, tuple[int, int]],
        base_steps: dict[str, float],
        mixed: Collection[str] = (),
        chunks: Mapping[str, int] = ONE_CHUNK,
    ) -> None:
        self._base_steps = base_steps
        self._columns = _columns({name: width for name, (_, width) in shapes.items()}, chunks)
        self._decoders = {
            name: [
                MixtureDecoder(part) if name in mixed else GaussianDecoder(part)
                for part in _separated(name, streams[name], len(columns))
            ]
            for name, columns in self._columns.items()
        }
        self.symbols = {name: np.zeros(shapes[name], dtype=np.int64) for name in ATTRIBUTES}
        self.values = {name: np.zeros(shapes[name], dtype=np.float32) for name in ATTRIBUTES}

    def start(self, attribute: str, rows: Rows, step_index: Integers, select: NDArray[np.bool_]) -> None:
        """Do nothing: no symbol is known before the first one is decoded."""

    def code(
        self, attribute: str, rows: Rows, prediction: CodedPrediction, select: NDArray[np.bool_], chunk: int = 0
    ) -> Integers:
        centre, *tables = prediction.table_rows()
        symbols = np.zeros(centre.shape, dtype=np.int64)
        decoder = self._decoders[attribute][chunk]
        try:
            symbols[select] = decoder.pull(*(part[select] for part in tables)) + centre[select]
        except BitstreamError as fault:
            raise BitstreamError(f"section {attribute}: {fault.message}", fault.fix) from fault
        self.symbols[attribute][_place(rows, self._columns[attribute][chunk])] = symbols
        return symbols

    def end(self, attribute: str, rows: Rows, step_index: Integers) -> None:
        symbols = self.symbols[attribute][rows]
        self.values[attribute][rows] = dequantize(symbols, self._base_steps[attribute], step_index)

    def finish(self) -> None:
        """Check that every stream ends here."""
        for name, decoder in ((name, each) for name, decoders in self._decoders.items() for each in decoders):
            try:
                decoder.finish()
            except BitstreamError as fault:
                raise BitstreamError(f"section {name}: {fault.message}", fault.fix) from fault


def _place(rows: Rows, columns: slice) -> tuple[slice | Integers, slice]:
    """Return rows and columns; rows that contain columns already keep them."""
    return rows if isinstance(rows, tuple) else (rows, columns)


def joined(streams: Sequence[bytes]) -> bytes:
    """Join the streams of an attribute's chunks: four bytes of length for each but the last, then the streams."""
    return b"".join([*(_LENGTH.pack(len(stream)) for stream in streams[:-1]), *streams])


def _separated(name: str, data: bytes, num: int) -> list[bytes]:
    """Invert :func:`joined` for ``num`` streams."""
    end = _LENGTH.size * (num - 1)
    sizes = [size for (size,) in _LENGTH.iter_unpack(data[:end])] if len(data) >= end else []
    if len(sizes) < num - 1 or end + sum(sizes) > len(data):
        raise BitstreamError(f"section {name}: {len(data)} bytes do not contain {num} streams", _CUT)
    ends = [end, *itertools.accumulate(sizes, initial=end)][1:]
    return [data[first:last] for first, last in itertools.pairwise([*ends, len(data)])]


def _columns(widths: Mapping[str, int], chunks: Mapping[str, int]) -> dict[str, list[slice]]:
    """Return the columns of each attribute's chunks."""
    return {name: chunk_columns(widths[name], chunks.get(name, 1)) for name in ATTRIBUTES}


def every(num: int, channels: int) -> NDArray[np.bool_]:
    """Select all symbols of ``num`` anchors."""
    return np.broadcast_to(np.ones(1, dtype=bool), (num, channels))


def chunks(num: int, size: int = CHUNK) -> Iterator[slice]:
    """Yield ``num`` rows in pieces of ``size``, in order."""
    for first in range(0, num, size):
        yield slice(first, min(first + size, num))

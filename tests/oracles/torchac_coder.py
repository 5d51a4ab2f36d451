"""The interface of ``hemgs.coding.rans`` over torchac, the entropy coder of the papers' pipelines, for comparison.

Owns the framing around torchac. Does not own distributions: they are the integer tables of ``hemgs.coding.tables``.
torchac (extra ``entropy-check``) compiles itself when it is first imported, so it is imported on demand.

torchac keeps no state between calls and needs one row of cumulative frequencies a symbol. Every pushed batch therefore
becomes chunks that are streams of their own, each with its counts, its escaped values and its raw low bits. All rows
of a chunk are as wide as its widest table; entries a row lacks get the least frequency. torchac decodes nonsense when
a symbol lies outside its row and does not check that unless asked, so the check here is not optional.
"""

from __future__ import annotations

import functools
import importlib
import struct
from types import ModuleType

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hemgs.coding.tables import (
    CENTRED_OFFSET,
    LAST_TABLE_LEVEL,
    LEVELS_PER_OCTAVE,
    NUM_LEVELS,
    NUM_MEAN_OFFSETS,
    PROBABILITY_BITS,
    gaussian_tables,
)
from hemgs.core.errors import BitstreamError, DeviceError

#: Symbols to a stream. The released codes of the papers divide them in the same way, to limit the memory of the rows.
CHUNK_SYMBOLS = 10_000

_TOTAL = 1 << PROBABILITY_BITS
_CHUNK = struct.Struct("<III")  # symbols, bytes of the stream, escaped values
_DAMAGED = "the file is damaged or was made by another version; encode again"


@functools.cache
def load_torchac() -> ModuleType:
    """Imports torchac.

    Raises:
        DeviceError: it is not installed or could not be compiled.
    """
    try:
        return importlib.import_module("torchac")
    except (ImportError, OSError, RuntimeError) as fault:
        raise DeviceError(
            f"the torchac coder is not available ({fault})",
            "run `pip install torchac ninja` and have a C++ compiler on the path",
        ) from fault


class GaussianEncoder:
    """As ``rans.GaussianEncoder``, but coded at once, batch by batch."""

    def __init__(self) -> None:
        self._torchac = load_torchac()
        self._parts: list[bytes] = []

    def push(self, residuals: ArrayLike, levels: ArrayLike, offsets: ArrayLike) -> None:
        """Codes a batch; arguments as of ``rans.GaussianEncoder.push``.

        Raises:
            ValueError: shapes differ, or a value is out of range.
        """
        values = _checked(residuals, "residuals", -(2**31), 2**31 - 1)
        rows = Rows.of(levels, offsets)
        if values.size != len(rows):
            raise ValueError(f"{values.size} residuals, {len(rows)} levels")
        for start in range(0, values.size, CHUNK_SYMBOLS):
            part = slice(start, start + CHUNK_SYMBOLS)
            self._parts.append(self._encode(values[part], rows.part(part)))

    def finish(self) -> bytes:
        """The bytes of everything pushed."""
        return b"".join(self._parts)

    def _encode(self, values: NDArray[np.int64], rows: Rows) -> bytes:
        shifted = values + ((1 << rows.shifts) >> 1)
        high, low = shifted >> rows.shifts, shifted & ((1 << rows.shifts) - 1)
        cumulative = rows.cumulative()
        last = cumulative.shape[1] - 2
        escaped = np.abs(high) > rows.half_widths
        symbols = np.where(escaped, last, high + rows.half_widths)
        if symbols.min() < 0 or symbols.max() > last:
            raise ValueError("a symbol lies outside its row")
        torch = importlib.import_module("torch")
        stream: bytes = self._torchac.encode_int16_normalized_cdf(
            torch.from_numpy(cumulative.astype(np.uint16).view(np.int16)), torch.from_numpy(symbols.astype(np.int16))
        )
        escapes = high[escaped].astype("<i4").tobytes()
        head = _CHUNK.pack(len(values), len(stream), len(escapes) // 4)
        return b"".join((head, stream, escapes, _pack_low(low, rows.shifts)))


class GaussianDecoder:
    """As ``rans.GaussianDecoder``, but every pull must be a batch as it was pushed."""

    def __init__(self, data: bytes, name: str = "stream") -> None:
        self._torchac = load_torchac()
        self._data, self._name, self._position = data, name, 0

    def pull(self, levels: ArrayLike, offsets: ArrayLike) -> NDArray[np.int32]:
        """The residuals of the next batch, in the shape of ``levels``.

        Raises:
            BitstreamError: the stream ends too early, holds another number of symbols or impossible values.
            ValueError: shapes differ, or an index is out of range.
        """
        rows = Rows.of(levels, offsets)
        residuals = np.empty(len(rows), np.int32)
        for start in range(0, len(rows), CHUNK_SYMBOLS):
            part = slice(start, min(start + CHUNK_SYMBOLS, len(rows)))
            residuals[part] = self._decode(rows.part(part))
        return residuals.reshape(np.shape(levels))

    def finish(self) -> None:
        """Checks that no bytes are left.

        Raises:
            BitstreamError: some are.
        """
        if self._position != len(self._data):
            raise self._error(f"{len(self._data) - self._position} bytes are left")

    def _decode(self, rows: Rows) -> NDArray[np.int64]:
        num_symbols, num_bytes, num_escapes = _CHUNK.unpack(self._take(_CHUNK.size))
        if num_symbols != len(rows):
            raise self._error(f"the next chunk holds {num_symbols} symbols, not {len(rows)}")
        stream = self._take(num_bytes)
        escapes = np.frombuffer(self._take(4 * num_escapes), "<i4").astype(np.int64)
        low = _unpack_low(self._take((int(rows.shifts.sum()) + 7) // 8), rows.shifts)
        cumulative = rows.cumulative()
        torch = importlib.import_module("torch")
        symbols = self._torchac.decode_int16_normalized_cdf(
            torch.from_numpy(cumulative.astype(np.uint16).view(np.int16)), stream
        ).numpy()
        escaped = symbols == cumulative.shape[1] - 2
        if np.any(~escaped & (symbols > 2 * rows.half_widths)) or np.count_nonzero(escaped) != num_escapes:
            raise self._error("holds impossible values")
        high = symbols - rows.half_widths
        high[escaped] = escapes
        residuals: NDArray[np.int64] = (high << rows.shifts) + low - ((1 << rows.shifts) >> 1)
        if residuals.size and not -(2**31) <= int(residuals.min()) <= int(residuals.max()) < 2**31:
            raise self._error("holds a value beyond 32 bits")
        return residuals

    def _take(self, size: int) -> bytes:
        part = self._data[self._position : self._position + size]
        if len(part) != size:
            raise self._error("ends before its last symbol")
        self._position += size
        return part

    def _error(self, fault: str) -> BitstreamError:
        return BitstreamError(f"{self._name}: {fault}", _DAMAGED)


class Rows:
    """Tables of a batch with the two stages of ``tables`` taken apart.

    Attributes:
        half_widths, shifts: ``[n] int64``, reach of each table and raw low bits of each symbol.
    """

    def __init__(self, starts: NDArray[np.int64], half_widths: NDArray[np.int64], shifts: NDArray[np.int64]) -> None:
        self._starts, self.half_widths, self.shifts = starts, half_widths, shifts

    @staticmethod
    def of(levels: ArrayLike, offsets: ArrayLike) -> Rows:
        """The rows of a batch.

        Raises:
            ValueError: shapes differ, or an index is out of range.
        """
        if np.shape(levels) != np.shape(offsets):
            raise ValueError(f"shapes differ: levels {np.shape(levels)}, offsets {np.shape(offsets)}")
        level = _checked(levels, "levels", 0, NUM_LEVELS - 1)
        offset = _checked(offsets, "offsets", 0, NUM_MEAN_OFFSETS - 1)
        shifts = np.maximum(0, -((LAST_TABLE_LEVEL - level) // LEVELS_PER_OCTAVE))
        level = level - LEVELS_PER_OCTAVE * shifts
        offset = np.where(shifts > 0, CENTRED_OFFSET + (offset >> shifts), offset)
        tables = gaussian_tables()
        half_widths = tables.half_widths[level]
        return Rows(tables.level_start[level] + offset * (2 * half_widths + 3), half_widths, shifts)

    def __len__(self) -> int:
        return len(self.shifts)

    def part(self, part: slice) -> Rows:
        """Some of the rows."""
        return Rows(self._starts[part], self.half_widths[part], self.shifts[part])

    def cumulative(self) -> NDArray[np.int64]:
        """Rows for torchac, ``[n, W + 1]``, strictly rising from 0 to 65536; the last of the W symbols escapes."""
        escape = 2 * self.half_widths[:, None] + 1
        width = int(escape.max()) + 1
        column = np.arange(width + 1)
        entries = self._starts[:, None] + np.minimum(column, escape)
        sums = gaussian_tables().cumulative[entries].astype(np.int64)
        sums[:, width] = _TOTAL
        return sums * (_TOTAL - width) // _TOTAL + column


def _checked(values: ArrayLike, name: str, low: int, high: int) -> NDArray[np.int64]:
    array = np.asarray(values)
    if array.size and array.dtype.kind not in "biu":
        raise ValueError(f"{name} must be integers, not {array.dtype}")
    if array.size and not low <= int(array.min()) <= int(array.max()) <= high:
        raise ValueError(f"{name} must lie in {low}..{high}, not {int(array.min())}..{int(array.max())}")
    return array.astype(np.int64).ravel()


def _pack_low(low: NDArray[np.int64], shifts: NDArray[np.int64]) -> bytes:
    place = np.arange(int(shifts.max(initial=0)))
    bits = (low[:, None] >> place) & 1
    return np.packbits(bits[place < shifts[:, None]].astype(np.uint8)).tobytes()


def _unpack_low(data: bytes, shifts: NDArray[np.int64]) -> NDArray[np.int64]:
    place = np.arange(int(shifts.max(initial=0)))
    used = place < shifts[:, None]
    bits = np.zeros(used.shape, np.int64)
    bits[used] = np.unpackbits(np.frombuffer(data, np.uint8), count=int(shifts.sum()))
    low: NDArray[np.int64] = (bits << place).sum(axis=1)
    return low

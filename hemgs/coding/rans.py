"""The entropy coder: streams of Gaussian residuals and of bits.

Owns framing, state between calls and checks. Does not own the tables (``tables``), the inner loops
(``_rans_kernels``) or what symbols mean. Integers only: equal input gives equal bytes on every machine.

A stream is the coder's final state, two 32-bit words, high word first, then the words in the order of decoding,
all little-endian; a stream without symbols has no bytes. The encoder works from the last symbol to the first, so
it must have them all; the decoder goes forwards in batches of any size, which need not be those of the encoder. The
end is checked exactly: the state must have returned to its start and no word may be left.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hemgs.coding import _rans_kernels as kernels
from hemgs.coding.tables import (
    NUM_LEVELS,
    NUM_MEAN_OFFSETS,
    PROBABILITY_BITS,
    GaussianTables,
    gaussian_tables,
    mean_of_offset,
    scale_of_level,
)
from hemgs.core.errors import BitstreamError

#: Probabilities of bits are 1..65535 in units of 1/65536.
MAX_PROBABILITY = (1 << PROBABILITY_BITS) - 1

_STATE_BYTES, _WORD_BYTES = 8, 4
#: Symbols coded per call of a kernel; bounds the scratch memory.
_CHUNK_SYMBOLS = 1 << 16
_Kind = TypeVar("_Kind", bound=np.integer[Any])
_DAMAGED = "the file is damaged or was made by another version; encode again"


class GaussianEncoder:
    """Collects residuals and codes them into one stream.

    Args:
        tables: others than the package's, of up to ``LAST_TABLE_LEVEL + 1`` levels, all of which have tables.
    """

    def __init__(self, tables: GaussianTables | None = None) -> None:
        self._tables = tables or gaussian_tables()
        self._batches: list[tuple[NDArray[np.int32], NDArray[np.uint8], NDArray[np.uint8]]] = []

    def push(self, residuals: ArrayLike, levels: ArrayLike, offsets: ArrayLike) -> None:
        """Appends symbols; arrays of one common shape are taken in C order and copied.

        Args:
            residuals: int32 distances from the rounded mean, in steps; any value can be coded.
            levels: scale levels 0..127.
            offsets: mean offset indices 0..31.

        Raises:
            ValueError: shapes differ, or a value is out of range.
        """
        batch = (
            _integers(residuals, np.int32, "residuals"),
            _integers(levels, np.uint8, "levels", NUM_LEVELS - 1),
            _integers(offsets, np.uint8, "offsets", NUM_MEAN_OFFSETS - 1),
        )
        _same_shape(residuals=residuals, levels=levels, offsets=offsets)
        if batch[0].size:
            self._batches.append(batch)

    @property
    def num_symbols(self) -> int:
        """Symbols pushed so far."""
        return sum(len(batch[0]) for batch in self._batches)

    def table_bits(self) -> float:
        """Code length of everything pushed so far under the integer tables, bits."""
        return sum(_gaussian_table_bits(*batch, self._tables) for batch in self._batches)

    def finish(self) -> bytes:
        """The stream of everything pushed."""
        if not self._batches:
            return b""
        residuals, levels, offsets = (np.concatenate(parts) for parts in zip(*self._batches, strict=True))
        tables, writer = self._tables, _StreamWriter(kernels.MAX_WORDS_PER_SYMBOL)
        for part in _chunks_backwards(len(residuals)):
            writer.add(
                kernels.encode_gaussian(
                    residuals[part],
                    levels[part],
                    offsets[part],
                    tables.cumulative,
                    tables.level_start,
                    tables.half_widths,
                    writer.state,
                    writer.scratch,
                )
            )
        return writer.stream()


class GaussianDecoder:
    """Decodes a stream of :class:`GaussianEncoder` in batches.

    Args:
        data: the whole stream.
        name: how errors call it.
        tables: as the encoder's.

    Raises:
        BitstreamError: the stream cannot be one.
    """

    def __init__(self, data: bytes, name: str = "stream", tables: GaussianTables | None = None) -> None:
        tables = tables or gaussian_tables()
        self._layout = (tables.cumulative, tables.level_start, tables.half_widths, tables.lookup)
        self._reader = _StreamReader(data, name)

    def pull(self, levels: ArrayLike, offsets: ArrayLike) -> NDArray[np.int32]:
        """The next residuals, in the shape of ``levels``.

        Args:
            levels: scale levels 0..127.  offsets: mean offset indices 0..31; both as pushed.

        Raises:
            BitstreamError: the stream ends too early or holds impossible values.
            ValueError: shapes differ, or an index is out of range.
        """
        level_array, offset_array = _indices(levels, "levels"), _indices(offsets, "offsets")
        if level_array.shape != offset_array.shape:
            raise ValueError(f"shapes differ: levels {level_array.shape}, offsets {offset_array.shape}")
        residuals = np.empty(level_array.shape, np.int32)
        self._reader.check(
            kernels.decode_gaussian(
                level_array.ravel(),
                offset_array.ravel(),
                *self._layout,
                self._reader.words,
                self._reader.state,
                residuals.ravel(),
            )
        )
        return residuals

    def finish(self) -> None:
        """Checks that the stream ends here.

        Raises:
            BitstreamError: symbols are left over or the state is not the first one again.
        """
        self._reader.finish()


def encode_bits(bits: ArrayLike, probabilities: ArrayLike) -> bytes:
    """Codes bits, each with its own probability.

    Args:
        bits: zeros and ones, any shape, taken in C order.
        probabilities: of a one, 1..65535 in 1/65536, of the same shape.

    Raises:
        ValueError: shapes differ, or a value is out of range.
    """
    _same_shape(bits=bits, probabilities=probabilities)
    bit_array = _integers(bits, np.uint8, "bits", 1)
    probability_array = _integers(probabilities, np.uint16, "probabilities", MAX_PROBABILITY, 1)
    if not bit_array.size:
        return b""
    writer = _StreamWriter(words_per_symbol=1)
    for part in _chunks_backwards(len(bit_array)):
        writer.add(kernels.encode_bits(bit_array[part], probability_array[part], writer.state, writer.scratch))
    return writer.stream()


class BitDecoder:
    """Decodes a stream of :func:`encode_bits` in batches; arguments and errors as of :class:`GaussianDecoder`."""

    def __init__(self, data: bytes, name: str = "stream") -> None:
        self._reader = _StreamReader(data, name)

    def pull(self, probabilities: ArrayLike) -> NDArray[np.uint8]:
        """The next bits, in the shape of ``probabilities`` (of a one, 1..65535 in 1/65536, as encoded).

        Raises:
            BitstreamError: the stream ends too early.
            ValueError: a probability is out of range.
        """
        probability_array = _integers(probabilities, np.uint16, "probabilities", MAX_PROBABILITY, 1)
        bits = np.empty(probability_array.size, np.uint8)
        self._reader.check(kernels.decode_bits(probability_array, self._reader.words, self._reader.state, bits))
        return bits.reshape(np.shape(probabilities))

    def finish(self) -> None:
        """Checks that the stream ends here.

        Raises:
            BitstreamError: bits are left over or the state is not the first one again.
        """
        self._reader.finish()


def probability_of_one(num_ones: int, num_bits: int) -> int:
    """Frequency of ones as a codable probability, 1..65535 in 1/65536; one half of nothing."""
    if not num_bits:
        return 1 << (PROBABILITY_BITS - 1)
    rounded = ((num_ones << PROBABILITY_BITS) + num_bits // 2) // num_bits
    return min(max(rounded, 1), MAX_PROBABILITY)


def table_bits(residuals: ArrayLike, levels: ArrayLike, offsets: ArrayLike) -> float:
    """Code length under the integer tables, bits; arguments and errors as of :meth:`GaussianEncoder.push`."""
    encoder = GaussianEncoder()
    encoder.push(residuals, levels, offsets)
    return encoder.table_bits()


def ideal_bits(residuals: ArrayLike, levels: ArrayLike, offsets: ArrayLike) -> float:
    """Code length under the Gaussians that levels and offsets name, without the tables' rounding, bits."""
    return gaussian_bits(residuals, mean_of_offset(offsets), scale_of_level(levels))


def gaussian_bits(values: ArrayLike, means: ArrayLike, scales: ArrayLike) -> float:
    """Code length of integers under discretised Gaussians, ``-sum log2(Phi(b) - Phi(a))``, bits.

    This is the rate that a model with real-valued parameters estimates, so that bytes over ``gaussian_bits / 8`` is
    everything that coding adds: rounding of parameters to table indices, of probabilities to 16 bits, escapes, framing.

    Args:
        values: integers.  means: in steps.  scales: positive standard deviations in steps; all broadcast together.
    """
    arrays = (np.asarray(argument, np.float64) for argument in (values, means, scales))
    flat = [np.ascontiguousarray(array).ravel() for array in np.broadcast_arrays(*arrays)]
    return float(kernels.gaussian_bits(*flat))


class _StreamWriter:
    """State of an encoder and the words it has put out."""

    def __init__(self, words_per_symbol: int) -> None:
        self.state = np.array([kernels.FIRST_STATE], np.uint64)
        self.scratch = np.empty(_CHUNK_SYMBOLS * words_per_symbol, np.uint32)
        self._chunks: list[NDArray[np.uint32]] = []

    def add(self, num_words: int) -> None:
        self._chunks.append(self.scratch[:num_words].copy())

    def stream(self) -> bytes:
        state = int(self.state[0])
        words = np.concatenate(self._chunks)[::-1]
        head = np.array([state >> 32, state & 0xFFFFFFFF], np.uint32)
        return np.concatenate([head, words]).astype("<u4").tobytes()


class _StreamReader:
    """State of a decoder; turns a kernel's verdict into an error and stays dead after one."""

    def __init__(self, data: bytes, name: str) -> None:
        self._name = name
        if len(data) % _WORD_BYTES or 0 < len(data) < _STATE_BYTES:
            raise self._error(f"{len(data)} bytes are not a whole number of words")
        words = np.frombuffer(data, "<u4").astype(np.uint32)
        first = (int(words[0]) << 32 | int(words[1])) if len(words) else kernels.FIRST_STATE
        if first < kernels.FIRST_STATE:
            raise self._error("impossible first state")
        self.words = words[2:]
        self.state = np.array([first, 0], np.uint64)
        self._fault = ""

    def check(self, verdict: int) -> None:
        if verdict == kernels.BAD_INDEX:
            raise ValueError(f"levels must lie in 0..{NUM_LEVELS - 1}, offsets in 0..{NUM_MEAN_OFFSETS - 1}")
        if verdict == kernels.OUT_OF_DATA:
            self._fault = "ends before its last symbol"
        elif verdict == kernels.OUT_OF_RANGE:
            self._fault = "holds a value beyond 32 bits"
        if self._fault:
            raise self._error(self._fault)

    def finish(self) -> None:
        self.check(0)
        left = len(self.words) - int(self.state[1])
        if left or int(self.state[0]) != kernels.FIRST_STATE:
            raise self._error(f"does not end with its last symbol ({left} words left)")

    def _error(self, fault: str) -> BitstreamError:
        return BitstreamError(f"{self._name}: {fault}", _DAMAGED)


def _chunks_backwards(num_symbols: int) -> list[slice]:
    starts = range(0, num_symbols, _CHUNK_SYMBOLS)
    return [slice(start, min(start + _CHUNK_SYMBOLS, num_symbols)) for start in reversed(starts)]


def _integers(values: ArrayLike, kind: type[_Kind], name: str, high: int | None = None, low: int = 0) -> NDArray[_Kind]:
    """A flat contiguous copy of ``values`` as ``kind`` after a check of its range."""
    array = np.asarray(values)
    if array.size and array.dtype.kind not in "biu":
        raise ValueError(f"{name} must be integers, not {array.dtype}")
    if array.size:
        limits = np.iinfo(kind)
        allowed = (limits.min, limits.max) if high is None else (low, high)
        found = (int(array.min()), int(array.max()))
        if found[0] < allowed[0] or found[1] > allowed[1]:
            raise ValueError(f"{name} must lie in {allowed[0]}..{allowed[1]}, not {found[0]}..{found[1]}")
    return array.astype(kind).ravel()


def _indices(values: ArrayLike, name: str) -> NDArray[np.uint8]:
    """Table indices as bytes; the kernel checks the range of those that were bytes already."""
    if isinstance(values, np.ndarray) and values.dtype == np.uint8:
        return values
    return _integers(values, np.uint8, name, 255).reshape(np.shape(values))


def _same_shape(**arrays: ArrayLike) -> tuple[int, ...]:
    shapes = {name: np.shape(array) for name, array in arrays.items()}
    if len(set(shapes.values())) != 1:
        raise ValueError(f"shapes differ: {shapes}")
    return next(iter(shapes.values()))


def _gaussian_table_bits(
    residuals: NDArray[np.int32], levels: NDArray[np.uint8], offsets: NDArray[np.uint8], tables: GaussianTables
) -> float:
    arguments = (residuals, levels, offsets, tables.cumulative, tables.level_start, tables.half_widths)
    return float(kernels.gaussian_table_bits(*arguments))

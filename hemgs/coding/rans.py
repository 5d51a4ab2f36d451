"""The entropy coder: streams of Gaussian residuals and of bits.

Owns both kinds of streams. Does not own their framing (``framing``), the tables (``tables``), the inner loops
(``_rans_kernels``) or the meaning of symbols. It uses integers only, so equal input gives equal bytes on every machine.

A stream contains the coder's final state as two 32-bit words, high word first, then the words in the order of decoding,
all little-endian. A stream without symbols has no bytes. The encoder works from the last symbol to the first, so it
needs all of them. The decoder goes forwards in batches of any size, which may differ from those of the encoder. It
checks the end exactly: the state must have returned to its start, and no word may be left.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hemgs.coding import _rans_kernels as kernels
from hemgs.coding.framing import StreamReader, StreamWriter, chunks_backwards, integers, same_shape
from hemgs.coding.tables import (
    NUM_LEVELS,
    NUM_MEAN_OFFSETS,
    PROBABILITY_BITS,
    GaussianTables,
    gaussian_tables,
)

#: Probabilities of bits are 1..65535 in units of 1/65536.
MAX_PROBABILITY = (1 << PROBABILITY_BITS) - 1


class GaussianEncoder:
    """Collects residuals and codes them into one stream.

    Args:
        tables: tables that replace the package's, of up to ``LAST_TABLE_LEVEL + 1`` levels, all with tables.
    """

    def __init__(self, tables: GaussianTables | None = None) -> None:
        self._tables = tables or gaussian_tables()
        self._batches: list[tuple[NDArray[np.int32], NDArray[np.uint8], NDArray[np.uint8]]] = []

    def push(self, residuals: ArrayLike, levels: ArrayLike, offsets: ArrayLike) -> None:
        """Append symbols, copied from arrays of one common shape in C order.

        Args:
            residuals: int32 distances from the rounded mean, in steps; any value can be coded.
            levels: scale levels 0..127.
            offsets: mean offset indices 0..31.

        Raises:
            ValueError: shapes differ, or a value is out of range.
        """
        batch = (
            integers(residuals, np.int32, "residuals"),
            integers(levels, np.uint8, "levels", NUM_LEVELS - 1),
            integers(offsets, np.uint8, "offsets", NUM_MEAN_OFFSETS - 1),
        )
        same_shape(residuals=residuals, levels=levels, offsets=offsets)
        if batch[0].size:
            self._batches.append(batch)

    def table_bits(self) -> float:
        """Code length of everything pushed so far under the integer tables, bits."""
        return sum(_gaussian_table_bits(*batch, self._tables) for batch in self._batches)

    def finish(self) -> bytes:
        """Return the stream of everything pushed."""
        if not self._batches:
            return b""
        residuals, levels, offsets = (np.concatenate(parts) for parts in zip(*self._batches, strict=True))
        tables, writer = self._tables, StreamWriter(kernels.MAX_WORDS_PER_SYMBOL)
        for part in chunks_backwards(len(residuals)):
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
        name: the stream's name in errors.
        tables: those of the encoder.

    Raises:
        BitstreamError: the stream cannot be one.
    """

    def __init__(self, data: bytes, name: str = "stream", tables: GaussianTables | None = None) -> None:
        tables = tables or gaussian_tables()
        self._layout = (tables.cumulative, tables.level_start, tables.half_widths, tables.lookup)
        self._reader = StreamReader(data, name)

    def pull(self, levels: ArrayLike, offsets: ArrayLike) -> NDArray[np.int32]:
        """Decode the next residuals, in the shape of ``levels``.

        Args:
            levels: scale levels 0..127.  offsets: mean offset indices 0..31; both as pushed.

        Raises:
            BitstreamError: the stream ends too early or contains impossible values.
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
        """Check that the stream ends here.

        Raises:
            BitstreamError: symbols are left over or the state is not the first one again.
        """
        self._reader.finish()


def encode_bits(bits: ArrayLike, probabilities: ArrayLike) -> bytes:
    """Encode bits, each with its own probability.

    Args:
        bits: zeros and ones of any shape, coded in C order.
        probabilities: probabilities of a one, 1..65535 in 1/65536, of the same shape.

    Raises:
        ValueError: shapes differ, or a value is out of range.

    >>> data = encode_bits([1, 0, 1], [40_000, 40_000, 40_000])
    >>> BitDecoder(data).pull([40_000, 40_000, 40_000]).tolist()
    [1, 0, 1]
    """
    same_shape(bits=bits, probabilities=probabilities)
    bit_array = integers(bits, np.uint8, "bits", 1)
    probability_array = integers(probabilities, np.uint16, "probabilities", MAX_PROBABILITY, 1)
    if not bit_array.size:
        return b""
    writer = StreamWriter(words_per_symbol=1)
    for part in chunks_backwards(len(bit_array)):
        writer.add(kernels.encode_bits(bit_array[part], probability_array[part], writer.state, writer.scratch))
    return writer.stream()


class BitDecoder:
    """Decodes a stream of :func:`encode_bits` in batches; arguments and errors as of :class:`GaussianDecoder`."""

    def __init__(self, data: bytes, name: str = "stream") -> None:
        self._reader = StreamReader(data, name)

    def pull(self, probabilities: ArrayLike) -> NDArray[np.uint8]:
        """Decode the next bits, in the shape of ``probabilities`` (of a one, 1..65535 in 1/65536, as encoded).

        Raises:
            BitstreamError: the stream ends too early.
            ValueError: a probability is out of range.
        """
        probability_array = integers(probabilities, np.uint16, "probabilities", MAX_PROBABILITY, 1)
        bits = np.empty(probability_array.size, np.uint8)
        self._reader.check(kernels.decode_bits(probability_array, self._reader.words, self._reader.state, bits))
        return bits.reshape(np.shape(probabilities))

    def finish(self) -> None:
        """Check that the stream ends here.

        Raises:
            BitstreamError: bits are left over or the state is not the first one again.
        """
        self._reader.finish()


def probability_of_one(num_ones: int, num_bits: int) -> int:
    """Return the frequency of ones as a codable probability, 1..65535 in 1/65536; one half if there are no bits.

    >>> probability_of_one(1, 4), probability_of_one(0, 4), probability_of_one(0, 0)
    (16384, 1, 32768)
    """
    if not num_bits:
        return 1 << (PROBABILITY_BITS - 1)
    rounded = ((num_ones << PROBABILITY_BITS) + num_bits // 2) // num_bits
    return min(max(rounded, 1), MAX_PROBABILITY)


def table_bits(residuals: ArrayLike, levels: ArrayLike, offsets: ArrayLike) -> float:
    """Return the code length under the integer tables, bits.

    Arguments and errors are those of :meth:`GaussianEncoder.push`.

    >>> round(table_bits([0, 1], levels=[48, 48], offsets=[16, 16]), 2)
    3.43
    """
    encoder = GaussianEncoder()
    encoder.push(residuals, levels, offsets)
    return encoder.table_bits()


def _gaussian_table_bits(
    residuals: NDArray[np.int32], levels: NDArray[np.uint8], offsets: NDArray[np.uint8], tables: GaussianTables
) -> float:
    arguments = (residuals, levels, offsets, tables.cumulative, tables.level_start, tables.half_widths)
    return float(kernels.gaussian_table_bits(*arguments))


def _indices(values: ArrayLike, name: str) -> NDArray[np.uint8]:
    """Return table indices as bytes; the kernel checks the range of values that were bytes already."""
    if isinstance(values, np.ndarray) and values.dtype == np.uint8:
        return values
    return integers(values, np.uint8, name, 255).reshape(np.shape(values))

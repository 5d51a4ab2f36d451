"""The entropy coder's streams of residuals under mixtures of two Gaussians.

Owns the integer form of a mixture. Does not own framing (``framing``, as of all streams of ``rans``), the tables
(``tables``) or the inner loops (``_mixture_kernels``). It uses integers only, so equal input gives equal bytes on every
machine.

A mixture consists of two rows of the Gaussian tables, each with its own centre, and the weight of the first in 1/256.
Its masses are the exact weighted sums of the masses of both rows, in ``2^-30``. Values that neither row contains are
escaped, with the mass of both escapes. A residual is the distance from the first centre.
"""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hemgs.coding import _mixture_kernels as kernels
from hemgs.coding.framing import StreamReader, StreamWriter, chunks_backwards, integers, same_shape
from hemgs.coding.tables import NUM_LEVELS, NUM_MEAN_OFFSETS, gaussian_tables

#: With this weight of the first row, the second row has none.
WHOLE_WEIGHT = kernels.WHOLE_WEIGHT
#: Largest distance between centres. It is larger than the distance of two means within 32 bits.
MAX_DISTANCE = 1 << 40


def checked_mixtures(
    levels: ArrayLike,
    offsets: ArrayLike,
    other_levels: ArrayLike,
    other_offsets: ArrayLike,
    distances: ArrayLike,
    weights: ArrayLike,
) -> kernels.Mixtures:
    """Copy the distributions of n symbols, flat in C order; all arguments have one common shape.

    Args:
        levels, offsets: scale levels and mean offset indices of the first row.
        other_levels, other_offsets: the same of the second row.
        distances: second centre minus first, of at most MAX_DISTANCE.
        weights: weights of the first row, 0 to WHOLE_WEIGHT.

    Raises:
        ValueError: shapes differ, or a value is out of range.
    """
    same_shape(
        levels=levels,
        offsets=offsets,
        other_levels=other_levels,
        other_offsets=other_offsets,
        distances=distances,
        weights=weights,
    )
    return (
        integers(levels, np.uint8, "levels", NUM_LEVELS - 1),
        integers(offsets, np.uint8, "offsets", NUM_MEAN_OFFSETS - 1),
        integers(other_levels, np.uint8, "other levels", NUM_LEVELS - 1),
        integers(other_offsets, np.uint8, "other offsets", NUM_MEAN_OFFSETS - 1),
        integers(distances, np.int64, "distances", MAX_DISTANCE, -MAX_DISTANCE),
        integers(weights, np.uint16, "weights", WHOLE_WEIGHT),
    )


class MixtureEncoder:
    """Collects residuals and codes them into one stream."""

    def __init__(self) -> None:
        self._tables = _tables()
        self._batches: list[tuple[NDArray[np.int32], kernels.Mixtures]] = []

    def push(self, residuals: ArrayLike, *mixtures: ArrayLike) -> None:
        """Append symbols, copied from arrays of one common shape in C order.

        Args:
            residuals: int32 distances from the first centre, in steps; any value can be coded.
            mixtures: arguments of :func:`checked_mixtures`.

        Raises:
            ValueError: shapes differ, or a value is out of range.
        """
        same_shape(residuals=residuals, levels=mixtures[0])
        batch = integers(residuals, np.int32, "residuals"), checked_mixtures(*mixtures)
        if batch[0].size:
            self._batches.append(batch)

    def table_bits(self) -> float:
        """Code length of everything pushed so far under the integer tables, bits."""
        return sum(float(kernels.mixture_table_bits(*batch, self._tables)) for batch in self._batches)

    def finish(self) -> bytes:
        """Return the stream of everything pushed."""
        if not self._batches:
            return b""
        residuals = np.concatenate([batch for batch, _ in self._batches])
        mixtures = [np.concatenate(arrays) for arrays in zip(*(each for _, each in self._batches), strict=True)]
        writer = StreamWriter(kernels.MAX_WORDS_PER_SYMBOL)
        for part in chunks_backwards(len(residuals)):
            chosen = cast(kernels.Mixtures, tuple(array[part] for array in mixtures))
            writer.add(kernels.encode_mixture(residuals[part], chosen, self._tables, writer.state, writer.scratch))
        return writer.stream()


class MixtureDecoder:
    """Decodes a stream of :class:`MixtureEncoder` in batches.

    Args:
        data: the whole stream.
        name: the stream's name in errors.

    Raises:
        BitstreamError: the stream cannot be one.
    """

    def __init__(self, data: bytes, name: str = "stream") -> None:
        self._tables = _tables()
        self._reader = StreamReader(data, name)

    def pull(self, *mixtures: ArrayLike) -> NDArray[np.int32]:
        """Decode the next residuals, in the shape of the mixtures (:func:`checked_mixtures`, as pushed).

        Raises:
            BitstreamError: the stream ends too early or contains impossible values.
            ValueError: shapes differ, or a value is out of range.
        """
        chosen = checked_mixtures(*mixtures)
        residuals = np.empty(np.shape(mixtures[0]), np.int32)
        self._reader.check(
            kernels.decode_mixture(chosen, self._tables, self._reader.words, self._reader.state, residuals.ravel())
        )
        return residuals

    def finish(self) -> None:
        """Check that the stream ends here.

        Raises:
            BitstreamError: symbols are left over or the state is not the first one again.
        """
        self._reader.finish()


def _tables() -> kernels.Tables:
    tables = gaussian_tables()
    return tables.cumulative, tables.level_start, tables.half_widths

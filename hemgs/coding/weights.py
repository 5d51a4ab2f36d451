"""Coding of network weights: floats as float16, integers by the entropy coder.

Owns both byte layouts. Does not own the networks: the decoder knows their shapes, which are not stored.

Floats are little-endian float16, array after array. Integers are one byte for each array, then one stream of all
arrays. The byte is the scale level that codes the array with fewest bits, and the stream uses zero-mean Gaussians of
these levels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hemgs.coding.rans import GaussianDecoder, GaussianEncoder, table_bits
from hemgs.coding.tables import CENTRED_OFFSET, NUM_LEVELS
from hemgs.core.errors import BitstreamError, TrainingError

_HALF_BYTES = 2
_DAMAGED = "the file is damaged or was made by another version; encode again"


def encode_half(arrays: Sequence[ArrayLike]) -> bytes:
    """Store arrays of floats, rounded to float16.

    Raises:
        TrainingError: a value is not finite or exceeds float16.

    >>> encode_half([[1.0, -0.5]]).hex()
    '003c00b8'
    """
    parts = []
    for number, values in enumerate(arrays):
        array = np.asarray(values, np.float64)
        with np.errstate(over="ignore"):
            half = array.astype("<f2")
        if not np.all(np.isfinite(half)):
            worst = array[~np.isfinite(half)].ravel()[0]
            raise TrainingError(
                f"network array {number} contains {worst}, float16 ends at {np.finfo(np.float16).max}",
                "train again with a lower learning rate",
            )
        parts.append(half.tobytes())
    return b"".join(parts)


def decode_half(data: bytes, shapes: Sequence[Sequence[int]]) -> list[NDArray[np.float32]]:
    """Read the bytes of :func:`encode_half` as float32; a hostile file may contain infinities and NaN.

    Raises:
        BitstreamError: the number of bytes is not that of the shapes.

    >>> decode_half(bytes.fromhex("003c00b8"), [(2,)])
    [array([ 1. , -0.5], dtype=float32)]
    """
    sizes = [math.prod(shape) for shape in shapes]
    if len(data) != _HALF_BYTES * sum(sizes):
        raise BitstreamError(
            f"section networks: {len(data)} bytes of floats, {_HALF_BYTES * sum(sizes)} are needed", _DAMAGED
        )
    values = np.frombuffer(data, "<f2").astype(np.float32)
    ends = np.cumsum(sizes, dtype=np.int64)
    return [
        values[end - size : end].reshape(tuple(shape)) for end, size, shape in zip(ends, sizes, shapes, strict=True)
    ]


def encode_integers(arrays: Sequence[ArrayLike]) -> bytes:
    """Encode arrays of integers within int32.

    Raises:
        ValueError: an array is not of integers or exceeds int32.

    >>> decode_integers(encode_integers([[3, -4], [70_000]]), [(2,), (1,)])
    [array([ 3, -4]), array([70000])]
    """
    encoder = GaussianEncoder()
    levels = bytearray()
    for values in arrays:
        array = np.asarray(values)
        level = _shortest_level(array)
        levels.append(level)
        encoder.push(array, *_indices(level, array.shape))
    return bytes(levels) + encoder.finish()


def decode_integers(data: bytes, shapes: Sequence[Sequence[int]]) -> list[NDArray[np.int64]]:
    """Decode the bytes of :func:`encode_integers`, as int64.

    Raises:
        BitstreamError: the section is damaged or does not contain that many values.
    """
    levels = data[: len(shapes)]
    if len(levels) < len(shapes):
        raise BitstreamError(f"section networks: {len(data)} bytes cannot hold {len(shapes)} levels", _DAMAGED)
    if levels and max(levels) >= NUM_LEVELS:
        raise BitstreamError(f"section networks: level {max(levels)} exceeds {NUM_LEVELS - 1}", _DAMAGED)
    decoder = GaussianDecoder(data[len(shapes) :], "section networks")
    arrays = [
        decoder.pull(*_indices(level, tuple(shape))).astype(np.int64)
        for level, shape in zip(levels, shapes, strict=True)
    ]
    decoder.finish()
    return arrays


def _indices(level: int, shape: tuple[int, ...]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return levels and mean offsets of an array: one level, means of zero."""
    return np.full(shape, level, np.uint8), np.full(shape, CENTRED_OFFSET, np.uint8)


def _shortest_level(array: NDArray[np.generic]) -> int:
    """Return the scale level that gives integers the fewest bits; the narrowest of equal ones."""
    return int(np.argmin([table_bits(array, *_indices(level, array.shape)) for level in range(NUM_LEVELS)]))

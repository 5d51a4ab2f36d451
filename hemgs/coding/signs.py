"""Coding of a binary hash grid: one sign for each table entry.

Owns the section's framing. Does not own the grid (``hemgs.anchor_codec``). The codec treats the signs of one level as
independent draws with a common probability (as in HAC, arXiv 2403.14530). The section contains one 16-bit probability
for each level, then one stream with the signs of the first level, the second, and so on.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hemgs.coding.rans import BitDecoder, encode_bits, probability_of_one
from hemgs.core.errors import BitstreamError

#: Signs decoded in one call.
_CHUNK_SIGNS = 1 << 16
_PROBABILITY_BYTES = 2
_DAMAGED = "the file is damaged or was made by another version; encode again"


def encode_signs(levels: Sequence[ArrayLike]) -> bytes:
    """Encode the signs of all levels.

    Args:
        levels: one array of -1 and +1 for each level, of any shape, coded in C order.

    Raises:
        ValueError: a value is neither -1 nor +1.

    >>> [level.tolist() for level in decode_signs(encode_signs([[1, -1], [1]]), sizes=[2, 1])]
    [[1, -1], [1]]
    """
    bits = [_bits(level) for level in levels]
    probabilities = [probability_of_one(int(np.count_nonzero(part)), len(part)) for part in bits]
    if not bits:
        return b""
    every = np.repeat(np.array(probabilities, np.uint16), [len(part) for part in bits])
    return np.array(probabilities, "<u2").tobytes() + encode_bits(np.concatenate(bits), every)


def decode_signs(data: bytes, sizes: Sequence[int]) -> list[NDArray[np.int8]]:
    """Decode a section of :func:`encode_signs`.

    Args:
        data: the section.
        sizes: number of signs of each level.

    Returns:
        One flat ``int8`` array of -1 and +1 for each level.

    Raises:
        BitstreamError: the section is damaged or does not contain that many signs.
    """
    head = len(sizes) * _PROBABILITY_BYTES
    if len(data) < head:
        raise BitstreamError(f"section hash_grid: {len(data)} bytes cannot hold {len(sizes)} probabilities", _DAMAGED)
    probabilities = np.frombuffer(data[:head], "<u2").astype(np.uint16)
    if len(sizes) and not probabilities.min():
        raise BitstreamError("section hash_grid: a probability is zero", _DAMAGED)
    decoder = BitDecoder(data[head:], "section hash_grid")
    signs = [_pulled(decoder, probability, size) for probability, size in zip(probabilities, sizes, strict=True)]
    decoder.finish()
    return signs


def _pulled(decoder: BitDecoder, probability: np.uint16, size: int) -> NDArray[np.int8]:
    """Decode the signs of one level in pieces: a section that lacks them fails before memory for all is allocated."""
    pieces = [np.zeros(0, np.int8)]
    for start in range(0, size, _CHUNK_SIGNS):
        bits = decoder.pull(np.broadcast_to(probability, min(_CHUNK_SIGNS, size - start)))
        pieces.append(bits.astype(np.int8) * np.int8(2) - np.int8(1))
    return np.concatenate(pieces)


def _bits(level: ArrayLike) -> NDArray[np.uint8]:
    signs = np.asarray(level).ravel()
    positive = signs == 1
    if not np.all(positive | (signs == -1)):
        raise ValueError("a binary hash grid contains only -1 and +1")
    bits: NDArray[np.uint8] = positive.astype(np.uint8)
    return bits

"""Coding of offset masks: one bit for each offset of each anchor.

Owns the section's framing. Does not own how masks are learned. The bits of one offset index are taken as independent
draws with a common probability, as HAC does (arXiv 2403.14530) for all of them together; the section holds one 16-bit
probability for each offset index, then one stream with the bits of the first anchor, the second, and so on.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hemgs.coding.rans import BitDecoder, encode_bits, probability_of_one
from hemgs.core.errors import BitstreamError

#: Most offsets an anchor can have; bounds what a section can make a decoder allocate.
MAX_OFFSETS = 255

_CHUNK_BITS = 1 << 20
_PROBABILITY_BYTES = 2
_DAMAGED = "the file is damaged or was made by another version; encode again"


def encode_masks(masks: ArrayLike) -> bytes:
    """Codes masks.

    Args:
        masks: ``[N, K] bool``, K at most 255.

    Raises:
        ValueError: another shape or type.
    """
    bits = np.asarray(masks)
    if bits.ndim != 2 or bits.dtype != np.bool_ or bits.shape[1] > MAX_OFFSETS:
        raise ValueError(f"masks must be [N, at most {MAX_OFFSETS}] bool, not {bits.dtype} {bits.shape}")
    ones = np.count_nonzero(bits, axis=0)
    probabilities = np.array([probability_of_one(int(count), len(bits)) for count in ones], np.uint16)
    return probabilities.astype("<u2").tobytes() + encode_bits(bits, np.broadcast_to(probabilities, bits.shape))


def decode_masks(data: bytes, num_anchors: int, num_offsets: int) -> NDArray[np.bool_]:
    """The inverse of :func:`encode_masks`, ``[num_anchors, num_offsets] bool``.

    Raises:
        BitstreamError: the section is damaged or does not hold that many bits.
    """
    head = num_offsets * _PROBABILITY_BYTES
    if not 0 <= num_offsets <= MAX_OFFSETS:
        raise BitstreamError(f"section masks: {num_offsets} offsets an anchor, at most {MAX_OFFSETS}", _DAMAGED)
    if len(data) < head:
        raise BitstreamError(f"section masks: {len(data)} bytes cannot hold {num_offsets} probabilities", _DAMAGED)
    probabilities = np.frombuffer(data[:head], "<u2").astype(np.uint16)
    if num_offsets and not probabilities.min():
        raise BitstreamError("section masks: a probability is zero", _DAMAGED)
    decoder = BitDecoder(data[head:], "section masks")
    masks = np.empty((num_anchors, num_offsets), np.bool_)
    rows = _CHUNK_BITS // max(num_offsets, 1)
    for start in range(0, num_anchors, rows):
        part = masks[start : start + rows]
        part[:] = decoder.pull(np.broadcast_to(probabilities, part.shape))
    decoder.finish()
    return masks

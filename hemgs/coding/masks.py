"""Coding of offset masks: one bit for each offset of each anchor.

Owns the section's framing. Does not own how masks are learned. There are two codecs, and a section names its codec.

``static`` treats the bits of one offset index as independent draws with a common probability. (HAC, arXiv 2403.14530,
has one probability for all bits.) The section contains one 16-bit probability for each offset index, then one stream
with the bits of the first anchor, the second, and so on.

``adaptive`` predicts each bit from the offset's index, the bits before it in its anchor and their sum, and the bits of
the three anchors before at that index. The section contains two zero bytes, which are no valid probability, one byte
that names the codec, then one adaptive stream in the same order.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hemgs.coding import _adaptive_kernels as kernels
from hemgs.coding.adaptive import DAMAGED, AdaptiveStream
from hemgs.coding.names import ADAPTIVE, STATIC
from hemgs.coding.rans import BitDecoder, encode_bits, probability_of_one
from hemgs.core.errors import BitstreamError

#: Most offsets that an anchor can have. It limits the memory that a section can make a decoder allocate.
MAX_OFFSETS = kernels.MASK_COLUMNS

#: Names of the codecs.

_CHUNK_BITS = 1 << 20
_PROBABILITY_BYTES = 2
_MARK, _ADAPTIVE_NUMBER = bytes(_PROBABILITY_BYTES), 2
_NAME = "section masks"


def encode_masks(masks: ArrayLike, codec: str = STATIC) -> bytes:
    """Encode masks.

    Args:
        masks: ``[N, K] bool``, K at most 255.
        codec: STATIC or ADAPTIVE.

    Raises:
        ValueError: masks have another shape or type, or the codec does not exist.

    >>> decode_masks(encode_masks(np.array([[True, False]])), num_anchors=1, num_offsets=2).tolist()
    [[True, False]]
    """
    bits = np.asarray(masks)
    if bits.ndim != 2 or bits.dtype != np.bool_ or bits.shape[1] > MAX_OFFSETS:
        raise ValueError(f"masks must be [N, at most {MAX_OFFSETS}] bool, not {bits.dtype} {bits.shape}")
    if codec == ADAPTIVE:
        return _MARK + bytes([_ADAPTIVE_NUMBER]) + _encode_adaptive(bits)
    if codec != STATIC:
        raise ValueError(f"no mask codec {codec!r}; there are {[STATIC, ADAPTIVE]}")
    ones = np.count_nonzero(bits, axis=0)
    probabilities = np.array([probability_of_one(int(count), len(bits)) for count in ones], np.uint16)
    return probabilities.astype("<u2").tobytes() + encode_bits(bits, np.broadcast_to(probabilities, bits.shape))


def decode_masks(data: bytes, num_anchors: int, num_offsets: int) -> NDArray[np.bool_]:
    """Decode a section of :func:`encode_masks`, ``[num_anchors, num_offsets] bool``.

    Raises:
        BitstreamError: the section is damaged or does not contain that many bits.
    """
    if not 0 <= num_offsets <= MAX_OFFSETS:
        raise BitstreamError(f"{_NAME}: {num_offsets} offsets an anchor, at most {MAX_OFFSETS}", DAMAGED)
    if data.startswith(_MARK + bytes([_ADAPTIVE_NUMBER])):
        return _decode_adaptive(data[len(_MARK) + 1 :], num_anchors, num_offsets)
    head = num_offsets * _PROBABILITY_BYTES
    if len(data) < head:
        raise BitstreamError(f"{_NAME}: {len(data)} bytes cannot hold {num_offsets} probabilities", DAMAGED)
    probabilities = np.frombuffer(data[:head], "<u2").astype(np.uint16)
    if num_offsets and not probabilities.min():
        raise BitstreamError(f"{_NAME}: a probability is zero", DAMAGED)
    decoder = BitDecoder(data[head:], _NAME)
    masks = np.empty((num_anchors, num_offsets), np.bool_)
    rows = _CHUNK_BITS // max(num_offsets, 1)
    for start in range(0, num_anchors, rows):
        part = masks[start : start + rows]
        part[:] = decoder.pull(np.broadcast_to(probabilities, part.shape))
    decoder.finish()
    return masks


def _adaptive_stream(data: bytes | None = None) -> AdaptiveStream:
    return AdaptiveStream(kernels.MASK_ENTRIES, kernels.MASK_COLUMNS * kernels.MASK_INPUTS, data, _NAME)


def _encode_adaptive(bits: NDArray[np.bool_]) -> bytes:
    stream = _adaptive_stream()
    _code_adaptive(stream, np.ascontiguousarray(bits).view(np.uint8))
    return stream.finish()


def _decode_adaptive(data: bytes, num_anchors: int, num_offsets: int) -> NDArray[np.bool_]:
    stream = _adaptive_stream(data)
    masks = np.zeros((num_anchors, num_offsets), np.uint8)
    _code_adaptive(stream, masks)
    stream.close()
    return masks.view(np.bool_)


def _code_adaptive(stream: AdaptiveStream, masks: NDArray[np.uint8]) -> None:
    """Encode masks, or decode into them."""
    num_anchors, num_offsets = masks.shape
    rows = _CHUNK_BITS // max(num_offsets, 1)
    for start in range(0, num_anchors, rows):
        end = min(start + rows, num_anchors)
        room = stream.room((end - start) * num_offsets * kernels.MASK_BIT_BYTES)
        stream.check(kernels.code_masks(masks, start, end, room, stream.model))

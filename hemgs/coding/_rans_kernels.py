"""Compiled inner loops of the entropy coder: integers only, state in arrays, no allocation.

Owns the arithmetic of the stream. Does not own tables, framing or messages (``rans``). Values that another file decides
are arguments.

The coder is range asymmetric numeral systems (Duda, arXiv 1311.2540) with a 64-bit state kept in ``[2^32, 2^64)`` and
32-bit words. Symbols have 16-bit frequencies that add up to ``2^16``. Raw bits are symbols of a uniform distribution.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hemgs.core.jit import compiled

U8 = NDArray[np.uint8]
U16 = NDArray[np.uint16]
U32 = NDArray[np.uint32]
U64 = NDArray[np.uint64]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]

#: Format of the Gaussian tables. ``tables`` imports it from here, because compiled code contains these constants and is
#: compiled again only when this file changes.
LEVELS_PER_OCTAVE = 8
NUM_LEVELS = 128
LAST_TABLE_LEVEL = 80
MEAN_FRACTION_BITS = 5
NUM_MEAN_OFFSETS = 1 << MEAN_FRACTION_BITS
CENTRED_OFFSET = NUM_MEAN_OFFSETS // 2
PROBABILITY_BITS = 16

#: Bits of a slot that index the lookup table.
LOOKUP_BITS = 8
_PROBABILITY = np.uint64(PROBABILITY_BITS)
_SLOT_MASK = np.uint64((1 << PROBABILITY_BITS) - 1)
_TOTAL = np.uint64(1 << PROBABILITY_BITS)
_LOOKUP_SHIFT = np.uint32(PROBABILITY_BITS - LOOKUP_BITS)
_WORD = np.uint64(32)
_WORD_MASK = np.uint64(0xFFFFFFFF)
#: The state never falls below this between symbols; it is also the encoder's first and the decoder's last state.
FIRST_STATE = 1 << 32
_LOW_STATE = np.uint64(FIRST_STATE)
_ONE = np.uint64(1)
_INT32_MAX, _INT32_MIN = 2**31 - 1, -(2**31)

#: Return values of the decoders other than success.
BAD_INDEX, OUT_OF_DATA, OUT_OF_RANGE = 1, 2, 3
#: Most words one symbol can add: 16 bits of table, 6 low bits, 1 sign, 5 bits of length, 31 of magnitude.
MAX_WORDS_PER_SYMBOL = 3
#: Number of bits for the length of an escaped magnitude.
LENGTH_BITS = 5


@compiled
def _put(state: Any, words: U32, count: int, start: Any, frequency: Any, bits: Any) -> tuple[Any, int]:
    """Encode the interval [start, start + frequency) of ``2^bits``; return the new state and word count."""
    if state >> (np.uint64(64) - bits) >= frequency:
        words[count] = np.uint32(state & _WORD_MASK)
        count += 1
        state >>= _WORD
    quotient = state // frequency
    return (quotient << bits) + (state - quotient * frequency) + start, count


@compiled
def _bit_length(value: Any) -> int:
    length = 0
    while value:
        value >>= 1
        length += 1
    return length


@compiled
def _put_escape(x: Any, words: U32, count: int, value: Any, half_width: Any) -> tuple[Any, int]:
    """Encode what follows an escape: sign, bit length of the magnitude beyond ``half_width``, its other bits."""
    excess = abs(value) - half_width
    length = _bit_length(excess) - 1
    if length:
        mantissa = np.uint64(excess - (np.int64(1) << length))
        x, count = _put(x, words, count, mantissa, _ONE, np.uint64(length))
    x, count = _put(x, words, count, np.uint64(length), _ONE, np.uint64(LENGTH_BITS))
    return _put(x, words, count, np.uint64(value < 0), _ONE, _ONE)


@compiled
def _refilled(x: Any, words: U32, position: Any) -> tuple[Any, Any]:
    """Add a word to a state that needs one; a position beyond the end means that the stream has too few words."""
    if x < _LOW_STATE:
        if position < len(words):
            x = (x << _WORD) | np.uint64(words[position])
        position += 1
    return x, position


@compiled
def _stages(level: Any, offset: Any, last_level: Any) -> tuple[Any, Any, Any]:
    """Return the number of uncoded low bits of a symbol, and level and mean offset of the table for the other bits."""
    if level <= last_level:
        return np.int64(0), level, offset
    shift = (level - last_level + LEVELS_PER_OCTAVE - 1) // LEVELS_PER_OCTAVE
    return shift, level - shift * LEVELS_PER_OCTAVE, CENTRED_OFFSET + (offset >> shift)


@compiled
def encode_gaussian(
    residuals: I32,
    levels: U8,
    offsets: U8,
    cumulative: U32,
    level_start: I64,
    half_widths: I64,
    state: U64,
    words: U32,
) -> int:
    """Encode one batch from its last symbol to its first.

    Args:
        residuals: ``[n] int32``.  levels, offsets: ``[n] uint8``.
        cumulative, level_start, half_widths: see ``tables.GaussianTables``.
        state: ``[1] uint64``, updated.
        words: ``[>= MAX_WORDS_PER_SYMBOL * n] uint32``, filled in order of emission.

    Returns:
        Number of words, or -1 if a level or an offset is out of range.
    """
    last_level = len(half_widths) - 1
    x = state[0]
    count = 0
    for i in range(len(residuals) - 1, -1, -1):
        level, offset = np.int64(levels[i]), np.int64(offsets[i])
        if level >= NUM_LEVELS or offset >= NUM_MEAN_OFFSETS:
            return -1
        high = np.int64(residuals[i])
        shift, level, offset = _stages(level, offset, last_level)
        if shift:
            high += np.int64(1) << (shift - 1)
            low = np.uint64(high & ((np.int64(1) << shift) - 1))
            high >>= shift
            x, count = _put(x, words, count, low, _ONE, np.uint64(shift))
        half_width = half_widths[level]
        first = level_start[level] + offset * (2 * half_width + 3)
        if -half_width <= high <= half_width:
            entry = first + high + half_width
        else:
            x, count = _put_escape(x, words, count, high, half_width)
            entry = first + 2 * half_width + 1
        start = np.uint64(cumulative[entry])
        x, count = _put(x, words, count, start, np.uint64(cumulative[entry + 1]) - start, _PROBABILITY)
    state[0] = x
    return count


@compiled
def _take(x: Any, words: U32, position: Any, bits: Any) -> tuple[Any, Any, Any]:
    """Read ``bits`` uncoded bits."""
    value = x & ((_ONE << bits) - _ONE)
    x, position = _refilled(x >> bits, words, position)
    return value, x, position


@compiled
def _take_escape(x: Any, words: U32, position: Any, half_width: Any) -> tuple[Any, Any, Any]:
    """Read the value that follows an escape: sign, length, magnitude beyond ``half_width``."""
    sign, x, position = _take(x, words, position, _ONE)
    length, x, position = _take(x, words, position, np.uint64(LENGTH_BITS))
    excess = _ONE << length
    if length:
        mantissa, x, position = _take(x, words, position, length)
        excess |= mantissa
    value = half_width + np.int64(excess)
    return -value if sign else value, x, position


@compiled
def decode_gaussian(
    levels: U8,
    offsets: U8,
    cumulative: U32,
    level_start: I64,
    half_widths: I64,
    lookup: U8,
    words: U32,
    state: U64,
    residuals: I32,
) -> int:
    """Decode one batch.

    Args:
        levels, offsets: ``[n] uint8``.
        cumulative, level_start, half_widths, lookup: see ``tables.GaussianTables``.
        words: ``[w] uint32``, the whole stream.  state: ``[2] uint64``, state and position in ``words``; updated.
        residuals: ``[n] int32``, filled.

    Returns:
        0, or one of BAD_INDEX, OUT_OF_DATA, OUT_OF_RANGE.
    """
    last_level = len(half_widths) - 1
    x = state[0]
    position = np.int64(state[1])
    for i in range(len(levels)):
        level, offset = np.int64(levels[i]), np.int64(offsets[i])
        if level >= NUM_LEVELS or offset >= NUM_MEAN_OFFSETS:
            return BAD_INDEX
        shift, level, offset = _stages(level, offset, last_level)
        half_width = half_widths[level]
        first = level_start[level] + offset * (2 * half_width + 3)
        slot = np.uint32(x & _SLOT_MASK)
        entry = first + np.int64(
            lookup[((level * NUM_MEAN_OFFSETS + offset) << LOOKUP_BITS) + np.int64(slot >> _LOOKUP_SHIFT)]
        )
        while cumulative[entry + 1] <= slot:
            entry += 1
        start = cumulative[entry]
        x = np.uint64(cumulative[entry + 1] - start) * (x >> _PROBABILITY) + np.uint64(slot - start)
        x, position = _refilled(x, words, position)
        value = entry - first - half_width
        if value > half_width:
            value, x, position = _take_escape(x, words, position, half_width)
        if shift:
            low, x, position = _take(x, words, position, np.uint64(shift))
            value = (value << shift) + np.int64(low) - (np.int64(1) << (shift - 1))
        if position > len(words):
            return OUT_OF_DATA
        if value > _INT32_MAX or value < _INT32_MIN:
            return OUT_OF_RANGE
        residuals[i] = np.int32(value)
    state[0] = x
    state[1] = np.uint64(position)
    return 0


@compiled
def encode_bits(bits: U8, probabilities: U16, state: U64, words: U32) -> int:
    """Encode bits from last to first; a one takes the slots below its probability.

    Args:
        bits: ``[n] uint8``.  probabilities: ``[n] uint16``, of a one, in 1/65536, at least 1.
        state: ``[1] uint64``, updated.  words: ``[>= n] uint32``, filled in order of emission.

    Returns:
        Number of words, or -1 if a bit exceeds 1 or a probability is 0.
    """
    x = state[0]
    count = 0
    for i in range(len(bits) - 1, -1, -1):
        p = np.uint64(probabilities[i])
        if bits[i] > 1 or p == 0:
            return -1
        start, frequency = (np.uint64(0), p) if bits[i] else (p, _TOTAL - p)
        x, count = _put(x, words, count, start, frequency, _PROBABILITY)
    state[0] = x
    return count


@compiled
def decode_bits(probabilities: U16, words: U32, state: U64, bits: U8) -> int:
    """Decode bits of :func:`encode_bits`; arguments and return value are those of :func:`decode_gaussian`."""
    x = state[0]
    position = np.int64(state[1])
    for i in range(len(probabilities)):
        p = np.uint64(probabilities[i])
        if p == 0:
            return BAD_INDEX
        slot = x & _SLOT_MASK
        if slot < p:
            bits[i] = 1
            x = p * (x >> _PROBABILITY) + slot
        else:
            bits[i] = 0
            x = (_TOTAL - p) * (x >> _PROBABILITY) + slot - p
        x, position = _refilled(x, words, position)
        if position > len(words):
            return OUT_OF_DATA
    state[0] = x
    state[1] = np.uint64(position)
    return 0


@compiled
def gaussian_table_bits(
    residuals: I32, levels: U8, offsets: U8, cumulative: U32, level_start: I64, half_widths: I64
) -> float:
    """Return the code length of a batch under the integer tables, bits, float64; -1 if an index is out of range."""
    last_level = len(half_widths) - 1
    total = 0.0
    for i in range(len(residuals)):
        level, offset = np.int64(levels[i]), np.int64(offsets[i])
        if level >= NUM_LEVELS or offset >= NUM_MEAN_OFFSETS:
            return -1.0
        high = np.int64(residuals[i])
        shift, level, offset = _stages(level, offset, last_level)
        if shift:
            high = (high + (np.int64(1) << (shift - 1))) >> shift
            total += shift
        half_width = half_widths[level]
        first = level_start[level] + offset * (2 * half_width + 3)
        if -half_width <= high <= half_width:
            entry = first + high + half_width
        else:
            entry = first + 2 * half_width + 1
            total += 1 + LENGTH_BITS + _bit_length((high if high > 0 else -high) - half_width) - 1
        total += PROBABILITY_BITS - np.log2(np.float64(cumulative[entry + 1] - cumulative[entry]))
    return total

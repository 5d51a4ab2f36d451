"""Compiled inner loops of the coder of mixtures: integers only, state in arrays, no allocation.

Owns the distribution of a mixture of two rows of the Gaussian tables. Does not own tables, framing or messages
(``mixture``), or the steps of the stream, which are those of ``_rans_kernels``. If you change them there, save this
file too: numba's disk cache compares the time of the file that contains a kernel.

Masses are exact multiples of ``2^-TOTAL_BITS``: 16 bits of a table, six low bits into which the widest level splits a
bin, eight of the weight. Therefore nothing is rounded or renormalised, and a value with mass in a row has mass in the
mixture.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hemgs.coding._rans_kernels import (
    BAD_INDEX,
    I32,
    I64,
    LENGTH_BITS,
    NUM_LEVELS,
    NUM_MEAN_OFFSETS,
    OUT_OF_DATA,
    OUT_OF_RANGE,
    PROBABILITY_BITS,
    U8,
    U32,
    U64,
    _bit_length,
    _put,
    _put_escape,
    _refilled,
    _stages,
    _take_escape,
)
from hemgs.core.jit import compiled

U16 = NDArray[np.uint16]

#: Low bits of the widest level: level 127 is 6 octaves above the last with a table.
LOW_BITS = 6
WEIGHT_BITS = 8
#: The weights of both rows add up to this.
WHOLE_WEIGHT = 1 << WEIGHT_BITS
TOTAL_BITS = PROBABILITY_BITS + LOW_BITS + WEIGHT_BITS
#: Most words one symbol can add: 30 bits of mass, and 1 sign, 5 bits of length, 31 of magnitude.
MAX_WORDS_PER_SYMBOL = 3

_TOTAL = np.int64(1) << TOTAL_BITS
_SLOT_MASK = np.uint64((1 << TOTAL_BITS) - 1)
_BITS = np.uint64(TOTAL_BITS)
#: Half width of an escape of any value, 0 too.
_NO_WIDTH = np.int64(-1)
_INT32_MAX, _INT32_MIN = 2**31 - 1, -(2**31)

#: Arrays ``[n]``, as in ``mixture.Mixtures``: levels and offsets of the first rows, the same of the second rows (all
#: uint8), distances (int64), weights (uint16).
Mixtures = tuple[U8, U8, U8, U8, I64, U16]
#: ``cumulative``, ``level_start`` and ``half_widths`` of ``tables.GaussianTables``.
Tables = tuple[U32, I64, I64]


@compiled
def _row(level: Any, offset: Any, tables: Tables) -> tuple[Any, Any, Any]:
    """Return the low bits of a component's bins, the start of its row, and the row's half width."""
    _, level_start, half_widths = tables
    shift, level, offset = _stages(np.int64(level), np.int64(offset), len(half_widths) - 1)
    half_width = half_widths[level]
    return shift, level_start[level] + offset * (2 * half_width + 3), half_width


@compiled
def _below(value: Any, row: Any, cumulative: U32) -> Any:
    """Return a component's mass below ``value``, counted from its centre, in ``2^-(PROBABILITY_BITS + LOW_BITS)``."""
    shift, first, half_width = row
    shifted = value + ((np.int64(1) << shift) >> 1)
    high = shifted >> shift
    if high < -half_width:
        return np.int64(0)
    if high > half_width:
        return np.int64(cumulative[first + 2 * half_width + 1]) << LOW_BITS
    entry = first + high + half_width
    start = np.int64(cumulative[entry])
    part = (np.int64(cumulative[entry + 1]) - start) * (shifted & ((np.int64(1) << shift) - 1))
    return (start << LOW_BITS) + (part << (LOW_BITS - shift))


@compiled
def _below_in_both(value: Any, first: Any, second: Any, distance: Any, weight: Any, cumulative: U32) -> Any:
    """Return a mixture's mass below ``value``, counted from the first centre."""
    mass = np.int64(0)
    if weight:
        mass += weight * _below(value, first, cumulative)
    if weight < WHOLE_WEIGHT:
        mass += (WHOLE_WEIGHT - weight) * _below(value - distance, second, cumulative)
    return mass


@compiled
def _inside(first: Any, second: Any, weight: Any, cumulative: U32) -> Any:
    """Return the mass of all values that are not escaped."""
    top = cumulative[first[1] + 2 * first[2] + 1], cumulative[second[1] + 2 * second[2] + 1]
    return (weight * np.int64(top[0]) + (WHOLE_WEIGHT - weight) * np.int64(top[1])) << LOW_BITS


@compiled
def _reach(first: Any, second: Any, distance: Any, weight: Any) -> tuple[Any, Any]:
    """Return the least and the greatest value that is not escaped, counted from the first centre."""
    low, high = np.int64(2) ** 62, -(np.int64(2) ** 62)
    for row, centre, share in ((first, np.int64(0), weight), (second, distance, WHOLE_WEIGHT - weight)):
        if share:
            shift, _, half_width = row
            half = (np.int64(1) << shift) >> 1
            low = min(low, centre - (half_width << shift) - half)
            high = max(high, centre + ((half_width + 1) << shift) - half - 1)
    return low, high


@compiled
def _valid(i: int, mixtures: Mixtures) -> Any:
    levels, offsets, other_levels, other_offsets, _, weights = mixtures
    return (
        levels[i] < NUM_LEVELS
        and other_levels[i] < NUM_LEVELS
        and offsets[i] < NUM_MEAN_OFFSETS
        and other_offsets[i] < NUM_MEAN_OFFSETS
        and weights[i] <= WHOLE_WEIGHT
    )


@compiled
def _interval(value: Any, i: int, mixtures: Mixtures, tables: Tables) -> tuple[Any, Any, bool]:
    """Return start and width of the interval of ``value`` under mixture ``i``, and whether it is escaped."""
    levels, offsets, other_levels, other_offsets, distances, weights = mixtures
    cumulative, distance, weight = tables[0], distances[i], np.int64(weights[i])
    first = _row(levels[i], offsets[i], tables)
    second = _row(other_levels[i], other_offsets[i], tables)
    start = _below_in_both(value, first, second, distance, weight, cumulative)
    width = _below_in_both(value + 1, first, second, distance, weight, cumulative) - start
    if width:
        return start, width, False
    start = _inside(first, second, weight, cumulative)
    return start, _TOTAL - start, True


@compiled
def encode_mixture(residuals: I32, mixtures: Mixtures, tables: Tables, state: U64, words: U32) -> int:
    """Encode one batch from its last symbol to its first.

    Args:
        residuals: ``[n] int32``, counted from the first centres.
        state: ``[1] uint64``, updated.
        words: ``[>= MAX_WORDS_PER_SYMBOL * n] uint32``, filled in order of emission.

    Returns:
        Number of words, or -1 if a level, an offset or a weight is out of range.
    """
    x = state[0]
    count = 0
    for i in range(len(residuals) - 1, -1, -1):
        if not _valid(i, mixtures):
            return -1
        value = np.int64(residuals[i])
        start, width, escaped = _interval(value, i, mixtures, tables)
        if escaped:
            x, count = _put_escape(x, words, count, value, _NO_WIDTH)
        x, count = _put(x, words, count, np.uint64(start), np.uint64(width), _BITS)
    state[0] = x
    return count


@compiled
def _find(slot: Any, i: int, mixtures: Mixtures, tables: Tables) -> tuple[Any, Any, Any, bool]:
    """Find the interval that contains ``slot``: return its value, start and width, and whether it is the escape."""
    levels, offsets, other_levels, other_offsets, distances, weights = mixtures
    cumulative, distance, weight = tables[0], distances[i], np.int64(weights[i])
    first = _row(levels[i], offsets[i], tables)
    second = _row(other_levels[i], other_offsets[i], tables)
    inside = _inside(first, second, weight, cumulative)
    if slot >= inside:
        return np.int64(0), inside, _TOTAL - inside, True
    # Search the greatest value with a mass below it of at most ``slot``: ``low``, whose mass is ``start``.
    low, high = _reach(first, second, distance, weight)
    start, end = np.int64(0), inside
    high += 1
    while high - low > 1:
        middle = (low + high) >> 1
        mass = _below_in_both(middle, first, second, distance, weight, cumulative)
        if mass <= slot:
            low, start = middle, mass
        else:
            high, end = middle, mass
    return low, start, end - start, False


@compiled
def decode_mixture(mixtures: Mixtures, tables: Tables, words: U32, state: U64, residuals: I32) -> int:
    """Decode one batch.

    Args:
        words: ``[w] uint32``, the whole stream.  state: ``[2] uint64``, state and position in ``words``; updated.
        residuals: ``[n] int32``, filled.

    Returns:
        0, or one of BAD_INDEX, OUT_OF_DATA, OUT_OF_RANGE.
    """
    x = state[0]
    position = np.int64(state[1])
    for i in range(len(residuals)):
        if not _valid(i, mixtures):
            return BAD_INDEX
        slot = np.int64(x & _SLOT_MASK)
        value, start, width, escaped = _find(slot, i, mixtures, tables)
        x = np.uint64(width) * (x >> _BITS) + np.uint64(slot - start)
        x, position = _refilled(x, words, position)
        if escaped:
            value, x, position = _take_escape(x, words, position, _NO_WIDTH)
        if position > len(words):
            return OUT_OF_DATA
        if value > _INT32_MAX or value < _INT32_MIN:
            return OUT_OF_RANGE
        residuals[i] = np.int32(value)
    state[0] = x
    state[1] = np.uint64(position)
    return 0


@compiled
def mixture_table_bits(residuals: I32, mixtures: Mixtures, tables: Tables) -> float:
    """Return the code length of a batch under the integer tables, bits, float64; -1 if an index is out of range."""
    total = 0.0
    for i in range(len(residuals)):
        if not _valid(i, mixtures):
            return -1.0
        value = np.int64(residuals[i])
        _, width, escaped = _interval(value, i, mixtures, tables)
        if escaped:
            total += LENGTH_BITS + _bit_length(abs(value) + 1)
        total += TOTAL_BITS - np.log2(np.float64(width))
    return total

"""Compiled inner loops of adaptive binary coding: integers only, state in arrays.

Owns the range coder, the probabilities that learn, their mixing, and the contexts of octrees and of masks. Does not own
framing, buffers or messages (``adaptive``, ``octree``, ``masks``). Everything here is part of the format: a changed
context is a changed codec, and the files in ``tests/golden/coding`` would no longer decode.

One loop serves both directions, so that encoder and decoder cannot differ: ``_bit`` writes the bit it is given, or
reads one. The range coder is that of Martin (1979) with 32 bits of range and bytes; several adaptive probabilities are
mixed in the logistic domain with weights that learn (Mahoney, "Adaptive weighing of context models for lossless data
compression", 2005).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hemgs.coding._compile import compiled

U8 = NDArray[np.uint8]
U32 = NDArray[np.uint32]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]

#: Slots of the coder's state, ``[5] int64``: the interval's low end or the decoder's distance from it; its width; bytes
#: written or read; 1 if decoding; bytes of input.
LOW, WIDTH, POSITION, DECODING, SIZE = 0, 1, 2, 3, 4
STATE_SLOTS = 5
FULL_WIDTH = (1 << 32) - 1
_LEAST_WIDTH = 1 << 24
#: Bytes that the decoder reads ahead; it takes as many zeros beyond the end, which the encoder leaves out.
AHEAD = 4

#: A probability entry holds 22 bits of probability above 10 bits that count what it has seen.
_COUNT_BITS = 10
_COUNT_MASK = (1 << _COUNT_BITS) - 1
FRESH_ENTRY = 1 << 31
#: Counts stop here: from then on an entry forgets at this rate.
_LAST_COUNT = 400
#: Logistic values lie within this, in units of 1/256; probabilities of a one have 16 bits, 12 of which index ``stretch``.
LOGIT_LIMIT = 2559
_LEAST = 4
_WEIGHT_BITS = 16
_LEARNING_SHIFT = 15

#: Inputs of the octree's mixer, and of the masks'.
OCTREE_INPUTS, MASK_INPUTS = 6, 5
FIRST_WEIGHT = (1 << _WEIGHT_BITS) * 2 // 5
#: Growing puts anchors on lattices of 16, 4 and 1 voxels: below nodes of 2^4 voxels it matters how many low bits of a
#: node's corner are zero.
LATTICE_LEVELS = 4
MAX_LEVELS = 21
_TZ = LATTICE_LEVELS + 1
_CORNERS = MAX_LEVELS * _TZ
_CLASSES = LATTICE_LEVELS * _TZ + 1

#: Starts of the octree's tables within one array of entries.
_PREFIX = 0
_AROUND = _PREFIX + _CORNERS * 256
_FACES = _AROUND + _CLASSES * 8 * 128 * 4
_PARENT = _FACES + _CLASSES * 8 * 64 * 8 * 2
_CROWD = _PARENT + 256 * 8 * 8 * 2
_NEAR = _CROWD + _CORNERS * 8 * 27 * 4
_SINGLE = _NEAR + _CLASSES * 8 * 2 * 16 * 8
_RUNS = 8
_CHILD = _SINGLE + _CORNERS * _RUNS
OCTREE_ENTRIES = _CHILD + _CORNERS * 2 * 8
OCTREE_WEIGHT_SETS = _CLASSES * 8 * 2
#: Most bytes that one node can add: twelve bits of at most 14 bits each.
NODE_BYTES = 24
#: Return values of :func:`code_level` other than a number of children.
OUT_OF_DATA, TOO_MANY = -1, -2

_AXIS = np.int64(0x1249249249249249)
_HASH = np.uint64(0x9E3779B97F4A7C15)


@compiled
def _bit(coder: I64, data: U8, bit: Any, p: Any) -> Any:
    """Codes one bit that is one with probability ``p / 65536``; returns it."""
    bound = (coder[WIDTH] >> 16) * p
    if coder[DECODING]:
        bit = 1 if coder[LOW] < bound else 0
        if bit:
            coder[WIDTH] = bound
        else:
            coder[LOW] -= bound
            coder[WIDTH] -= bound
        while coder[WIDTH] < _LEAST_WIDTH:
            following = np.int64(data[coder[POSITION]]) if coder[POSITION] < coder[SIZE] else np.int64(0)
            coder[POSITION] += 1
            coder[LOW] = (coder[LOW] << 8) | following
            coder[WIDTH] <<= 8
        return bit
    if bit:
        coder[WIDTH] = bound
    else:
        coder[LOW] += bound
        coder[WIDTH] -= bound
        if coder[LOW] > FULL_WIDTH:
            coder[LOW] &= FULL_WIDTH
            last = coder[POSITION] - 1
            while data[last] == 255:
                data[last] = 0
                last -= 1
            data[last] += 1
    while coder[WIDTH] < _LEAST_WIDTH:
        data[coder[POSITION]] = coder[LOW] >> 24
        coder[POSITION] += 1
        coder[LOW] = (coder[LOW] << 8) & FULL_WIDTH
        coder[WIDTH] <<= 8
    return bit


@compiled
def _learn(entries: U32, index: Any, bit: Any, rates: I64) -> None:
    """Moves an entry towards the bit: by 1/(n + 1.5) at its n-th, never by less than the last rate."""
    entry = np.int64(entries[index])
    count = entry & _COUNT_MASK
    p = entry >> _COUNT_BITS
    p += ((((np.int64(1) << 22) - 1 if bit else np.int64(0)) - p) * rates[count]) >> 16
    entries[index] = (p << _COUNT_BITS) | (count + 1 if count < _LAST_COUNT else count)


@compiled
def _plain_bit(coder: I64, data: U8, bit: Any, entries: U32, index: Any, rates: I64) -> Any:
    """Codes one bit with one entry."""
    p = np.int64(entries[index]) >> (_COUNT_BITS + 6)
    bit = _bit(coder, data, bit, min(max(p, _LEAST), 65536 - _LEAST))
    _learn(entries, index, bit, rates)
    return bit


@compiled
def _mixed_bit(
    coder: I64,
    data: U8,
    bit: Any,
    entries: U32,
    chosen: I64,
    logits: I64,
    weights: I32,
    weight_set: Any,
    stretch: I64,
    squash: I64,
    rates: I64,
) -> Any:
    """Codes one bit with the mixture of the ``chosen`` entries; ``logits`` is scratch of the same length."""
    num = len(chosen)
    start = weight_set * num
    total = np.int64(0)
    for i in range(num):
        logits[i] = stretch[np.int64(entries[chosen[i]]) >> (_COUNT_BITS + 10)]
        total += logits[i] * weights[start + i]
    total = min(max(total >> _WEIGHT_BITS, -LOGIT_LIMIT), LOGIT_LIMIT)
    p = min(max(squash[total + LOGIT_LIMIT], _LEAST), 65536 - _LEAST)
    bit = _bit(coder, data, bit, p)
    error = (bit << 16) - p
    for i in range(num):
        weights[start + i] += (logits[i] * error + (1 << (_LEARNING_SHIFT - 1))) >> _LEARNING_SHIFT
        _learn(entries, chosen[i], bit, rates)
    return bit


@compiled
def _slot(table: I64, key: Any, bits: Any) -> Any:
    """Slot of a key in an open hash table of ``2^bits`` slots, or of the free slot where it would go."""
    mask = (np.int64(1) << bits) - 1
    slot = np.int64((np.uint64(key) * _HASH) >> np.uint64(64 - bits))
    while table[slot] != -1 and table[slot] != key:
        slot = (slot + 1) & mask
    return slot


@compiled
def _neighbours(table: I64, patterns: U8, bits: Any, key: Any, found: I64) -> Any:
    """What is known of the 26 nodes around one: -1 absent, 0 there, else the children that it is known to have.

    Coordinates wrap around, which is odd only at the border and never wrong. Returns how many are there.
    """
    num = 0
    steps = np.empty((3, 3), np.int64)
    for axis in range(3):
        mask = _AXIS << axis
        own = key & mask
        steps[axis, 0] = (own - (np.int64(1) << axis)) & mask
        steps[axis, 1] = own
        steps[axis, 2] = ((own | ~mask) + (np.int64(1) << axis)) & mask
    for place in range(27):
        if place == 13:
            continue
        other = steps[0, place % 3] | steps[1, place // 3 % 3] | steps[2, place // 9]
        slot = _slot(table, other, bits)
        found[place] = -1
        if table[slot] == other:
            found[place] = patterns[slot]
            num += 1
    return num


@compiled
def _zeros(key: Any, level: Any) -> Any:
    """Low zero bits that all three voxel coordinates of a node's corner have, at most LATTICE_LEVELS."""
    zeros = level
    while zeros < LATTICE_LEVELS and key & 7 == 0:
        key >>= 3
        zeros += 1
    return min(zeros, LATTICE_LEVELS)


@compiled
def _child_contexts(
    child: Any, pattern: Any, coded: Any, corner: Any, kind: Any, crowd: Any, parent: Any, place: Any,
    around: I64, chosen: I64,
) -> Any:  # fmt: skip
    """Fills ``chosen`` with the entries for one child of a node; returns its set of weights.

    Args:
        child: 0..7, bits z, y, x.  pattern: children known to be there.  coded: how many these are.
        corner, kind: level and zero bits of the node's corner, in full and for low levels alone.
        crowd: nodes around.  parent: pattern of the node's parent.  place: of the node in its parent.
        around: see :func:`_neighbours`.
    """
    dx, dy, dz = 2 * (child & 1) - 1, 3 * ((child & 2) - 1), 9 * ((child >> 1 & 2) - 1)
    faces = present = near = unknown = np.int64(0)
    for side in range(1, 8):
        step = (dx if side & 1 else 0) + (dy if side & 2 else 0) + (dz if side & 4 else 0)
        known = around[13 + step]
        status = np.int64(0)
        if known == 0:
            status = 1
            unknown += 1
        elif known > 0:
            status = 2 + (known >> (child ^ side) & 1)
            near += status - 2
        if side & (side - 1) == 0:
            faces = faces << 2 | status
        present |= np.int64(status > 0) << (side - 1)
    inner = np.int64(0)
    for axis in range(3):
        inner = inner << 1 | (pattern >> (child ^ (1 << axis)) & 1)
    some = np.int64(coded > 0)
    few = min(coded, 3)
    chosen[0] = _PREFIX + corner * 256 + ((1 << child) | (pattern & ((1 << child) - 1)))
    chosen[1] = _AROUND + ((kind * 8 + child) * 128 + present) * 4 + few
    chosen[2] = _FACES + (((kind * 8 + child) * 64 + faces) * 8 + inner) * 2 + some
    chosen[3] = _PARENT + ((parent * 8 + place) * 8 + child) * 2 + some
    chosen[4] = _CROWD + ((corner * 8 + child) * 27 + crowd) * 4 + few
    chosen[5] = _NEAR + (((kind * 8 + child) * 2 + some) * 16 + min(near + coded, 15)) * 8 + min(unknown, 7)
    return (kind * 8 + child) * 2 + some


@compiled
def _single_child(
    coder: I64, data: U8, pattern: Any, entries: U32, corner: Any, run: Any, rates: I64
) -> Any:
    """Codes a node without neighbours that has but one child: a flag, then which; returns its pattern, 0 if several."""
    single = _plain_bit(
        coder, data, np.int64(pattern & (pattern - 1) == 0), entries, _SINGLE + corner * _RUNS + run, rates
    )
    if not single:
        return np.int64(0)
    child = np.int64(0)
    if not coder[DECODING]:
        while pattern >> child != 1:
            child += 1
    first = _CHILD + (corner * 2 + np.int64(run > 0)) * 8
    node = np.int64(1)
    for shift in range(2, -1, -1):
        node = node << 1 | _plain_bit(coder, data, child >> shift & 1, entries, first + node, rates)
    return np.int64(1) << (node & 7)


@compiled
def code_level(
    level: Any, depth_bits: Any, keys: I64, runs: U8, parents: U8, given: U8, coder: I64, data: U8, entries: U32,
    weights: I32, stretch: I64, squash: I64, rates: I64, table: I64, table_patterns: U8, table_bits: Any,
    patterns: U8,
) -> Any:  # fmt: skip
    """Codes which children the nodes of one level have.
    """
    num = len(keys)
    for i in range(num):
        if runs[i] == 0:
            table[_slot(table, keys[i], table_bits)] = keys[i]
    around = np.empty(27, np.int64)
    chosen = np.empty(OCTREE_INPUTS, np.int64)
    logits = np.empty(OCTREE_INPUTS, np.int64)
    total = 0
    for i in range(num):
        key = keys[i]
        zeros = _zeros(key, level)
        corner = (level - 1) * _TZ + zeros
        kind = np.int64(0) if level > LATTICE_LEVELS else (level - 1) * _TZ + zeros + 1
        run = np.int64(runs[i])
        wanted = np.int64(given[i])
        crowd = np.int64(0)
        if run == 0:
            crowd = _neighbours(table, table_patterns, table_bits, key, around)
        else:
            around[:] = -1
        pattern = np.int64(0)
        if crowd == 0:
            pattern = _single_child(coder, data, wanted, entries, corner, min(run, _RUNS - 1), rates)
        if pattern == 0:
            coded = np.int64(0)
            for child in range(8):
                if child == 7 and coded == 0:
                    pattern |= 128
                    break
                weight_set = _child_contexts(
                    child, pattern, coded, corner, kind, crowd, np.int64(parents[i]), key & 7, around, chosen
                )
                bit = _mixed_bit(
                    coder, data, wanted >> child & 1, entries, chosen, logits, weights, weight_set, stretch, squash, rates
                )
                pattern |= bit << child
                coded += bit
        patterns[i] = pattern
        if run == 0:
            table_patterns[_slot(table, key, table_bits)] = pattern
        runs[i] = min(run + 1, 255) if crowd == 0 and pattern & (pattern - 1) == 0 else 0
        bits = pattern
        while bits:
            total += 1
            bits &= bits - 1
        if coder[DECODING] and coder[POSITION] > coder[SIZE] + AHEAD:
            return OUT_OF_DATA
    return total


@compiled
def descend(keys: I64, runs: U8, patterns: U8, child_keys: I64, child_runs: U8, child_parents: U8) -> None:
    """Nodes of the next level from those of one and their patterns, in Morton order."""
    count = 0
    for i in range(len(keys)):
        for child in range(8):
            if patterns[i] >> child & 1:
                child_keys[count] = keys[i] << 3 | child
                child_runs[count] = runs[i]
                child_parents[count] = patterns[i]
                count += 1


@compiled
def patterns_above(keys: I64, above: I64, patterns: U8) -> int:
    """Parents of sorted nodes and which children they have; returns how many parents there are."""
    count = -1
    for i in range(len(keys)):
        parent = keys[i] >> 3
        if count < 0 or above[count] != parent:
            count += 1
            above[count] = parent
            patterns[count] = 0
        patterns[count] |= np.uint8(1 << (keys[i] & 7))
    return count + 1


@compiled
def interleave(coords: I64, keys: I64) -> None:
    """Morton keys of ``[N, 3]`` coordinates in 0..2^21-1."""
    for i in range(len(keys)):
        key = np.int64(0)
        for axis in range(3):
            value = coords[i, axis]
            for bit in range(MAX_LEVELS):
                key |= (value >> bit & 1) << (3 * bit + axis)
        keys[i] = key


@compiled
def separate(keys: I64, coords: I64) -> None:
    """The inverse of :func:`interleave`."""
    for i in range(len(keys)):
        for axis in range(3):
            value = np.int64(0)
            for bit in range(MAX_LEVELS):
                value |= (keys[i] >> (3 * bit + axis) & 1) << bit
            coords[i, axis] = value

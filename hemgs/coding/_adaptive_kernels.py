"""Compiled inner loops of adaptive binary coding: integers only, state in arrays.

Owns the range coder, the probabilities that learn, their mixing, and the contexts of octrees and of masks. Does not own
framing, buffers or messages (``adaptive``, ``octree``, ``masks``). Everything here is part of the format. With a
changed context, the files in ``tests/golden/coding`` would no longer decode.

One loop serves both directions, so that encoder and decoder cannot differ: ``_bit`` writes the bit it is given, or
reads one. The range coder is that of Martin (1979) with 32 bits of range and bytes. Several adaptive probabilities are
mixed in the logistic domain with weights that learn (Mahoney, "Adaptive weighing of context models for lossless data
compression", 2005).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hemgs.core.jit import compiled

U8 = NDArray[np.uint8]
I64 = NDArray[np.int64]

#: The coder's state, and the bytes that it reads or writes.
Stream = tuple[I64, U8]
#: Adaptive values and their tables: entries, weights, ``stretch``, ``squash``, ``rates`` (see ``adaptive``).
Model = tuple[NDArray[np.uint32], NDArray[np.int32], I64, I64, I64]

#: Slots of the coder's state, ``[5] int64``: the interval's low end or the decoder's distance from it; its width; bytes
#: written or read; 1 if decoding; bytes of input.
LOW, WIDTH, POSITION, DECODING, SIZE = 0, 1, 2, 3, 4
FULL_WIDTH = (1 << 32) - 1
_LEAST_WIDTH = 1 << 24
#: Bytes that the decoder reads ahead. It adds as many zeros beyond the end, which the encoder leaves out.
AHEAD = 4

#: An entry of 32 bits contains 22 bits of probability above 10 bits that count the bits it has seen.
_COUNT_BITS = 10
_COUNT_MASK = (1 << _COUNT_BITS) - 1
FRESH_ENTRY = 1 << 31
_ONE = 1 << (32 - _COUNT_BITS)
#: Counts stop here; from then on an entry adapts at a constant rate.
_LAST_COUNT = 250
#: Largest logit in units of 1/256, which is a probability of 3 in 65,536. Coded probabilities are at least ``_LEAST``
#: of 65,536 from both ends. The high bits of an entry's probability index ``stretch``.
LOGIT_LIMIT, LOGIT_UNITS = 2559, 256
STRETCH_BITS = 12
_LEAST, _MOST = 4, 65536 - 4
_WEIGHT_BITS, _LEARNING_SHIFT = 16, 16

#: Inputs of the octree's mixer, and of the masks'.
OCTREE_INPUTS, MASK_INPUTS = 6, 5
FIRST_WEIGHT = (1 << _WEIGHT_BITS) * 3 // 10
#: Growing puts anchors on lattices of 16, 4 and 1 voxels. Below nodes of 2^4 voxels, contexts therefore include the
#: number of low zero bits of a node's corner (``_TZ`` cases). ``_CORNERS`` and ``_CLASSES`` count pairs of a level and
#: such a number.
LATTICE_LEVELS = 4
MAX_LEVELS = 21
_TZ = LATTICE_LEVELS + 1
_CORNERS, _CLASSES = MAX_LEVELS * _TZ, LATTICE_LEVELS * _TZ + 1

#: Starts of the octree's tables within one array of entries, and the number of cases for generations alone.
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
OCTREE_WEIGHT_SETS = _CLASSES * 4
#: Bytes for the worst case: 15 bits for each decision, at most nine decisions a node.
NODE_BYTES, MASK_BIT_BYTES = 20, 2

#: Starts of the tables of masks.
MASK_COLUMNS = 255
_MASK_ABOVE = MASK_COLUMNS * 256
_MASK_RECENT = _MASK_ABOVE + MASK_COLUMNS * 8
_MASK_TOTAL = _MASK_RECENT + MASK_COLUMNS * 64 * 2
_MASK_BOTH = _MASK_TOTAL + MASK_COLUMNS * 16 * 16
MASK_ENTRIES = _MASK_BOTH + MASK_COLUMNS * 16 * 4
#: Return value of :func:`code_level` and :func:`code_masks` where the stream being read has ended.
OUT_OF_DATA = -1

_AXIS = np.int64(0x1249249249249249)
#: An odd number near 2^64 over the golden ratio (Knuth, The Art of Computer Programming, volume 3, section 6.4).
_HASH = np.uint64(0x9E3779B97F4A7C15)
MOST_PROBES = 256


@compiled
def _bit(stream: Stream, bit: Any, p: Any) -> Any:
    """Code one bit that is one with probability ``p / 65536``; return it."""
    coder, data = stream
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
def _clamped(value: Any, low: Any, high: Any) -> Any:
    return min(max(value, low), high)


@compiled
def _learn(model: Model, index: Any, bit: Any) -> None:
    """Move an entry towards the bit, by 1/(n + 1.5) of the way at the n-th bit, n at most _LAST_COUNT."""
    entry = np.int64(model[0][index])
    count = entry & _COUNT_MASK
    p = entry >> _COUNT_BITS
    p += (((_ONE - 1 if bit else 0) - p) * model[4][count]) >> 16
    model[0][index] = p << _COUNT_BITS | (count + 1 if count < _LAST_COUNT else count)


@compiled
def _plain_bit(stream: Stream, bit: Any, model: Model, index: Any) -> Any:
    """Code one bit with the entry ``index`` alone; return it."""
    p = np.int64(model[0][index]) >> (32 - 16)
    bit = _bit(stream, bit, _clamped(p, _LEAST, _MOST))
    _learn(model, index, bit)
    return bit


@compiled
def _mixed_bit(stream: Stream, bit: Any, model: Model, chosen: I64, logits: I64, weight_set: Any) -> Any:
    """Code one bit with the mixture of the ``chosen`` entries; return it. ``logits`` is scratch of the same length."""
    entries, weights, stretch, squash, _ = model
    num = len(chosen)
    start = weight_set * num
    total = np.int64(0)
    for i in range(num):
        logits[i] = stretch[np.int64(entries[chosen[i]]) >> (32 - STRETCH_BITS)]
        total += logits[i] * weights[start + i]
    total = _clamped(total >> _WEIGHT_BITS, -LOGIT_LIMIT, LOGIT_LIMIT)
    p = _clamped(squash[total + LOGIT_LIMIT], _LEAST, _MOST)
    bit = _bit(stream, bit, p)
    error = (bit << 16) - p
    for i in range(num):
        weights[start + i] += (logits[i] * error + (1 << (_LEARNING_SHIFT - 1))) >> _LEARNING_SHIFT
        _learn(model, chosen[i], bit)
    return bit


@compiled
def _slot(table: I64, key: Any, bits: Any) -> Any:
    """Return the slot of a key in an open hash table of ``2^bits`` slots, or the free slot where it would go.

    Keys that differ only in their last two levels start in one run of 64 slots, so that neighbours share cache lines.
    Returns -1 after MOST_PROBES, so a file with colliding keys takes no long time and is coded with less context.
    """
    mask = (np.int64(1) << bits) - 1
    slot = (np.int64((np.uint64(key >> 6) * _HASH) >> np.uint64(64 - bits)) ^ (key & 63)) & mask
    for _ in range(MOST_PROBES):
        if table[slot] == -1 or table[slot] == key:
            return slot
        slot = (slot + 1) & mask
    return np.int64(-1)


@compiled
def _neighbours(table: I64, patterns: U8, bits: Any, key: Any, found: I64) -> Any:
    """Fill ``found`` with the state of the 26 nodes around one; return how many exist.

    The state is -1 for an absent node, 0 for a node whose children are not coded yet, else the pattern of its children.
    Coordinates wrap around. This gives unusual contexts at the border, but encoder and decoder agree.
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
        if slot >= 0 and table[slot] == other:
            found[place] = patterns[slot]
            num += 1
    return num


@compiled
def _zero_bits(key: Any, level: Any) -> Any:
    """Return how many low bits of a node's corner are zero in all three coordinates, at most LATTICE_LEVELS."""
    zeros = level
    while zeros < LATTICE_LEVELS and key & 7 == 0:
        key >>= 3
        zeros += 1
    return _clamped(zeros, 0, LATTICE_LEVELS)


@compiled
def _child_contexts(child: Any, pattern: Any, node: Any, around: I64, chosen: I64) -> Any:
    """Fill ``chosen`` with the entries for one child of a node; return its set of weights.

    Args:
        child: 0..7, bits z, y, x.  pattern: the node's children that exist, all before ``child``.
        node: five integers: level and zero bits of the corner, the same for low levels only, number of nodes around,
            pattern of the parent, place in the parent.
        around: see :func:`_neighbours`.
        chosen: ``[OCTREE_INPUTS] int64``.
    """
    corner, kind, crowd, parent, place = node
    dx, dy, dz = 2 * (child & 1) - 1, 3 * ((child & 2) - 1), 9 * ((child >> 1 & 2) - 1)
    # The seven nodes that touch the child from outside, and those of their children that are nearest to it.
    faces, present, near, unknown = np.int64(0), np.int64(0), np.int64(0), np.int64(0)
    for side in range(1, 8):
        known = around[13 + (dx if side & 1 else 0) + (dy if side & 2 else 0) + (dz if side & 4 else 0)]
        status: Any = np.int64(0)
        if known == 0:
            status = 1
            unknown += 1
        elif known > 0:
            status = 2 + (known >> (child ^ side) & 1)
            near += status - 2
        if side & (side - 1) == 0:
            faces = faces << 2 | status
        present |= np.int64(status > 0) << (side - 1)
    inner, coded = np.int64(0), np.int64(0)
    for axis in range(3):
        inner = inner << 1 | (pattern >> (child ^ (1 << axis)) & 1)
    for other in range(child):
        coded += pattern >> other & 1
    some, few = np.int64(coded > 0), _clamped(coded, 0, 3)
    chosen[0] = _PREFIX + corner * 256 + (1 << child | pattern)
    chosen[1] = _AROUND + ((kind * 8 + child) * 128 + present) * 4 + few
    chosen[2] = _FACES + (((kind * 8 + child) * 64 + faces) * 8 + inner) * 2 + some
    chosen[3] = _PARENT + ((parent * 8 + place) * 8 + child) * 2 + some
    chosen[4] = _CROWD + ((corner * 8 + child) * 27 + crowd) * 4 + few
    chosen[5] = _NEAR + (((kind * 8 + child) * 2 + some) * 16 + _clamped(near + coded, 0, 15)) * 8 + unknown
    return kind * 4 + few


@compiled
def _single_child(stream: Stream, pattern: Any, model: Model, corner: Any, run: Any) -> Any:
    """Code a node without neighbours: a flag for one child, then its number; return its pattern, or 0 for several."""
    alone = np.int64(pattern & (pattern - 1) == 0)
    if not _plain_bit(stream, alone, model, _SINGLE + corner * _RUNS + _clamped(run, 0, _RUNS - 1)):
        return np.int64(0)
    child = np.int64(0)
    while pattern >> child > 1:
        child += 1
    first = _CHILD + (corner * 2 + np.int64(run > 0)) * 8
    node = np.int64(1)
    for shift in range(2, -1, -1):
        node = node << 1 | _plain_bit(stream, child >> shift & 1, model, first + node)
    return np.int64(1) << (node & 7)


@compiled
def _code_node(
    wanted: Any, node: Any, run: Any, around: I64, chosen: I64, logits: I64, stream: Stream, model: Model
) -> Any:
    """Code a node's pattern and return it; ``chosen`` and ``logits`` are scratch."""
    corner, _, crowd, _, _ = node
    pattern = np.int64(0)
    if not crowd:
        pattern = _single_child(stream, wanted, model, corner, run)
    if pattern:
        return pattern
    for child in range(7):
        weight_set = _child_contexts(child, pattern, node, around, chosen)
        pattern |= _mixed_bit(stream, wanted >> child & 1, model, chosen, logits, weight_set) << child
    # A node without other children has the last one.
    last = np.int64(1)
    if pattern:
        weight_set = _child_contexts(7, pattern, node, around, chosen)
        last = _mixed_bit(stream, wanted >> 7 & 1, model, chosen, logits, weight_set)
    return pattern | last << 7


@compiled
def code_level(
    level: int, nodes: tuple[I64, U8, U8], patterns: U8, index: tuple[I64, U8, int], stream: Stream, model: Model
) -> int:
    """Code the children of the nodes of one level.

    Args:
        level: nodes are 2^level voxels wide; 1..MAX_LEVELS.
        nodes: ``[n]`` Morton keys in order; the number of generations for which each node has been alone, without
            nodes around it; patterns of the parents.
        patterns: ``[n] uint8``, bit c for child c; to encode, or to fill.
        index: hash table of ``2^bits`` keys, all -1; the patterns of these keys, all 0; bits, which are part of the
            format. It has room for twice the nodes that are not alone.
        stream: ``NODE_BYTES`` of room a node if it is written.
        model: OCTREE_ENTRIES and OCTREE_WEIGHT_SETS.

    Returns:
        Number of children, or OUT_OF_DATA. The generations in ``nodes`` become those of the children.
    """
    keys, runs, parents = nodes
    table, table_patterns, bits = index
    # A node that is alone is no neighbour of any node.
    for i in range(len(keys)):
        slot = np.int64(-1) if runs[i] else _slot(table, keys[i], bits)
        if slot >= 0:
            table[slot] = keys[i]
    around = np.full(27, -1, np.int64)
    chosen, logits = np.empty(OCTREE_INPUTS, np.int64), np.empty(OCTREE_INPUTS, np.int64)
    total = 0
    for i in range(len(keys)):
        key, run = keys[i], np.int64(runs[i])
        zeros = _zero_bits(key, level)
        corner = np.int64((level - 1) * _TZ + zeros)
        kind = np.int64(0) if level > LATTICE_LEVELS else corner + 1
        crowd = np.int64(0)
        if run:
            around[:] = -1
        else:
            crowd = _neighbours(table, table_patterns, bits, key, around)
        node = (corner, kind, crowd, np.int64(parents[i]), key & 7)
        pattern = _code_node(np.int64(patterns[i]), node, run, around, chosen, logits, stream, model)
        patterns[i] = pattern
        slot = np.int64(-1) if run else _slot(table, key, bits)
        if slot >= 0:
            table_patterns[slot] = pattern
        # An only child of a node without neighbours has no neighbours either.
        runs[i] = _clamped(run + 1, 0, 255) if not crowd and pattern & (pattern - 1) == 0 else 0
        while pattern:
            total += 1
            pattern &= pattern - 1
        if stream[0][DECODING] and stream[0][POSITION] > stream[0][SIZE] + AHEAD:
            return OUT_OF_DATA
    return total


@compiled
def code_masks(masks: U8, first: int, end: int, stream: Stream, model: Model) -> int:
    """Code rows ``first`` to ``end`` of ``[N, K] uint8`` masks, K at most MASK_COLUMNS; fill them when decoding.

    Args:
        stream: MASK_BIT_BYTES of room a bit if it is written.
        model: MASK_ENTRIES, and a set of weights for each of the MASK_COLUMNS.

    Returns:
        0, or OUT_OF_DATA.
    """
    num = masks.shape[1]
    chosen, logits = np.empty(MASK_INPUTS, np.int64), np.empty(MASK_INPUTS, np.int64)
    for row in range(first, end):
        total_before = np.int64(0)
        if row:
            for k in range(num):
                total_before += masks[row - 1, k]
        count = recent = np.int64(0)
        for k in range(num):
            above = np.int64(masks[row - 1, k]) if row else np.int64(0)
            second = np.int64(masks[row - 2, k]) if row > 1 else np.int64(0)
            third = np.int64(masks[row - 3, k]) if row > 2 else np.int64(0)
            few = _clamped(count, 0, 15)
            chosen[0] = k * 256 + count
            chosen[1] = _MASK_ABOVE + k * 8 + (above << 2 | second << 1 | third)
            chosen[2] = _MASK_RECENT + (k * 64 + (recent & 63)) * 2 + above
            chosen[3] = _MASK_TOTAL + (k * 16 + few) * 16 + _clamped(total_before, 0, 15)
            chosen[4] = _MASK_BOTH + ((k * 16 + few) * 2 + above) * 2 + second
            bit = _mixed_bit(stream, np.int64(masks[row, k]), model, chosen, logits, k)
            masks[row, k] = bit
            count += bit
            recent = recent << 1 | bit
        if stream[0][DECODING] and stream[0][POSITION] > stream[0][SIZE] + AHEAD:
            return OUT_OF_DATA
    return 0

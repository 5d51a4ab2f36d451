"""Lossless coding of anchor locations as an octree with adaptive contexts.
"""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

from hemgs.coding import _adaptive_kernels as kernels
from hemgs.coding.adaptive import DAMAGED, AdaptiveStream
from hemgs.core.errors import BitstreamError, HemgsError

SPAN = 1 << kernels.MAX_LEVELS
_HEAD = struct.Struct("<3qBI")
_ALIGNMENT = 1 << kernels.LATTICE_LEVELS
MAX_ANCHORS_PER_BYTE = 16


def encode_octree(coords: NDArray[np.int64]) -> bytes:
    num = len(coords)
    if not num:
        return _HEAD.pack(0, 0, 0, 0, 0)
    low = [int(value) // _ALIGNMENT * _ALIGNMENT for value in coords.min(axis=0)]
    span = max(int(high) - least for high, least in zip(coords.max(axis=0), low, strict=True))
    keys = np.empty(num, np.int64)
    kernels.interleave(coords - np.array(low), keys)
    keys.sort()
    levels = span.bit_length()
    patterns = []
    for _ in range(levels):
        above, pattern = np.empty(len(keys), np.int64), np.empty(len(keys), np.uint8)
        count = kernels.patterns_above(keys, above, pattern)
        keys = above[:count].copy()
        patterns.append(pattern[:count].copy())
    stream = AdaptiveStream(kernels.OCTREE_ENTRIES, kernels.OCTREE_WEIGHT_SETS * kernels.OCTREE_INPUTS)
    _walk(stream, levels, num, patterns)
    data = _HEAD.pack(*low, levels, num) + stream.finish()
    return data


def decode_octree(data: bytes) -> NDArray[np.int64]:
    *low, levels, num = _HEAD.unpack_from(data)
    stream = AdaptiveStream(kernels.OCTREE_ENTRIES, kernels.OCTREE_WEIGHT_SETS * kernels.OCTREE_INPUTS, data[_HEAD.size:])
    keys = _walk(stream, levels, num, [])
    stream.close()
    coords = np.empty((num, 3), np.int64)
    kernels.separate(keys, coords)
    k = (coords[:,2] << 42) | (coords[:,1] << 21) | coords[:,0]
    k.sort()
    return np.stack([k & (SPAN-1), k >> 21 & (SPAN-1), k >> 42], 1) + np.array(low)


def _walk(stream, levels, num, given):
    keys, runs, parents = np.zeros(1, np.int64), np.zeros(1, np.uint8), np.zeros(1, np.uint8)
    for level in range(levels, 0, -1):
        n = len(keys)
        stream.reserve(kernels.NODE_BYTES * n + 16)
        g = given[level - 1] if given else np.zeros(n, np.uint8)
        dense = int(np.count_nonzero(runs == 0))
        bits = max(2 * dense, 2).bit_length()
        table = np.full(1 << bits, -1, np.int64)
        tp = np.zeros(1 << bits, np.uint8)
        patterns = np.empty(n, np.uint8)
        total = kernels.code_level(level, 0, keys, runs, parents, g, stream.coder, stream.data, stream.entries, stream.weights,
            stream.stretch, stream.squash, stream.rates, table, tp, bits, patterns)
        assert 0 < total <= num
        import os
        if os.environ.get("OCT"):
            print(level, n, total, int(stream.coder[2]), round(int(stream.coder[2])*8/num,2), dense)
        ck, cr, cp = np.empty(total, np.int64), np.empty(total, np.uint8), np.empty(total, np.uint8)
        kernels.descend(keys, runs, patterns, ck, cr, cp)
        keys, runs, parents = ck, cr, cp
    return keys

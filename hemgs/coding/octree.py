"""Locations as an octree, which codes the children of each node with adaptive contexts.

Owns the bytes of the codec ``octree`` and their limits. Does not own the codec's number (``locations``), its arithmetic
(``adaptive``) or its contexts (``_adaptive_kernels``).

The bytes are the origin, the number of anchors, the number of levels, then one adaptive stream. The stream contains
eight flags a node, from the root down, level by level and along the Morton curve. The contexts of a flag are

* the flags before it in the node,
* the 26 nodes around the node, and their children as far as they are coded,
* the parent's flags, and the level,
* the zero bits at the end of the node's coordinates.

Growing puts anchors on lattices of 16 and 4 voxels (Scaffold-GS, arXiv 2312.00109), so the origin is a multiple of 16.
A node with one child and no nodes around it takes a flag and the child's number. Where anchors are sparse, most nodes
are of this kind. Time is linear in the number of anchors times levels.
"""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

from hemgs.coding import _adaptive_kernels as kernels
from hemgs.coding.adaptive import DAMAGED, AdaptiveStream
from hemgs.coding.morton import MORTON_BITS, interleaved, separated
from hemgs.core.errors import BitstreamError, HemgsError

#: Coordinates of one axis, counted from the multiple of 16 below the least, must stay below this.
OCTREE_SPAN = 1 << MORTON_BITS
#: A decoder refuses sections that claim more anchors a byte than this, which limits its memory. Where there are more,
#: as in dense cubes, the encoder appends zeros. (Anchors of scenes take 5 to 20 bits each.)
MAX_ANCHORS_PER_BYTE = 8

_HEAD = struct.Struct("<3qIB")
_ALIGNMENT = 1 << kernels.LATTICE_LEVELS
_NAME = "section locations"

Patterns = list[NDArray[np.uint8]]


def encode_octree(coords: NDArray[np.int64]) -> bytes:
    """Encode distinct lattice coordinates in raster order.

    Args:
        coords: ``[N, 3] int64``, sorted by z, then y, then x.

    Raises:
        HemgsError: two anchors share a location, or they span too much.
        ValueError: coordinates are not in raster order.

    >>> decode_octree(encode_octree(np.array([[5, 0, 0], [7, 2, 1]]))).tolist()
    [[5, 0, 0], [7, 2, 1]]
    """
    num = len(coords)
    if not num:
        return _HEAD.pack(0, 0, 0, 0, 0)
    low = [int(value) // _ALIGNMENT * _ALIGNMENT for value in coords.min(axis=0)]
    span = max(int(high) - least for high, least in zip(coords.max(axis=0), low, strict=True))
    if span >= OCTREE_SPAN:
        raise HemgsError(
            f"{num} anchor locations span {span + 1} voxels along an axis, an octree spans at most {OCTREE_SPAN}",
            "use a larger voxel size",
        )
    shifted = coords - np.array(low)
    _check_order(shifted)
    levels = span.bit_length()
    stream = _stream()
    _walk(stream, levels, num, node_patterns(np.sort(interleaved(shifted)), levels))
    return _HEAD.pack(*low, num, levels) + stream.finish(_least_bytes(num))


def decode_octree(data: bytes) -> NDArray[np.int64]:
    """Decode the bytes of :func:`encode_octree`, ``[N, 3] int64`` in raster order.

    Raises:
        BitstreamError: the bytes are damaged.
    """
    if len(data) < _HEAD.size:
        raise BitstreamError(f"{_NAME}: {len(data)} bytes are no octree", DAMAGED)
    *low, num, levels = _HEAD.unpack_from(data)
    body = data[_HEAD.size :]
    if num > MAX_ANCHORS_PER_BYTE * len(body) or levels > MORTON_BITS:
        raise BitstreamError(f"{_NAME}: {len(body)} bytes cannot hold {num} anchors on {levels} levels", DAMAGED)
    if not num:
        if any(data):
            raise BitstreamError(f"{_NAME}: an octree without anchors is followed by data", DAMAGED)
        return np.zeros((0, 3), np.int64)
    stream = _stream(body)
    shifted = separated(_walk(stream, levels, num))
    stream.close(_least_bytes(num))
    top = [least + int(most) for least, most in zip(low, shifted.max(axis=0), strict=True)]
    if max(top) > np.iinfo(np.int64).max:
        raise BitstreamError(f"{_NAME}: origin {tuple(low)} is beyond the lattice", DAMAGED)
    keys = _raster_keys(shifted)
    return shifted[np.argsort(keys)] + np.array(low, np.int64)


def _stream(data: bytes | None = None) -> AdaptiveStream:
    return AdaptiveStream(
        kernels.OCTREE_ENTRIES, kernels.OCTREE_WEIGHT_SETS * kernels.OCTREE_INPUTS, data, f"{_NAME}: octree"
    )


def _least_bytes(num: int) -> int:
    return -(-num // MAX_ANCHORS_PER_BYTE)


def _raster_keys(shifted: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return integers in raster order of ``[N, 3]`` coordinates in 0..OCTREE_SPAN-1."""
    return (shifted[:, 2] << MORTON_BITS | shifted[:, 1]) << MORTON_BITS | shifted[:, 0]


def _check_order(shifted: NDArray[np.int64]) -> None:
    steps = np.diff(_raster_keys(shifted))
    if np.any(steps < 0):
        raise ValueError("an octree accepts anchors in raster order only")
    if not np.all(steps):
        raise HemgsError("two anchors share a location", "keep one of them, or encode locations as raw16")


def node_patterns(keys: NDArray[np.int64], levels: int) -> Patterns:
    """Return the patterns of the nodes of every level from 1 up; ``keys`` are the anchors' sorted Morton keys.

    Bit c of a pattern is 1 if the node has child c.

    >>> [pattern.tolist() for pattern in node_patterns(np.array([0, 9]), levels=2)]
    [[1, 2], [3]]
    """
    patterns = []
    for _ in range(levels):
        first = np.flatnonzero(np.diff(keys >> 3, prepend=-1))
        bits = np.left_shift(np.uint8(1), (keys & 7).astype(np.uint8))
        patterns.append(np.bitwise_or.reduceat(bits, first))
        keys = keys[first] >> 3
    return patterns


def _walk(stream: AdaptiveStream, levels: int, num: int, given: Patterns | None = None) -> NDArray[np.int64]:
    """Code the tree from the root down; write ``given`` patterns, or read them if there are none.

    Returns:
        ``[num] int64`` Morton keys of the leaves, in order.

    Raises:
        BitstreamError: the tree that is read does not have ``num`` leaves.
    """
    nodes = np.zeros(1, np.int64), np.zeros(1, np.uint8), np.zeros(1, np.uint8)
    for level in range(levels, 0, -1):
        count = len(nodes[0])
        patterns = given[level - 1] if given is not None else np.zeros(count, np.uint8)
        bits = int(2 * np.count_nonzero(nodes[1] == 0) + 1).bit_length()
        index = np.full(1 << bits, -1, np.int64), np.zeros(1 << bits, np.uint8), bits
        room = stream.room(kernels.NODE_BYTES * count)
        found = stream.check(kernels.code_level(level, nodes, patterns, index, room, stream.model))
        if found > num:
            raise BitstreamError(f"{_NAME}: an octree of {num} anchors has {found} nodes on a level", DAMAGED)
        parent, child = np.nonzero(np.unpackbits(patterns[:, None], axis=1, bitorder="little"))
        nodes = nodes[0][parent] << 3 | child, nodes[1][parent], patterns[parent]
    if len(nodes[0]) != num:
        raise BitstreamError(f"{_NAME}: an octree of {num} anchors has {len(nodes[0])} leaves", DAMAGED)
    return nodes[0]

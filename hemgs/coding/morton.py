"""Morton keys: one integer for three coordinates. Their bits are interleaved, with x in the lowest bit.

Owns the keys' layout. Does not own any use of the curve. Keys are exact integers. Sorted keys visit a cube octant by
octant. The octree node that contains a key is the key without its last three bits for each level.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: Bits per axis of a key.
MORTON_BITS = 21

Integers = NDArray[np.int64]

#: Shifts that spread 21 bits over every third of 63, and the bits that stay after each.
_SPREAD = (
    (32, 0x001F00000000FFFF),
    (16, 0x001F0000FF0000FF),
    (8, 0x100F00F00F00F00F),
    (4, 0x10C30C30C30C30C3),
    (2, 0x1249249249249249),
)
_AXIS_MASK = (1 << MORTON_BITS) - 1


def morton_keys(coords: Integers) -> Integers:
    """Return Morton keys of ``[N, 3] int64`` coordinates, counted from their least.

    Raises:
        ValueError: they span 2^21 or more along an axis.

    >>> morton_keys(np.array([[10, 10, 10], [11, 10, 10], [10, 12, 10]])).tolist()
    [0, 1, 16]
    """
    if not len(coords):
        return np.zeros(0, np.int64)
    low, high = coords.min(axis=0), coords.max(axis=0)
    if any(int(top) - int(least) >= 1 << MORTON_BITS for top, least in zip(high, low, strict=True)):
        raise ValueError(f"coordinates must span less than {1 << MORTON_BITS} along each axis")
    return interleaved(coords - low)


def interleaved(coords: Integers) -> Integers:
    """Return ``[N] int64`` keys of ``[N, 3] int64`` coordinates in 0..2^21-1.

    >>> interleaved(np.array([[3, 0, 0], [0, 0, 1]])).tolist()
    [9, 4]
    """
    return _spread(coords[:, 0]) | _spread(coords[:, 1]) << 1 | _spread(coords[:, 2]) << 2


def separated(keys: Integers) -> Integers:
    """Return the ``[N, 3] int64`` coordinates of keys of :func:`interleaved`.

    >>> separated(np.array([9, 4])).tolist()
    [[3, 0, 0], [0, 0, 1]]
    """
    return np.stack([_gathered(keys >> axis) for axis in range(3)], axis=1)


def _spread(values: Integers) -> Integers:
    """Put two zero bits between the low 21 bits."""
    result = values.astype(np.uint64)
    for shift, mask in _SPREAD:
        result = (result | result << np.uint64(shift)) & np.uint64(mask)
    return result.astype(np.int64)


def _gathered(values: Integers) -> Integers:
    """Gather every third bit, the lowest first: invert :func:`_spread`, whatever the bits between."""
    result = values.astype(np.uint64) & np.uint64(_SPREAD[-1][1])
    wider = [mask for _, mask in _SPREAD[-2::-1]] + [_AXIS_MASK]
    for (shift, _), mask in zip(reversed(_SPREAD), wider, strict=True):
        result = (result | result >> np.uint64(shift)) & np.uint64(mask)
    return result.astype(np.int64)

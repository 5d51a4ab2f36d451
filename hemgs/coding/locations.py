"""Lossless coding of anchor locations.

Owns the section's framing, the codecs behind its first byte, and the coding order of anchors. Does not own what a
lattice unit is in the world.

The section contains one byte that names the codec, then the codec's own bytes.

``raw16`` stores 16 bits a coordinate, as the papers do (HEMGS, arXiv 2411.18473; HAC, arXiv 2403.14530). Its bytes are
the least coordinate of each axis as int64, then one plane of uint16 an axis, all little-endian. ``octree`` (see its
module) accepts distinct anchors in raster order, and takes 5 to 20 bits for all three coordinates.

A method chooses a codec by name: ``encode_locations(coords, codec)``, with coordinates from
``stored_locations(coords, codec)`` in ``raster_order``. Its decoder reads the choice from the section.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hemgs.coding.names import OCTREE, RAW16
from hemgs.coding.octree import decode_octree, encode_octree
from hemgs.core.errors import BitstreamError, HemgsError

#: Names of the codecs.
#: Coordinates of one axis must span less than this in ``raw16``; ``octree`` has its OCTREE_SPAN.
RAW16_SPAN = 1 << 16

_ORIGIN = struct.Struct("<3q")
_RAW16_BYTES_PER_ANCHOR = 6
_DAMAGED = "the file is damaged or was made by another version; encode again"


@dataclass(frozen=True)
class LocationCodec:
    """A way to code lattice coordinates.

    Attributes:
        name: its name for callers and in messages.
        encode: ``[N, 3] int64`` to bytes.
        decode: the inverse; raises BitstreamError on bytes that ``encode`` cannot have written.
    """

    name: str
    encode: Callable[[NDArray[np.int64]], bytes]
    decode: Callable[[bytes], NDArray[np.int64]]


def encode_locations(coords: ArrayLike, codec: str = RAW16) -> bytes:
    """Encode lattice coordinates in their order.

    Args:
        coords: ``[N, 3]`` integers within int64.
        codec: name of one of :data:`CODECS`. ``octree`` accepts only distinct coordinates in raster order.

    Raises:
        HemgsError: the codec cannot represent these coordinates.
        ValueError: coordinates are not ``[N, 3]`` integers in the codec's order, or the codec does not exist.

    >>> decode_locations(encode_locations(np.array([[5, 0, 0], [7, 2, 1]]))).tolist()
    [[5, 0, 0], [7, 2, 1]]
    """
    array = _coordinates(coords)
    for number, candidate in CODECS.items():
        if candidate.name == codec:
            return bytes([number]) + candidate.encode(array)
    raise ValueError(f"no location codec {codec!r}; there are {[candidate.name for candidate in CODECS.values()]}")


def decode_locations(data: bytes) -> NDArray[np.int64]:
    """Decode a section of :func:`encode_locations`, ``[N, 3] int64``; N follows from the section.

    Raises:
        BitstreamError: the section is damaged or its codec is unknown.
    """
    if not data:
        raise BitstreamError("section locations: is empty", _DAMAGED)
    if data[0] not in CODECS:
        raise BitstreamError(
            f"section locations: codec {data[0]} is unknown, this program has {sorted(CODECS)}",
            "decode with the version of the program that wrote the file",
        )
    return CODECS[data[0]].decode(data[1:])


def raster_order(coords: ArrayLike) -> NDArray[np.int64]:
    """Return the permutation to coding order: z slowest, then y, x fastest; equal anchors keep their order.

    Args:
        coords: ``[N, 3]`` integers (x, y, z) within int64.

    Returns:
        ``[N] int64`` such that ``coords[result]`` is in order. It is the order of the key ``(z * My + y) * Mx + x`` on
        coordinates counted from their least, without the overflow of that key.

    >>> raster_order([[1, 0, 0], [0, 0, 1], [0, 0, 0]]).tolist()
    [2, 0, 1]
    """
    array = _coordinates(coords)
    return np.lexsort((array[:, 0], array[:, 1], array[:, 2])).astype(np.int64)


def stored_locations(
    coords: NDArray[np.int64], codec: str = RAW16
) -> tuple[NDArray[np.int64], tuple[float, float, float]]:
    """Round lattice coordinates as a codec stores them: ``raw16`` uses a coarser lattice if they span over 16 bits.

    That lattice is coarser by a power of two, which is the same on all axes, so windows stay cubes. Anchors that grew
    on a coarse lattice do not move, and others move by at most half of its pitch. Files of earlier versions have a
    stride of any size for each axis.

    Args:
        coords: ``[N, 3] int64``, N at least 1.
        codec: name of one of :data:`CODECS`; ``octree`` stores all coordinates of anchors exactly.

    Returns:
        ``[N, 3] int64``, and lattice units per stored unit by axis.

    >>> stored, strides = stored_locations(np.array([[0, 0, 0], [100_000, 3, 4]]))
    >>> stored.tolist(), strides
    ([[0, 0, 0], [50000, 2, 2]], (2.0, 2.0, 2.0))
    """
    if codec != RAW16:
        return coords, (1.0, 1.0, 1.0)
    span, stride = int((coords.max(axis=0) - coords.min(axis=0)).max()), 1
    while span > stride * (RAW16_SPAN - 2):  # rounding may widen it by one at either end
        stride *= 2
    return np.rint(coords / stride).astype(np.int64), (float(stride), float(stride), float(stride))


def _coordinates(coords: ArrayLike) -> NDArray[np.int64]:
    array = np.asarray(coords)
    if array.ndim != 2 or array.shape[1] != 3 or array.dtype.kind not in "iu" or array.dtype == np.uint64:
        raise ValueError(f"coordinates must be [N, 3] integers within int64, not {array.dtype} {array.shape}")
    return array.astype(np.int64)


def _encode_raw16(coords: NDArray[np.int64]) -> bytes:
    if not len(coords):
        return _ORIGIN.pack(0, 0, 0)
    low = [int(value) for value in coords.min(axis=0)]
    spans = [int(high) - least for high, least in zip(coords.max(axis=0), low, strict=True)]
    if max(spans) >= RAW16_SPAN:
        raise HemgsError(
            f"anchor locations span {max(spans) + 1} voxels along an axis, 16-bit locations span at most {RAW16_SPAN}",
            "use a larger voxel size",
        )
    planes: NDArray[np.uint16] = (coords - np.array(low)).T.astype("<u2")
    return _ORIGIN.pack(*low) + planes.tobytes()


def _decode_raw16(data: bytes) -> NDArray[np.int64]:
    num_anchors, surplus = divmod(len(data) - _ORIGIN.size, _RAW16_BYTES_PER_ANCHOR)
    if num_anchors < 0 or surplus:
        raise BitstreamError(f"section locations: {len(data)} bytes are not a whole number of anchors", _DAMAGED)
    low = _ORIGIN.unpack_from(data)
    if max(low) > np.iinfo(np.int64).max - (RAW16_SPAN - 1):
        raise BitstreamError(f"section locations: origin {low} is beyond the lattice", _DAMAGED)
    planes = np.frombuffer(data, "<u2", offset=_ORIGIN.size).reshape(3, num_anchors)
    return np.ascontiguousarray(planes.T.astype(np.int64)) + np.array(low, np.int64)


#: Codecs by their number in the file. A number never changes its codec.
CODECS: dict[int, LocationCodec] = {
    1: LocationCodec(RAW16, _encode_raw16, _decode_raw16),
    2: LocationCodec(OCTREE, encode_octree, decode_octree),
}

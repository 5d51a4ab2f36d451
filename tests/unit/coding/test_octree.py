from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hemgs.coding import _adaptive_kernels as kernels
from hemgs.coding import octree
from hemgs.coding.locations import decode_locations, encode_locations, raster_order
from hemgs.coding.morton import interleaved
from hemgs.coding.names import OCTREE
from hemgs.coding.octree import MAX_ANCHORS_PER_BYTE, OCTREE_SPAN, decode_octree, encode_octree
from hemgs.core.errors import BitstreamError, HemgsError

HEAD = struct.calcsize("<3qIB")
NEAR = st.tuples(*[st.integers(-40, 40)] * 3)
LATTICE = st.tuples(*[st.integers(-9, 9).map(lambda value: 16 * value)] * 3)
FAR = st.tuples(*[st.integers(-(2**19), 2**19)] * 3)


def ordered(points) -> np.ndarray:
    coords = np.array(sorted(points, key=lambda point: point[::-1]), np.int64).reshape(-1, 3)
    assert np.array_equal(raster_order(coords), np.arange(len(coords)))
    return coords


def surface(num: int, seed: int = 0, cell: int = 1) -> np.ndarray:
    """Distinct anchors near a wavy sheet, on a lattice of ``cell`` voxels."""
    random = np.random.default_rng(seed)
    u, v = random.uniform(0, 4 * num**0.5, (2, num))
    height = 30 * np.sin(u / 90) * np.cos(v / 70) + random.normal(0, 1, num)
    cells = np.rint(np.stack([u, height, v], axis=1) / cell).astype(np.int64)
    return ordered({tuple(row) for row in (cells * cell).tolist()})


@settings(deadline=None, max_examples=200)
@given(st.sets(NEAR | LATTICE | FAR, max_size=60), st.integers(-(2**61), 2**61))
def test_round_trip(points, shift):
    coords = ordered(points) + shift
    data = encode_locations(coords, OCTREE)
    assert data[0] == 2
    decoded = decode_locations(data)
    assert decoded.dtype == np.int64
    assert decoded.shape == coords.shape
    assert np.array_equal(decoded, coords)


@pytest.mark.parametrize("low", [-(2**63), 2**63 - OCTREE_SPAN])
def test_corners_of_int64(low):
    top = low + OCTREE_SPAN - 1
    coords = np.array([[low, low, low], [top, low, low], [low, top, low], [top, top, top]])
    assert np.array_equal(decode_octree(encode_octree(coords)), coords)


def test_many_anchors_and_their_size():
    coords = surface(20_000)
    data = encode_octree(coords)
    assert np.array_equal(decode_octree(data), coords)
    assert 8 * len(data) < 8.7 * len(coords)


def test_coarse_lattices_are_free():
    coarse, fine = surface(4000, cell=16), surface(4000) // 16
    assert len(encode_octree(coarse)) < len(encode_octree(ordered({tuple(row) for row in fine.tolist()}))) + 120
    # Anchors that were added on a coarse lattice save most of the twelve bits below it.
    random = np.random.default_rng(2)
    apart = random.integers(0, 2**16, (3000, 3)) // 16 * 16
    mixed = np.concatenate([apart, random.integers(0, 2**16, (3000, 3))])
    sizes = [len(encode_octree(part[raster_order(part)])) * 8 for part in (apart, mixed)]
    assert sizes[0] < 3000 * 28.2
    assert sizes[1] - sizes[0] < 3000 * 40.5


def test_dense_cubes_keep_to_the_bound():
    side = np.arange(48)
    coords = ordered([(x, y, z) for x in side for y in side for z in side])
    data = encode_octree(coords)
    assert len(data) == HEAD + -(-len(coords) // MAX_ANCHORS_PER_BYTE)
    assert np.array_equal(decode_octree(data), coords)


def test_trees_that_outgrow_their_number_are_left_at_once():
    side = np.arange(16)
    data = encode_octree(ordered([(x, y, z) for x in side for y in side for z in side]))
    with pytest.raises(BitstreamError, match="an octree of 10 anchors has 64 nodes on a level"):
        decode_octree(data[:24] + struct.pack("<I", 10) + data[28:])


def test_few_anchors():
    assert encode_octree(np.zeros((0, 3), np.int64)) == bytes(HEAD)
    assert decode_octree(bytes(HEAD)).shape == (0, 3)
    assert decode_octree(encode_octree(np.array([[-5, 7, 123]]))).tolist() == [[-5, 7, 123]]
    assert len(encode_octree(np.array([[16, 32, -48]]))) == HEAD + 1


def test_what_cannot_be_coded():
    with pytest.raises(ValueError, match="raster order"):
        encode_locations([[1, 0, 0], [0, 0, 0]], OCTREE)
    with pytest.raises(HemgsError, match="two anchors share a location"):
        encode_locations([[1, 0, 0], [1, 0, 0]], OCTREE)
    with pytest.raises(HemgsError, match="span 2097153 voxels .*, an octree spans at most 2097152") as caught:
        encode_locations([[0, 0, 0], [0, 0, OCTREE_SPAN]], OCTREE)
    assert "larger voxel size" in caught.value.fix


def head(num: int, levels: int, low=(0, 0, 0)) -> bytes:
    return struct.pack("<3qIB", *low, num, levels)


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"", "0 bytes are no octree"),
        (bytes(HEAD - 1), "are no octree"),
        (head(9, 4) + b"\1", "1 bytes cannot hold 9 anchors on 4 levels"),
        (head(2**32 - 1, 21) + bytes(1000), "1000 bytes cannot hold 4294967295 anchors"),
        (head(1, 22) + b"\1", "on 22 levels"),
        (head(0, 3), "without anchors is followed by data"),
        (head(0, 0) + b"\1", "without anchors is followed by data"),
        (head(2, 0) + b"\0", "an octree of 2 anchors has 1 leaves"),
        (head(1, 0) + b"\1", "does not end with its last symbol"),
        (head(1, 0, (2**63 - 1, 0, 0)) + b"\0", ""),
        (head(1, 4, (2**63 - 1, 0, 0)) + b"\0", "octree"),
    ],
)
def test_damaged_sections(data, fault):
    if fault:
        with pytest.raises(BitstreamError, match=f"section locations: .*{fault}"):
            decode_locations(b"\2" + data)
    else:
        assert decode_octree(data).tolist() == [[2**63 - 1, 0, 0]]


def test_origins_beyond_the_lattice():
    data = encode_octree(np.array([[3, 0, 0]]))
    with pytest.raises(BitstreamError, match="beyond the lattice"):
        decode_octree(struct.pack("<q", 2**63 - 3) + data[8:])


def test_cut_and_lengthened_sections():
    coords = surface(500)
    data = encode_octree(coords)
    for changed in (data[:-20], data[: HEAD + 40], data + b"\0", data + b"\7"):
        with pytest.raises(BitstreamError, match="section locations: "):
            decode_octree(changed)
    for num in (len(coords) - 1, len(coords) + 1):
        with pytest.raises(BitstreamError, match=r"anchors has \d+ (nodes on a level|leaves)"):
            decode_octree(data[:24] + struct.pack("<I", num) + data[28:])


def test_patterns_are_the_children_of_each_node():
    coords = np.array([[0, 0, 0], [1, 0, 0], [7, 7, 7]])
    keys = np.sort(interleaved(coords))
    patterns = octree.node_patterns(keys, 3)
    assert [part.tolist() for part in patterns] == [[3, 128], [1, 128], [129]]


def test_keys_made_to_collide_are_given_up():
    bits = 12
    inverse = pow(int(kernels._HASH), -1, 2**64)
    # Keys whose hashes differ in their low bits alone, so that all start in one slot.
    blocks = [block for low in range(2**22) if (block := low * inverse % 2**64) < 2**57][: kernels.MOST_PROBES + 40]
    assert len(blocks) == kernels.MOST_PROBES + 40
    table = np.full(1 << bits, -1, np.int64)
    slots = []
    for block in blocks:
        slots.append(int(kernels._slot(table, block << 6, bits)))
        if slots[-1] >= 0:
            table[slots[-1]] = block << 6
    assert slots == [*range(kernels.MOST_PROBES)] + [-1] * 40

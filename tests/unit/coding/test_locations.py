from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hemgs.coding import locations
from hemgs.coding.locations import decode_locations, encode_locations, raster_order
from hemgs.coding.names import OCTREE
from hemgs.core.errors import BitstreamError, HemgsError

FAR = st.integers(-(2**62), 2**62)


@given(arrays(np.int64, st.tuples(st.integers(0, 40), st.just(3)), elements=st.integers(0, 65535)), FAR, FAR, FAR)
def test_round_trip(coords, x, y, z):
    coords = coords + np.array([x, y, z])
    data = encode_locations(coords)
    assert len(data) == 25 + 6 * len(coords)  # 48 bits an anchor
    decoded = decode_locations(data)
    assert decoded.dtype == np.int64
    assert decoded.shape == coords.shape
    assert np.array_equal(decoded, coords)


def test_corners_of_int64():
    for low in (-(2**63), 2**63 - 65536):
        coords = np.array([[low, low, low], [low + 65535] * 3])
        assert np.array_equal(decode_locations(encode_locations(coords)), coords)


def test_span_too_large():
    coords = np.zeros((2, 3), np.int64)
    coords[1, 1] = 65536
    with pytest.raises(HemgsError, match="span 65537 voxels .*, 16-bit locations span at most 65536") as caught:
        encode_locations(coords)
    assert "larger voxel size" in caught.value.fix
    with pytest.raises(HemgsError, match="span"):
        encode_locations(np.array([[-(2**63)] * 3, [2**63 - 1] * 3]))


@pytest.mark.parametrize(
    "coords", [np.zeros((3, 2), int), np.zeros(3, int), np.zeros((1, 3)), np.zeros((1, 3), np.uint64)]
)
def test_other_arrays(coords):
    with pytest.raises(ValueError, match=r"\[N, 3\] integers"):
        encode_locations(coords)
    with pytest.raises(ValueError, match=r"\[N, 3\] integers"):
        raster_order(coords)


def test_other_codecs(monkeypatch):
    with pytest.raises(ValueError, match=r"no location codec 'zip'; there are \['raw16', 'octree'\]"):
        encode_locations([[0, 0, 0]], "zip")
    text = locations.LocationCodec(
        "text", lambda coords: repr(coords.tolist()).encode(), lambda data: np.array([[9, 9, 9]])
    )
    monkeypatch.setitem(locations.CODECS, 200, text)
    data = encode_locations([[1, 2, 3]], "text")
    assert data == b"\xc8[[1, 2, 3]]"
    assert decode_locations(data).tolist() == [[9, 9, 9]]


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"", "is empty"),
        (b"\x03" + bytes(24), "codec 3 is unknown"),
        (b"\x01", "whole number of anchors"),
        (b"\x01" + bytes(23), "whole number of anchors"),
        (b"\x01" + bytes(29), "whole number of anchors"),
        (b"\x01" + b"\xff" * 7 + b"\x7f" + bytes(22), "beyond the lattice"),
    ],
)
def test_damaged_sections(data, fault):
    with pytest.raises(BitstreamError, match=fault):
        decode_locations(data)


def test_stored_locations_of_an_octree_are_those_there_are():
    coords = np.array([[0, 0, 0], [16, 0, 100_000]])
    assert locations.stored_locations(coords)[1] == (2.0, 2.0, 2.0)
    stored, strides = locations.stored_locations(coords, OCTREE)
    assert np.array_equal(stored, coords)
    assert strides == (1.0, 1.0, 1.0)
    assert np.array_equal(decode_locations(encode_locations(stored, OCTREE)), coords)


@pytest.mark.parametrize(
    ("span", "stride"), [(0, 1), (65_534, 1), (65_535, 2), (81_500, 2), (131_068, 2), (131_069, 4), (10**9, 1 << 14)]
)
def test_locations_too_wide_for_sixteen_bits_lie_on_one_coarser_lattice(span: int, stride: int) -> None:
    rng = np.random.default_rng(0)
    near = rng.integers(-500, 500, (300, 3))
    coords = np.concatenate([near, near // 16 * 16, [[-3, -700, 5], [-3, span - 700, 5]]]).clip(-700, span - 700)
    stored, strides = locations.stored_locations(coords)
    assert strides == (stride, stride, stride), "windows are cubes"
    assert np.array_equal(decode_locations(encode_locations(stored)), stored)
    moved = np.abs(stored * stride - coords)
    assert moved.max() <= stride / 2
    whole = (coords % stride == 0).all(axis=1)
    assert not moved[whole].any(), "what lies on the coarser lattice stays there"


def test_raster_order_is_z_then_y_then_x():
    coords = np.array([[5, 0, 0], [0, 5, 0], [0, 0, 5], [1, 5, 0], [0, 0, 0], [5, 0, 0]])
    assert raster_order(coords).tolist() == [4, 0, 5, 1, 3, 2]


@given(arrays(np.int64, st.tuples(st.integers(0, 60), st.just(3)), elements=st.integers(-9, 9)))
def test_raster_order_is_that_of_the_key(coords):
    order = raster_order(coords)
    assert sorted(order.tolist()) == list(range(len(coords)))
    if len(coords):
        x, y, z = (coords - coords.min(axis=0)).T
        key = (z * (y.max() + 1) + y) * (x.max() + 1) + x
        assert np.array_equal(order, np.argsort(key, kind="stable"))


def test_raster_order_without_overflow():
    low, high = -(2**63), 2**63 - 1
    coords = np.array([[high, high, high], [low, low, high], [high, high, low], [low, low, low]])
    assert raster_order(coords).tolist() == [3, 2, 1, 0]

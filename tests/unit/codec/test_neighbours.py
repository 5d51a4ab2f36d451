"""Context neighbours against plain definitions, and the waves that follow from them."""

from __future__ import annotations

import itertools
import math
import threading
import time
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from hemgs.codec import neighbours as module
from hemgs.codec.neighbours import ENOUGH, Neighbours, chosen_multiplier, find_neighbours, hashed_order, wavefronts
from hemgs.codec.settings import AUTOMATIC, HASHED, MAX_AUTOMATIC, ORDERS, RASTER, ContextWindow
from hemgs.coding.locations import raster_order
from hemgs.core.errors import ConfigError
from tests.speed.neighbours import measure, surface_anchors

Coords = NDArray[np.int64]


def in_raster_order(points: object, distinct: bool = True) -> Coords:
    coords = np.asarray(points, np.int64).reshape(-1, 3)
    coords = np.unique(coords, axis=0) if distinct else coords
    return np.ascontiguousarray(coords[raster_order(coords)])


def by_definition(coords: Coords, window: ContextWindow) -> tuple[list[list[int]], list[int]]:
    """Neighbours and numbers in the window, in Python's integers."""
    points = [tuple(row) for row in coords.tolist()]
    lists, counts = [], []
    reach = (window.size - 1) // 2 * window.multiplier
    for i, (x, y, z) in enumerate(points):
        found = []
        for j, (a, b, c) in enumerate(points):
            earlier = (c, b, a, j) < (z, y, x, i)
            if earlier and abs(a - x) <= reach and abs(b - y) <= reach and abs(c - z) <= reach:
                found.append(((a - x) ** 2 + (b - y) ** 2 + (c - z) ** 2, j))
        found.sort()
        counts.append(len(found))
        lists.append([j for _, j in found[: window.max_neighbours or None]])
        assert all(j < i for j in lists[-1])
    return lists, counts


def lists_of(found: Neighbours) -> list[list[int]]:
    return [found.indices[a:b].tolist() for a, b in pairwise(found.starts.tolist())]


def assert_same(left: Neighbours, right: Neighbours) -> None:
    for name in ("starts", "indices", "num_in_window"):
        assert np.array_equal(getattr(left, name), getattr(right, name)), name


def cube(side: int) -> Coords:
    return in_raster_order(np.stack(np.meshgrid(*[np.arange(side)] * 3), axis=-1))


WINDOWS = st.builds(
    ContextWindow,
    size=st.sampled_from([1, 3, 5, 25]),
    max_neighbours=st.sampled_from([0, 1, 2, 3, 20]),
    multiplier=st.sampled_from([1, 2, 7]),
)


@st.composite
def small_lattices(draw: st.DrawFn) -> Coords:
    """Few points in a box of few voxels, spread out by a step, anywhere within ±2^40."""
    edges = [draw(st.integers(1, edge)) for edge in (12, 9, 5)]
    points = draw(st.lists(st.tuples(*[st.integers(0, edge) for edge in edges]), max_size=60))
    far = st.integers(-(2**40), 2**40)
    origin = [draw(st.sampled_from([0, -3]) | far) for _ in range(3)]
    steps = draw(st.sampled_from([(1, 1, 1), (4, 4, 4), (1, 3, 7)]))
    return in_raster_order(np.array(points, np.int64).reshape(-1, 3) * steps + origin, draw(st.booleans()))


@settings(deadline=None, max_examples=200)
@given(small_lattices(), WINDOWS, st.sampled_from([1, 3, 4096]))
def test_neighbours_are_those_of_the_definition(coords: Coords, window: ContextWindow, chunk: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CHUNK", chunk)
        found = find_neighbours(coords, window)
    lists, counts = by_definition(coords, window)
    assert found.starts[0] == 0 and found.starts.dtype == np.int64
    assert found.indices.dtype == found.num_in_window.dtype == np.int32
    assert lists_of(found) == lists
    assert found.num_in_window.tolist() == counts
    assert found.num_anchors == len(coords)
    assert found.max_count == max(map(len, lists), default=0)
    assert found.mean_count == sum(map(len, lists)) / max(1, len(lists))


@pytest.mark.parametrize("size, cap", [(25, 20), (5, 20), (5, 3), (25, 0), (5, 1000)])
def test_full_cube_where_distances_tie(size: int, cap: int) -> None:
    coords, window = cube(7), ContextWindow(size, cap)
    found = find_neighbours(coords, window)
    lists, counts = by_definition(coords, window)
    assert lists_of(found) == lists
    assert found.num_in_window.tolist() == counts
    if size == 25:
        assert counts == list(range(343)), "the window holds every earlier voxel"
    if cap == 20:
        assert found.max_count == 20


def test_the_window_ends_at_its_radius_along_every_axis() -> None:
    window = ContextWindow(size=5, multiplier=3)
    assert window.radius == 6
    for axis in range(3):
        for distance, expected in ((6, 1), (7, 0)):
            coords = np.zeros((2, 3), np.int64)
            coords[1, axis] = distance
            assert len(find_neighbours(coords, window).indices) == expected
            # The far corner: the window is a cube, not a ball.
            corner = np.array([[0, 0, 0], [6, 6, 6]])
            corner[1, axis] = distance
            assert len(find_neighbours(corner, window).indices) == expected


def test_no_anchors_and_one() -> None:
    for num in (0, 1):
        found = find_neighbours(np.full((num, 3), -5, np.int64), ContextWindow())
        assert found.starts.tolist() == [0] * (num + 1)
        assert found.indices.shape == (0,) and found.num_in_window.tolist() == [0] * num
        assert (found.num_anchors, found.mean_count, found.max_count) == (num, 0.0, 0)
        waves = wavefronts(found)
        assert waves.order.tolist() == [0] * num and waves.starts.tolist() == list(range(num + 1))


@pytest.mark.parametrize("cap", [0, 20])
def test_surfaces_against_a_tree(cap: int) -> None:
    coords = surface_anchors(20_000)
    assert len(coords) > 15_000
    window = ContextWindow(max_neighbours=cap)
    found = find_neighbours(coords, window)
    assert 3 < found.num_in_window.mean() < 10 and found.num_in_window.max() > 40, "like a scene"
    pairs = cKDTree(coords).query_pairs(window.radius + 0.5, p=math.inf, output_type="ndarray")
    earlier, later = pairs.min(axis=1), pairs.max(axis=1)
    squares = ((coords[earlier] - coords[later]) ** 2).sum(axis=1)
    order = np.lexsort((earlier, squares, later))
    earlier, later = earlier[order], later[order]
    counts = np.bincount(later, minlength=len(coords))
    rank = np.arange(len(later)) - np.repeat(np.cumsum(counts) - counts, counts)
    kept = rank < cap if cap else slice(None)
    assert np.array_equal(found.num_in_window, counts)
    assert np.array_equal(np.diff(found.starts), np.minimum(counts, cap) if cap else counts)
    assert np.array_equal(found.indices, earlier[kept])


def test_threads_and_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    coords, window = surface_anchors(20_000, seed=1), ContextWindow(max_neighbours=5)
    assert len(coords) > module.CHUNK
    expected = find_neighbours(coords, window)
    kernel = module.fill_nearest
    seen: set[int] = set()

    def watched(*arguments: Any) -> None:
        if threading.get_ident() not in seen:
            seen.add(threading.get_ident())
            gate.wait(timeout=60)  # until the expected number of threads has begun
        kernel(*arguments)

    monkeypatch.setattr(module, "fill_nearest", watched)
    monkeypatch.setattr(module, "CHUNK", 100)
    # numba's own number may be 1 in a run of the tests, and may not be raised.
    for threads in (1, 2, 5):
        seen.clear()
        gate = threading.Barrier(threads)
        monkeypatch.setattr(numba, "get_num_threads", lambda threads=threads: threads)
        assert_same(find_neighbours(coords, window), expected)
        assert len(seen) == threads


def test_corners_of_int64() -> None:
    window = ContextWindow(size=3, max_neighbours=0)
    near = cube(3)
    expected = find_neighbours(near, window)
    for origin in (-(2**63), 2**63 - 3):
        assert_same(find_neighbours(near + np.int64(origin), window), expected)
    wide = np.array([[-(2**61), 0, 0], [2**61 - 1, 0, 0]])
    assert find_neighbours(wide, window).num_in_window.tolist() == [0, 0]
    wide[1, 0] += 1
    with pytest.raises(ValueError, match="along x: the span must stay under 2\\^62"):
        find_neighbours(wide, window)


def test_the_widest_window() -> None:
    window = ContextWindow(size=2 * module.MAX_RADIUS + 1)
    far = module.MAX_RADIUS
    coords = np.array([[0, 0, 0], [1, 0, 0], [0, far, 0], [far + 1, far, far]])
    assert lists_of(find_neighbours(coords, window)) == [[], [0], [0, 1], [1]]


def test_a_search_that_fails_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK", 10)
    monkeypatch.setattr(numba, "get_num_threads", lambda: 1)
    begun, ended = [], []

    def kernel(*arguments: object) -> None:
        begun.append(arguments)
        if len(begun) == 1:
            raise KeyboardInterrupt
        time.sleep(0.2)
        ended.append(arguments)

    monkeypatch.setattr(module, "count_in_window", kernel)
    with pytest.raises(KeyboardInterrupt):
        find_neighbours(cube(5), ContextWindow())  # 13 chunks of up to 10 in 125
    assert len(ended) == len(begun) - 1 < 12, "what had begun is over, the rest dropped"


@pytest.mark.parametrize("order", ORDERS)
def test_more_neighbours_than_any_scene_has_are_refused_before_they_are_listed(
    order: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    coords = cube(14)  # 2744 anchors; the widest window holds all that are earlier, 1371.5 on average
    widest = ContextWindow(25, 0, MAX_AUTOMATIC, order)
    assert find_neighbours(coords, replace(widest, max_neighbours=20)).mean_count > 19
    listed = []
    monkeypatch.setattr(module, "fill_nearest", lambda *arguments: listed.append(arguments))
    with pytest.raises(ConfigError, match="1372 neighbours for each of 2744 anchors, at most 640 are allowed"):
        find_neighbours(coords, widest)
    walked = []
    monkeypatch.setattr(module, "MAX_MEAN_IN_WINDOW", 1000)
    monkeypatch.setattr(module, "hashed_order", lambda coords: walked.append(coords))
    with pytest.raises(ConfigError, match="1372 anchors in a window for each of 2744 anchors, at most 1000"):
        find_neighbours(coords, replace(widest, max_neighbours=20))
    assert not listed and not walked


@settings(deadline=None, max_examples=100)
@given(small_lattices(), WINDOWS)
def test_waves_follow_their_definition(coords: Coords, window: ContextWindow) -> None:
    found = find_neighbours(coords, window)
    waves = wavefronts(found)
    expected: list[int] = []
    for neighbours in lists_of(found):
        expected.append(1 + max((expected[j] for j in neighbours), default=-1))
    assert waves.order.dtype == waves.starts.dtype == np.int64
    assert waves.order.tolist() == sorted(range(len(coords)), key=lambda i: (expected[i], i))
    sizes = [expected.count(wave) for wave in range(max(expected, default=-1) + 1)]
    assert np.diff(waves.starts).tolist() == sizes and waves.starts[0] == 0


def test_waves_of_a_row_and_of_strangers() -> None:
    row = np.zeros((5, 3), np.int64)
    row[:, 0] = np.arange(5)
    assert wavefronts(find_neighbours(row, ContextWindow(size=3))).starts.tolist() == [0, 1, 2, 3, 4, 5]
    waves = wavefronts(find_neighbours(row * 2, ContextWindow(size=3)))
    assert waves.starts.tolist() == [0, 5] and waves.order.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    "coords, message",
    [
        ([[1, 0, 0], [0, 0, 0]], r"\[1, 0, 0\] precedes \[0, 0, 0\] \(anchor 0\)"),
        ([[0, 0, 0], [1, 0, 0], [0, 0, 0]], r"\(anchor 1\)"),
        ([[0, 1, 0], [1, 0, 0]], "raster order"),
        ([[0, 0, 1], [1, 1, 0]], "raster order"),
    ],
)
def test_wrong_order(coords: list[list[int]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        find_neighbours(np.array(coords), ContextWindow())


@pytest.mark.parametrize("coords", [np.zeros((3, 2), np.int64), np.zeros(3, np.int64), np.zeros((1, 3), np.int32)])
def test_other_arrays(coords: Coords) -> None:
    with pytest.raises(ValueError, match=r"must be \[N, 3\] int64"):
        find_neighbours(coords, ContextWindow())


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"size": 24}, "odd"),
        ({"size": -1}, "odd"),
        ({"max_neighbours": -1}, "0 \\(all\\) or more"),
        ({"multiplier": -1}, "at least 0"),
        ({"multiplier": 17}, "192 lattice voxels or less"),
        ({"size": 2 * module.MAX_RADIUS + 3, "multiplier": AUTOMATIC}, "192 lattice voxels or less"),
        ({"size": 2 * module.MAX_RADIUS + 3}, "192 lattice voxels or less"),
    ],
)
def test_impossible_windows(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ContextWindow(**fields)


def test_defaults_are_the_paper_s() -> None:
    window = ContextWindow()
    assert (window.size, window.max_neighbours, window.multiplier, window.radius) == (25, 20, 1, 12)


def test_the_speed_table_has_figures() -> None:
    row = measure(surface_anchors(500), rounds=1)
    assert row["anchors"] > 300 and row["search_s"] > 0 and row["waves"] > 1
    assert row["kept"] <= row["in_window"] <= row["most"]


def test_chosen_multiplier_is_the_least_with_enough_neighbours() -> None:
    coords = np.random.default_rng(0).integers(0, 60, (400, 3))
    coords = coords[np.lexsort(coords.T)]
    chosen = chosen_multiplier(coords, ContextWindow(5, 3, AUTOMATIC))
    means = [find_neighbours(coords, ContextWindow(5, 3, k)).num_in_window.mean() for k in (chosen - 1, chosen)]
    assert means[0] < ENOUGH <= means[1] and 1 < chosen < MAX_AUTOMATIC
    assert chosen_multiplier(coords[:2] * np.array([1, 1, 10_000]), ContextWindow(5, 3, AUTOMATIC)) == MAX_AUTOMATIC
    assert chosen_multiplier(coords, ContextWindow(101, 3, AUTOMATIC)) == 1
    far = coords[:2] * np.array([1, 1, 10_000])
    assert chosen_multiplier(far, ContextWindow(101, 3, AUTOMATIC)) == module.MAX_RADIUS // 50


@pytest.mark.parametrize("max_neighbours", [0, 4])
def test_hashed_order_finds_what_a_search_through_all_pairs_finds(max_neighbours: int) -> None:
    coords = in_raster_order(np.random.default_rng(2).integers(-20, 20, (600, 3)))
    window = ContextWindow(13, max_neighbours, 1, HASHED)
    found, order = find_neighbours(coords, window), hashed_order(coords)
    assert sorted(order.tolist()) == list(range(len(coords)))
    ranks = np.argsort(order)
    both_sides = 0
    for anchor, place in enumerate(coords):
        delta = coords - place
        earlier = np.flatnonzero((np.abs(delta).max(axis=1) <= window.radius) & (ranks < ranks[anchor]))
        assert found.num_in_window[anchor] == len(earlier)
        nearest = sorted(earlier.tolist(), key=lambda other: ((delta[other] ** 2).sum(), other))
        own = found.indices[found.starts[anchor] : found.starts[anchor + 1]].tolist()
        assert own == (nearest[:max_neighbours] if max_neighbours else nearest)
        both_sides += min(own, default=anchor) < anchor < max(own, default=anchor)
    assert both_sides > len(coords) / 3


def test_waves_of_a_hashed_order_are_few_and_hold_no_neighbours() -> None:
    coords = in_raster_order(np.random.default_rng(3).integers(0, 30, (3000, 3)))
    waves, found = {}, {}
    for order in (RASTER, HASHED):
        found[order] = find_neighbours(coords, ContextWindow(9, 6, 1, order))
        waves[order] = wavefronts(found[order])
    assert len(waves[HASHED].starts) < len(waves[RASTER].starts) / 2
    wave_of = np.empty(len(coords), np.int64)
    for wave, (first, end) in enumerate(itertools.pairwise(waves[HASHED].starts)):
        wave_of[waves[HASHED].order[first:end]] = wave
    for anchor in range(len(coords)):
        own = found[HASHED].indices[found[HASHED].starts[anchor] : found[HASHED].starts[anchor + 1]]
        assert (wave_of[own] < wave_of[anchor]).all()


def test_hashes_stay_what_they_are() -> None:
    """Files depend on this order."""
    coords = np.array([[0, 0, 0], [1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, 0, 1], [1 << 40, -5, 7]])
    assert hashed_order(coords).tolist() == [0, 5, 4, 3, 1, 2]

"""Point-set operations against brute force, and the facts about blocks that the format depends on."""

from __future__ import annotations

import hashlib
from fractions import Fraction

import numpy as np
import pytest

from hemgs.coding.morton import morton_keys
from hemgs.pointnet.sets import (
    INTERPOLATION_BITS,
    MAX_COORDINATE,
    ball_query,
    farthest_points,
    kth_nearest,
    make_blocks,
    normalise,
    three_nearest,
)


def lattice(num: int, span: int = 40, seed: int = 0) -> np.ndarray:
    """Points of a small lattice: distances tie everywhere."""
    return np.random.default_rng(seed).integers(0, span, (num, 3))


def squares(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return ((first[:, None] - second[None]) ** 2).sum(axis=2)


def test_morton_keys_interleave_bits() -> None:
    coords = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [5, 2, 4], [(1 << 21) - 1] * 3]) - 1000
    assert morton_keys(coords).tolist() == [0, 1, 2, 4, _morton(5, 2, 4), (1 << 63) - 1]
    with pytest.raises(ValueError, match="span"):
        morton_keys(np.array([[0, 0, 0], [0, 1 << 21, 0]]))


def _morton(x: int, y: int, z: int) -> int:
    return sum(((value >> bit) & 1) << (3 * bit + axis) for axis, value in enumerate((x, y, z)) for bit in range(21))


@pytest.mark.parametrize("num", [0, 1, 2, 5, 99, 100, 101, 1234])
def test_blocks_cover_every_point_once_in_runs_of_the_curve(num: int) -> None:
    coords = lattice(num, 1000)
    blocks = make_blocks(coords, 100)
    assert sorted(blocks.order.tolist()) == list(range(num))
    sizes = np.diff(blocks.starts)
    assert len(blocks) == -(-num // 100)
    assert not num or (sizes.max() <= 100 and sizes.max() - sizes.min() <= 1)
    ranks = np.empty(num, np.int64)
    ranks[np.argsort(morton_keys(coords), kind="stable")] = np.arange(num)
    for block in range(len(blocks)):
        found = sorted(ranks[blocks.points(block)].tolist())
        assert found == list(range(blocks.starts[block], blocks.starts[block + 1]))


def test_blocks_do_not_depend_on_the_order_of_the_points_or_where_they_lie() -> None:
    coords = np.unique(lattice(500, 300), axis=0)
    permutation = np.random.default_rng(1).permutation(len(coords))
    expected = coords[make_blocks(coords, 64).order]
    assert np.array_equal(coords[permutation][make_blocks(coords[permutation], 64).order], expected)
    assert np.array_equal((coords - 7000)[make_blocks(coords - 7000, 64).order], expected - 7000)


def test_first_points_of_a_block_are_spread_over_it() -> None:
    line = np.stack([np.arange(64)] + [np.zeros(64, np.int64)] * 2, axis=1)
    assert line[make_blocks(line).points(0)][:8, 0].tolist() == [0, 32, 16, 48, 8, 40, 24, 56]


def test_normalise_rounds_to_the_nearest() -> None:
    coords = np.array([[10, -5, 3], [13, -5, 4], [10, -3, 3]])
    assert normalise(coords, 100).tolist() == [[0, 0, 0], [100, 0, 33], [0, 67, 0]]
    assert normalise(np.array([[7, 7, 7]]), 100).tolist() == [[0, 0, 0]]


@pytest.mark.parametrize("num, wanted", [(1, 4), (2, 2), (5, 8), (200, 60)])
def test_farthest_points(num: int, wanted: int) -> None:
    points = lattice(num, 12)
    distances = squares(points, points)
    expected = [0]
    while len(expected) < min(num, wanted):
        nearest = distances[expected].min(axis=0)
        nearest[expected] = -1
        expected.append(int(nearest.argmax()))
    assert farthest_points(points, wanted).tolist() == expected


@pytest.mark.parametrize("num, radius, wanted", [(1, 3, 4), (5, 0, 3), (300, 7, 16), (300, 100, 24)])
def test_ball_query(num: int, radius: int, wanted: int) -> None:
    points = lattice(num, 30)
    centres = farthest_points(points, 20)
    found = ball_query(points, centres, radius, wanted)
    for centre, row in zip(centres, found.tolist(), strict=True):
        inside = np.flatnonzero(squares(points[[centre]], points)[0] <= radius * radius).tolist()[:wanted]
        assert centre in inside or len(inside) == wanted
        assert row == inside + inside[:1] * (wanted - len(inside))


@pytest.mark.parametrize("num", [1, 2, 3, 50])
def test_three_nearest(num: int) -> None:
    points, sources = lattice(120, 9), lattice(num, 9, seed=1)
    indices, weights = three_nearest(points, sources)
    distances = squares(points, sources)
    unit = 1 << INTERPOLATION_BITS
    for row in range(len(points)):
        order = sorted(range(num), key=lambda source: (distances[row, source], source))[:3]
        inverse = [Fraction(1, int(distances[row, source]) + 1) for source in order]
        shares = [float(unit * part / sum(inverse)) for part in inverse] + [0.0] * (3 - len(order))
        assert indices[row].tolist() == order + order[:1] * (3 - len(order))
        assert weights[row].sum() == unit
        assert weights[row, 1:] == pytest.approx(np.floor(shares[1:]), abs=1)


def test_weights_hold_over_the_greatest_distances() -> None:
    far = MAX_COORDINATE - 1
    _, weights = three_nearest(np.array([[0, 0, 0]]), np.array([[far, far, far], [far, far, far - 1], [0, 0, 0]]))
    assert weights.tolist() == [[1 << INTERPOLATION_BITS, 0, 0]]
    with pytest.raises(ValueError, match="block"):
        three_nearest(np.array([[0, 0, 0]]), np.array([[far + 1, 0, 0]]))


@pytest.mark.parametrize("num", [1, 2, 5, 100])
def test_kth_nearest(num: int) -> None:
    points = np.unique(lattice(num, 15), axis=0)
    ordered = np.sort(squares(points, points), axis=1)
    expected = [[row[min(rank, len(row) - 1)] for rank in (1, 4, 16)] for row in ordered]
    assert kth_nearest(points, (1, 4, 16)).tolist() == expected


def test_golden() -> None:
    """The format depends on these choices: a change here needs a new version of the bitstream."""
    coords = lattice(3000, 500, seed=9)
    blocks = make_blocks(coords, 1024)
    points = normalise(coords[blocks.points(1)], 4096)
    centres = farthest_points(points, 100)
    parts = (
        blocks.order,
        points,
        centres,
        ball_query(points, centres, 500, 8),
        *three_nearest(points, points[centres]),
    )
    digest = hashlib.sha256(b"".join(part.astype("<i8").tobytes() for part in parts)).hexdigest()
    assert digest[:16] == "a5acfcfe924eaff6"

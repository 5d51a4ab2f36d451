"""Point sets on integers: blocks of a cloud, farthest-point sampling, ball query, three nearest.

These are PointNet++'s operations (arXiv 1706.02413). Every comparison is made on integers and every tie is broken by
index, so that they return the same values on every machine. Distances are squared Euclidean. Coordinates of a block
must be below :data:`MAX_COORDINATE`. The kernels run on one thread, and blocks are independent.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hemgs.coding.morton import morton_keys
from hemgs.core.jit import compiled

#: Most anchors in a block: the size of a training block of the S3DIS networks.
BLOCK = 4096
#: Coordinates inside a block: squared distances then stay below 2^38.
MAX_COORDINATE = 1 << 18
#: Interpolation weights of a point add up to 2^INTERPOLATION_BITS.
INTERPOLATION_BITS = 12
#: Inverse squared distances are integers over 2^INVERSE_BITS.
INVERSE_BITS = 40

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Blocks:
    """A cloud cut into runs along its Morton curve.

    Attributes:
        order: ``[N] int64`` point indices, block by block.
        starts: ``[B + 1] int64``; block b contains ``order[starts[b]:starts[b + 1]]``.
    """

    order: Integers
    starts: Integers

    def __len__(self) -> int:
        return len(self.starts) - 1

    def points(self, block: int) -> Integers:
        """Return indices of a block's points, in the block's order."""
        return self.order[self.starts[block] : self.starts[block + 1]]


def make_blocks(coords: Integers, size: int = BLOCK) -> Blocks:
    """Cut a cloud into blocks of nearly equal size, none larger than ``size``.

    Inside a block, points come in bit-reversed order of their rank on the Morton curve. The first points of a block are
    therefore spread over it, and a ball query that stops after k points sees all sides of its ball.

    Args:
        coords: ``[N, 3] int64``.
        size: most points in a block.

    Raises:
        ValueError: coordinates span 2^21 or more along an axis.
    """
    num = len(coords)
    curve = np.argsort(morton_keys(coords), kind="stable").astype(np.int64)
    count = -(-num // size)
    starts = np.arange(count + 1, dtype=np.int64) * num // max(count, 1)
    runs = [curve[first:last][_bit_reversed(last - first)] for first, last in itertools.pairwise(starts.tolist())]
    return Blocks(np.concatenate(runs) if runs else curve, starts)


def normalise(coords: Integers, side: int) -> Integers:
    """Shift and scale a block's coordinates, rounded: the least corner to zero, the longest side to ``side``.

    >>> normalise(np.array([[10, 10, 10], [14, 12, 10]]), side=100).tolist()
    [[0, 0, 0], [100, 50, 0]]
    """
    shifted = coords - coords.min(axis=0)
    longest = max(int(shifted.max()), 1)
    return (2 * shifted * side + longest) // (2 * longest)


def farthest_points(points: Integers, num: int) -> Integers:
    """Return indices of ``min(num, n)`` points, each the farthest from those before it; the first is point 0.

    Args:
        points: ``[n, 3] int64``, n > 0.
        num: number of points.
    """
    return _farthest(_checked(points), min(num, len(points)))


def ball_query(points: Integers, centres: Integers, radius: int, num: int) -> Integers:
    """Return for each centre the first ``num`` points, in index order, no farther than ``radius``.

    Args:
        points: ``[n, 3] int64``.
        centres: ``[m] int64`` indices into ``points``.
        radius: largest distance, included, in the units of the coordinates.
        num: number of points per centre.

    Returns:
        ``[m, num] int64``; where there are fewer points, the first one fills the row.
    """
    return _ball(_checked(points), centres, radius * radius, num)


def three_nearest(points: Integers, sources: Integers) -> tuple[Integers, Integers]:
    """Return for each point the three nearest sources and their weights.

    Args:
        points: ``[n, 3] int64``.
        sources: ``[m, 3] int64``, m > 0.

    Returns:
        indices: ``[n, 3] int64`` by (squared distance, index); the nearest again where there are fewer sources.
        weights: ``[n, 3] int64`` proportional to 1 / (squared distance + 1), adding up to ``2^INTERPOLATION_BITS``;
            0 where there is no source. The nearest source gets the rest that rounding leaves.
    """
    return _three(_checked(points), _checked(sources), INVERSE_BITS, INTERPOLATION_BITS)


def kth_nearest(points: Integers, ranks: tuple[int, ...]) -> Integers:
    """Return the squared distance of each point to its k-th nearest other point for each k of ``ranks`` (ascending).

    Returns:
        ``[n, len(ranks)] int64``; the distance of the farthest point where the set is too small, 0 for a single point.

    >>> kth_nearest(np.array([[0, 0, 0], [1, 0, 0], [5, 0, 0]]), ranks=(1, 2)).tolist()
    [[1, 25], [1, 16], [16, 25]]
    """
    return _kth(_checked(points), np.array(ranks, np.int64))


def _checked(points: Integers) -> Integers:
    if len(points) and (points.min() < 0 or points.max() >= MAX_COORDINATE):
        raise ValueError(f"coordinates inside a block must lie in 0..{MAX_COORDINATE - 1}")
    return np.ascontiguousarray(points, np.int64)


def _bit_reversed(num: int) -> Integers:
    """Return 0..num-1, ordered by their bits read backwards.

    >>> _bit_reversed(4).tolist()
    [0, 2, 1, 3]
    """
    order = np.zeros(1, np.int64)
    while len(order) < num:
        order = np.concatenate([2 * order, 2 * order + 1])
    return order[order < num]


@compiled
def _farthest(points: Integers, num: int) -> Integers:
    total = len(points)
    chosen = np.zeros(num, np.int64)
    nearest = np.full(total, np.int64(1) << 62)
    last = 0
    for step in range(num):
        chosen[step] = last
        x, y, z = points[last, 0], points[last, 1], points[last, 2]
        nearest[last] = -1
        best, best_distance = 0, np.int64(-1)
        for index in range(total):
            dx, dy, dz = points[index, 0] - x, points[index, 1] - y, points[index, 2] - z
            distance = min(nearest[index], dx * dx + dy * dy + dz * dz)
            nearest[index] = distance
            if distance > best_distance:
                best, best_distance = index, distance
        last = best
    return chosen


@compiled
def _ball(points: Integers, centres: Integers, square: int, num: int) -> Integers:
    result = np.empty((len(centres), num), np.int64)
    for row in range(len(centres)):
        centre = centres[row]
        x, y, z = points[centre, 0], points[centre, 1], points[centre, 2]
        found = 0
        for index in range(len(points)):
            dx, dy, dz = points[index, 0] - x, points[index, 1] - y, points[index, 2] - z
            if dx * dx + dy * dy + dz * dz <= square:
                result[row, found] = index
                found += 1
                if found == num:
                    break
        for place in range(found, num):
            result[row, place] = result[row, 0]
    return result


@compiled
def _three(points: Integers, sources: Integers, inverse_bits: int, weight_bits: int) -> tuple[Integers, Integers]:
    total = len(points)
    indices, weights = np.zeros((total, 3), np.int64), np.zeros((total, 3), np.int64)
    far = np.int64(1) << 62
    for row in range(total):
        x, y, z = points[row, 0], points[row, 1], points[row, 2]
        first, second, third = far, far, far
        at_first, at_second, at_third = -1, -1, -1
        for index in range(len(sources)):
            dx, dy, dz = sources[index, 0] - x, sources[index, 1] - y, sources[index, 2] - z
            distance = dx * dx + dy * dy + dz * dz
            if distance < third:
                if distance < first:
                    third, at_third, second, at_second = second, at_second, first, at_first
                    first, at_first = distance, index
                elif distance < second:
                    third, at_third, second, at_second = second, at_second, distance, index
                else:
                    third, at_third = distance, index
        unit = np.int64(1) << inverse_bits
        share0 = unit // (first + 1)
        share1 = unit // (second + 1) if at_second >= 0 else np.int64(0)
        share2 = unit // (third + 1) if at_third >= 0 else np.int64(0)
        whole = share0 + share1 + share2
        weights[row, 1] = (share1 << weight_bits) // whole
        weights[row, 2] = (share2 << weight_bits) // whole
        weights[row, 0] = (np.int64(1) << weight_bits) - weights[row, 1] - weights[row, 2]
        indices[row, 0] = at_first
        indices[row, 1] = at_second if at_second >= 0 else at_first
        indices[row, 2] = at_third if at_third >= 0 else at_first
    return indices, weights


@compiled
def _kth(points: Integers, ranks: Integers) -> Integers:
    total, deepest = len(points), ranks[-1]
    result = np.zeros((total, len(ranks)), np.int64)
    nearest = np.empty(deepest, np.int64)
    for row in range(total):
        x, y, z = points[row, 0], points[row, 1], points[row, 2]
        held = 0
        for index in range(total):
            if index == row:
                continue
            dx, dy, dz = points[index, 0] - x, points[index, 1] - y, points[index, 2] - z
            distance = dx * dx + dy * dy + dz * dz
            if held < deepest:
                held += 1
            elif distance >= nearest[deepest - 1]:
                continue
            place = held - 1
            while place > 0 and nearest[place - 1] > distance:
                nearest[place] = nearest[place - 1]
                place -= 1
            nearest[place] = distance
        for column in range(len(ranks)):
            if held > 0:
                result[row, column] = nearest[min(ranks[column], held) - 1]
    return result

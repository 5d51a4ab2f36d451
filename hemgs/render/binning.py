"""Lists of the Gaussians that touch each tile, in depth order.

Owns the per-tile lists. Does not evaluate Gaussians at pixels. Nothing here depends on the number of threads: each
list is in depth order, and equal depths keep the order of the Gaussians.

An *intersection* is a pair (Gaussian, tile). Intersections are numbered Gaussian by Gaussian, and a tile's list
contains those numbers. Gradients written per intersection are therefore contiguous per Gaussian.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numba
import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from hemgs.core.errors import DeviceError
from hemgs.core.jit import OPTIONS

#: Boxes are widened by this much before pixels are left out: in pixels, and relative to their position and size. At
#: the border the arithmetic of the raster kernels therefore decides, not the geometry here.
MARGIN_PX = 1e-2
MARGIN_RELATIVE = 1e-6

#: Intersections are numbered with 32-bit integers.
MAX_INTERSECTIONS = 2**31 - 1

#: A positive float32 has 31 bits to sort by, which three digits of 11 bits cover.
DIGIT_BITS = 11
NUM_DIGITS = 3


class _Grid(NamedTuple):
    width: int
    height: int
    tile_size: int
    tile_width: int
    tiles_per_pixel: float
    margin_px: float
    margin_relative: float
    min_alpha: float


@dataclass(frozen=True)
class TileLists:
    """The intersections of one image.

    Attributes:
        offsets: ``[num_tiles + 1] int64``; tile ``t`` (row-major) owns ``entries[offsets[t]:offsets[t + 1]]``.
        entries: ``[M] int32`` intersection numbers, per tile in depth order.
        owners: ``[M] int32`` their Gaussians, in the order of ``entries``.
        rows: ``[M, 2] int16`` first and last-plus-one pixel row of the tile that the Gaussian can reach, in the order
            of ``entries``.
        starts: ``[N + 1] int64``; Gaussian ``i`` has the intersections ``starts[i]`` to ``starts[i + 1] - 1``.
        tile_size, tile_width, tile_height: pixels, and tiles across and down.
    """

    offsets: NDArray[np.int64]
    entries: NDArray[np.int32]
    owners: NDArray[np.int32]
    rows: NDArray[np.int16]
    starts: NDArray[np.int64]
    tile_size: int
    tile_width: int
    tile_height: int


def tile_lists(
    means2d: NDArray[Any],
    depths: NDArray[Any],
    conics: NDArray[Any],
    extents: NDArray[Any],
    opacities: NDArray[Any],
    drawn: NDArray[np.bool_],
    width: int,
    height: int,
    tile_size: int,
    min_alpha: float,
) -> TileLists:
    """Build the lists of one image.

    Args:
        means2d, depths, conics, extents: as ``projection_kernels.project_forward`` returns them.
        opacities: ``[N]``, those that the image is drawn with.
        drawn: ``[N]``, whether the lists contain the Gaussian.
        width, height, tile_size: pixels.
        min_alpha: smaller alphas are not drawn.

    Raises:
        DeviceError: there are more intersections than ``MAX_INTERSECTIONS``.
    """
    tile_width, tile_height = -(-width // tile_size), -(-height // tile_size)
    grid = _Grid(width, height, tile_size, tile_width, 1.0 / tile_size, MARGIN_PX, MARGIN_RELATIVE, min_alpha)
    starts = np.zeros(len(means2d) + 1, np.int64)
    tiles, rows = np.empty(0, np.int32), np.empty((0, 2), np.int16)
    _visit(means2d, conics, extents, opacities, drawn, grid, False, starts, tiles, rows)
    counts = starts[1:]
    order = depth_order(depths, np.flatnonzero(counts))
    np.cumsum(counts, out=counts)
    total = int(starts[-1])
    if total > MAX_INTERSECTIONS:
        raise DeviceError(
            f"{total} pairs of Gaussian and tile in one {width} x {height} image; at most {MAX_INTERSECTIONS} fit",
            "use fewer or smaller Gaussians, or render a smaller image",
        )
    tiles, rows = np.empty(total, np.int32), np.empty((total, 2), np.int16)
    _visit(means2d, conics, extents, opacities, drawn, grid, True, starts, tiles, rows)
    offsets = np.zeros(tile_width * tile_height + 1, np.int64)
    lists = np.empty(total, np.int32), np.empty(total, np.int32), np.empty((total, 2), np.int16)
    _fill_lists(order, starts, tiles, rows, numba.get_num_threads(), offsets, *lists)
    return TileLists(offsets, *lists, starts, tile_size, tile_width, tile_height)


def depth_order(depths: NDArray[Any], which: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sort the indices ``which`` by their ``depths``, which are positive; equal depths keep the order of ``which``."""
    chosen = depths[which]
    if chosen.dtype != np.float32:
        return which[np.argsort(chosen, kind="stable")]
    ordered: NDArray[np.int64] = _radix_sort(chosen.view(np.uint32), which, DIGIT_BITS, NUM_DIGITS)
    return ordered


@njit(**OPTIONS)
def _radix_sort(keys, values, digit_bits, num_digits):  # type: ignore[no-untyped-def]
    """Return ``values`` in the order of their keys; the sort is stable."""
    buckets = 1 << digit_bits
    mask = np.uint32(buckets - 1)
    keys_in, values_in = keys.copy(), values.copy()
    keys_out, values_out = np.empty_like(keys), np.empty_like(values)
    for digit in range(num_digits):
        shift = np.uint32(digit * digit_bits)
        places = np.zeros(buckets + 1, np.int64)
        for i in range(len(keys)):
            places[np.int64((keys_in[i] >> shift) & mask) + 1] += 1
        for b in range(buckets):
            places[b + 1] += places[b]
        for i in range(len(keys)):
            bucket = np.int64((keys_in[i] >> shift) & mask)
            place = places[bucket]
            places[bucket] = place + 1
            keys_out[place] = keys_in[i]
            values_out[place] = values_in[i]
        keys_in, keys_out = keys_out, keys_in
        values_in, values_out = values_out, values_in
    return values_in


@njit(**OPTIONS)
def _span(a, b, det, level, low, high):  # type: ignore[no-untyped-def]
    """Return the ends along p of the ellipse ``a p^2 + 2 b p q + c q^2 <= level`` where ``low <= q <= high``.

    ``det`` is ``a c - b^2 > 0``. The span is empty (the first end exceeds the last) where the ellipse does not reach.
    """
    q_max = math.sqrt(level * a / det)
    if low > q_max or high < -q_max:
        return 1.0, -1.0
    # p is greatest at q = widest and least at q = -widest, if those are allowed, else at the nearest allowed q.
    c = (det + b * b) / a
    widest = -b * math.sqrt(level / (c * det))
    q = min(max(widest, low), high)
    last = (-b * q + math.sqrt(max(0.0, a * level - det * q * q))) / a
    q = min(max(-widest, low), high)
    first = (-b * q - math.sqrt(max(0.0, a * level - det * q * q))) / a
    return first, last


@njit(**OPTIONS)
def _pixels(center, first, last, margin, size):  # type: ignore[no-untyped-def]
    """Return the first and the last-plus-one pixel of the image whose centre is in ``center + [first, last]``."""
    begin = math.ceil(max(center + first - margin - 0.5, 0.0))
    end = math.floor(min(center + last + margin - 0.5, size - 1.0)) + 1
    return begin, end


@njit(**OPTIONS)
def _tile(pixel, grid):  # type: ignore[no-untyped-def]
    """Return the tile column (or row) of a pixel column (or row).

    This is an integer division by the tile size. The product is faster, and exact below 2^40.
    """
    return np.int64((pixel + 0.5) * grid.tiles_per_pixel)


@njit(**OPTIONS)
def _visit_box(left, right, top, bottom, grid, write, place, tiles, rows):  # type: ignore[no-untyped-def]
    """Count all tiles of a box of pixels and return their number; with ``write`` also list them from ``place`` on."""
    size = grid.tile_size
    first_x, last_x = _tile(left, grid), _tile(right - 1, grid)
    first_y, last_y = _tile(top, grid), _tile(bottom - 1, grid)
    if write:
        for tile_y in range(first_y, last_y + 1):
            for tile_x in range(first_x, last_x + 1):
                tiles[place] = tile_y * grid.tile_width + tile_x
                rows[place, 0] = max(top - tile_y * size, 0)
                rows[place, 1] = min(bottom - tile_y * size, size)
                place += 1
    return (last_x - first_x + 1) * (last_y - first_y + 1)


@njit(**OPTIONS)
def _visit_ellipse(x, y, a, b, c, level, margin, left, right, top, bottom, grid, write, place, tiles, rows):  # type: ignore[no-untyped-def]
    """Do what ``_visit_box`` does, but leave out the tiles, and in each tile the rows, that the ellipse misses."""
    size, det, count = grid.tile_size, a * c - b * b, 0
    for tile_y in range(_tile(top, grid), _tile(bottom - 1, grid) + 1):
        strip_top, strip_bottom = max(top, tile_y * size), min(bottom, (tile_y + 1) * size)
        first, last = _span(a, b, det, level, strip_top + 0.5 - margin - y, strip_bottom - 0.5 + margin - y)
        if first > last:
            continue
        begin, end = _pixels(x, first, last, margin, grid.width)
        begin, end = max(begin, left), min(end, right)
        if begin >= end:
            continue
        first_x, last_x = _tile(begin, grid), _tile(end - 1, grid)
        count += last_x - first_x + 1
        if not write:
            continue
        for tile_x in range(first_x, last_x + 1):
            column_left, column_right = max(begin, tile_x * size), min(end, (tile_x + 1) * size)
            first, last = _span(c, b, det, level, column_left + 0.5 - margin - x, column_right - 0.5 + margin - x)
            row_begin, row_end = _pixels(y, first, last, margin, grid.height)
            row_begin, row_end = max(row_begin, strip_top), min(row_end, strip_bottom)
            if first > last or row_begin >= row_end:
                row_begin, row_end = strip_top, strip_top
            tiles[place] = tile_y * grid.tile_width + tile_x
            rows[place, 0] = row_begin - tile_y * size
            rows[place, 1] = row_end - tile_y * size
            place += 1
    return count


@njit(parallel=True, **OPTIONS)
def _visit(means2d, conics, extents, opacities, drawn, grid, write, starts, tiles, rows):  # type: ignore[no-untyped-def]
    """Put the number of tiles of ``i`` into ``starts[i + 1]``, or with ``write`` list them from ``starts[i]`` on."""
    for i in prange(means2d.shape[0]):
        if not drawn[i]:
            continue
        x, y = np.float64(means2d[i, 0]), np.float64(means2d[i, 1])
        box_x, box_y = np.float64(extents[i, 0]), np.float64(extents[i, 1])
        margin = grid.margin_px + grid.margin_relative * max(abs(x) + box_x, abs(y) + box_y)
        left, right = _pixels(x, -box_x, box_x, margin, grid.width)
        top, bottom = _pixels(y, -box_y, box_y, margin, grid.height)
        if left >= right or top >= bottom:
            continue
        single = _tile(left, grid) == _tile(right - 1, grid) and _tile(top, grid) == _tile(bottom - 1, grid)
        a, b, c = np.float64(conics[i, 0]), np.float64(conics[i, 1]), np.float64(conics[i, 2])
        place = starts[i] if write else 0
        # A box within one tile needs no ellipse. A conic that rounding made singular has none.
        if single or not (a * c - b * b > 0.0 and a > 0.0 and c > 0.0):
            count = _visit_box(left, right, top, bottom, grid, write, place, tiles, rows)
        else:
            level = 2.0 * math.log(max(opacities[i] / grid.min_alpha, 1.0))
            count = _visit_ellipse(
                x, y, a, b, c, level, margin, left, right, top, bottom, grid, write, place, tiles, rows
            )  # fmt: skip
        if not write:
            starts[i + 1] = count


@njit(parallel=True, **OPTIONS)
def _fill_lists(order, starts, tiles, rows_by_number, num_workers, offsets, entries, owners, rows):  # type: ignore[no-untyped-def]
    """Sort the intersections by tile, the Gaussians taken in ``order``; count the tiles first.

    Each worker owns a band of tiles, so workers never write to the same place.
    """
    num_tiles = len(offsets) - 1
    for worker in prange(num_workers):
        low, high = worker * num_tiles // num_workers, (worker + 1) * num_tiles // num_workers
        for entry in range(len(tiles)):
            tile = tiles[entry]
            if low <= tile < high:
                offsets[tile + 1] += 1
    for tile in range(num_tiles):
        offsets[tile + 1] += offsets[tile]
    for worker in prange(num_workers):
        low, high = worker * num_tiles // num_workers, (worker + 1) * num_tiles // num_workers
        places = offsets[low : high + 1].copy()
        for k in range(len(order)):
            i = order[k]
            for entry in range(starts[i], starts[i + 1]):
                tile = tiles[entry]
                if low <= tile < high:
                    place = places[tile - low]
                    places[tile - low] = place + 1
                    entries[place] = entry
                    owners[place] = i
                    rows[place, 0] = rows_by_number[entry, 0]
                    rows[place, 1] = rows_by_number[entry, 1]

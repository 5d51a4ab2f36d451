"""Which Gaussians touch which tiles, in depth order.

Owns the per-tile lists. Does not evaluate Gaussians at pixels. Nothing here depends on the number of threads: each
list is in depth order, equal depths in the order of the Gaussians.

Vocabulary: an *intersection* is a pair (Gaussian, tile). Intersections are numbered Gaussian by Gaussian, and a tile's
list holds those numbers; so gradients written per intersection lie together per Gaussian.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from hemgs.core.errors import DeviceError
from hemgs.render.jit import CACHE

_OPTIONS: dict[str, Any] = {"cache": CACHE, "error_model": "numpy", "nogil": True}

#: Boxes are widened by this much (pixels, and relative to the position) before pixels are left out, so that the
#: float32 arithmetic of the raster kernels decides at the border, not the geometry here.
MARGIN_PX = 1e-2
MARGIN_RELATIVE = 1e-6

#: Intersections are numbered with 32-bit integers.
MAX_INTERSECTIONS = 2**31 - 1


@dataclass(frozen=True)
class TileLists:
    """The intersections of one image.

    Attributes:
        offsets: ``[num_tiles + 1] int64``; tile ``t`` (row-major) owns ``entries[offsets[t]:offsets[t + 1]]``.
        entries: ``[M] int32`` intersection numbers, per tile in depth order.
        owners: ``[M] int32`` their Gaussians, in the order of ``entries``.
        rows: ``[M, 2] int16`` first and last-plus-one pixel row, within the tile, that the Gaussian can reach; likewise.
        starts: ``[N + 1] int64``; Gaussian ``i`` has the intersections number ``starts[i]`` to ``starts[i + 1]``.
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
    """Builds the lists of one image.

    Args:
        means2d, depths, conics, extents: as ``projection_kernels.project_forward`` gives them.
        opacities: ``[N]``, the ones that will be drawn.
        drawn: ``[N]``; the others are left out.
        min_alpha: smaller alphas are not drawn.

    Raises:
        DeviceError: more intersections than can be numbered.
    """
    tile_width, tile_height = -(-width // tile_size), -(-height // tile_size)
    shape = (width, height, tile_size, tile_width, MARGIN_PX, MARGIN_RELATIVE, min_alpha)
    counts = np.empty(len(means2d), np.int64)
    nothing = np.empty(0, np.int64), np.empty(0, np.int32), np.empty((0, 2), np.int16)
    _visit(means2d, conics, extents, opacities, drawn, *shape, False, counts, *nothing)
    starts = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=starts[1:])
    total = int(starts[-1])
    if total > MAX_INTERSECTIONS:
        raise DeviceError(
            f"{total} pairs of Gaussian and tile in one {width} x {height} image; at most {MAX_INTERSECTIONS} fit",
            "use fewer or smaller Gaussians, or render a smaller image",
        )
    tiles, rows_by_number = np.empty(total, np.int32), np.empty((total, 2), np.int16)
    _visit(means2d, conics, extents, opacities, drawn, *shape, True, counts, starts, tiles, rows_by_number)
    order = depth_order(depths, np.flatnonzero(counts))
    offsets = np.zeros(tile_width * tile_height + 1, np.int64)
    entries, owners, rows = np.empty(total, np.int32), np.empty(total, np.int32), np.empty((total, 2), np.int16)
    workers = numba.get_num_threads()
    _fill_lists(order, starts, tiles, rows_by_number, workers, offsets, entries, owners, rows)
    return TileLists(offsets, entries, owners, rows, starts, tile_size, tile_width, tile_height)


def depth_order(depths: NDArray[Any], which: NDArray[np.int64]) -> NDArray[np.int64]:
    """The indices ``which`` sorted by ``depths`` (positive), equal depths in the order of the indices."""
    chosen = depths[which]
    if chosen.dtype != np.float32:
        return which[np.argsort(chosen, kind="stable")]
    if not len(which):
        return which
    # The bits of positive floats sort like the floats; three digits of 11 bits cover them.
    return _radix_sort(chosen.view(np.uint32), which, 11, 3)


@njit(**_OPTIONS)
def _radix_sort(keys, values, digit_bits, num_digits):  # type: ignore[no-untyped-def]
    size = len(keys)
    buckets = 1 << digit_bits
    mask = np.uint32(buckets - 1)
    keys_in, values_in = keys.copy(), values.copy()
    keys_out, values_out = np.empty_like(keys), np.empty_like(values)
    for digit in range(num_digits):
        shift = np.uint32(digit * digit_bits)
        places = np.zeros(buckets + 1, np.int64)
        for i in range(size):
            places[np.int64((keys_in[i] >> shift) & mask) + 1] += 1
        for b in range(buckets):
            places[b + 1] += places[b]
        for i in range(size):
            b = np.int64((keys_in[i] >> shift) & mask)
            place = places[b]
            places[b] = place + 1
            keys_out[place] = keys_in[i]
            values_out[place] = values_in[i]
        keys_in, keys_out = keys_out, keys_in
        values_in, values_out = values_out, values_in
    return values_in


@njit(**_OPTIONS)
def _span(a, b, det, slope, level, low, high):  # type: ignore[no-untyped-def]
    """Ends along one axis of the ellipse ``a p^2 + 2 b p q + c q^2 <= level`` where ``low <= q <= high``.

    ``det`` is ``a c - b^2 > 0`` and ``slope`` the ``q`` at which ``p`` is greatest. Returns an empty span (low end
    above high end) where the ellipse does not reach.
    """
    q_max = math.sqrt(level * a / det)
    if low > q_max or high < -q_max:
        return 1.0, -1.0
    q = min(max(slope, low), high)
    last = (-b * q + math.sqrt(max(0.0, a * level - det * q * q))) / a
    q = min(max(-slope, low), high)
    first = (-b * q - math.sqrt(max(0.0, a * level - det * q * q))) / a
    return first, last


@njit(**_OPTIONS)
def _pixels(center, first, last, margin, size):  # type: ignore[no-untyped-def]
    """First and last-plus-one pixel whose centre lies in ``center + [first, last]``, within the image."""
    begin = math.ceil(max(center + first - margin - 0.5, 0.0))
    end = math.floor(min(center + last + margin - 0.5, size - 1.0)) + 1
    return begin, end


@njit(parallel=True, **_OPTIONS)
def _visit(  # type: ignore[no-untyped-def]
    means2d,
    conics,
    extents,
    opacities,
    drawn,
    width,
    height,
    tile_size,
    tile_width,
    margin_px,
    margin_relative,
    min_alpha,
    write,
    counts,
    starts,
    tiles,
    rows,
):
    """Counts the tiles of each Gaussian; with ``write`` fills the per-intersection arrays instead."""
    for i in prange(means2d.shape[0]):
        if not write:
            counts[i] = 0
        if not drawn[i]:
            continue
        x, y = np.float64(means2d[i, 0]), np.float64(means2d[i, 1])
        box_x, box_y = np.float64(extents[i, 0]), np.float64(extents[i, 1])
        margin = margin_px + margin_relative * max(abs(x) + box_x, abs(y) + box_y)
        left, right = _pixels(x, -box_x, box_x, margin, width)
        top, bottom = _pixels(y, -box_y, box_y, margin, height)
        if left >= right or top >= bottom:
            continue
        a, b, c = np.float64(conics[i, 0]), np.float64(conics[i, 1]), np.float64(conics[i, 2])
        det = a * c - b * b
        single = left // tile_size == (right - 1) // tile_size and top // tile_size == (bottom - 1) // tile_size
        # A box within one tile needs no closer look; a conic that float32 made singular gets none.
        precise = not single and det > 0.0 and a > 0.0 and c > 0.0
        level = 2.0 * math.log(max(opacities[i] / min_alpha, 1.0))
        slope_x, slope_y = 0.0, 0.0
        if precise:
            slope_x = -b * math.sqrt(level / (c * det))  # dy where dx is greatest
            slope_y = -b * math.sqrt(level / (a * det))  # dx where dy is greatest
        place = starts[i] if write else 0
        count = 0
        for tile_y in range(top // tile_size, (bottom - 1) // tile_size + 1):
            strip_top, strip_bottom = max(top, tile_y * tile_size), min(bottom, (tile_y + 1) * tile_size)
            begin, end = left, right
            if precise:
                first, last = _span(
                    a, b, det, slope_x, level, strip_top + 0.5 - margin - y, strip_bottom - 0.5 + margin - y
                )
                if first > last:
                    continue
                begin, end = _pixels(x, first, last, margin, width)
                begin, end = max(begin, left), min(end, right)
                if begin >= end:
                    continue
            first_tile, last_tile = begin // tile_size, (end - 1) // tile_size
            count += last_tile - first_tile + 1
            if not write:
                continue
            for tile_x in range(first_tile, last_tile + 1):
                row_begin, row_end = strip_top, strip_bottom
                if precise:
                    column_left, column_right = max(begin, tile_x * tile_size), min(end, (tile_x + 1) * tile_size)
                    first, last = _span(
                        c, b, det, slope_y, level, column_left + 0.5 - margin - x, column_right - 0.5 + margin - x
                    )
                    row_begin, row_end = _pixels(y, first, last, margin, height)
                    row_begin, row_end = max(row_begin, strip_top), min(row_end, strip_bottom)
                    if first > last or row_begin >= row_end:
                        row_begin, row_end = strip_top, strip_top
                tiles[place] = tile_y * tile_width + tile_x
                rows[place, 0] = row_begin - tile_y * tile_size
                rows[place, 1] = row_end - tile_y * tile_size
                place += 1
        if not write:
            counts[i] = count


@njit(parallel=True, **_OPTIONS)
def _fill_lists(order, starts, tiles, rows_by_number, num_workers, offsets, entries, owners, rows):  # type: ignore[no-untyped-def]
    """Counting sort of the intersections by tile, Gaussians taken in ``order``; each worker owns a band of tiles."""
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

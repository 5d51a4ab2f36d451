"""Compiled search for the anchors before an anchor and near it: integers only, each anchor independent of the others.

Owns the loop over rows and the choice of the nearest. Does not own threads, checks of the input or the definition of a
window (``neighbours``).

Anchors are in raster order, with any order of coding. A row (equal z and y) is therefore a run of anchors with x
ascending. A slice (equal z) is a run of rows with y ascending, and slices are sorted by z.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hemgs.core.jit import compiled

I32 = NDArray[np.int32]
I64 = NDArray[np.int64]


class Lattice(NamedTuple):
    """Anchors by row and slice, all ``int64``.

    Attributes:
        x: ``[N]`` of the anchors.
        row_y, row_slice: ``[R]`` of the rows: y, and the slice they belong to.
        row_starts: ``[R + 1]``, anchors of row ``r`` are ``row_starts[r]`` to ``row_starts[r + 1]``.
        slice_z: ``[S]`` of the slices.
        slice_starts: ``[S + 1]``, rows of a slice.
        ranks: ``[N]`` places of the anchors in the order of coding; empty where that is raster order.
    """

    x: I64
    row_y: I64
    row_slice: I64
    row_starts: I64
    slice_z: I64
    slice_starts: I64
    ranks: I64


#: Columns of a table of windows that move along a slice or a row: the window's rows or anchors (from, to), and the end
#: of the slice or row.
_FROM, _TO, _END = 0, 1, 2
#: And the number of the slice, or the row's squared distance in y and z.
_SLICE = _SQUARE = 3
#: A candidate is one integer, its squared distance above its index, so that candidates compare by distance, then by
#: index.
_INDEX_BITS = 32
_INDEX_MASK = (1 << _INDEX_BITS) - 1
_FARTHEST = (1 << 63) - 1


@compiled
def _first_at_least(values: I64, start: Any, stop: Any, value: Any) -> Any:
    """Find the first of ``start`` to ``stop`` with at least ``value``, or ``stop``; values must ascend."""
    while start < stop:
        middle = (start + stop) // 2
        if values[middle] < value:
            start = middle + 1
        else:
            stop = middle
    return start


@compiled
def _move(values: I64, windows: I64, k: Any, value: Any, radius: Any) -> None:
    """Move window ``k`` of a table on to ``value``, which is no less than the one before; values must ascend."""
    end = windows[k, _END]
    start = windows[k, _FROM]
    while start < end and values[start] < value - radius:
        start += 1
    stop = max(start, windows[k, _TO])
    while stop < end and values[stop] <= value + radius:
        stop += 1
    windows[k, _FROM], windows[k, _TO] = start, stop


@compiled
def _slices_near(lattice: Lattice, row: Any, radius: Any) -> I64:
    """Return the slices of the window around ``row``, as a table of windows on their rows.

    Its own slice comes first, then those before, then, if they can contain earlier anchors, those after.
    """
    own = lattice.row_slice[row]
    lowest = _first_at_least(lattice.slice_z, 0, own, lattice.slice_z[own] - radius)
    end = own + 1
    if len(lattice.ranks):
        end = _first_at_least(lattice.slice_z, own, len(lattice.slice_z), lattice.slice_z[own] + radius + 1)
    slices = np.empty((end - lowest, 4), np.int64)
    for s in range(end - lowest):
        slices[s, _SLICE] = own - s if s <= own - lowest else lowest + s
        start, stop = lattice.slice_starts[slices[s, _SLICE]], lattice.slice_starts[slices[s, _SLICE] + 1]
        slices[s, _FROM] = _first_at_least(lattice.row_y, start, stop, lattice.row_y[row] - radius)
        slices[s, _TO] = slices[s, _FROM]
        slices[s, _END] = stop
    return slices


@compiled
def _rows_near(lattice: Lattice, slices: I64, row: Any, first_x: Any, radius: Any) -> I64:
    """Move ``slices`` on to ``row``; return their rows, as a table of windows that start at ``first_x``.

    In raster order the rows end with ``row`` itself.
    """
    own, y = lattice.row_slice[row], lattice.row_y[row]
    last = len(lattice.row_y) if len(lattice.ranks) else row + 1
    count = 0
    for s in range(len(slices)):
        _move(lattice.row_y, slices, s, y, radius)
        count += min(slices[s, _TO], last) - slices[s, _FROM]
    rows = np.empty((count, 4), np.int64)
    k = 0
    for s in range(len(slices)):
        dz = lattice.slice_z[own] - lattice.slice_z[slices[s, _SLICE]]
        for other in range(slices[s, _FROM], min(slices[s, _TO], last)):
            dy = lattice.row_y[other] - y
            start, stop = lattice.row_starts[other], lattice.row_starts[other + 1]
            rows[k, _FROM] = _first_at_least(lattice.x, start, stop, first_x - radius)
            rows[k, _TO] = rows[k, _FROM]
            rows[k, _END] = stop
            rows[k, _SQUARE] = dy * dy + dz * dz
            k += 1
    return rows


@compiled
def _row_of(lattice: Lattice, anchor: Any) -> Any:
    return _first_at_least(lattice.row_starts, 0, len(lattice.row_starts), anchor + 1) - 1


@compiled
def count_in_window(lattice: Lattice, first: int, last: int, radius: int, counts: I32) -> None:
    """Count the anchors before an anchor in its window, for anchors ``first`` to ``last``.

    Args:
        lattice: all anchors.
        first, last: range of anchors.
        radius: radius of the window along each axis.
        counts: ``[N] int32``, filled from ``first`` to ``last``.
    """
    i = first
    row = _row_of(lattice, first)
    slices = _slices_near(lattice, row, radius)
    while i < last:
        if i > first and lattice.row_slice[row] != lattice.row_slice[row - 1]:
            slices = _slices_near(lattice, row, radius)
        rows = _rows_near(lattice, slices, row, lattice.x[i], radius)
        row += 1
        stop_row = min(last, lattice.row_starts[row])
        while i < stop_row:
            count = 0
            for k in range(len(rows)):
                _move(lattice.x, rows, k, lattice.x[i], radius)
                if len(lattice.ranks):
                    for j in range(rows[k, _FROM], rows[k, _TO]):
                        count += 1 if lattice.ranks[j] < lattice.ranks[i] else 0
                else:
                    count += min(rows[k, _TO], i) - rows[k, _FROM]
            counts[i] = count
            i += 1


@compiled
def _collect_nearest(lattice: Lattice, rows: I64, i: Any, radius: Any, keep: Any, found: I64) -> None:
    """Move the ``keep`` least candidates of anchor ``i`` in order to the head of ``found``; there are no fewer."""
    size = 0
    worst = _FARTHEST
    for k in range(len(rows)):
        if rows[k, _SQUARE] << _INDEX_BITS > worst:
            continue
        _move(lattice.x, rows, k, lattice.x[i], radius)
        ranked = len(lattice.ranks) > 0
        for j in range(rows[k, _FROM], rows[k, _TO] if ranked else min(rows[k, _TO], i)):
            if ranked and lattice.ranks[j] >= lattice.ranks[i]:
                continue
            dx = lattice.x[j] - lattice.x[i]
            candidate = ((dx * dx + rows[k, _SQUARE]) << _INDEX_BITS) + j
            if candidate > worst:
                continue
            if size == 2 * keep:
                found[:size].sort()
                size = keep
                worst = found[keep - 1]
            found[size] = candidate
            size += 1
    found[:size].sort()


@compiled
def fill_nearest(lattice: Lattice, first: int, last: int, radius: int, counts: I32, starts: I64, indices: I32) -> None:
    """List the nearest anchors before an anchor in its window, for anchors ``first`` to ``last``.

    Args:
        lattice, first, last, radius: as for :func:`count_in_window`.
        counts: ``[N] int32``, the result of that function.
        starts: ``[N + 1] int64``, anchor ``i`` gets the ``starts[i + 1] - starts[i]`` nearest.
        indices: ``[starts[N]] int32``, filled for these anchors, by squared distance and index.
    """
    room = 0
    for i in range(first, last):
        room = max(room, min(np.int64(counts[i]), 2 * (starts[i + 1] - starts[i])))
    found = np.empty(room, np.int64)
    i = first
    row = _row_of(lattice, first)
    slices = _slices_near(lattice, row, radius)
    while i < last:
        if i > first and lattice.row_slice[row] != lattice.row_slice[row - 1]:
            slices = _slices_near(lattice, row, radius)
        rows = _rows_near(lattice, slices, row, lattice.x[i], radius)
        row += 1
        stop_row = min(last, lattice.row_starts[row])
        while i < stop_row:
            keep = starts[i + 1] - starts[i]
            if keep:
                _collect_nearest(lattice, rows, i, radius, keep, found)
                for n in range(keep):
                    indices[starts[i] + n] = found[n] & _INDEX_MASK
            i += 1


@compiled
def fill_waves(starts: I64, indices: I32, sequence: I64, waves: I32) -> int:
    """Give each anchor the wave after the last of its neighbours' waves; return the number of waves.

    Args:
        starts, indices: see ``neighbours.Neighbours``.
        sequence: ``[N] int64``, anchors in order of coding.
        waves: ``[N] int32``, filled.
    """
    count = 0
    for i in sequence:
        wave = 0
        for entry in range(starts[i], starts[i + 1]):
            wave = max(wave, waves[indices[entry]] + 1)
        waves[i] = wave
        count = max(count, wave + 1)
    return count


@compiled
def sort_by_wave(waves: I32, starts: I64, order: I64) -> None:
    """List the anchors by wave; those of a wave keep their order.

    Args:
        waves: ``[N] int32``.
        starts: ``[W + 1] int64``, filled: where each wave begins in ``order``.
        order: ``[N] int64``, filled.
    """
    starts[:] = 0
    for i in range(len(waves)):
        starts[waves[i] + 1] += 1
    for wave in range(len(starts) - 1):
        starts[wave + 1] += starts[wave]
    places = starts.copy()
    for i in range(len(waves)):
        order[places[waves[i]]] = i
        places[waves[i]] += 1

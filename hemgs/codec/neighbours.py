"""The anchors of an anchor's context, which are the nearest of those coded before it, and the resulting waves.

Coding order is raster order (z slowest, x fastest). A window is a cube of voxels around the anchor. The nearest of the
earlier anchors in it are kept. This is the adaptive context selection of HEMGS (arXiv 2411.18473). Every encoder and
decoder finds the same anchors: coordinates are integers, equal distances go to the earlier anchor, and threads only
divide the work.

Owns the lists of neighbours, and the waves of anchors that are decoded together. Does not own the use of a neighbour's
values.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import numba
import numpy as np
from numpy.typing import NDArray

from hemgs.codec.neighbours_kernels import Lattice, count_in_window, fill_nearest, fill_waves, sort_by_wave
from hemgs.codec.settings import HASHED, MAX_AUTOMATIC, MAX_RADIUS, ContextWindow
from hemgs.core.errors import ConfigError

#: Number of anchors in one piece of a thread's work.
CHUNK = 4096
#: Increment and factors of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014).
_SPLITMIX = tuple(np.uint64(value) for value in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))
#: Coordinates of one axis must span less than this, so that no difference overflows.
MAX_SPAN = 1 << 62
#: Mean number of earlier anchors that a window must contain where its multiplier is chosen. The published window
#: contains 6.15 on playroom (arXiv 2411.18473, Table 4).
ENOUGH = 6.0
#: Largest mean number of neighbours. The bonsai on voxels of 0.1 has the most of all measured captures: 321 in the
#: published window, if all are kept (29 on voxels of 0.02). The limit is twice that.
MAX_MEAN_COUNT = 640
#: Largest mean number of earlier anchors in a window. With the multiplier 4 of the wide field, that bonsai's surfaces
#: have up to 16 times 321. The limit is six times that.
MAX_MEAN_IN_WINDOW = 1 << 15


@dataclass(frozen=True)
class Neighbours:
    """The context of every anchor; N anchors, P pairs.

    Attributes:
        starts: ``[N + 1] int64``; the neighbours of anchor ``i`` are ``indices[starts[i]:starts[i + 1]]``.
        indices: ``[P] int32``, anchors; of one anchor by squared distance, then by index.
        num_in_window: ``[N] int32``, earlier anchors in the window before the nearest were chosen.
        order: ``[N] int64``, anchors in order of coding; ``None`` for the order they are in.
    """

    starts: NDArray[np.int64]
    indices: NDArray[np.int32]
    num_in_window: NDArray[np.int32]
    order: NDArray[np.int64] | None = None

    @property
    def num_anchors(self) -> int:
        """Number of anchors, with neighbours or without."""
        return len(self.num_in_window)

    @property
    def mean_count(self) -> float:
        """Neighbours of an anchor on average; 0 without anchors."""
        return len(self.indices) / max(1, self.num_anchors)

    @property
    def max_count(self) -> int:
        """Most neighbours of an anchor; 0 without anchors."""
        return int(np.diff(self.starts).max(initial=0))


@dataclass(frozen=True)
class Waves:
    """Anchors in groups that need earlier groups only; N anchors, W waves.

    Attributes:
        order: ``[N] int64``, anchors by wave, then by index.
        starts: ``[W + 1] int64``; wave ``w`` is ``order[starts[w]:starts[w + 1]]``, never empty.
    """

    order: NDArray[np.int64]
    starts: NDArray[np.int64]


def find_neighbours(coords: NDArray[np.int64], window: ContextWindow) -> Neighbours:
    """Find the context of every anchor.

    The function uses as many threads as numba would. Its memory is about 100 bytes an anchor, in addition to the
    result. The result takes at most 4 bytes for each of :data:`MAX_MEAN_COUNT` neighbours an anchor.

    Args:
        coords: ``[N, 3] int64`` lattice coordinates (x, y, z) in raster order; equal ones are neighbours at distance 0.
        window: which earlier anchors count.

    Raises:
        ConfigError: the window contains or keeps too many anchors; this is checked before they are listed.
        ValueError: coordinates are not ``[N, 3] int64`` or not in raster order, or span more than ``MAX_SPAN``.
    """
    lattice, order = _lattice(coords), None
    counts = _counts(lattice, window)
    # Windows of every order contain as many pairs as those of raster order, where counting needs no loop over pairs.
    _check_mean("anchors in a window", counts, MAX_MEAN_IN_WINDOW)
    if window.order == HASHED:
        order = hashed_order(coords)
        ranks = np.empty_like(order)
        ranks[order] = np.arange(len(order))
        lattice = lattice._replace(ranks=ranks)
        counts = _counts(lattice, window)
    kept = np.minimum(counts, window.max_neighbours) if window.max_neighbours else counts
    _check_mean("neighbours", kept, MAX_MEAN_COUNT)
    starts = np.zeros(len(kept) + 1, np.int64)
    np.cumsum(kept, out=starts[1:])
    indices = np.empty(starts[-1], np.int32)
    _run(partial(fill_nearest, lattice), len(kept), (window.radius, counts, starts, indices))
    return Neighbours(starts, indices, counts, order)


def hashed_order(coords: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sort anchors by a hash of their location, ``[N] int64``; equal hashes keep their order.

    An order that is independent of location gives short chains of neighbours, and neighbours on all sides.

    Args:
        coords: ``[N, 3] int64``.
    """
    mixed = np.zeros(len(coords), np.uint64)
    for axis in coords.view(np.uint64).T:
        mixed = mixed + axis + _SPLITMIX[0]
        for shift, factor in ((30, _SPLITMIX[1]), (27, _SPLITMIX[2])):
            mixed = (mixed ^ (mixed >> np.uint64(shift))) * factor
        mixed ^= mixed >> np.uint64(31)
    return np.argsort(mixed, kind="stable").astype(np.int64)


def chosen_multiplier(coords: NDArray[np.int64], window: ContextWindow) -> int:
    """Return the least multiplier with which the window contains :data:`ENOUGH` earlier anchors on average.

    Args:
        coords: ``[N, 3] int64`` in raster order.
        window: window, of which only the size is used.

    Returns:
        1 to :data:`MAX_AUTOMATIC`, within :data:`MAX_RADIUS`; the largest of these if none is enough.

    Raises:
        ValueError: as for :func:`find_neighbours`.
    """
    lattice, most = _lattice(coords), min(MAX_AUTOMATIC, MAX_RADIUS // max(1, window.size // 2))
    for multiplier in range(1, most):
        counts = _counts(lattice, replace(window, multiplier=multiplier))
        if counts.sum() >= ENOUGH * len(counts):
            return multiplier
    return most


def wavefronts(neighbours: Neighbours) -> Waves:
    """Group anchors by the length of the chain of neighbours that leads to them.

    An anchor without neighbours is in wave 0, any other in the wave after the last of its neighbours' waves. Decoding
    wave by wave gives the same values as decoding anchor by anchor.
    """
    waves = np.empty(neighbours.num_anchors, np.int32)
    order = neighbours.order
    sequence = np.arange(len(waves)) if order is None else order
    starts = np.empty(fill_waves(neighbours.starts, neighbours.indices, sequence, waves) + 1, np.int64)
    order = np.empty(neighbours.num_anchors, np.int64)
    sort_by_wave(waves, starts, order)
    return Waves(order, starts)


def _check_mean(what: str, counts: NDArray[np.int32], most: int) -> None:
    """Raise ConfigError if there are more than ``most`` on average."""
    if counts.sum(dtype=np.int64) > most * len(counts):
        raise ConfigError(
            f"context: {counts.mean():.0f} {what} for each of {len(counts)} anchors, at most {most} are allowed",
            "set smaller context_neighbours, context_multiplier or context_window, or a smaller voxel_size",
        )


def _counts(lattice: Lattice, window: ContextWindow) -> NDArray[np.int32]:
    """Count the earlier anchors in the window of each, ``[N]``."""
    counts = np.empty(len(lattice.x), np.int32)
    _run(partial(count_in_window, lattice), len(counts), (window.radius, counts))
    return counts


def _lattice(coords: NDArray[np.int64]) -> Lattice:
    if coords.ndim != 2 or coords.shape[1] != 3 or coords.dtype != np.int64:
        raise ValueError(f"coordinates must be [N, 3] int64, not {coords.dtype} {list(coords.shape)}")
    low = coords.min(axis=0, initial=np.iinfo(np.int64).max)
    high = coords.max(axis=0, initial=np.iinfo(np.int64).min)
    for axis, least, most in zip("xyz", low, high, strict=True):
        if int(most) - int(least) >= MAX_SPAN:
            raise ValueError(f"coordinates {least} to {most} along {axis}: the span must stay under 2^62")
    x, y, z = (np.ascontiguousarray(coords[:, axis] - low[axis]) for axis in range(3))
    new_slice = z[1:] != z[:-1]
    new_row = new_slice | (y[1:] != y[:-1])
    ascending = np.where(new_slice, z[1:] > z[:-1], np.where(new_row, y[1:] > y[:-1], x[1:] >= x[:-1]))
    if not ascending.all():
        place = int(ascending.argmin())
        raise ValueError(
            f"coordinates are not in raster order: {coords[place].tolist()} precedes "
            f"{coords[place + 1].tolist()} (anchor {place})"
        )
    row_firsts = np.flatnonzero(np.concatenate((np.ones(min(1, len(x)), bool), new_row)))
    row_z = z[row_firsts]
    slice_z, slice_firsts, row_slice = np.unique(row_z, return_index=True, return_inverse=True)
    return Lattice(
        x=x,
        row_y=y[row_firsts],
        row_slice=row_slice.astype(np.int64),
        row_starts=np.append(row_firsts, len(x)).astype(np.int64),
        slice_z=slice_z,
        slice_starts=np.append(slice_firsts, len(row_z)).astype(np.int64),
        ranks=np.empty(0, np.int64),
    )


def _run(kernel: Callable[..., None], num_anchors: int, arguments: tuple[object, ...]) -> None:
    """Run a kernel on all anchors, in chunks."""
    chunks = [(first, min(first + CHUNK, num_anchors)) for first in range(0, num_anchors, CHUNK)]
    if not chunks:
        return
    # Kernels release the interpreter lock. Numba's own threads must not start in two Python threads at once.
    pool = ThreadPoolExecutor(min(numba.get_num_threads(), len(chunks)))
    try:
        for _ in pool.map(lambda chunk: kernel(*chunk, *arguments), chunks):
            pass
    finally:
        pool.shutdown(cancel_futures=True)

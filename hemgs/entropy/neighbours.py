"""Which anchors an anchor's context is made of: the nearest of those coded before it, and the order this permits.

Coding order is raster order (z slowest, x fastest). A window is a cube of voxels around the anchor; of the anchors in
it that stand earlier in the order, the nearest are kept: the adaptive context selection of HEMGS (arXiv 2411.18473).
Every encoder and decoder finds the same anchors: coordinates are integers, equal distances go to the earlier anchor,
and threads only divide the work.

Owns the lists of neighbours and the waves of anchors that can be decoded at once. Does not own what is read of a
neighbour.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import numba
import numpy as np
from numpy.typing import NDArray

from hemgs.entropy.neighbours_kernels import Lattice, count_in_window, fill_nearest, fill_waves, sort_by_wave

#: Anchors that a thread takes at once.
CHUNK = 4096
#: Windows end here, voxels: squared distances and indices must share 63 bits.
MAX_RADIUS = 1 << 14
#: Coordinates of one axis must span less than this, so that no difference overflows.
MAX_SPAN = 1 << 62
#: A multiplier that is yet to be chosen (:func:`chosen_multiplier`), the largest that is chosen, and how many earlier
#: anchors the window must then hold on average: as many as the published window does on playroom (6.15; arXiv
#: 2411.18473, Table 4).
AUTOMATIC, MAX_AUTOMATIC, ENOUGH = 0, 16, 6.0


@dataclass(frozen=True)
class ContextWindow:
    """Which earlier anchors are near enough.

    Attributes:
        size: voxels along each edge of the window, odd.
        max_neighbours: the nearest that are kept; 0 keeps all.
        multiplier: lattice voxels per voxel of the window; :data:`AUTOMATIC` until it is chosen.
    """

    size: int = 25
    max_neighbours: int = 20
    multiplier: int = 1

    def __post_init__(self) -> None:
        if self.size < 1 or self.size % 2 == 0:
            raise ValueError(f"a context window has an odd number of voxels along an edge, not {self.size}")
        if self.max_neighbours < 0:
            raise ValueError(f"the number of neighbours must be 0 (all) or more, not {self.max_neighbours}")
        if self.multiplier < 0 or self.size // 2 * self.multiplier > MAX_RADIUS:
            raise ValueError(
                f"a window of {self.size} voxels times {self.multiplier}: the factor must be at least 0, and the "
                f"window must reach {MAX_RADIUS} lattice voxels or less"
            )

    @property
    def radius(self) -> int:
        """Lattice voxels that the window reaches from its anchor, along each axis.

        Raises:
            ValueError: the multiplier is yet to be chosen.
        """
        if self.multiplier == AUTOMATIC:
            raise ValueError("the multiplier of a context window has not been chosen")
        return self.size // 2 * self.multiplier


@dataclass(frozen=True)
class Neighbours:
    """The context of every anchor; N anchors, P pairs.

    Attributes:
        starts: ``[N + 1] int64``; the neighbours of anchor ``i`` are ``indices[starts[i]:starts[i + 1]]``.
        indices: ``[P] int32``, anchors; of one anchor by squared distance, then by index.
        num_in_window: ``[N] int32``, earlier anchors in the window before the nearest were chosen.
    """

    starts: NDArray[np.int64]
    indices: NDArray[np.int32]
    num_in_window: NDArray[np.int32]

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


def find_neighbours(
    coords: NDArray[np.int64], window: ContextWindow, progress: Callable[[int, int], None] | None = None
) -> Neighbours:
    """Finds the context of every anchor.

    Uses as many threads as numba would. Memory beside the result stays within some 100 bytes an anchor.

    Args:
        coords: ``[N, 3] int64`` lattice coordinates (x, y, z) in raster order; equal ones are neighbours at distance 0.
        window: which earlier anchors count.
        progress: called between parts of the work, with the number of parts done and of all.

    Raises:
        ValueError: not ``[N, 3] int64``, not in raster order, or wider than ``MAX_SPAN``.
    """
    lattice = _lattice(coords)
    num_anchors = len(lattice.x)
    chunks = _chunks(num_anchors)
    counts = _counts(lattice, window, progress)
    kept = np.minimum(counts, window.max_neighbours) if window.max_neighbours else counts
    starts = np.zeros(num_anchors + 1, np.int64)
    np.cumsum(kept, out=starts[1:])
    indices = np.empty(starts[-1], np.int32)
    _run(partial(fill_nearest, lattice), chunks, (window.radius, counts, starts, indices), progress, len(chunks))
    return Neighbours(starts, indices, counts)


def chosen_multiplier(coords: NDArray[np.int64], window: ContextWindow) -> int:
    """The least multiplier with which the window holds :data:`ENOUGH` earlier anchors on average.

    Args:
        coords: ``[N, 3] int64`` in raster order.
        window: whose size counts.

    Returns:
        1 to :data:`MAX_AUTOMATIC`, the last where even that is not enough.

    Raises:
        ValueError: as of :func:`find_neighbours`.
    """
    lattice = _lattice(coords)
    for multiplier in range(1, MAX_AUTOMATIC):
        counts = _counts(lattice, replace(window, multiplier=multiplier), None)
        if counts.sum() >= ENOUGH * len(counts):
            return multiplier
    return MAX_AUTOMATIC


def wavefronts(neighbours: Neighbours) -> Waves:
    """Groups anchors by how long a chain of neighbours leads to them.

    An anchor without neighbours is in wave 0, any other in the wave after the last of its neighbours' waves. Decoding
    wave by wave gives what decoding anchor by anchor gives.
    """
    waves = np.empty(neighbours.num_anchors, np.int32)
    starts = np.empty(fill_waves(neighbours.starts, neighbours.indices, waves) + 1, np.int64)
    order = np.empty(neighbours.num_anchors, np.int64)
    sort_by_wave(waves, starts, order)
    return Waves(order, starts)


def _chunks(num_anchors: int) -> list[tuple[int, int]]:
    return [(first, min(first + CHUNK, num_anchors)) for first in range(0, num_anchors, CHUNK)]


def _counts(lattice: Lattice, window: ContextWindow, progress: Callable[[int, int], None] | None) -> NDArray[np.int32]:
    """Earlier anchors in the window of each, ``[N]``."""
    counts = np.empty(len(lattice.x), np.int32)
    _run(partial(count_in_window, lattice), _chunks(len(counts)), (window.radius, counts), progress, 0)
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
            f"coordinates are not in raster order: {coords[place].tolist()} stands before "
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
    )


def _run(
    kernel: Callable[..., None],
    chunks: list[tuple[int, int]],
    arguments: tuple[object, ...],
    progress: Callable[[int, int], None] | None,
    done: int,
) -> None:
    """Runs a kernel on every chunk. ``done`` are the chunks of earlier passes; there are two passes."""
    if not chunks:
        return
    # Kernels release the interpreter lock. Numba's own threads must not start in two Python threads at once.
    pool = ThreadPoolExecutor(min(numba.get_num_threads(), len(chunks)))
    try:
        for _ in pool.map(lambda chunk: kernel(*chunk, *arguments), chunks):
            done += 1
            if progress is not None:
                progress(done, 2 * len(chunks))
    finally:
        pool.shutdown(cancel_futures=True)

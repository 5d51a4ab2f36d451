"""Levels of anchors, coarse to fine, from their locations alone (ContextGS, arXiv 2405.20721, section 4.1).

Level 0 contains all anchors. Cells of level k + 1 are ``scale_k`` lattice units wide. Level k + 1 contains the first
anchor of every cell that anchors of level k occupy. An anchor belongs to the coarsest level that contains it, and is
coded with it. Its context is the anchor of the next coarser level in its cell.

Owns the level of each anchor. All of it is integer arithmetic, so that a decoder finds the same levels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hemgs.anchor_codec.prediction import Integers
from hemgs.coding.locations import raster_order

#: Fractional bits of scales.
SCALE_BITS = 8
ONE = 1 << SCALE_BITS
#: Share of a level's anchors that the next coarser one has, and the tolerance of that share (released code).
RATIO, TOLERANCE = 0.2, 0.01


@dataclass(frozen=True)
class Levels:
    """The levels of N anchors.

    Attributes:
        level: ``[N] int64``, 0 for the finest.
        representative: ``[N] int64``, the anchor of the next coarser level whose cell it falls into; itself at the
            coarsest level.
        num_levels: number of levels; coarse ones may contain all anchors.
    """

    level: Integers
    representative: Integers
    num_levels: int

    def coarse_to_fine(self) -> Iterator[Integers]:
        """Return the anchors of each level in ascending order, ``[n] int64``; the coarsest level first."""
        for level in reversed(range(self.num_levels)):
            yield np.flatnonzero(self.level == level)


def build_levels(coords: Integers, scales: Sequence[Sequence[int]]) -> Levels:
    """Find the levels of anchors in the order given.

    Args:
        coords: ``[N, 3] int64`` locations, less than ``2^40`` in size; the first anchor of a cell represents it.
        scales: widths of cells by axis, from the finest level up, in ``1 / ONE`` of a location unit, at least 1.
    """
    level, representative = np.zeros(len(coords), np.int64), np.arange(len(coords))
    members = np.arange(len(coords))
    for number, scale in enumerate(scales, 1):
        first, cell = _first_of_cells(_cells(coords[members], np.asarray(scale, np.int64)))
        chosen = members[first]
        representative[members] = chosen[cell]
        members = np.sort(chosen)
        level[members] = number
    representative[members] = members
    return Levels(level, representative, len(scales) + 1)


def levels_in_training(coords: Integers, kept: NDArray[np.bool_], scales: Sequence[int]) -> Levels:
    """Find the levels of all anchors of a model, where kept anchors have the levels of the bitstream.

    Kept anchors come first, in raster order, so that none of them depends on one that will not be coded.

    Args:
        coords: ``[N, 3] int64`` lattice coordinates.
        kept: ``[N] bool``, which anchors have an offset left.
        scales: scales of :func:`choose_scales`.
    """
    raster = raster_order(coords)
    order = np.concatenate([raster[kept[raster]], raster[~kept[raster]]])
    found = build_levels(coords[order], [(scale,) * 3 for scale in scales])
    level, representative = np.empty_like(found.level), np.empty_like(found.representative)
    level[order], representative[order] = found.level, order[found.representative]
    return Levels(level, representative, found.num_levels)


def choose_scales(coords: Integers, num_levels: int) -> list[int]:
    """Choose scales such that each level has about a fifth of the anchors of the one before it.

    As in the released code, it bisects between the scale before and the width of the scene. It stops when the share is
    within the tolerance or the interval is narrower than a lattice unit.

    Args:
        coords: ``[N, 3] int64`` lattice coordinates, N at least 1.
        num_levels: number of levels; there is one scale less.

    Returns:
        Integers in ``1 / ONE`` of a lattice unit.
    """
    widest = int((coords.max(axis=0) - coords.min(axis=0)).max() + 1) * ONE
    scales: list[int] = []
    members, low = coords[raster_order(coords)], ONE
    for _ in range(num_levels - 1):
        scales.append(_bisect(members, low, max(widest, low)))
        low = scales[-1]
        members = members[np.sort(_first_of_cells(_cells(members, np.array([low] * 3)))[0])]
    return scales


def _bisect(coords: Integers, low: int, high: int) -> int:
    """Find the scale between two at which the share of occupied cells is within the tolerance."""
    while True:
        middle = (low + high) // 2
        share = len(_first_of_cells(_cells(coords, np.array([middle] * 3)))[0]) / len(coords)
        if abs(share - RATIO) < TOLERANCE or high - low < ONE:
            return middle
        low, high = (middle, high) if share > RATIO else (low, middle)


def _cells(coords: Integers, scale: Integers) -> Integers:
    """Return the cell of each anchor, ``[n, 3]``: coordinates over the scale, rounded, halves upwards."""
    return (coords * (2 * ONE) + scale) // (2 * scale)


def _first_of_cells(cells: Integers) -> tuple[Integers, Integers]:
    """Return the first row of each distinct cell, ``[C] int64``, and the number of each row's cell, ``[n] int64``."""
    order = np.lexsort(cells.T)  # stable, so that the first of equal rows stays the first
    starts = np.ones(len(cells), bool)
    starts[1:] = (cells[order[1:]] != cells[order[:-1]]).any(axis=1)
    cell = np.empty(len(cells), np.int64)
    cell[order] = np.cumsum(starts) - 1
    return order[starts].astype(np.int64), cell

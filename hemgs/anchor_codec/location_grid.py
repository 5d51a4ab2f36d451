"""The hash grid over an anchor set's locations: its bounds, its exact lookup, its section of a bitstream.

Owns the way from lattice coordinates to the grid. Does not own the grid (``hash_grid``) or the coding of signs
(``hemgs.coding.signs``).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hemgs.anchor_codec.hash_grid import fixed_features, used_rows
from hemgs.anchor_codec.settings import HashGridSettings
from hemgs.anchor_codec.streams import chunks
from hemgs.coding.signs import decode_signs, encode_signs

Bounds = tuple[int, int, int]
#: A decoder's value of signs that files leave out, since no feature depends on them.
UNUSED_SIGN = 1


def fit_bounds(coords: Tensor, low: Tensor, high: Tensor) -> None:
    """Write the box of lattice coordinates ``[N, 3] int64`` into ``low`` and ``high`` (``[3] int64``)."""
    low.copy_(coords.amin(dim=0))
    high.copy_(torch.maximum(coords.amax(dim=0), low + 1))


def unit_points(coords: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Map lattice coordinates ``[n, 3] int64`` to the unit cube of the bounds, ``[n, 3] float32``, and clamp them."""
    span = (high - low).to(torch.float64)
    return ((coords - low).to(torch.float64) / span).clamp(0, 1).to(torch.float32)


def stored_bounds(low: Tensor, high: Tensor, strides: Sequence[float]) -> tuple[Bounds, Bounds]:
    """Convert bounds to stored location units, widened to whole ones; ``strides`` are lattice units per stored unit."""
    least = [int(np.floor(value / stride)) for value, stride in zip(low.tolist(), strides, strict=True)]
    most = [int(np.ceil(value / stride)) for value, stride in zip(high.tolist(), strides, strict=True)]
    return (least[0], least[1], least[2]), (most[0], most[1], most[2])


def exact_lookup(grid: HashGridSettings, signs: Tensor, coords: Tensor, low: Bounds, high: Bounds) -> Tensor:
    """Return hash-grid features ``[N, F] int16``: means of signs, with ``ACTIVATION_BITS`` fractional bits.

    Args:
        grid: sizes of the grid.
        signs: ``[num_entries, features] int8``.
        coords: ``[N, 3] int64`` stored locations; their device does the arithmetic.
        low, high: bounds in stored location units.
    """
    table = signs.to(coords.device)
    least, most = (torch.tensor(bound, device=coords.device) for bound in (low, high))
    parts = [fixed_features(grid, table, coords[rows], least, most) for rows in chunks(len(coords))]
    return torch.cat([part.to(torch.int16) for part in parts])


def used_entries(grid: HashGridSettings, coords: Tensor, low: Bounds, high: Bounds) -> NDArray[np.bool_]:
    """Return which rows of the table features depend on, ``[num_entries]``; arguments as in :func:`exact_lookup`."""
    least, most = (torch.tensor(bound, device=coords.device) for bound in (low, high))
    used = torch.zeros(grid.num_entries, dtype=torch.bool, device=coords.device)
    for rows in chunks(len(coords)):
        used |= used_rows(grid, coords[rows], least, most)
    return used.cpu().numpy()


def encode_grid(signs: NDArray[np.int8], grid: HashGridSettings, used: NDArray[np.bool_] | None = None) -> bytes:
    """Encode the section of a grid's signs, ``[num_entries, features]``, or of the rows in use only."""
    stored = np.ones(len(signs), np.bool_) if used is None else used
    return encode_signs([signs[level.rows][stored[level.rows]].ravel() for level in grid.levels])


def decode_grid(section: bytes, grid: HashGridSettings, used: NDArray[np.bool_] | None = None) -> NDArray[np.int8]:
    """Decode a section of :func:`encode_grid`; signs that are not stored are :data:`UNUSED_SIGN`.

    Raises:
        BitstreamError: the section is damaged or is not of such a grid.
    """
    stored = [level.entries if used is None else int(used[level.rows].sum()) for level in grid.levels]
    # The section must contain the signs that the settings promise before memory for them is allocated.
    signs = np.concatenate(decode_signs(section, [num * grid.features for num in stored])).reshape(-1, grid.features)
    if used is None:
        return signs
    every = np.full((grid.num_entries, grid.features), UNUSED_SIGN, np.int8)
    every[used] = signs
    return every

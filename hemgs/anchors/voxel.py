"""The lattice of anchors: integer coordinates, sortable keys, spacing of points.

Owns the range of coordinates and the order of keys. Does not own the coding of locations (``hemgs.coding``).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor

from hemgs.core.errors import TrainingError
from hemgs.splats.init import MIN_SQUARED_DISTANCE, NUM_NEIGHBOURS, mean_squared_distances

#: Bits per axis in a key. Coordinates are in [-2^20, 2^20), a kilometre in each direction at the finest published voxel
#: of 1 mm.
KEY_BITS = 21
COORD_LIMIT = 1 << (KEY_BITS - 1)


def in_range(coords: Tensor) -> Tensor:
    """Return which of ``[N, 3]`` coordinates (integer or floating) have keys; ``[N] bool``."""
    return ((coords >= -COORD_LIMIT) & (coords < COORD_LIMIT)).all(dim=1)


def cell_keys(coords: Tensor) -> Tensor:
    """Return one integer per cell, equal only for equal cells, ascending in raster order (x fastest, z slowest).

    Args:
        coords: ``[N, 3] int64`` in [-2^20, 2^20).

    Returns:
        ``[N] int64``, not negative.

    Raises:
        TrainingError: a coordinate is out of range.
    """
    if not bool(in_range(coords).all()):
        raise TrainingError(
            f"lattice coordinate {int(coords.abs().max())} lies beyond {COORD_LIMIT}", "choose a larger voxel_size"
        )
    x, y, z = (coords + COORD_LIMIT).unbind(dim=1)
    return (((z << KEY_BITS) | y) << KEY_BITS) | x


def cell_coords(keys: Tensor) -> Tensor:
    """Return the ``[N, 3] int64`` coordinates of keys of :func:`cell_keys`."""
    axis = (1 << KEY_BITS) - 1
    return torch.stack([keys & axis, (keys >> KEY_BITS) & axis, keys >> (2 * KEY_BITS)], dim=1) - COORD_LIMIT


def voxelize(points: NDArray[np.float32] | Tensor, voxel_size: float) -> Tensor:
    """Return the lattice points nearest to ``points``, each once, in raster order.

    Args:
        points: ``[P, 3]`` world coordinates, finite. Points further than 2^20 voxels from the origin are left out: they
            are outliers of the reconstruction.
        voxel_size: world units, positive.

    Returns:
        ``[N, 3] int64``, N between 1 and P.

    Raises:
        TrainingError: no point is left.
    """
    rounded = torch.round(torch.as_tensor(points, dtype=torch.float64) / voxel_size)
    rounded = rounded[in_range(rounded)]
    if len(rounded) == 0:
        raise TrainingError(
            f"none of {len(points)} initial points lies within {COORD_LIMIT} voxels of {voxel_size:g} from the origin",
            "choose a larger voxel_size, or check the scene's points",
        )
    return cell_coords(torch.unique(cell_keys(rounded.to(torch.int64))))


def median_spacing(points: NDArray[np.float32]) -> float:
    """Return the median distance of a point to its nearest other point: the default voxel size, world units.

    Raises:
        TrainingError: there are fewer than two distinct points.
    """
    distinct = np.unique(np.asarray(points, np.float64), axis=0)
    if len(distinct) < 2:
        raise TrainingError(
            f"{len(distinct)} distinct initial point(s) give no spacing to derive the voxel size from", "set voxel_size"
        )
    return float(np.median(cKDTree(distinct).query(distinct, k=2)[0][:, 1]))


def initial_log_scales(positions: Tensor) -> Tensor:
    """Return logarithms of root mean squared distances to the three nearest neighbours, as 3DGS starts Gaussians.

    Args:
        positions: ``[N, 3]`` distinct world coordinates.

    Returns:
        ``[N] float32``.

    Raises:
        TrainingError: there are fewer than four positions.
    """
    if len(positions) <= NUM_NEIGHBOURS:
        raise TrainingError(
            f"{len(positions)} anchor(s) to start from; at least {NUM_NEIGHBOURS + 1} are needed",
            "choose a smaller voxel_size, or give the scene more points",
        )
    squared = np.maximum(mean_squared_distances(positions.detach().cpu().numpy()), MIN_SQUARED_DISTANCE)
    return torch.from_numpy((0.5 * np.log(squared)).astype(np.float32)).to(positions.device)

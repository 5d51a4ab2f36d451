"""Initial points in a PLY file, as nerfstudio, 3DGS and scanners write them.

Owns the meaning of the properties. Does not own the format (``hemgs.core.ply``).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hemgs.core.errors import SceneError
from hemgs.core.ply import read_vertices
from hemgs.data.capture import UNCOLORED_LEVEL, PointCloud

_FIX = "export the points again as a PLY file with x y z and 8-bit red green blue"
_AXES = ("x", "y", "z")
_CHANNELS = ("red", "green", "blue")


def read_ply_points(path: Path) -> PointCloud:
    """Read points; without colours they are grey.

    Raises:
        SceneError: the file is missing, incomplete or not a PLY file, or has no positions or other colours.
    """
    vertices = read_vertices(path, _AXES, _FIX)
    names = vertices.dtype.names or ()
    xyz = np.stack([vertices[axis].astype(np.float64) for axis in _AXES], axis=1)
    if not set(_CHANNELS) & set(names):
        return PointCloud(xyz, np.full(xyz.shape, UNCOLORED_LEVEL, np.uint8))
    if any(channel not in names or vertices.dtype[channel] != np.uint8 for channel in _CHANNELS):
        raise SceneError(f"{path}: the colours are not red, green and blue of 8 bits", _FIX)
    return PointCloud(xyz, np.stack([vertices[channel] for channel in _CHANNELS], axis=1))

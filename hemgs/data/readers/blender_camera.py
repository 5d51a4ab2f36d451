"""The camera of one frame of a transforms file: lens, intrinsics and pose.

Owns the keys that Blender scripts, instant-ngp and nerfstudio write for them. Only perspective lenses without
distortion are supported. Does not own files, splits or images.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hemgs.core.types import Camera
from hemgs.data.capture import is_last_row

#: Values of ``camera_model`` that are pinholes if their distortion is zero (COLMAP's and nerfstudio's names).
PERSPECTIVE_MODELS = ("PINHOLE", "SIMPLE_PINHOLE", "PERSPECTIVE", "SIMPLE_RADIAL", "RADIAL", "OPENCV", "FULL_OPENCV")
#: Keys that select another projection if they are true (instant-ngp).
PROJECTION_KEYS = ("is_fisheye", "fisheye", "latlong", "equirectangular", "orthographic", "ortho", "ftheta_p0")
#: Lens distortion as instant-ngp and nerfstudio write it; only zero is supported.
DISTORTION_KEYS = ("k1", "k2", "k3", "k4", "k5", "k6", "p1", "p2", "distortion_params", "rolling_shutter")
_OPENGL_TO_OPENCV = np.diag([1.0, -1.0, -1.0, 1.0])


class LensError(ValueError):
    """A lens that a pinhole cannot represent."""


def frame_camera(name: str, frame: Mapping[str, Any], stored_size: Callable[[], tuple[int, int]]) -> Camera:
    """Return the camera of a frame.

    Args:
        name: of the view.
        frame: keys of the frame, over those of its file.
        stored_size: returns width and height of the image; called only if the frame does not contain them.

    Raises:
        LensError: the lens is not a pinhole.
        ValueError, KeyError, TypeError, OverflowError: a key is missing or has a value that cannot be used.
    """
    _check_lens(frame)
    pose = np.array(frame["transform_matrix"], np.float64)
    if pose.shape != (4, 4):
        raise ValueError(f"transform_matrix has the shape {pose.shape}, not 4x4")
    width, height = (int(frame["w"]), int(frame["h"])) if "w" in frame and "h" in frame else stored_size()
    if "fl_x" in frame:
        fx = float(frame["fl_x"])
    else:
        angle = float(frame["camera_angle_x"])
        if not 0.0 < angle < math.pi:
            raise ValueError(f"camera_angle_x is {angle}, not between 0 and π")
        fx = 0.5 * width / math.tan(0.5 * angle)
    fy = float(frame.get("fl_y", fx))
    cx, cy = float(frame.get("cx", 0.5 * width)), float(frame.get("cy", 0.5 * height))
    if not np.isfinite(pose).all():
        raise ValueError("transform_matrix has values that are not finite")
    if np.linalg.det(pose[:3, :3]) == 0.0 or not is_last_row(pose[3]):
        raise ValueError("transform_matrix is not a rotation and a translation")
    return Camera(name, width, height, fx, fy, cx, cy, _inverse(pose @ _OPENGL_TO_OPENCV))


def _check_lens(frame: Mapping[str, Any]) -> None:
    model = frame.get("camera_model")
    if model is not None and str(model).upper() not in PERSPECTIVE_MODELS:
        raise LensError(f"camera_model is {model!r}; supported are {', '.join(PERSPECTIVE_MODELS)}, without distortion")
    for key in PROJECTION_KEYS:
        if frame.get(key):
            raise LensError(f"{key} is {frame[key]!r}, which is not a pinhole camera")
    for key in DISTORTION_KEYS:
        if np.any(np.array(frame.get(key) or 0.0, np.float64) != 0.0):
            raise LensError(f"lens distortion {key} = {frame[key]} is not supported")


def _inverse(camera_to_world: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the inverse of an affine transform; its last row is exactly 0 0 0 1."""
    rotation = np.linalg.inv(camera_to_world[:3, :3])
    inverse = np.eye(4)
    inverse[:3, :3] = rotation
    inverse[:3, 3] = -rotation @ camera_to_world[:3, 3]
    return inverse

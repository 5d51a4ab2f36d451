"""Captures with ``transforms_*.json`` as Blender scripts write them (Synthetic-NeRF and similar datasets).

Owns the files' meaning: poses camera-to-world with OpenGL axes, a field of view or a focal length. Does not own
compositing, splits or resizing.
"""

from __future__ import annotations

import json
import math
import posixpath
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hemgs.core.errors import SceneError
from hemgs.core.types import Camera, Split
from hemgs.data.capture import (
    Capture,
    SourceView,
    check_camera,
    check_images_exist,
    is_last_row,
    path_inside,
    view_names,
)
from hemgs.data.images import image_size
from hemgs.data.readers.files import read_text

#: Suffixes that are tried, in this order, if a frame's path has none.
SUFFIXES = (".png", ".jpg", ".jpeg", ".JPG", ".PNG")
#: Lens distortion as instant-ngp and nerfstudio write it; only zero is supported.
DISTORTION_KEYS = ("k1", "k2", "k3", "k4", "p1", "p2")
_SPLIT_FILES: tuple[tuple[str, Split], ...] = (("transforms_train.json", "train"), ("transforms_test.json", "test"))
_UNSPLIT_FILE = "transforms.json"
_OPENGL_TO_OPENCV = np.diag([1.0, -1.0, -1.0, 1.0])


def read_blender(root: Path, split_kind: str = "files") -> Capture:
    """Read ``transforms_train.json`` and ``transforms_test.json``.

    Args:
        root: the capture's folder.
        split_kind: with ``every_nth`` a single ``transforms.json``, or one of the two files, is enough.

    Raises:
        SceneError: a file is missing or damaged, an image is missing, or a pose or lens cannot be used.
    """
    found = [(root / name, split) for name, split in _SPLIT_FILES if (root / name).is_file()]
    if split_kind == "files":
        for name, _ in _SPLIT_FILES:
            if not (root / name).is_file():
                raise SceneError(
                    f"{root} has no {name}, which the split by files needs",
                    "add it, or set protocol.split to {kind: every_nth, n: 8}",
                )
    views: list[SourceView] = []
    if found:
        for path, split in found:
            views += _read_frames(root, path, split)
    elif (root / _UNSPLIT_FILE).is_file():
        views = _read_frames(root, root / _UNSPLIT_FILE, None)
    else:
        raise SceneError(
            f"{root} has no transforms_train.json, transforms_test.json or transforms.json", "check the path"
        )
    _check_distinct(views, root)
    views.sort(key=lambda view: view.camera.name)
    return Capture(root, tuple(views))


def _read_frames(root: Path, path: Path, split: Split | None) -> list[SourceView]:
    try:
        record = json.loads(read_text(path, "save it as UTF-8"))
        frames = record["frames"]
        files = [_image_file(root, str(frame["file_path"]), path) for frame in frames]
    except (ValueError, KeyError, TypeError, RecursionError) as fault:
        raise SceneError(f"{path} is not a transforms file ({_reason(fault)})", "export it again") from fault
    check_images_exist(files, path, "put the images back, or remove their frames")
    names = view_names([file.relative_to(root).as_posix() for file in files])
    views = []
    for name, file, frame in zip(names, files, frames, strict=True):
        try:
            camera = _camera(name, file, {**record, **frame})
        except (ValueError, KeyError, TypeError, OverflowError) as fault:
            raise SceneError(
                f"{path}: frame {frame['file_path']!r} cannot be used ({_reason(fault)})", "export it again"
            ) from fault
        views.append(SourceView(check_camera(camera, path), file, split))
    return views


def _camera(name: str, file: Path, frame: Mapping[str, Any]) -> Camera:
    pose = np.array(frame["transform_matrix"], np.float64)
    if pose.shape != (4, 4):
        raise ValueError(f"transform_matrix has the shape {pose.shape}, not 4x4")
    distorted = [key for key in DISTORTION_KEYS if float(frame.get(key) or 0.0) != 0.0]
    if distorted:
        key = distorted[0]
        raise ValueError(f"lens distortion {key} = {frame[key]} is not supported; undistort the images")
    if "w" in frame and "h" in frame:
        width, height = int(frame["w"]), int(frame["h"])
    else:
        width, height = image_size(file)
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


def _inverse(camera_to_world: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the inverse of an affine transform; its last row is exactly 0 0 0 1."""
    rotation = np.linalg.inv(camera_to_world[:3, :3])
    inverse = np.eye(4)
    inverse[:3, :3] = rotation
    inverse[:3, 3] = -rotation @ camera_to_world[:3, 3]
    return inverse


def _image_file(root: Path, file_path: str, source: Path) -> Path:
    """Return the image file that a frame names, with or without its suffix."""
    file = path_inside(root, file_path, source, _path_fix(root, file_path, source))
    if file.is_file():
        return file
    for suffix in SUFFIXES:
        candidate = file.with_name(file.name + suffix)
        if candidate.is_file():
            return candidate
    return file


def _path_fix(root: Path, file_path: str, source: Path) -> str:
    """Return what helps where a frame names a file outside of the capture, as instant-ngp's converter does."""
    num_up = PurePosixPath(posixpath.normpath(file_path.replace("\\", "/"))).parts.count("..")
    if not 0 < num_up <= len(root.absolute().parents):
        return f"write the paths in {source.name} relative to {root}, and copy the images there"
    return (
        f"move {source.name} to {root.absolute().parents[num_up - 1]}, remove the leading {'../' * num_up} from its "
        "paths, and set the scene's path to that folder"
    )


def _check_distinct(views: list[SourceView], root: Path) -> None:
    names = [view.camera.name for view in views]
    repeated = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if repeated:
        raise SceneError(
            f"{root} uses the image {repeated[0]!r} more than once, or in both splits", "list every image exactly once"
        )


def _reason(fault: BaseException) -> str:
    return f"key {fault} is missing" if isinstance(fault, KeyError) else str(fault)

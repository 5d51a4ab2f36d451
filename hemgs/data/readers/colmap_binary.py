"""The binary form of a COLMAP model (``cameras.bin``, ``images.bin``, ``points3D.bin``).

Owns reading of files that may be damaged: every count is compared with the remaining bytes before anything is
allocated. Format: https://colmap.github.io/format.html, little-endian.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np

from hemgs.core.errors import SceneError
from hemgs.data.capture import PointCloud
from hemgs.data.readers.colmap_model import (
    CAMERA_MODELS,
    FIX_CUT,
    FIX_NAMES,
    ColmapCamera,
    ColmapImage,
    check_model,
    without_distortion,
)
from hemgs.data.readers.files import read_data

_COUNT = struct.Struct("<Q")
_CAMERA = struct.Struct("<iiQQ")  # id, model, width, height
_IMAGE = struct.Struct("<i4d3di")  # id, quaternion, translation, camera id
_POINT = struct.Struct("<Q3d3BdQ")  # id, position, colour, error, track length
_OBSERVATION_BYTES = 24  # two doubles and the id of the point
_TRACK_ENTRY_BYTES = 8  # image id and observation number

#: Bytes of a name that a message shows.
_SHOWN_BYTES = 60


def read_binary_cameras(path: Path) -> dict[int, ColmapCamera]:
    """Read the cameras, by id.

    Raises:
        SceneError: the file is incomplete or damaged, or contains a model with distortion.
    """
    data = _Bytes(path)
    cameras: dict[int, ColmapCamera] = {}
    for _ in range(data.count("cameras", _CAMERA.size)):
        camera_id, number, width, height = data.take(_CAMERA)
        name, num_params = CAMERA_MODELS.get(number, (f"number {number} (unknown)", 0))
        check_model(path, camera_id, name)
        params = data.take(struct.Struct(f"<{num_params}d"))
        cameras[camera_id] = without_distortion(path, ColmapCamera(camera_id, name, width, height, params))
    data.finish()
    return cameras


def read_binary_images(path: Path) -> list[ColmapImage]:
    """Read the registered images, in the order of the file; see :func:`read_binary_cameras` for errors."""
    data = _Bytes(path)
    images: list[ColmapImage] = []
    for _ in range(data.count("images", _IMAGE.size + 1 + _COUNT.size)):
        image_id, w, x, y, z, tx, ty, tz, camera_id = data.take(_IMAGE)
        name = data.text()
        data.skip(data.count("observations", _OBSERVATION_BYTES) * _OBSERVATION_BYTES)
        images.append(ColmapImage(image_id, (w, x, y, z), (tx, ty, tz), camera_id, name))
    data.finish()
    return images


def count_binary_images(path: Path) -> int:
    """Return the number of registered images, from the beginning of the file; see :func:`read_binary_cameras`."""
    return _Bytes(path).count("images", _IMAGE.size + 1 + _COUNT.size)


def read_binary_points(path: Path) -> PointCloud:
    """Read the points of ``points3D.bin``; tracks are skipped."""
    data = _Bytes(path)
    num_points = data.count("points", _POINT.size)
    xyz = np.empty((num_points, 3), np.float64)
    rgb = np.empty((num_points, 3), np.uint8)
    for row in range(num_points):
        _, x, y, z, red, green, blue, _, num_track = data.take(_POINT)
        xyz[row] = x, y, z
        rgb[row] = red, green, blue
        data.skip(num_track * _TRACK_ENTRY_BYTES)
    data.finish()
    return PointCloud(xyz, rgb)


class _Bytes:
    """A file that is read from front to back; reading beyond its end raises SceneError."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._data = read_data(path)
        self._at = 0

    def take(self, layout: struct.Struct) -> tuple[Any, ...]:
        values = layout.unpack_from(self._data, self._claim(layout.size))
        return values

    def skip(self, num_bytes: int) -> None:
        self._claim(num_bytes)

    def count(self, what: str, bytes_each: int) -> int:
        """Read a count of records that take at least ``bytes_each`` bytes each."""
        (number,) = self.take(_COUNT)
        if number * bytes_each > len(self._data) - self._at:
            raise SceneError(
                f"{self._path} claims {number} {what}, more than its {len(self._data)} bytes can contain", FIX_CUT
            )
        return int(number)

    def text(self) -> str:
        end = self._data.find(b"\0", self._at)
        if end < 0:
            raise self._cut()
        stored = self._data[self._at : end]
        try:
            name = stored.decode("utf-8")
        except UnicodeDecodeError as fault:
            raise SceneError(
                f"{self._path} contains the image name {stored[:_SHOWN_BYTES]!r}, which is not UTF-8", FIX_NAMES
            ) from fault
        self._at = end + 1
        return name

    def finish(self) -> None:
        """Raise SceneError if bytes are left over, which only a damaged count explains."""
        left = len(self._data) - self._at
        if left:
            raise SceneError(f"{self._path} has {left} bytes after its last record", FIX_CUT)

    def _claim(self, num_bytes: int) -> int:
        start = self._at
        if num_bytes > len(self._data) - start:
            raise self._cut()
        self._at = start + num_bytes
        return start

    def _cut(self) -> SceneError:
        return SceneError(f"{self._path} ends in the middle of a record (at byte {len(self._data)})", FIX_CUT)

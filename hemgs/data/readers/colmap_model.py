"""The records of a COLMAP model and its text form (``cameras.txt``, ``images.txt``, ``points3D.txt``).

Owns the records, the text reader, and the text writer. Does not own the binary form (``colmap_binary``) nor what the
records mean for a scene (``colmap``). Format: https://colmap.github.io/format.html.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hemgs.core.errors import SceneError
from hemgs.core.files import write_text

#: Camera models by their number in binary files: name and count of parameters (COLMAP, src/colmap/sensor/models.h).
CAMERA_MODELS: Mapping[int, tuple[str, int]] = {
    0: ("SIMPLE_PINHOLE", 3),
    1: ("PINHOLE", 4),
    2: ("SIMPLE_RADIAL", 4),
    3: ("RADIAL", 5),
    4: ("OPENCV", 8),
    5: ("OPENCV_FISHEYE", 8),
    6: ("FULL_OPENCV", 12),
    7: ("FOV", 5),
    8: ("SIMPLE_RADIAL_FISHEYE", 4),
    9: ("RADIAL_FISHEYE", 5),
    10: ("THIN_PRISM_FISHEYE", 12),
    11: ("RAD_TAN_THIN_PRISM_FISHEYE", 16),
}
PARAMETER_COUNTS: Mapping[str, int] = dict(CAMERA_MODELS.values())
#: The models without distortion, which are the only ones that a splat renderer can project with.
SUPPORTED_MODELS = ("PINHOLE", "SIMPLE_PINHOLE")
FIX_CUT = "copy the model again, or export it again with `colmap model_converter`"


@dataclass(frozen=True)
class ColmapCamera:
    """Intrinsics of a camera; ``params`` are fx fy cx cy (PINHOLE) or f cx cy (SIMPLE_PINHOLE), pixels."""

    id: int
    model: str
    width: int
    height: int
    params: tuple[float, ...]


@dataclass(frozen=True)
class ColmapImage:
    """Pose of one registered image: world-to-camera quaternion (w, x, y, z) and translation."""

    id: int
    quaternion: tuple[float, float, float, float]
    translation: tuple[float, float, float]
    camera_id: int
    name: str


@dataclass(frozen=True)
class PointCloud:
    """``xyz [N, 3] float64`` world coordinates, ``rgb [N, 3] uint8``."""

    xyz: NDArray[np.float64]
    rgb: NDArray[np.uint8]


def unsupported_model(path: Path, camera_id: int, model: str) -> SceneError:
    """Return the error for a camera model with distortion, or an unknown one."""
    return SceneError(
        f"{path}: camera {camera_id} has the model {model}; supported are {' and '.join(SUPPORTED_MODELS)}",
        "undistort the capture: colmap image_undistorter --image_path IMAGES --input_path SPARSE --output_path OUT",
    )


def read_text_cameras(path: Path) -> dict[int, ColmapCamera]:
    """Read the cameras, by id.

    Raises:
        SceneError: a line is not a camera, or a model has distortion.
    """
    cameras: dict[int, ColmapCamera] = {}
    for number, line in _lines(path):
        words = line.split()
        if not words:
            continue
        with _Line(path, number, line):
            camera_id, model = int(words[0]), words[1]
            if model not in SUPPORTED_MODELS:
                raise unsupported_model(path, camera_id, model)
            params = tuple(float(word) for word in words[4:])
            if len(params) != PARAMETER_COUNTS[model]:
                raise ValueError(f"{len(params)} parameters for {model}, {PARAMETER_COUNTS[model]} expected")
            cameras[camera_id] = ColmapCamera(camera_id, model, int(words[2]), int(words[3]), params)
    return cameras


def read_text_images(path: Path) -> list[ColmapImage]:
    """Read the registered images, in the order of the file.

    Each image has two lines. The second one lists 2-D observations, and may be empty.
    """
    images: list[ColmapImage] = []
    lines = _lines(path)
    for number, line in lines:
        if not line.strip():
            continue
        with _Line(path, number, line):
            words = line.split(maxsplit=9)
            w, x, y, z, *translation = (float(word) for word in words[1:8])
            tx, ty, tz = translation
            images.append(ColmapImage(int(words[0]), (w, x, y, z), (tx, ty, tz), int(words[8]), words[9].strip()))
        next(lines, None)
    return images


def read_text_points(path: Path) -> PointCloud:
    """Read the points of ``points3D.txt``; tracks are skipped."""
    xyz: list[list[float]] = []
    rgb: list[list[int]] = []
    for number, line in _lines(path):
        words = line.split(maxsplit=7)
        if not words:
            continue
        with _Line(path, number, line):
            x, y, z = (float(word) for word in words[1:4])
            red, green, blue = (int(word) for word in words[4:7])
            if not 0 <= min(red, green, blue) <= max(red, green, blue) <= 255:
                raise ValueError(f"the colour {red} {green} {blue} is outside 0..255")
            xyz.append([x, y, z])
            rgb.append([red, green, blue])
    return PointCloud(np.array(xyz, np.float64).reshape(-1, 3), np.array(rgb, np.uint8).reshape(-1, 3))


def write_text_model(
    folder: Path, cameras: Sequence[ColmapCamera], images: Sequence[ColmapImage], points: PointCloud
) -> None:
    """Write the three text files; reading them returns exactly the same floats."""
    numbers = " ".join
    write_text(
        folder / "cameras.txt",
        "# CAMERA_ID MODEL WIDTH HEIGHT PARAMS[]\n"
        + "".join(f"{c.id} {c.model} {c.width} {c.height} {numbers(map(_exact, c.params))}\n" for c in cameras),
    )
    write_text(
        folder / "images.txt",
        "# IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME, then POINTS2D[] as (X Y POINT3D_ID)\n"
        + "".join(
            f"{i.id} {numbers(map(_exact, (*i.quaternion, *i.translation)))} {i.camera_id} {i.name}\n\n" for i in images
        ),
    )
    rows = zip(points.xyz.tolist(), points.rgb.tolist(), strict=True)
    write_text(
        folder / "points3D.txt",
        "# POINT3D_ID X Y Z R G B ERROR TRACK[]\n"
        + "".join(
            f"{number} {numbers(map(_exact, xyz))} {numbers(map(str, rgb))} 0.0\n"
            for number, (xyz, rgb) in enumerate(rows, start=1)
        ),
    )


def _exact(value: float) -> str:
    return repr(float(value))


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines that are no comments, with their numbers.

    Raises:
        SceneError: the file is not text.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as fault:
        raise SceneError(f"{path} is not a text file ({fault})", FIX_CUT) from fault
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.startswith("#"):
            yield number, line


class _Line:
    """A context that turns a failure to read one line into a SceneError that names file and line."""

    def __init__(self, path: Path, number: int, line: str) -> None:
        self._where = f"{path}, line {number}: {line.strip()[:80]!r}"

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, _: object) -> None:
        if isinstance(fault, ValueError | IndexError | OverflowError):
            raise SceneError(f"{self._where} cannot be read ({fault})", FIX_CUT) from fault

"""The records of a COLMAP model and its text form (``cameras.txt``, ``images.txt``, ``points3D.txt``).

Owns the records, the text reader, and the text writer. Does not own the binary form (``colmap_binary``) nor what the
records mean for a scene (``colmap``). Format: https://colmap.github.io/format.html.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hemgs.core.errors import SceneError
from hemgs.core.files import write_text
from hemgs.data.capture import PointCloud
from hemgs.data.readers.files import read_text

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
#: Number of focal lengths of the models that project straight lines to straight lines once their distortion is zero.
#: Focal lengths come first, then the principal point, then distortion. The others are fisheye models.
PERSPECTIVE_MODELS: Mapping[str, int] = {
    "SIMPLE_PINHOLE": 1,
    "PINHOLE": 2,
    "SIMPLE_RADIAL": 1,
    "RADIAL": 1,
    "OPENCV": 2,
    "FULL_OPENCV": 2,
    "FOV": 2,
}
_FIX_DISTORTION = (
    "undistort the capture: colmap image_undistorter --image_path IMAGES --input_path SPARSE --output_path OUT"
)
FIX_CUT = "copy the model again, or export it again with `colmap model_converter`"
#: For names in the code page of a Windows machine, which model_converter copies as they are.
FIX_NAMES = "give the images names in plain ASCII letters, and reconstruct the capture again"


@dataclass(frozen=True)
class ColmapCamera:
    """Intrinsics of a camera; ``params`` are those of its model in COLMAP's order."""

    id: int
    model: str
    width: int
    height: int
    params: tuple[float, ...]

    @property
    def pinhole(self) -> tuple[float, float, float, float]:
        """fx, fy, cx, cy in pixels, of a perspective model."""
        num_focal = PERSPECTIVE_MODELS[self.model]
        fx, cx, cy = self.params[0], *self.params[num_focal : num_focal + 2]
        return fx, self.params[num_focal - 1], cx, cy

    @property
    def distortion(self) -> tuple[float, ...]:
        """Coefficients of distortion of a perspective model."""
        return self.params[PERSPECTIVE_MODELS[self.model] + 2 :]


@dataclass(frozen=True)
class ColmapImage:
    """Pose of one registered image: world-to-camera quaternion (w, x, y, z) and translation."""

    id: int
    quaternion: tuple[float, float, float, float]
    translation: tuple[float, float, float]
    camera_id: int
    name: str


def check_model(path: Path, camera_id: int, model: str) -> None:
    """Raise SceneError unless a camera's model is perspective."""
    if model not in PERSPECTIVE_MODELS:
        raise SceneError(
            f"{path}: camera {camera_id} has the model {model}; supported are {', '.join(PERSPECTIVE_MODELS)}, all "
            "without distortion",
            _FIX_DISTORTION,
        )


def without_distortion(path: Path, camera: ColmapCamera) -> ColmapCamera:
    """Return the camera if its distortion is exactly zero; raise SceneError otherwise."""
    if any(value != 0.0 for value in camera.distortion):
        raise SceneError(
            f"{path}: camera {camera.id} has the model {camera.model} with the distortion {camera.distortion}; only "
            "cameras without distortion are supported",
            _FIX_DISTORTION,
        )
    return camera


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
            check_model(path, camera_id, model)
            params = tuple(float(word) for word in words[4:])
            if len(params) != PARAMETER_COUNTS[model]:
                raise ValueError(f"{len(params)} parameters for {model}, {PARAMETER_COUNTS[model]} expected")
            camera = ColmapCamera(camera_id, model, int(words[2]), int(words[3]), params)
            cameras[camera_id] = without_distortion(path, camera)
    return cameras


def read_text_images(path: Path) -> list[ColmapImage]:
    """Read the registered images, in the order of the file.

    COLMAP writes two lines for each image. The second one lists 2-D observations, and may be empty. Scripts often leave
    it out, so a line that does not list observations is read as the next image.

    Raises:
        SceneError: a line is neither an image nor a list of observations.
    """
    images: list[ColmapImage] = []
    after_image = False
    for number, line in _lines(path, f"save it as UTF-8; otherwise {FIX_NAMES}"):
        if after_image and _is_observations(line):
            after_image = False
        elif line.strip():
            with _Line(path, number, line):
                words = line.split(maxsplit=9)
                w, x, y, z, *translation = (float(word) for word in words[1:8])
                tx, ty, tz = translation
                images.append(ColmapImage(int(words[0]), (w, x, y, z), (tx, ty, tz), int(words[8]), words[9].strip()))
            after_image = True
    return images


def _is_observations(line: str) -> bool:
    """Return whether a line lists observations, three numbers each, or is empty."""
    words = line.split()
    try:
        return len([float(word) for word in words]) % 3 == 0
    except ValueError:
        return False


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


def _lines(path: Path, fix: str = FIX_CUT) -> Iterator[tuple[int, str]]:
    """Yield the lines that are no comments, with their numbers.

    Raises:
        SceneError: the file is not text; ``fix`` is the error's.
    """
    for number, line in enumerate(read_text(path, fix).split("\n"), start=1):
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

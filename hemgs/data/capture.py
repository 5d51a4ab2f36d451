"""The capture that a reader returns: posed images as they are on disk, and initial points.

Owns the checks that hold for every capture format (poses, intrinsics, paths). Does not own file formats, pixels, splits
or resizing.
"""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np
from numpy.typing import NDArray

from hemgs.core.errors import SceneError
from hemgs.core.types import Camera, Split

#: Largest deviation of RᵀR from identity that still counts as a rotation, and of the last row of a pose from 0 0 0 1.
#: Single-precision poses stay below 1e-5.
ROTATION_TOLERANCE = 1e-3
_LAST_ROW = (0.0, 0.0, 0.0, 1.0)
#: Colour of points without one: mid grey, because the released code of 3DGS begins with harmonics near zero.
UNCOLORED_LEVEL = 128
#: File names listed in one message before the rest is only counted.
LISTED_NAMES = 3


@dataclass(frozen=True)
class SourceView:
    """One posed image of a capture.

    Attributes:
        camera: its ``name`` is the view's name (unique, without suffix); its size is that of the stored image.
        image: file on disk.
        split: the split that the capture itself declares, or ``None``.
        mask: file on disk of the image's mask, or ``None``.
    """

    camera: Camera
    image: Path
    split: Split | None = None
    mask: Path | None = None


@dataclass(frozen=True)
class PointCloud:
    """``xyz [N, 3] float64`` world coordinates, ``rgb [N, 3] uint8``."""

    xyz: NDArray[np.float64]
    rgb: NDArray[np.uint8]


@dataclass(frozen=True)
class Capture:
    """The contents of a capture: views sorted by name, and points where the capture has them.

    Attributes:
        root: folder that the capture was read from, for messages.
        points: ``[N, 3] float64`` world coordinates, or ``None`` for a capture without points.
        colors: ``[N, 3] uint8``, or ``None``.
    """

    root: Path
    views: tuple[SourceView, ...]
    points: NDArray[np.float64] | None = None
    colors: NDArray[np.uint8] | None = None


def view_names(files: Sequence[str]) -> list[str]:
    """Return unique view names for image files that are named relative to their folder.

    A view name joins the folders and the file's name by ``_``, without the suffix. If two files would then share a
    name, all names keep their suffix, after ``_``.

    Raises:
        SceneError: the names are not unique even with the suffix.
    """
    flat = [file.removeprefix("./").replace("\\", "/").replace("/", "_") for file in files]
    names = [PurePosixPath(name).stem for name in flat]
    if len(set(names)) < len(names):
        names = [name.replace(".", "_") for name in flat]
    if len(set(names)) < len(names):
        shared = sorted({name for name in names if names.count(name) > 1})
        raise SceneError(
            f"several images share the view name {name_list(shared)}",
            "give every image of the capture a name of its own",
        )
    return names


def path_inside(root: Path, name: str, source: Path, fix: str) -> Path:
    """Return the path of a file that ``source`` names: relative to ``root``, or by an absolute path inside ``root``.

    Args:
        fix: what to do where the name leads out of ``root``.

    Raises:
        SceneError: the name leads out of ``root``.
    """
    clean = posixpath.normpath(name.replace("\\", "/"))
    is_absolute = clean.startswith("/") or bool(PureWindowsPath(name).drive)
    for base in (root.absolute(), root.resolve()):
        if is_absolute and PurePosixPath(clean).is_relative_to(base):
            return root / PurePosixPath(clean).relative_to(base)
    if is_absolute or clean == ".." or clean.startswith("../") or "\0" in clean:
        kind = "the absolute path" if is_absolute else "the file"
        raise SceneError(f"{source} names {kind} {name!r}, which lies outside {root}", fix)
    return root / clean


def check_images_exist(images: Sequence[Path], source: Path, fix: str) -> None:
    """Raise SceneError, with a few names and the count, if images that ``source`` names do not exist."""
    missing = [image for image in images if not image.is_file()]
    if not missing:
        return
    found = f"{source} names {len(missing)} of {len(images)} images that do not exist: {name_list(map(str, missing))}"
    suffixes = _other_suffixes(missing)
    if suffixes:
        found += f"; files with the same names and the suffix {suffixes[0]} are there"
        fix = f"write the suffix {suffixes[0]} into {source.name}, or put the images with their old suffix there"
    raise SceneError(found, fix)


def _other_suffixes(missing: Sequence[Path]) -> list[str]:
    """Return the suffixes of files that share the rest of their name with a missing image, the most frequent first."""
    wanted = {(image.parent, stem) for image in missing for stem in (image.stem, image.name)}
    folders = {image.parent for image in missing if image.parent.is_dir()}
    files = (file for folder in folders for file in folder.iterdir() if file.is_file())
    counts = Counter(file.suffix for file in files if (file.parent, file.stem) in wanted)
    return [suffix for suffix, _ in counts.most_common() if suffix]


def check_camera(camera: Camera, source: Path) -> Camera:
    """Return the camera if its pose is a finite rigid transform and its intrinsics are usable.

    The last row of the returned pose is exactly 0 0 0 1.

    Raises:
        SceneError: the camera is not usable; the message names ``source``, the view and the value that is wrong.
    """
    where = f"{source}: image {camera.name!r}"
    pose = camera.world_to_camera
    if not np.isfinite(pose).all():
        raise SceneError(
            f"{where} has a pose with values that are not finite",
            "remove the image from the model or register it again",
        )
    rotation = pose[:3, :3]
    deviation = float(np.abs(rotation.T @ rotation - np.eye(3)).max())
    if deviation > ROTATION_TOLERANCE or np.linalg.det(rotation) < 0:
        raise SceneError(
            f"{where} has a pose that is not a rotation and a translation (RᵀR deviates from identity by "
            f"{deviation:.3g}, determinant {np.linalg.det(rotation):.3g})",
            "remove scale, shear and mirroring from the pose",
        )
    if not is_last_row(pose[3]):
        raise SceneError(f"{where} has a pose whose last row is {pose[3].tolist()}", "the last row must be 0 0 0 1")
    numbers = (camera.fx, camera.fy, camera.cx, camera.cy)
    if not np.isfinite(numbers).all() or camera.fx <= 0 or camera.fy <= 0:
        raise SceneError(
            f"{where} has the intrinsics fx, fy, cx, cy = {numbers}",
            "focal lengths must be positive, all of them finite",
        )
    if camera.width <= 0 or camera.height <= 0:
        raise SceneError(f"{where} has the size {camera.width}x{camera.height}", "both sides must be positive")
    if np.array_equal(pose[3], _LAST_ROW):
        return camera
    return replace(camera, world_to_camera=np.vstack((pose[:3], _LAST_ROW)))


def is_last_row(row: NDArray[np.float64]) -> bool:
    """Return whether a row is 0 0 0 1 within :data:`ROTATION_TOLERANCE`, as after products of matrices."""
    return float(np.abs(row - _LAST_ROW).max()) <= ROTATION_TOLERANCE


def name_list(names: Iterable[str]) -> str:
    """Return a few names, and how many more there are."""
    items = list(names)
    text = ", ".join(items[:LISTED_NAMES])
    return text if len(items) <= LISTED_NAMES else f"{text} and {len(items) - LISTED_NAMES} more"

"""Captures with a COLMAP model: images in one folder, ``sparse/0`` in binary or text form.

Owns the conversion of COLMAP's records to cameras, and their checks. Does not own the file formats (``colmap_model``,
``colmap_binary``), undistortion or splits.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hemgs.core.errors import SceneError
from hemgs.core.types import Camera
from hemgs.data.capture import (
    Capture,
    PointCloud,
    SourceView,
    check_camera,
    check_images_exist,
    name_list,
    path_inside,
    view_names,
)
from hemgs.data.readers.colmap_binary import (
    count_binary_images,
    read_binary_cameras,
    read_binary_images,
    read_binary_points,
)
from hemgs.data.readers.colmap_model import (
    ColmapCamera,
    ColmapImage,
    read_text_cameras,
    read_text_images,
    read_text_points,
)
from hemgs.data.readers.point_ply import read_ply_points

#: Suffixes of the two forms of a model; the first is read where both exist.
_SUFFIXES = (".bin", ".txt")
_MODELS = "sparse"
#: The first model that COLMAP makes, which is usually the largest.
_USUAL_MODEL = f"{_MODELS}/0"
_FIX_PATH = "set source.images to a folder that contains all images, and name them relative to it"


def read_colmap(
    root: Path,
    images: str = "images",
    sparse: str | None = None,
    masks: str | None = "masks",
    *,
    with_points: bool = True,
) -> Capture:
    """Read a capture with a COLMAP model. Images on disk that the model does not contain are ignored.

    Args:
        root: the capture's folder.
        images: folder of images, relative to ``root``.
        sparse: folder of the model, relative to ``root``; ``None`` for ``sparse/0``, unless another model next to it
            contains more images. The binary form is read if both exist.
        masks: folder of masks, relative to ``root``, which need not exist; ``None`` for no masks.
        with_points: whether to read the points too.

    Raises:
        SceneError: a folder or file is missing, the model is damaged, or a camera or pose cannot be used.
    """
    folder = _usual_model(root) if sparse is None else root / sparse
    cameras_path = _model_file(folder, "cameras")
    images_path = _model_file(folder, "images")
    cameras = read_binary_cameras(cameras_path) if _is_binary(cameras_path) else read_text_cameras(cameras_path)
    records = read_binary_images(images_path) if _is_binary(images_path) else read_text_images(images_path)
    names = view_names([record.name for record in records])
    views = []
    for name, record in zip(names, records, strict=True):
        if record.camera_id not in cameras:
            raise SceneError(
                f"{images_path}: image {record.name!r} uses camera {record.camera_id}, which {cameras_path.name} lacks",
                "copy both files from the same model",
            )
        camera = _camera(name, record, cameras[record.camera_id], images_path)
        views.append(SourceView(camera, path_inside(root / images, record.name, images_path, _FIX_PATH)))
    check_images_exist(
        [view.image for view in views], images_path, f"put the images into {root / images}, or set source.images"
    )
    if masks is not None:
        views = _with_masks(views, root / images, root / masks)
    views.sort(key=lambda view: view.camera.name)
    if not with_points:
        return Capture(root, tuple(views))
    cloud = read_points(folder)
    return Capture(root, tuple(views), cloud.xyz, cloud.rgb)


def _with_masks(views: Sequence[SourceView], images: Path, masks: Path) -> list[SourceView]:
    """Return the views with the masks in a folder; views without one are as they were.

    The mask of ``a.jpg`` is ``a.jpg.png``, as COLMAP names it, or ``a.png``.

    Raises:
        SceneError: there are files in the folder, and none of them is a view's mask.
    """
    if not masks.is_dir() or all(path.name.startswith(".") for path in masks.iterdir()):
        return list(views)
    found = []
    for view in views:
        name = view.image.relative_to(images)
        candidates = (masks / f"{name}.png", masks / name.with_suffix(".png"))
        found.append(replace(view, mask=next((path for path in candidates if path.is_file()), None)))
    if all(view.mask is None for view in found):
        raise SceneError(
            f"the folder {masks} contains no mask of any image, such as {views[0].image.name}.png",
            "name masks after their images, or set source.masks to null to ignore them",
        )
    return found


def read_points(folder: Path) -> PointCloud:
    """Read the points of the model in ``folder``, which is binary, text, or a PLY file as 3DGS writes it."""
    path = _model_file(folder, "points3D", (*_SUFFIXES, ".ply"))
    if path.suffix == ".ply":
        return read_ply_points(path)
    return read_binary_points(path) if _is_binary(path) else read_text_points(path)


def rotation_matrix(quaternion: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the rotation ``[3, 3] float64`` of a quaternion (w, x, y, z) of any non-zero length."""
    w, x, y, z = quaternion / np.linalg.norm(quaternion)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def quaternion_of(rotation: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the unit quaternion (w, x, y, z), w ≥ 0, of a rotation ``[3, 3]``.

    It is the eigenvector of Bar-Itzhack's matrix with the largest eigenvalue.
    """
    r = rotation
    symmetric = np.array(
        [
            [r[0, 0] + r[1, 1] + r[2, 2], r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1]],
            [0.0, r[0, 0] - r[1, 1] - r[2, 2], r[0, 1] + r[1, 0], r[0, 2] + r[2, 0]],
            [0.0, 0.0, r[1, 1] - r[0, 0] - r[2, 2], r[1, 2] + r[2, 1]],
            [0.0, 0.0, 0.0, r[2, 2] - r[0, 0] - r[1, 1]],
        ]
    )
    quaternion: NDArray[np.float64] = np.linalg.eigh(symmetric, UPLO="U")[1][:, -1]
    return quaternion if quaternion[0] >= 0 else -quaternion


def _camera(name: str, record: ColmapImage, camera: ColmapCamera, source: Path) -> Camera:
    quaternion = np.array(record.quaternion)
    norm = np.linalg.norm(quaternion)
    if not np.isfinite(norm) or norm == 0:
        raise SceneError(
            f"{source}: image {record.name!r} has the rotation quaternion {record.quaternion}",
            "remove the image from the model or register it again",
        )
    pose = np.eye(4)
    pose[:3, :3] = rotation_matrix(quaternion)
    pose[:3, 3] = record.translation
    return check_camera(Camera(name, camera.width, camera.height, *camera.pinhole, pose), source)


def _usual_model(root: Path) -> Path:
    """Return ``sparse/0``; raise SceneError if COLMAP split the capture and another model has more images."""
    sizes = {folder: _num_images(folder) for folder in sorted((root / _MODELS).glob("*")) if folder.is_dir()}
    usual = root / _USUAL_MODEL
    largest = max(sizes, key=lambda folder: sizes[folder], default=usual)
    if 0 < sizes.get(usual, 0) < sizes.get(largest, 0):
        name = largest.relative_to(root).as_posix()
        raise SceneError(
            f"{usual} contains {sizes[usual]} images, but {largest} contains {sizes[largest]}: COLMAP split "
            "the capture",
            f"set source.sparse to {name}, or to {_USUAL_MODEL} to keep the smaller model",
        )
    return usual


def _num_images(folder: Path) -> int:
    """Return how many images a model contains; 0 if there is no model, or a damaged one."""
    binary, text = folder / "images.bin", folder / "images.txt"
    with contextlib.suppress(SceneError):
        if binary.is_file():
            return count_binary_images(binary)
        if text.is_file():
            return len(read_text_images(text))
    return 0


def _model_file(folder: Path, stem: str, suffixes: Sequence[str] = _SUFFIXES) -> Path:
    for suffix in suffixes:
        path = folder / f"{stem}{suffix}"
        if path.is_file():
            return path
    found = f"{folder} has neither {stem}.bin nor {stem}.txt"
    near = {folder.parent, *(folder.parent.glob("*") if folder.parent.is_dir() else ())} - {folder}
    others = sorted(str(other) for other in near if _num_images(other))
    if others and not _num_images(folder):
        raise SceneError(f"{found}; there are models in {name_list(others)}", "set source.sparse to one of them")
    raise SceneError(found, "run `colmap mapper`, or set source.sparse to the folder of the model")


def _is_binary(path: Path) -> bool:
    return path.suffix == ".bin"

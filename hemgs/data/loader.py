"""Loading of prepared scenes, with a check of everything that is read.

Owns the checks of ``scene.json``, ``points.npz`` and images. Does not own writing them (``prepare``).
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hemgs.core.errors import ConfigError, SceneError
from hemgs.core.images import ImageError, opened_image
from hemgs.core.reading import checked
from hemgs.core.types import Scene, View
from hemgs.data.capture import check_images_exist, path_inside
from hemgs.data.scene_file import FORMAT_VERSION, POINTS_FILE, SCENE_FILE, PreparedView, SceneEntry, scene_hash

FIX = "prepare the scene again"


def load_scene(path: Path) -> Scene:
    """Open a prepared scene. Images are read, and compared with their checksums, when they are asked for.

    Args:
        path: folder that contains ``scene.json``.

    Raises:
        SceneError: the folder is not a prepared scene, has another format version, or is incomplete or altered.
    """
    root = Path(path)
    file = root / SCENE_FILE
    record = _read_record(root, file)
    views = tuple(
        PreparedView(entry.camera(file), entry.file, entry.split, entry.sha256, entry.pixels_sha256)
        for entry in record.views
    )
    check_images_exist([path_inside(root, view.file, file, FIX) for view in views], file, FIX)
    points, colors = _read_points(root / POINTS_FILE)
    if scene_hash(views, points, colors, record.background) != record.hash:
        raise SceneError(f"{file} and {POINTS_FILE} do not belong together, or were altered (hash differs)", FIX)
    return Scene(
        root=root,
        dataset=record.dataset,
        scene=record.scene,
        views=views,
        points=points,
        point_colors=colors,
        background=record.background,
        protocol=record.protocol,
        hash=record.hash,
        read_image=image_reader(root),
    )


def image_reader(root: Path) -> Callable[[View], NDArray[np.float32]]:
    """Return a function that reads a view's image, and compares it with its checksum the first time."""
    verified: set[str] = set()

    def read_image(view: View) -> NDArray[np.float32]:
        """Read the image, ``[H, W, 3] float32`` in [0, 1].

        Raises:
            SceneError: the image is missing or altered.
        """
        file = root / view.file
        try:
            data = file.read_bytes()
        except OSError as fault:
            raise SceneError(f"prepared image {file} cannot be read ({fault.strerror})", FIX) from fault
        if view.file not in verified:
            if hashlib.sha256(data).hexdigest() != view.sha256:
                raise SceneError(f"prepared image {file} was altered (checksum differs)", FIX)
            verified.add(view.file)
        size = (view.camera.width, view.camera.height)
        return _decoded(data, file, size) / np.float32(255.0)

    return read_image


def _decoded(data: bytes, file: Path, size: tuple[int, int]) -> NDArray[np.float32]:
    """Decode a prepared image of the size (width, height); return its levels ``[H, W, 3]``, 0 to 255."""
    try:
        with opened_image(io.BytesIO(data), ("PNG",)) as image:
            if image.size != size:
                raise SceneError(
                    f"prepared image {file} is {image.width}x{image.height}, but its camera has {size[0]}x{size[1]}",
                    FIX,
                )
            return np.asarray(image.convert("RGB"), np.float32)
    except ImageError as fault:
        raise SceneError(f"prepared image {file} {fault.fault}", FIX) from fault


def _read_record(root: Path, file: Path) -> SceneEntry:
    if not root.is_dir():
        raise SceneError(f"scene folder {root} does not exist", "prepare the scene, or check the path")
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as fault:
        raise SceneError(
            f"{root} is not a prepared scene: it has no {SCENE_FILE}", "prepare the scene first"
        ) from fault
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as fault:
        raise SceneError(f"{file} is not valid JSON ({fault})", FIX) from fault
    version = record.get("format_version") if isinstance(record, dict) else None
    if version != FORMAT_VERSION:
        raise SceneError(f"{file} has the format version {version!r}; this program reads {FORMAT_VERSION}", FIX)
    try:
        entry: SceneEntry = checked(SceneEntry, record, "")
    except ConfigError as fault:
        raise SceneError(f"{file} is not the record of a prepared scene ({fault})", FIX) from fault
    return entry


def _read_points(path: Path) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            xyz, rgb = archive["xyz"], archive["rgb"]
    except FileNotFoundError as fault:
        raise SceneError(f"{path} does not exist", FIX) from fault
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as fault:
        raise SceneError(f"{path} does not contain points ({fault})", FIX) from fault
    if xyz.dtype != np.float32 or rgb.dtype != np.uint8 or xyz.shape != rgb.shape or xyz.ndim != 2 or xyz.shape[1] != 3:
        raise SceneError(f"{path} contains {xyz.dtype} {xyz.shape} and {rgb.dtype} {rgb.shape} instead of points", FIX)
    if len(xyz) == 0 or not np.isfinite(xyz).all():
        raise SceneError(f"{path} contains no points, or points that are not finite", FIX)
    return xyz, rgb

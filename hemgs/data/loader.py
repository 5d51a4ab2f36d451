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
from PIL import Image

from hemgs.core.errors import ConfigError, SceneError
from hemgs.core.images import ImageError, opened_image
from hemgs.core.reading import checked
from hemgs.core.types import Camera, Scene, View
from hemgs.data.capture import check_images_exist, path_inside
from hemgs.data.scene_file import FORMAT_VERSION, POINTS_FILE, SCENE_FILE, SceneEntry, scene_hash

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
    views = tuple(entry.view(file) for entry in record.views)
    names = [name for view in views for name in (view.file, *([view.mask.file] if view.mask else []))]
    check_images_exist([path_inside(root, name, file, FIX) for name in names], file, FIX)
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
        read_mask=mask_reader(root),
    )


def image_reader(root: Path) -> Callable[[View], NDArray[np.float32]]:
    """Return a function that reads a view's image, and compares it with its checksum the first time."""
    files = _Files(root)

    def read_image(view: View) -> NDArray[np.float32]:
        """Read the image, ``[H, W, 3] float32`` in [0, 1].

        Raises:
            SceneError: the image is missing or altered.
        """
        return np.asarray(files.decoded(view.file, view.sha256, view.camera, "RGB"), np.float32) / np.float32(255.0)

    return read_image


def mask_reader(root: Path) -> Callable[[View], NDArray[np.bool_] | None]:
    """Return a function that reads a view's mask, and compares it with its checksum the first time."""
    files = _Files(root)

    def read_mask(view: View) -> NDArray[np.bool_] | None:
        """Read the mask, ``[H, W] bool``; return ``None`` if the view has none.

        Raises:
            SceneError: the mask is missing or altered, or hides every pixel.
        """
        if view.mask is None:
            return None
        mask = np.asarray(files.decoded(view.mask.file, view.mask.sha256, view.camera, "1"), np.bool_)
        if not mask.any():
            raise SceneError(f"prepared mask {root / view.mask.file} hides every pixel", FIX)
        return mask

    return read_mask


class _Files:
    """The images of a prepared scene; each is compared with its checksum the first time."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._verified: set[str] = set()

    def decoded(self, name: str, sha256: str, camera: Camera, mode: str) -> Image.Image:
        """Decode a PNG of its camera's size to a mode of Pillow."""
        file = self._root / name
        try:
            data = file.read_bytes()
        except OSError as fault:
            raise SceneError(f"prepared image {file} cannot be read ({fault.strerror})", FIX) from fault
        if name not in self._verified:
            if hashlib.sha256(data).hexdigest() != sha256:
                raise SceneError(f"prepared image {file} was altered (checksum differs)", FIX)
            self._verified.add(name)
        try:
            with opened_image(io.BytesIO(data), ("PNG",)) as image:
                if image.size != (camera.width, camera.height):
                    raise SceneError(
                        f"prepared image {file} is {image.width}x{image.height}, but its camera has "
                        f"{camera.width}x{camera.height}",
                        FIX,
                    )
                return image.convert(mode)
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
    except (ValueError, RecursionError) as fault:
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

"""Preparation of a scene: a capture is read, split and resized once, in the same way for every method.

Owns the order of work, the choice of reader, and what is written. Does not own the formats of captures (``readers``),
where they are (``fetch``), settings, or the file format of prepared scenes (``scene_file``).
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hemgs.config.dataset import EveryNth, Protocol, RandomPoints, SceneConfig, SfmPoints, scene_of
from hemgs.core.errors import SceneError
from hemgs.core.events import EventLog
from hemgs.core.files import write_text
from hemgs.core.types import EXTENT_MARGIN, Camera, MaskFile, Scene, Split
from hemgs.data.capture import UNCOLORED_LEVEL, Capture, SourceView
from hemgs.data.disk import staged_folder
from hemgs.data.fetch.archives import DEFAULT_ARCHIVES, find_scene
from hemgs.data.images import load_mask, load_rgb, orientation, resize, resize_mask
from hemgs.data.loader import load_scene
from hemgs.data.procedural import write_procedural
from hemgs.data.readers.blender import read_blender
from hemgs.data.readers.colmap import read_colmap
from hemgs.data.scene_file import (
    FORMAT_VERSION,
    IMAGES_FOLDER,
    MASKS_FOLDER,
    OWN_NAMES,
    POINTS_FILE,
    SCENE_FILE,
    PreparedView,
    pixels_digest,
    scene_hash,
)

#: Smallest side of a prepared image, pixels. It has room for the 11-pixel window of SSIM.
MIN_SIDE = 16


def prepare_scene(
    dataset: Mapping[str, Any],
    scene_id: str,
    out: Path,
    *,
    events: EventLog,
    archives: Path = DEFAULT_ARCHIVES,
) -> Scene:
    """Read a capture, split and resize its views, and write them with cameras, points and checksums.

    The folder ``out`` then contains ``scene.json``, ``images/<name>.png`` (8-bit RGB), ``masks/<name>.png`` (1 bit) of
    views with a mask, and ``points.npz`` (``xyz`` float32, ``rgb`` uint8). It appears complete or not at all. A folder
    that already contains the same scene does not change.

    Args:
        dataset: the dataset's YAML.
        scene_id: one of its ``scenes``.
        out: folder to write; replaced if it contains a prepared scene, refused if it contains anything else.
        archives: folder where fetched archives are kept.

    Raises:
        ConfigError: a setting cannot be used, an environment variable is not set, or a path does not exist.
        SceneError: the capture cannot be read or is not fit for training.
        DeviceError: the disk is full.
    """
    settings = scene_of(dataset, scene_id)
    out = Path(out)
    with staged_folder(out, OWN_NAMES) as stage, staged_folder(out.with_name(f"{out.name}.capture")) as scratch:
        capture = open_capture(settings, scratch.path, archives, events)
        views, points, colors = _write_views_and_points(settings, capture, stage.path, events)
        record = _record(settings, views, points, colors)
        if _is_same_scene(out, record):
            events.write("unchanged", scene=scene_id, hash=record["hash"])
        else:
            write_text(stage.path / SCENE_FILE, json.dumps(record, indent=1) + "\n")
            stage.publish()
    return load_scene(out)


def open_capture(settings: SceneConfig, scratch: Path, archives: Path, events: EventLog) -> Capture:
    """Read the capture of a scene.

    Args:
        scratch: empty folder for temporary files; the caller may remove it once images are read.
        archives: folder where fetched archives are kept.

    Raises:
        ConfigError: the source cannot be used.
        SceneError: the capture cannot be read.
    """
    source, protocol = settings.source, settings.protocol
    with_points = settings.initial_points.kind == "sfm"
    if source.kind == "procedural":
        root, made = scratch / "capture", source.procedural
        write_procedural(root, made.layout or settings.id, made, protocol.background, events)
        return read_colmap(root, with_points=with_points)
    root = find_scene(settings, archives, scratch, events)
    if source.kind == "blender":
        return read_blender(root, protocol.split.kind, with_points=with_points, with_masks=source.masks is not None)
    return read_colmap(root, source.images, source.sparse, source.masks, with_points=with_points)


def split_views(views: Sequence[SourceView], protocol: Protocol) -> list[Split]:
    """Return the split of each view; ``views`` are sorted by name.

    Raises:
        SceneError: the capture declares no split, or one side of it is empty.
    """
    splits: list[Split] = []
    for index, view in enumerate(views):
        if isinstance(protocol.split, EveryNth):
            splits.append("test" if index % protocol.split.n == 0 else "train")
        elif view.split is None:
            raise SceneError(
                f"view {view.camera.name!r} belongs to no split, since the capture declares none",
                "set protocol.split to {kind: every_nth, n: 8}",
            )
        else:
            splits.append(view.split)
    for wanted in ("train", "test"):
        if wanted not in splits:
            raise SceneError(f"the scene has no {wanted} views", "add views, or change protocol.split")
    return splits


def initial_points(
    capture: Capture, settings: SfmPoints | RandomPoints
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Return points ``[N, 3] float32`` and colours ``[N, 3] uint8`` that training starts from.

    Points that are not finite are left out.

    Raises:
        SceneError: no points are left, or the capture has none.
    """
    if isinstance(settings, RandomPoints):
        rng = np.random.default_rng(settings.seed)
        random = rng.uniform(settings.low, settings.high, (settings.num_points, 3)).astype(np.float32)
        return random, np.full(random.shape, UNCOLORED_LEVEL, np.uint8)
    fix = (
        "triangulate the capture, add its points as a PLY file, or set initial_points to {kind: random, num_points: N, "
        "low: A, high: B}"
    )
    if capture.points is None or capture.colors is None:
        raise SceneError(f"the capture {capture.root} comes without points", fix)
    with np.errstate(over="ignore"):
        points = capture.points.astype(np.float32)
    finite = np.isfinite(points).all(axis=1)
    if not finite.any():
        raise SceneError(f"the capture {capture.root} has {len(points)} points, none of them finite", fix)
    return points[finite], capture.colors[finite]


def prepared_camera(camera: Camera, protocol: Protocol) -> Camera:
    """Return the camera of the resized image: intrinsics times the exact ratio of sizes on each axis.

    Raises:
        SceneError: the image would be smaller than ``MIN_SIDE``.
    """
    width, height = protocol.resized(camera.width, camera.height)
    if min(width, height) < MIN_SIDE:
        raise SceneError(
            f"view {camera.name!r} would be {width}x{height} pixels; both sides must be at least {MIN_SIDE}",
            "raise protocol.scale or protocol.max_width",
        )
    resized = _resized_camera(camera, width, height)
    if protocol.principal_point == "centered":
        return replace(resized, cx=width / 2, cy=height / 2)
    return resized


def stored_camera(camera: Camera, width: int, height: int, image: Path, *, resized: bool) -> Camera:
    """Return the camera of an image in its stored size.

    Args:
        resized: whether images may have been resized after the cameras were calibrated.

    Raises:
        SceneError: the image has another size than its camera; with ``resized``, another aspect ratio.
    """
    if (width, height) == (camera.width, camera.height):
        return camera
    found = f"image {image} is {width}x{height}, but its camera has {camera.width}x{camera.height}"
    if (height, width) == (camera.width, camera.height):
        tag = orientation(image)
        lying = f"the orientation tag {tag}, which is not applied" if tag > 1 else "no orientation tag"
        raise SceneError(
            f"{found}: width and height are swapped, and the image has {lying}",
            "store the pixels as the cameras saw them (for example with `mogrify -auto-orient`), or reconstruct the "
            "capture from the images as they are stored",
        )
    if not resized:
        raise SceneError(
            found,
            "use the images that the cameras were calibrated on, and set protocol.scale for smaller ones; if the data "
            "comes with resized images, set source.resized_images to true",
        )
    factor = Fraction(width, camera.width), Fraction(height, camera.height)
    # Sides are rounded to whole pixels, so one factor fits both axes only to within a pixel.
    if abs(factor[1] * camera.width - width) > 1 and abs(factor[0] * camera.height - height) > 1:
        raise SceneError(
            f"{found}, which is another aspect ratio", "use the images that the cameras were calibrated on"
        )
    return _resized_camera(camera, width, height)


def _resized_camera(camera: Camera, width: int, height: int) -> Camera:
    """Scale intrinsics by the ratio of sizes on each axis, which keeps the fields of view (3DGS, released code)."""
    x, y = width / camera.width, height / camera.height
    return replace(
        camera, width=width, height=height, fx=camera.fx * x, fy=camera.fy * y, cx=camera.cx * x, cy=camera.cy * y
    )


def _write_views_and_points(
    settings: SceneConfig, capture: Capture, folder: Path, events: EventLog
) -> tuple[list[PreparedView], NDArray[np.float32], NDArray[np.uint8]]:
    protocol = settings.protocol
    if len(capture.views) < protocol.min_views:
        raise SceneError(
            f"the capture {capture.root} has {len(capture.views)} posed views; {protocol.min_views} are needed",
            "register more images, or lower protocol.min_views",
        )
    points, colors = initial_points(capture, settings.initial_points)
    if capture.points is not None and len(points) < len(capture.points):
        events.write("points_dropped", num_points=len(capture.points) - len(points), reason="not finite")
    splits = split_views(capture.views, protocol)
    (folder / IMAGES_FOLDER).mkdir()
    num_masks = sum(view.mask is not None for view in capture.views)
    if num_masks:
        (folder / MASKS_FOLDER).mkdir()
        events.write("masks", num_views=num_masks)
    views = []
    for done, (view, split) in enumerate(zip(capture.views, splits, strict=True), start=1):
        views.append(_write_view(view, split, settings, folder))
        events.progress(done, len(splits))
    buffer = io.BytesIO()
    np.savez(buffer, xyz=points, rgb=colors)
    (folder / POINTS_FILE).write_bytes(buffer.getvalue())
    return views, points, colors


def _write_view(view: SourceView, split: Split, settings: SceneConfig, folder: Path) -> PreparedView:
    protocol = settings.protocol
    stored = load_rgb(view.image, protocol.background)
    height, width = stored.shape[:2]
    resized = settings.source.resized_images
    camera = prepared_camera(stored_camera(view.camera, width, height, view.image, resized=resized), protocol)
    pixels = resize(stored, (camera.width, camera.height), protocol.filter)
    mask = None
    if view.mask is not None:
        visible = _visible_pixels(view.mask, view.image, (width, height), (camera.width, camera.height), protocol)
        # Nothing may depend on hidden pixels, not even by accident.
        pixels = np.where(visible[..., None], pixels, np.rint(255.0 * np.array(protocol.background)).astype(np.uint8))
        file, sha256 = _write_png(Image.fromarray(visible), folder, f"{MASKS_FOLDER}/{camera.name}.png")
        mask = MaskFile(file, sha256, pixels_digest(visible.view(np.uint8)))
    file, sha256 = _write_png(Image.fromarray(pixels), folder, f"{IMAGES_FOLDER}/{camera.name}.png")
    return PreparedView(camera, file, split, sha256, pixels_digest(pixels), mask=mask)


def _visible_pixels(
    file: Path, image: Path, stored: tuple[int, int], size: tuple[int, int], protocol: Protocol
) -> NDArray[np.bool_]:
    """Read the mask of an image and resize it with the image; sizes are (width, height).

    Raises:
        SceneError: the mask cannot be read, has another size than the image, or leaves no pixel.
    """
    mask = load_mask(file)
    if mask.shape != stored[::-1]:
        raise SceneError(
            f"mask {file} is {mask.shape[1]}x{mask.shape[0]}, but its image {image} is {stored[0]}x{stored[1]}",
            "make the masks of these images, or set source.masks to null to ignore them",
        )
    visible = resize_mask(mask, size, protocol.filter)
    if not visible.any():
        raise SceneError(
            f"mask {file} hides every pixel of its image at {size[0]}x{size[1]}",
            "remove the image from the capture, or correct its mask: 0 hides a pixel",
        )
    return visible


def _write_png(picture: Image.Image, folder: Path, name: str) -> tuple[str, str]:
    """Write a picture; return its name and its checksum."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    (folder / name).write_bytes(buffer.getvalue())
    return name, hashlib.sha256(buffer.getvalue()).hexdigest()


def _record(
    settings: SceneConfig, views: list[PreparedView], points: NDArray[np.float32], colors: NDArray[np.uint8]
) -> dict[str, Any]:
    """Return the contents of ``scene.json``. Its ``extent`` is for people; ``Scene`` derives it from the cameras."""
    background = settings.protocol.background
    train = np.stack([view.camera.center for view in views if view.split == "train"])
    radius = float(np.linalg.norm(train - train.mean(axis=0), axis=1).max())
    return {
        "format_version": FORMAT_VERSION,
        "dataset": settings.dataset,
        "scene": settings.id,
        "hash": scene_hash(views, points, colors, background),
        "protocol": settings.protocol.model_dump(mode="json"),
        "background": list(background),
        "extent": EXTENT_MARGIN * radius,
        "num_points": len(points),
        "views": [view.as_json() for view in views],
    }


def _is_same_scene(out: Path, record: Mapping[str, Any]) -> bool:
    """Return whether ``out`` already contains exactly this scene, with every image intact."""
    try:
        scene = load_scene(out)
        for view in scene.views:
            scene.read_image(view)
            scene.read_mask(view)
        present = json.loads((out / SCENE_FILE).read_text(encoding="utf-8"))
    except SceneError:
        return False
    return bool(present == record)

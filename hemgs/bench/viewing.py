"""Pictures and exports of decoded bitstreams: the work of the verbs ``render`` and ``export``.

Owns 8-bit rounding, picture files, comparison strips, cameras from JSON, and the loss of quality from freezing a
view-dependent scene into plain Gaussians. Does not own rendering.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field

from hemgs.bench.decoding import method_of_bitstream
from hemgs.core.errors import ConfigError, SceneError
from hemgs.core.events import EventLog
from hemgs.core.files import atomic_path
from hemgs.core.reading import checked
from hemgs.core.types import Camera, Scene, Split, View
from hemgs.data.loader import load_scene
from hemgs.data.scene_file import CameraEntry
from hemgs.metrics.psnr import psnr
from hemgs.protocol import Renderable
from hemgs.splats.cloud import GaussianCloud
from hemgs.splats.ply import write_ply
from hemgs.splats.rendering import RenderableSplats

COMPARE_FOLDER = "compare"
#: The viewer of 3DGS (SIBR) reads records with the coefficients of this degree, whatever the header lists.
VIEWER_SH_DEGREE = 3
#: Factor of the errors in a comparison strip.
ERROR_GAIN = 4.0
#: Columns of black pixels between the pictures of a strip.
_GAP_PX = 4
#: Largest side of a camera. A larger one is probably a mistake.
MAX_SIDE = 16384
_CAMERA_FIX = (
    "give {name, width, height, fx, fy, cx, cy, world_to_camera: 4 x 4}, pixels and OpenCV axes, or a list of them"
)
_Side = Annotated[int, Field(ge=1, le=MAX_SIDE)]


class _GivenCamera(CameraEntry):
    """A camera that a user gives."""

    width: _Side
    height: _Side


@dataclass(frozen=True)
class RenderedPicture:
    """One written picture.

    Attributes:
        psnr: PSNR against the photograph, dB; ``None`` without a photograph.
    """

    file: Path
    psnr: float | None


@dataclass(frozen=True)
class BakingLoss:
    """The loss from freezing a view-dependent scene into plain Gaussians: mean PSNR over test views, dB.

    Attributes:
        decoded: PSNR of the decoded scene against the photographs.
        exported: PSNR of the plain Gaussians against the photographs.
    """

    decoded: float
    exported: float

    @property
    def loss_db(self) -> float:
        """Decibels lost."""
        return self.decoded - self.exported


def to_bytes(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Convert ``[H, W, 3]`` in [0, 1] to 8 bit: clamp, multiply by 255, round to nearest."""
    return np.rint(np.clip(image, 0.0, 1.0) * 255.0).astype(np.uint8)


def measured_part(
    pixels: NDArray[np.uint8], target: NDArray[np.uint8], mask: NDArray[np.bool_] | None
) -> NDArray[np.uint8]:
    """Return a picture ``[H, W, 3]`` with the photograph's pixels where the mask hides them, so that none differ."""
    return pixels if mask is None else np.where(mask[..., None], pixels, target)


def picture_file(name: str) -> str:
    """Return the file name of a view's picture."""
    return f"{name.replace('/', '_')}.png"


def write_png(path: Path, pixels: NDArray[np.uint8]) -> None:
    """Write ``[H, W, 3] uint8`` atomically."""
    with atomic_path(path) as temporary:
        Image.fromarray(pixels).save(temporary, format="PNG")


def run_render(
    path: Path, scene_dir: Path, split: Split, out: Path, device: torch.device, stream: IO[str] | None = None
) -> list[RenderedPicture]:
    """Render the views of a scene from a bitstream: ``<view>.png``, and a strip of photograph, picture and error.

    Raises:
        BitstreamError: the file cannot be decoded.
        SceneError: the scene cannot be read, or has no views in the split.
    """
    renderable = method_of_bitstream(path).decode(path, device=device)
    scene = load_scene(scene_dir)
    views = scene.split(split)
    if not views:
        raise SceneError(f"{scene_dir}: there are no views in the split {split!r}", "choose the other split")
    pictures = []
    with EventLog(None, f"rendering {path.name}", stream) as events:
        for number, view in enumerate(views, start=1):
            pixels = _picture(renderable, view.camera, scene.background)
            target, mask = to_bytes(scene.read_image(view)), scene.read_mask(view)
            write_png(out / picture_file(view.name), pixels)
            strip = comparison_strip(target, measured_part(pixels, target, mask))
            write_png(out / COMPARE_FOLDER / picture_file(view.name), strip)
            pictures.append(RenderedPicture(out / picture_file(view.name), _psnr_of(pixels, target, mask)))
            events.progress(number, len(views))
    return pictures


def run_render_cameras(
    path: Path, cameras_file: Path, background: tuple[float, float, float], out: Path, device: torch.device
) -> list[RenderedPicture]:
    """Render a bitstream from the cameras of a JSON file (see :func:`read_cameras`)."""
    cameras = read_cameras(cameras_file)
    renderable = method_of_bitstream(path).decode(path, device=device)
    pictures = []
    for camera in cameras:
        file = out / picture_file(camera.name)
        write_png(file, _picture(renderable, camera, background))
        pictures.append(RenderedPicture(file, None))
    return pictures


def run_export(
    path: Path, ply: Path, scene_dir: Path | None, device: torch.device, *, lean: bool = False
) -> tuple[int, BakingLoss | None]:
    """Write a bitstream's scene as plain Gaussians in the PLY that 3DGS tools read.

    Args:
        path: of the bitstream.
        ply: file to write.
        scene_dir: a prepared scene on which the loss is measured, or ``None``.
        lean: whether to leave out coefficients of bands that the Gaussians do not have. Otherwise they are written as
            zeros up to :data:`VIEWER_SH_DEGREE`.

    Returns:
        Number of Gaussians, and the loss from the export (``None`` without a scene).
    """
    renderable = method_of_bitstream(path).decode(path, device=device)
    with torch.no_grad():
        cloud = renderable.to_splats()
    write_ply(ply, cloud if lean else cloud.with_degree(VIEWER_SH_DEGREE))
    loss = None if scene_dir is None else _baking_loss(renderable, cloud, load_scene(scene_dir))
    return cloud.num_gaussians, loss


def comparison_strip(target: NDArray[np.uint8], pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Join photograph, picture and absolute error times :data:`ERROR_GAIN` in a row; all are ``[H, W, 3] uint8``."""
    error = np.abs(target.astype(np.float32) - pixels.astype(np.float32)) * np.float32(ERROR_GAIN / 255.0)
    gap = np.zeros((target.shape[0], _GAP_PX, 3), np.uint8)
    return np.concatenate([target, gap, pixels, gap, to_bytes(error)], axis=1)


def read_cameras(path: Path) -> list[Camera]:
    """Read cameras from JSON: one mapping, or a list of them, with the fields of :class:`hemgs.core.types.Camera`.

    Raises:
        ConfigError: the file cannot be read, a key is unknown or missing, or two cameras have the same name.
        SceneError: a value cannot belong to a camera.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as fault:
        raise ConfigError(f"{path}: cannot be read as JSON ({fault})", _CAMERA_FIX) from fault
    entries = data if isinstance(data, list) else [data]
    named = [
        {"name": f"camera_{number:04d}", **entry} if isinstance(entry, dict) else entry
        for number, entry in enumerate(entries)
    ]
    cameras = [entry.camera(path) for entry in checked(list[_GivenCamera], named, str(path))]
    if not cameras or len({picture_file(camera.name) for camera in cameras}) < len(cameras):
        raise ConfigError(f"{path}: there is no camera, or two have the same name", _CAMERA_FIX)
    return cameras


def _picture(renderable: Renderable, camera: Camera, background: tuple[float, float, float]) -> NDArray[np.uint8]:
    with torch.no_grad():
        return to_bytes(renderable.render(camera, background).cpu().numpy())


def _psnr_of(pixels: NDArray[np.uint8], target: NDArray[np.uint8], mask: NDArray[np.bool_] | None) -> float:
    left, right = (torch.from_numpy(array.astype(np.float32) / 255.0) for array in (pixels, target))
    return float(psnr(left, right, None if mask is None else torch.from_numpy(np.array(mask))))


def psnr_of_views(renderable: Renderable, scene: Scene, views: Sequence[View]) -> float:
    """Return the mean PSNR of a decoded scene over views of 8 bit, dB, as ``hemgs evaluate`` measures it."""
    return _mean(
        [
            _psnr_of(
                _picture(renderable, view.camera, scene.background),
                to_bytes(scene.read_image(view)),
                scene.read_mask(view),
            )
            for view in views
        ]
    )


def _baking_loss(renderable: Renderable, cloud: GaussianCloud, scene: Scene) -> BakingLoss:
    views = scene.split("test") or scene.split("train")
    exported = RenderableSplats(cloud)
    return BakingLoss(psnr_of_views(renderable, scene, views), psnr_of_views(exported, scene, views))


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)

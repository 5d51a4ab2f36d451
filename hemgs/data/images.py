"""Image files to 8-bit RGB: decoding, compositing over a background, resizing.

Owns every change of pixels between a capture and a prepared scene. Does not own sizes or backgrounds
(``hemgs.config.dataset``).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hemgs.core.errors import SceneError
from hemgs.core.images import FORMATS, ORIENTATION_TAG, ImageError, opened_image

#: Modes of Pillow with at most 8 bits per channel, which convert without loss. Other modes need a choice of tones,
#: which the owner of the capture must make.
_PLAIN_MODES = frozenset({"RGB", "L", "1"})
_ALPHA_MODES = frozenset({"RGBA", "LA", "PA"})
_RESAMPLING = {
    "nearest": Image.Resampling.NEAREST,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
}
#: Reach of each filter in resized pixels, on both sides (Pillow, src/libImaging/Resample.c).
_SUPPORTS = {"box": 0.5, "bilinear": 1.0, "bicubic": 2.0, "lanczos": 3.0}
#: Rows that are composited at a time, so that the temporary values of a large image stay small.
_ROWS = 256


def load_rgb(path: Path, background: tuple[float, float, float]) -> NDArray[np.uint8]:
    """Decode an image and composite transparent pixels over ``background`` (display colour in [0, 1]).

    The orientation tag of cameras is not applied: calibrations refer to pixels as stored.

    Returns:
        ``[H, W, 3] uint8``.

    Raises:
        SceneError: the file is missing, incomplete or damaged, or is not 8-bit grey or RGB.
        DeviceError: the image does not fit into memory.
    """
    with _file_at(path) as image:
        image.load()
        mode = image.mode
        if mode == "P":
            mode = "RGBA" if "transparency" in image.info else "RGB"
        if mode in _PLAIN_MODES:
            return np.asarray(image.convert("RGB"), np.uint8)
        if mode in _ALPHA_MODES:
            return composite(np.asarray(image.convert("RGBA"), np.uint8), background)
    raise SceneError(f"image {path} has the pixel format {mode}", "convert it to 8-bit RGB, RGBA or grey")


def load_mask(path: Path) -> NDArray[np.bool_]:
    """Decode the mask of an image; pixels of level 0 are hidden (the rule of COLMAP and nerfstudio).

    Returns:
        ``[H, W] bool``, true for visible pixels.

    Raises:
        SceneError: the file is missing, incomplete or damaged, or is no PNG in grey or colours without transparency.
    """
    with _file_at(path, "mask", ("PNG",)) as image:
        image.load()
        if image.mode in _PLAIN_MODES or (image.mode == "P" and "transparency" not in image.info):
            levels = np.asarray(image.convert("RGB"), np.uint8)
            return np.asarray(levels.any(axis=2))
    raise SceneError(f"mask {path} has the pixel format {image.mode}", "convert it to 8-bit grey: 0 hides a pixel")


def image_size(path: Path) -> tuple[int, int]:
    """Return width and height as the file's header states them.

    Raises:
        SceneError: the header cannot be read.
    """
    with _file_at(path) as image:
        return image.size


def orientation(path: Path) -> int:
    """Return the orientation tag of a photograph, 1 to 8 (Exif 2.3); 1 for images without one.

    Raises:
        SceneError: the header cannot be read.
    """
    with _file_at(path) as image:
        value = image.getexif().get(ORIENTATION_TAG, 1)
    return value if value in range(1, 9) else 1


def composite(rgba: NDArray[np.uint8], background: tuple[float, float, float]) -> NDArray[np.uint8]:
    """Composite ``[H, W, 4] uint8`` (straight alpha) over a background colour in [0, 1]; return ``[H, W, 3] uint8``."""
    result = np.empty((*rgba.shape[:2], 3), np.uint8)
    for top in range(0, len(rgba), _ROWS):
        rows = rgba[top : top + _ROWS]
        alpha = rows[..., 3:].astype(np.float64) / 255.0
        blended = rows[..., :3] * alpha + 255.0 * np.array(background) * (1.0 - alpha)
        result[top : top + _ROWS] = np.rint(blended).astype(np.uint8)
    return result


def resize(image: NDArray[np.uint8], size: tuple[int, int], filter_name: str) -> NDArray[np.uint8]:
    """Resize ``[H, W, 3] uint8`` to ``size`` (width, height); an image of that size keeps its pixels."""
    if size == (image.shape[1], image.shape[0]):
        return image
    return np.asarray(Image.fromarray(image).resize(size, _RESAMPLING[filter_name]), np.uint8)


def resize_mask(mask: NDArray[np.bool_], size: tuple[int, int], filter_name: str) -> NDArray[np.bool_]:
    """Resize a mask ``[H, W]`` with its image: a pixel is visible if all pixels that :func:`resize` blends are."""
    if size == (mask.shape[1], mask.shape[0]):
        return mask
    if filter_name == "nearest":
        return np.asarray(Image.fromarray(mask).resize(size, _RESAMPLING[filter_name]), np.bool_)
    for axis, num_out in ((1, size[0]), (0, size[1])):
        if num_out != mask.shape[axis]:
            hidden = np.cumsum(~mask, axis=axis, dtype=np.int64)
            hidden = np.concatenate((np.zeros_like(hidden.take([0], axis)), hidden), axis=axis)
            low, high = _blended(mask.shape[axis], num_out, _SUPPORTS[filter_name])
            mask = hidden.take(high, axis) == hidden.take(low, axis)
    return mask


def _blended(num_in: int, num_out: int, support: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the first pixel that Pillow blends into each resized one along an axis, and the one after the last."""
    scale = num_in / num_out
    center = (np.arange(num_out) + 0.5) * scale
    reach = support * max(scale, 1.0)
    low = np.floor(center - reach + 0.5).clip(0, num_in)
    high = np.floor(center + reach + 0.5).clip(0, num_in)
    return low.astype(np.int64), high.astype(np.int64)


@contextlib.contextmanager
def _file_at(path: Path, what: str = "image", formats: tuple[str, ...] = FORMATS) -> Iterator[Image.Image]:
    """Open an image file for the block; its faults are SceneErrors that name the file."""
    try:
        with path.open("rb") as file, opened_image(file, formats) as image:
            yield image
    except ImageError as fault:
        raise SceneError(f"{what} {path} {fault.fault}", fault.fix) from fault
    except FileNotFoundError as fault:
        raise SceneError(f"{what} {path} does not exist", "put it back or remove it from the capture") from fault
    except OSError as fault:
        raise SceneError(f"{what} {path} cannot be read ({fault.strerror})", "check its permissions") from fault

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
from hemgs.core.images import ORIENTATION_TAG, ImageError, opened_image

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
    with _image_at(path) as image:
        image.load()
        mode = image.mode
        if mode == "P":
            mode = "RGBA" if "transparency" in image.info else "RGB"
        if mode in _PLAIN_MODES:
            return np.asarray(image.convert("RGB"), np.uint8)
        if mode in _ALPHA_MODES:
            return composite(np.asarray(image.convert("RGBA"), np.uint8), background)
    raise SceneError(f"image {path} has the pixel format {mode}", "convert it to 8-bit RGB, RGBA or grey")


def image_size(path: Path) -> tuple[int, int]:
    """Return width and height as the file's header states them.

    Raises:
        SceneError: the header cannot be read.
    """
    with _image_at(path) as image:
        return image.size


def orientation(path: Path) -> int:
    """Return the orientation tag of a photograph, 1 to 8 (Exif 2.3); 1 for images without one.

    Raises:
        SceneError: the header cannot be read.
    """
    with _image_at(path) as image:
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


@contextlib.contextmanager
def _image_at(path: Path) -> Iterator[Image.Image]:
    """Open an image file for the block; its faults are SceneErrors that name the file."""
    try:
        with path.open("rb") as file, opened_image(file) as image:
            yield image
    except ImageError as fault:
        raise SceneError(f"image {path} {fault.fault}", fault.fix) from fault
    except FileNotFoundError as fault:
        raise SceneError(f"image {path} does not exist", "put it back or remove it from the capture") from fault
    except OSError as fault:
        raise SceneError(f"image {path} cannot be read ({fault.strerror})", "check its permissions") from fault

"""Image files to 8-bit RGB: decoding, compositing over a background, resizing.

Owns every change of pixels between a capture and a prepared scene. Does not own sizes or backgrounds
(``hemgs.config.dataset``).
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hemgs.core.errors import SceneError

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
#: Exceptions that Pillow raises on damaged files; they depend on the format.
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError)


def load_rgb(path: Path, background: tuple[float, float, float]) -> NDArray[np.uint8]:
    """Decode an image and composite transparent pixels over ``background`` (display colour in [0, 1]).

    The orientation tag of cameras is not applied: calibrations refer to pixels as stored.

    Returns:
        ``[H, W, 3] uint8``.

    Raises:
        SceneError: the file is missing, incomplete or damaged, or is not 8-bit grey or RGB.
    """
    try:
        with Image.open(path) as image:
            image.load()
            mode = image.mode
            if mode == "P":
                mode = "RGBA" if "transparency" in image.info else "RGB"
            if mode in _PLAIN_MODES:
                return np.asarray(image.convert("RGB"), np.uint8)
            if mode in _ALPHA_MODES:
                return composite(np.asarray(image.convert("RGBA"), np.uint8), background)
    except FileNotFoundError as fault:
        raise SceneError(f"image {path} does not exist", "put it back or remove it from the capture") from fault
    except _DAMAGE as fault:
        raise SceneError(f"image {path} cannot be decoded ({fault})", "copy or export it again") from fault
    raise SceneError(f"image {path} has the pixel format {mode}", "convert it to 8-bit RGB, RGBA or grey")


def image_size(path: Path) -> tuple[int, int]:
    """Return width and height as the file's header states them.

    Raises:
        SceneError: the header cannot be read.
    """
    try:
        with Image.open(path) as image:
            return image.size
    except _DAMAGE as fault:
        raise SceneError(f"image {path} cannot be decoded ({fault})", "copy or export it again") from fault


def composite(rgba: NDArray[np.uint8], background: tuple[float, float, float]) -> NDArray[np.uint8]:
    """Composite ``[H, W, 4] uint8`` (straight alpha) over a background colour in [0, 1]; return ``[H, W, 3] uint8``."""
    alpha = rgba[..., 3:].astype(np.float64) / 255.0
    blended = rgba[..., :3] * alpha + 255.0 * np.array(background) * (1.0 - alpha)
    return np.rint(blended).astype(np.uint8)


def resize(image: NDArray[np.uint8], size: tuple[int, int], filter_name: str) -> NDArray[np.uint8]:
    """Resize ``[H, W, 3] uint8`` to ``size`` (width, height); an image of that size keeps its pixels."""
    if size == (image.shape[1], image.shape[0]):
        return image
    return np.asarray(Image.fromarray(image).resize(size, _RESAMPLING[filter_name]), np.uint8)

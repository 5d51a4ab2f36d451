"""Decoded views for the page: their choice, and their pictures as data URLs."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hemgs.analysis.figures.visual import TARGET_FOLDER, Picture, pictures_of, read_pixels
from hemgs.analysis.plan import Style
from hemgs.analysis.points import lmbda_of
from hemgs.analysis.summary import Summary

#: Pictures wider than this are scaled down for the page. Pictures up to LOSSLESS_WIDTH are stored without loss.
MAX_WIDTH = 800
LOSSLESS_WIDTH = 400
WEBP_QUALITY = 90
#: Number of embedded rates per method: both ends and the middle.
MAX_RATES = 3


def showcase(summary: Summary, style: Style) -> list[dict[str, object]]:
    """Return one view per scene: the photograph and a few rates of every method."""
    scenes: list[dict[str, object]] = []
    for shown in style.visual:
        by_view = pictures_of(shown, summary.points, style)
        if not by_view:
            continue
        view, pictures = next(iter(by_view.items()))
        dataset = next((known for known in style.datasets if known.id == shown.dataset), None)
        label = f"{dataset.label}: {dataset.label_of(shown.scene)}" if dataset else f"{shown.dataset}: {shown.scene}"
        target = read_pixels(pictures[0].path.parents[1] / TARGET_FOLDER / f"{view}.png")
        items = [
            {
                "method": picture.method,
                "lmbda": lmbda_of(picture.rate) or None,
                "psnr": picture.psnr if isinstance(picture.psnr, float) and math.isfinite(picture.psnr) else None,
                "bytes": picture.size_bytes,
                "src": _embedded(read_pixels(picture.path)),
            }
            for method in dict.fromkeys(picture.method for picture in pictures)
            for picture in _thinned([p for p in pictures if p.method == method])
        ]
        scenes.append({"label": label, "width": target.shape[1], "target": _embedded(target), "items": items})
    return scenes


def _thinned(pictures: Sequence[Picture]) -> list[Picture]:
    last = len(pictures) - 1
    chosen = sorted({round(last * part / (MAX_RATES - 1)) for part in range(MAX_RATES)})
    return [pictures[index] for index in chosen]


def _embedded(pixels: NDArray[np.uint8]) -> str:
    """Return a picture as a data URL."""
    picture = Image.fromarray(pixels)
    lossless = picture.width <= LOSSLESS_WIDTH
    if picture.width > MAX_WIDTH:
        height = max(1, round(picture.height * MAX_WIDTH / picture.width))
        picture = picture.resize((MAX_WIDTH, height), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, format="WEBP", lossless=lossless, quality=100 if lossless else WEBP_QUALITY, method=4)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def showcase_note(showcase: Sequence[Mapping[str, Any]]) -> str:
    """Return a sentence on the storage of the views."""
    widest = max((int(scene["width"]) for scene in showcase), default=0)
    if widest <= LOSSLESS_WIDTH:
        return "Views that were not trained on, as decoded; stored without loss."
    scaled = f" and scaled to {MAX_WIDTH} pixels" if widest > MAX_WIDTH else ""
    return (
        f"Views that were not trained on. For this page they are stored as WebP at quality {WEBP_QUALITY}{scaled}; "
        "figures were measured on the decoded views themselves."
    )

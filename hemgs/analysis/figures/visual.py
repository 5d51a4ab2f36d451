"""Decoded views next to the photograph, with enlarged crops: Figure 5 of HEMGS (arXiv 2411.18473).

Owns the choice of pictures and crops. Both follow fixed rules, so nobody chooses them by hand. The view is the first of
the showcase. The crops are the two squares in which the decoded views differ most from the photograph.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from PIL import Image

from hemgs.analysis.figures.drawing import FONT_PT, PAGE_WIDTH_IN, empty, new_figure
from hemgs.analysis.plan import Showcase, Style
from hemgs.analysis.points import lmbda_of, series_of
from hemgs.analysis.tables.cells import number, size_mib
from hemgs.core.images import ImageError, opened_image
from hemgs.core.records import RecordError, Row, Value, read_views

#: Folder of the photographs in a showcase, next to one folder per rate.
TARGET_FOLDER = "target"
#: Columns of the CSV with the data of the figure.
VISUAL_COLUMNS = ("method", "rate", "view", "psnr", "ssim", "bytes_total", "picture", "crops")
#: Largest number of decoded pictures next to the photograph.
MAX_PICTURES = 5
#: Side of a crop, as a fraction of the picture's shorter side; colours of the two boxes.
CROP_FRACTION = 0.22
BOX_COLORS = ("#FFD400", "#00E5FF")

#: Largest resolution of whole pictures, pixels per printed inch; layout of the figure in inches.
PRINT_DPI = 600
_EDGE_IN, _GAP_IN, _CAPTION_IN = 0.02, 0.05, 0.34


@dataclass(frozen=True)
class Picture:
    """A decoded view with its measured values.

    Attributes:
        method, rate, view: ids; ``view`` is the picture's file name without suffix.
        path: path of the PNG.
        psnr, ssim: quality of this view; ``None`` if not recorded.
        size_bytes: length of the bitstream; ``None`` if not recorded.
    """

    method: str
    rate: str
    view: str
    path: Path
    psnr: Value
    ssim: Value
    size_bytes: Value


@dataclass(frozen=True)
class Box:
    """A square of a picture, in pixels."""

    left: int
    top: int
    side: int

    def cut(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return pixels[self.top : self.top + self.side, self.left : self.left + self.side]


def pictures_of(shown: Showcase, points: Sequence[Row], style: Style) -> dict[str, list[Picture]]:
    """Return decoded pictures by view: methods in the order of the style, rates from the smallest file.

    Views without a photograph are left out.
    """
    found: dict[str, list[Picture]] = {}
    for method in sorted(shown.folders, key=style.order_of):
        own: dict[tuple[str, str], Picture] = {}
        for folder in shown.folders[method]:
            for picture in _of_folder(folder, method, _sizes(points, method, shown)):
                own.setdefault((picture.view, picture.rate), picture)  # Only the first seed is shown.
        for picture in sorted(own.values(), key=lambda picture: (picture.view, -lmbda_of(picture.rate))):
            found.setdefault(picture.view, []).append(picture)
    return found


def _of_folder(folder: Path, method: str, sizes: Mapping[str, Value]) -> list[Picture]:
    views = _views(folder)
    pictures = []
    for rate in _subfolders(folder):
        for path in sorted(rate.glob("*.png")):
            if rate.name != TARGET_FOLDER and (folder / TARGET_FOLDER / path.name).is_file():
                row = views.get((rate.name, path.stem), {})
                size = sizes.get(rate.name)
                pictures.append(Picture(method, rate.name, path.stem, path, row.get("psnr"), row.get("ssim"), size))
    return pictures


def visual_figure(shown: Showcase, points: Sequence[Row], style: Style) -> tuple[Figure, list[Row]]:
    """Draw the comparison of one scene, and return it with the rows of its CSV."""
    by_view = pictures_of(shown, points, style)
    if not by_view:
        return empty(f"{shown.scene}: no decoded views to compare"), []
    # The first of the views that most methods have.
    view = max(by_view, key=lambda name: (len(by_view[name]), [-ord(letter) for letter in name]))
    pictures = choose(by_view[view])
    target = read_pixels(pictures[0].path.parents[1] / TARGET_FOLDER / f"{view}.png")
    images = [read_pixels(picture.path) for picture in pictures]
    for picture, image in zip(pictures, images, strict=True):
        if image.shape != target.shape:
            raise RecordError(f"{picture.path} has another size than the photograph", "evaluate again")
    boxes = choose_crops(target, images)
    captions = ["Ground truth\n"]
    for picture in pictures:
        captions.append(f"{_title(picture, pictures, style)}\n{_figures(picture)}")
    figure = _draw([target, *images], captions, boxes)
    crops = "; ".join(f"{box.left},{box.top},{box.side}" for box in boxes)
    rows: list[Row] = [
        {
            "method": picture.method,
            "rate": picture.rate,
            "view": view,
            "psnr": picture.psnr,
            "ssim": picture.ssim,
            "bytes_total": picture.size_bytes,
            "picture": str(picture.path),
            "crops": crops,
        }
        for picture in pictures
    ]
    return figure, rows


def choose(pictures: Sequence[Picture]) -> list[Picture]:
    """Return at most :data:`MAX_PICTURES` pictures: the ends of each method's rates, starting from the last method."""
    ends: list[list[Picture]] = []
    for method in dict.fromkeys(picture.method for picture in pictures):
        own = [picture for picture in pictures if picture.method == method]
        ends.append([own[0]] if len(own) == 1 else [own[0], own[-1]])
    while sum(map(len, ends)) > MAX_PICTURES:
        double = next((pair for pair in ends[:-1] if len(pair) > 1), None)
        if double is not None:
            double.pop(0)
        else:
            ends.pop(0)
    return [picture for pair in ends for picture in pair]


def choose_crops(target: NDArray[np.uint8], images: Sequence[NDArray[np.uint8]]) -> list[Box]:
    """Return two squares, apart from each other, in which the images differ most from ``target``.

    Args:
        target, images: ``[H, W, 3] uint8``.
    """
    reference = target.astype(np.float64)
    error = np.mean([np.abs(image.astype(np.float64) - reference).mean(axis=2) for image in images], axis=0)
    height, width = error.shape
    side = max(1, min(round(CROP_FRACTION * min(height, width)), height, width))
    table = np.zeros((height + 1, width + 1))
    table[1:, 1:] = error.cumsum(axis=0).cumsum(axis=1)
    score = table[side:, side:] - table[:-side, side:] - table[side:, :-side] + table[:-side, :-side]
    boxes = []
    for _ in BOX_COLORS:
        top, left = (int(index) for index in np.unravel_index(np.argmax(score), score.shape))
        if score[top, left] < 0:
            break
        boxes.append(Box(left, top, side))
        score[max(0, top - side + 1) : top + side, max(0, left - side + 1) : left + side] = -1.0
    return boxes


def read_pixels(path: Path) -> NDArray[np.uint8]:
    """Return a picture as ``[H, W, 3] uint8``. Raises ``RecordError`` if it cannot be read."""
    try:
        with path.open("rb") as file, opened_image(file, ("PNG",)) as picture:
            return np.asarray(picture.convert("RGB"))
    except (OSError, ImageError) as fault:
        raise RecordError(f"{path} cannot be read: {fault}", "evaluate again") from fault


def _draw(images: Sequence[NDArray[np.uint8]], captions: Sequence[str], boxes: Sequence[Box]) -> Figure:
    """Draw pictures in one row, their crops below, and captions under the crops."""
    column_in = (PAGE_WIDTH_IN - 2 * _EDGE_IN - _GAP_IN * (len(images) - 1)) / len(images)
    picture_in = column_in * images[0].shape[0] / images[0].shape[1]
    crop_in = (column_in - _GAP_IN) / 2 if boxes else 0.0
    height_in = _EDGE_IN + picture_in + _GAP_IN + crop_in + _CAPTION_IN
    figure = new_figure(PAGE_WIDTH_IN, height_in)

    def show(pixels: NDArray[np.uint8], left_in: float, top_in: float, width_in: float, tall_in: float) -> Axes:
        bottom = 1 - (top_in + tall_in) / height_in
        axes = figure.add_axes((left_in / PAGE_WIDTH_IN, bottom, width_in / PAGE_WIDTH_IN, tall_in / height_in))
        axes.imshow(pixels, aspect="auto")
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
        return axes

    for index, (pixels, caption) in enumerate(zip(images, captions, strict=True)):
        left_in = _EDGE_IN + index * (column_in + _GAP_IN)
        small = _for_print(pixels, column_in)
        axes = show(small, left_in, _EDGE_IN, column_in, picture_in)
        scale = small.shape[1] / pixels.shape[1]
        for place, (box, color) in enumerate(zip(boxes, BOX_COLORS, strict=False)):
            corner, side = (box.left * scale - 0.5, box.top * scale - 0.5), box.side * scale
            axes.add_patch(Rectangle(corner, side, side, fill=False, edgecolor=color, linewidth=0.9))
            crop_left_in = left_in + place * (crop_in + _GAP_IN)
            crop = show(box.cut(pixels), crop_left_in, _EDGE_IN + picture_in + _GAP_IN, crop_in, crop_in)
            crop.spines[:].set(visible=True, edgecolor=color, linewidth=1.2)
        center = (left_in + column_in / 2) / PAGE_WIDTH_IN
        figure.text(center, (_CAPTION_IN - 0.05) / height_in, caption, ha="center", va="top", fontsize=FONT_PT - 1.5)
    return figure


def _for_print(pixels: NDArray[np.uint8], width_in: float) -> NDArray[np.uint8]:
    """Return a picture with no more pixels than a print at :data:`PRINT_DPI` shows."""
    limit = round(width_in * PRINT_DPI)
    if pixels.shape[1] <= limit:
        return pixels
    size = (limit, max(1, round(pixels.shape[0] * limit / pixels.shape[1])))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))


def _title(picture: Picture, pictures: Sequence[Picture], style: Style) -> str:
    label = style.label_of(picture.method)
    several = sum(other.method == picture.method for other in pictures) > 1 or lmbda_of(picture.rate) > 0
    return f"{label}, λ = {picture.rate.rpartition('_')[2]}" if several else label


def _figures(picture: Picture) -> str:
    parts = [f"{number(picture.psnr, 2).text} dB"] if isinstance(picture.psnr, float) else []
    size = size_mib(picture.size_bytes).text
    return " · ".join([*parts, *([f"{size} MiB"] if size else [])])


def _subfolders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []


def _views(folder: Path) -> dict[tuple[str, str], Row]:
    path = folder.parent / "views.csv"
    if not path.is_file():
        return {}
    return {(str(row["rate"]), str(row["view"]).replace("/", "_")): row for row in read_views(path)}


def _sizes(points: Sequence[Row], method: str, shown: Showcase) -> dict[str, Value]:
    sizes: dict[str, Value] = {}
    for row in points:
        if (series_of(row), row["dataset"], row["scene"]) == (method, shown.dataset, shown.scene):
            sizes.setdefault(str(row["rate"]), row["bytes_total"])
    return sizes

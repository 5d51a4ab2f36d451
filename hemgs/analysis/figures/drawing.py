"""Colours, markers and drawing conventions that all figures share.

Owns the palette, label placement, and files with the same bytes each time. The palette is fixed by method id, so a
method keeps its colour in every figure and on the page. Does not own the contents of figures.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.colors
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from matplotlib.transforms import Bbox

from hemgs.analysis.plan import Style
from hemgs.core.files import write_bytes

#: Okabe and Ito's colour-blind safe palette first, then hues that differ from it in lightness. Each method has its own
#: marker, too, for readers who see no colour.
PALETTE: dict[str, tuple[str, str]] = {
    "hemgs": ("#D55E00", "o"),
    "hac": ("#0072B2", "^"),
    "context_gs": ("#009E73", "v"),
    "hac_plus": ("#6A3D9A", "4"),
    "hemgs_plus": ("#D62728", r"$\oplus$"),
    "scaffold_gs": ("#56B4E9", "D"),
    "gs3d": ("#4D4D4D", "s"),
    "eagles": ("#E69F00", "P"),
    "lightgaussian": ("#CC79A7", "X"),
    "compact_3dgs": ("#332288", "<"),
    "compressed_3d": ("#882255", ">"),
    "sog": ("#999933", "p"),
    "compact3d_vq": ("#000000", "h"),
    "compgs": ("#44AA99", "*"),
}
#: For methods without an entry, by their place in the tables.
_SPARE = (
    ("#117733", "d"),
    ("#AA4499", "H"),
    ("#661100", "8"),
    ("#6699CC", "1"),
    ("#888888", "2"),
    ("#0B6E99", "x"),
    ("#B15928", "+"),
    ("#7570B3", "3"),
)
#: Printed width of a text column and of a page in inches; type size in points.
COLUMN_WIDTH_IN = 3.5
PAGE_WIDTH_IN = 7.2
FONT_PT = 8.0
DPI = 300
#: Sizes that span more than this factor are drawn on a logarithmic axis.
LOG_SPAN = 6.0
_METADATA: dict[str, dict[str, str | None]] = {
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    "svg": {"Date": None, "Creator": None},
    "png": {"Software": None},
}
_RC: dict[Any, Any] = {
    "font.size": FONT_PT,
    "axes.titlesize": FONT_PT + 1,
    "axes.labelsize": FONT_PT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.5,
    "xtick.labelsize": FONT_PT - 1,
    "ytick.labelsize": FONT_PT - 1,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.2,
    "lines.markersize": 4.0,
    "pdf.fonttype": 42,
    "svg.fonttype": "path",
    "svg.hashsalt": "hemgs",
    "savefig.dpi": DPI,
    "figure.dpi": DPI,
    # Labels are text here, as they are in tables and on the page. A dollar sign begins no formula.
    "text.parse_math": False,
}


def look_of(style: Style, method: str) -> tuple[str, str]:
    """Return colour ``#rrggbb`` and marker of a method: those of the style, else those of the palette."""
    rank = style.order_of(method)
    color, marker = PALETTE.get(method, _SPARE[rank % len(_SPARE)])
    own = next((known for known in style.methods if known.id == method), None)
    return (own.color or color, own.marker or marker) if own else (color, marker)


def ink(color: str) -> str:
    """Return a darker colour for text, so that light hues are legible on white.

    >>> ink("#ffffff")
    '#c7c7c7'
    """
    red, green, blue = mpl.colors.to_rgb(color)
    return str(mpl.colors.to_hex((0.78 * red, 0.78 * green, 0.78 * blue)))


@contextmanager
def conventions() -> Iterator[None]:
    """Draw by the conventions inside the block; restore matplotlib's settings afterwards."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_RC)
        yield


def new_figure(width_in: float, height_in: float) -> Figure:
    """Return an empty figure of this printed size."""
    figure = Figure(figsize=(width_in, height_in))
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, stem: Path) -> None:
    """Write ``<stem>.{pdf,svg,png}`` atomically; no dates, so that equal figures are equal files."""
    for suffix in _METADATA:
        for image in (image for axes in figure.axes for image in axes.images):
            # Vector files contain the original pixels. In the PNG, a picture larger than its frame must not alias.
            image.set_interpolation("auto" if suffix == "png" else "none")
        buffer = io.BytesIO()
        figure.savefig(buffer, format=suffix, metadata=_METADATA[suffix])
        write_bytes(stem.with_name(f"{stem.name}.{suffix}"), buffer.getvalue())


def empty(message: str) -> Figure:
    """Return a figure that contains only the reason for missing data."""
    figure = new_figure(COLUMN_WIDTH_IN, 1.6)
    figure.text(0.5, 0.5, message, ha="center", va="center", color="#555555", wrap=True)
    return figure


def size_axis(axes: Axes, sizes: Sequence[float]) -> None:
    """Label the x axis as size in MiB; make it logarithmic where the sizes span decades."""
    axes.set_xlabel("Size [MiB]")
    low, high = min(sizes), max(sizes)
    if high <= LOG_SPAN * low:
        axes.set_xlim(low - 0.12 * (high - low or low), high + 0.12 * (high - low or low))
        return
    axes.set_xscale("log")
    axes.set_xlim(low / 1.35, high * 1.35)
    steps = (1, 2, 5) if high < 100 * low else (1, 3) if high < 1000 * low else (1,)
    ticks = [step * 10.0**power for power in range(-5, 6) for step in steps]
    axes.xaxis.set_major_locator(FixedLocator([tick for tick in ticks if low / 1.35 <= tick <= high * 1.35]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


@dataclass(frozen=True)
class Label:
    """A label of a point, which is in data coordinates."""

    x: float
    y: float
    text: str
    color: str


def place_labels(figure: Figure, axes: Axes, labels: Sequence[Label], obstacles: Sequence[tuple[float, float]]) -> None:
    """Write each label next to its point, at the place where it covers the fewest points and other labels.

    Limits and scale of the axes must be final. Candidates are tried in a fixed order, so the result is reproducible.
    """
    renderer = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]
    frame = axes.get_window_extent(renderer)
    taken: list[Bbox] = []
    points = axes.transData.transform(np.reshape(obstacles, (-1, 2)))
    offsets = [
        (6, 0, "left", "center"),
        (0, 6, "center", "bottom"),
        (0, -6, "center", "top"),
        (-6, 0, "right", "center"),
    ]
    offsets += [(5, 5, "left", "bottom"), (5, -5, "left", "top"), (-5, 5, "right", "bottom"), (-5, -5, "right", "top")]
    offsets += [(0, 14, "center", "bottom"), (0, -14, "center", "top"), (14, 0, "left", "center")]
    for label in labels:
        best, best_cost = None, float("inf")
        for dx, dy, horizontal, vertical in offsets:
            candidate = axes.annotate(
                label.text,
                (label.x, label.y),
                xytext=(dx, dy),
                textcoords="offset points",
                ha=horizontal,
                va=vertical,
                color=ink(label.color),
                fontsize=FONT_PT - 0.5,
            )
            box = candidate.get_window_extent(renderer)
            outside = max(0.0, frame.x0 - box.x0) + max(0.0, box.x1 - frame.x1)
            outside += max(0.0, frame.y0 - box.y0) + max(0.0, box.y1 - frame.y1)
            hits = sum(box.x0 - 2 <= x <= box.x1 + 2 and box.y0 <= y <= box.y1 for x, y in points)
            cost = 10.0 * outside + 30.0 * hits + 200.0 * sum(box.overlaps(other) for other in taken)
            cost += 0.5 * (abs(dx) + abs(dy))
            if cost < best_cost:
                if best is not None:
                    best.remove()
                best, best_cost, best_box = candidate, cost, box
            else:
                candidate.remove()
        taken.append(best_box)

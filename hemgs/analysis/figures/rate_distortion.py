"""Rate–distortion curves: Figure 3 of HEMGS (arXiv 2411.18473), and functions for other figures with curves."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hemgs.analysis.figures.drawing import (
    COLUMN_WIDTH_IN,
    FONT_PT,
    PAGE_WIDTH_IN,
    Label,
    empty,
    look_of,
    new_figure,
    place_labels,
    size_axis,
)
from hemgs.analysis.plan import DatasetNames, Style
from hemgs.analysis.tables.cells import MIB
from hemgs.core.catalogue import METRICS
from hemgs.core.records import Row

#: Columns of the CSV with the data of a curve.
CURVE_COLUMNS = ("method", "rate", "lmbda", "iterations", "bytes_total", "bytes_total_std", "psnr", "psnr_std", "hole")
#: Largest number of curves with direct labels. With more curves, the figure has a legend.
MOST_LABELS = 7


def rd_figure(rows: Sequence[Row], style: Style, dataset: DatasetNames) -> Figure:
    """Draw Figure 3: PSNR over size for every method on one dataset; rows are of ``datasets.csv``."""
    complete = drawable(rows)
    left_out = left_out_in_words(rows, style)
    if not complete:
        hole = next((str(row["hole"]) for row in rows if row["hole"]), "" if rows else "nothing was planned")
        why = f"no complete set of scenes\n{shortened(hole)}" if hole else left_out
        return empty(f"{dataset.label}: {why}")
    crowded = len(methods_of(complete, style)) > MOST_LABELS
    width_in = PAGE_WIDTH_IN if crowded else COLUMN_WIDTH_IN
    figure = new_figure(width_in, 2.75 + (0.14 if left_out else 0.0) + (0.6 if crowded else 0.0))
    bottom = 0.165 + (0.04 if left_out else 0.0)
    width = 0.81 * COLUMN_WIDTH_IN / width_in + (0.2 if crowded else 0.0)
    axes = figure.add_axes((0.145 * COLUMN_WIDTH_IN / width_in, bottom, width, 0.91 - bottom))
    draw_curves(figure, axes, complete, style, with_legend=crowded)
    axes.set_title(dataset.label)
    if left_out:
        figure.text(0.01, 0.012, f"Not shown, {left_out}", fontsize=FONT_PT - 2, color="#555555")
    return figure


def draw_curves(
    figure: Figure,
    axes: Axes,
    rows: Sequence[Row],
    style: Style,
    *,
    with_lmbda: bool = False,
    with_legend: bool = False,
) -> None:
    """Draw PSNR over size: a line per method with several rates, a lone marker otherwise.

    Lines have direct labels, or a legend on the right.
    """
    axes.set_ylabel(METRICS["psnr"].heading)
    labels, obstacles = [], []
    size_axis(axes, [mib_of(row) for row in rows])
    methods = methods_of(rows, style)
    for method in reversed(methods):
        color, marker = look_of(style, method)
        points = sorted(rows_of_method(rows, method), key=mib_of)
        sizes, qualities = [mib_of(row) for row in points], [_float(row, "psnr") for row in points]
        order = 3 + (method in style.variable_rate)
        axes.plot(sizes, qualities, color=color, marker=marker, zorder=order, label=style.label_of(method))
        if any(row["psnr_std"] is not None for row in points):
            spread = [_float(row, "psnr_std") for row in points]
            across = [_float(row, "bytes_total_std") / MIB for row in points]
            axes.errorbar(sizes, qualities, yerr=spread, xerr=across, fmt="none", ecolor=color, elinewidth=0.6)
        obstacles += _along(sizes, qualities)
        end = len(sizes) // 2 if with_lmbda else -1
        labels.append(Label(sizes[end], qualities[end], style.label_of(method), color))
        if with_lmbda and len(points) > 1 and method in style.variable_rate:
            labels += [
                Label(mib_of(row), _float(row, "psnr"), f"λ = {str(row['rate']).rpartition('_')[2]}", "#555555")
                for row in (points[0], points[-1])
            ]
    values = [_float(row, "psnr") for row in rows]
    margin = 0.12 * (max(values) - min(values) or 1.0)
    axes.set_ylim(min(values) - margin, max(values) + margin)
    if with_legend:
        lines, names = axes.get_legend_handles_labels()
        axes.legend(lines[::-1], names[::-1], loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False)
    else:
        place_labels(figure, axes, labels[::-1], obstacles)


def drawable(rows: Iterable[Row]) -> list[Row]:
    """Return rows that can be drawn: means over complete sets whose PSNR is finite."""
    return [row for row in rows if not row["hole"] and math.isfinite(_float(row, "psnr"))]


def left_out_in_words(rows: Sequence[Row], style: Style) -> str:
    """Return which methods lack scenes at every rate, and which have an infinite PSNR at some rate."""
    methods = methods_of(rows, style)
    lacking = [method for method in methods if all(row["hole"] for row in rows_of_method(rows, method))]
    infinite = []
    for method in methods:
        own = rows_of_method(rows, method)
        if count := sum(_float(row, "psnr") == math.inf for row in own):
            infinite.append(style.label_of(method) + (f" ({count} of {len(own)} rates)" if len(own) > 1 else ""))
    named = (("scenes missing", [style.label_of(method) for method in lacking]), ("PSNR infinite", infinite))
    return "; ".join(f"{why}: {', '.join(found)}" for why, found in named if found)


def _along(xs: Sequence[float], ys: Sequence[float], steps: int = 12) -> list[tuple[float, float]]:
    """Return points on a polyline, close enough to find every label that covers the line."""
    corners = list(zip(xs, ys, strict=True))
    dense = list(corners)
    for (x0, y0), (x1, y1) in itertools.pairwise(corners):
        dense += [(x0 + (x1 - x0) * k / steps, y0 + (y1 - y0) * k / steps) for k in range(1, steps)]
    return dense


def methods_of(rows: Iterable[Row], style: Style) -> list[str]:
    """Return the methods of rows, in the order of the style."""
    return sorted({str(row["method"]) for row in rows}, key=style.order_of)


def rows_of_method(rows: Iterable[Row], method: str) -> list[Row]:
    """Return the rows of one method."""
    return [row for row in rows if row["method"] == method]


def mib_of(row: Row) -> float:
    """Return the size of a row's files in MiB."""
    return _float(row, "bytes_total") / MIB


def _float(row: Row, name: str) -> float:
    return float(row[name] or 0.0)


def shortened(reason: str, limit: int = 90) -> str:
    """Return a reason, shortened to fit into a figure."""
    return reason if len(reason) <= limit else f"{reason[: limit - 1]}…"

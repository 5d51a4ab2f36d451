"""The paper's figures, from the summary: rate–distortion curves and the variable-rate figure; and all figures as files.

Owns Figures 3 and 4 of HEMGS (arXiv 2411.18473) and the list of figure files. Does not own the visual comparison
(``hemgs.analysis.figures.visual``) or looks (``hemgs.analysis.figures.drawing``).
"""

from __future__ import annotations

import itertools
import math
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hemgs.analysis.figures.drawing import (
    COLUMN_WIDTH_IN,
    FONT_PT,
    FORMATS,
    PAGE_WIDTH_IN,
    Label,
    conventions,
    empty,
    look_of,
    new_figure,
    place_labels,
    save,
    size_axis,
)
from hemgs.analysis.figures.visual import visual_figure
from hemgs.analysis.plan import DatasetNames, Style
from hemgs.analysis.points import lmbda_of
from hemgs.analysis.tables.bdrate import in_words, variable_rate_costs
from hemgs.analysis.tables.quality import Summary
from hemgs.analysis.tables.table import MIB
from hemgs.core.files import write_text
from hemgs.core.records import NOT_AVAILABLE, Row, Value

_CSV_COLUMNS = ("method", "rate", "lmbda", "iterations", "bytes_total", "bytes_total_std", "psnr", "psnr_std", "hole")
#: Curves that are labelled directly; more of them get a legend.
MOST_LABELS = 7
#: Characters that fit across a panel of the variable-rate figure in its smallest type.
_PRICE_CHARACTERS = 56
#: Columns of ``variable_rate.csv`` with what one model costs → columns of ``bdrate.csv``.
_COST_COLUMNS = {
    "bd_rate_against": "reference",
    "bd_rate_percent": "percent",
    "bd_rate_percent_min": "percent_min",
    "bd_rate_percent_max": "percent_max",
    "bd_rate_low": "low",
    "bd_rate_high": "high",
    "bd_rate_points": "num_points_method",
    "bd_rate_points_against": "num_points_reference",
    "bd_rate_hole": "hole",
}


def figure_files(style: Style, out: Path) -> list[Path]:
    """Every file that :func:`write_figures` writes for a style."""
    names = [f"rd_{dataset.id}" for dataset in style.datasets]
    names += ["variable_rate"] if style.variable_rate else []
    names += [f"visual_{shown.dataset}_{shown.scene}" for shown in style.visual]
    return [out / f"{name}.{suffix}" for name in names for suffix in (*FORMATS, "csv")]


def write_figures(summary: Summary, style: Style, out: Path) -> None:
    """Draws and writes every figure and the CSV behind it."""
    with conventions():
        for dataset in style.datasets:
            rows = [row for row in summary.datasets if row["dataset"] == dataset.id]
            save(rd_figure(rows, style, dataset), out / f"rd_{dataset.id}")
            write_text(out / f"rd_{dataset.id}.csv", _csv(rows, _CSV_COLUMNS))
        if style.variable_rate:
            rows, costs = _variable_rows(summary, style), variable_rate_costs(summary.bdrate, style)
            save(variable_rate_figure(rows, style, costs), out / "variable_rate")
            priced = [row | _cost_columns(row, costs) for row in map(dict, rows)]
            write_text(out / "variable_rate.csv", _csv(priced, ("dataset", *_CSV_COLUMNS, *_COST_COLUMNS)))
        for shown in style.visual:
            figure, shown_rows = visual_figure(shown, summary.points, style)
            stem = out / f"visual_{shown.dataset}_{shown.scene}"
            save(figure, stem)
            columns = ("method", "rate", "view", "psnr", "ssim", "bytes_total", "picture", "crops")
            write_text(stem.with_name(f"{stem.name}.csv"), _csv(shown_rows, columns))


def rd_figure(rows: Sequence[Row], style: Style, dataset: DatasetNames) -> Figure:
    """Figure 3: PSNR over size for every method on one data set; rows are of ``datasets.csv``."""
    complete = _drawable(rows)
    left_out = _left_out(rows, style)
    if not complete:
        hole = next((str(row["hole"]) for row in rows if row["hole"]), "" if rows else "nothing was planned")
        why = f"no complete set of scenes\n{_short(hole)}" if hole else left_out
        return empty(f"{dataset.label}: {why}")
    crowded = len(_methods(complete, style)) > MOST_LABELS
    width_in = PAGE_WIDTH_IN if crowded else COLUMN_WIDTH_IN
    figure = new_figure(width_in, 2.75 + (0.14 if left_out else 0.0) + (0.6 if crowded else 0.0))
    bottom = 0.165 + (0.04 if left_out else 0.0)
    width = 0.81 * COLUMN_WIDTH_IN / width_in + (0.2 if crowded else 0.0)
    axes = figure.add_axes((0.145 * COLUMN_WIDTH_IN / width_in, bottom, width, 0.91 - bottom))
    _draw_curves(figure, axes, complete, style, with_legend=crowded)
    axes.set_title(dataset.label)
    if left_out:
        figure.text(0.01, 0.012, f"Not shown, {left_out}", fontsize=FONT_PT - 2, color="#555555")
    return figure


def variable_rate_figure(rows: Sequence[Row], style: Style, costs: Sequence[Row] = ()) -> Figure:
    """Figure 4: the rates of one model, as a rate–distortion curve and as size over λ, per data set.

    Args:
        rows: of ``datasets.csv``.
        style: labels and colours.
        costs: rows of ``bdrate.csv``: what one model costs against one per rate.
    """
    complete = _drawable(rows)
    datasets = [dataset for dataset in style.datasets if any(row["dataset"] == dataset.id for row in complete)]
    if not datasets:
        left_out = _left_out(rows, style)
        return empty(
            "No model with several rates was measured on a complete set of scenes"
            + (f"\n{_short(left_out)}" if left_out else "")
        )
    height_in = 2.55
    figure = new_figure(PAGE_WIDTH_IN, height_in * len(datasets))
    grid = figure.add_gridspec(
        len(datasets),
        2,
        left=0.082,
        right=0.985,
        bottom=0.42 / (height_in * len(datasets)),
        top=1 - 0.26 / (height_in * len(datasets)),
        wspace=0.2,
        hspace=0.38,
    )
    for index, dataset in enumerate(datasets):
        own = [row for row in complete if row["dataset"] == dataset.id]
        left, right = figure.add_subplot(grid[index, 0]), figure.add_subplot(grid[index, 1])
        _draw_curves(figure, left, own, style, with_lmbda=True)
        left.set_title(f"{dataset.label}: rate–distortion of one model")
        for method in _methods(own, style):
            color, marker = look_of(style, method)
            points = sorted(_of(own, method), key=lambda row: lmbda_of(str(row["rate"])))
            lmbdas = [lmbda_of(str(row["rate"])) * 1e3 for row in points]
            right.plot(lmbdas, [_mib(row) for row in points], color=color, marker=marker, label=style.label_of(method))
        right.set_ylim(0, 1.08 * max(_mib(row) for row in own))
        right.set_xlabel("λ [10⁻³]")
        right.set_ylabel("Size [MiB]")
        right.set_title(f"{dataset.label}: size set by λ")
        if len(_methods(own, style)) > 1:
            right.legend(frameon=False, fontsize=FONT_PT - 1)
        prices = [_price(cost, style) for cost in costs if cost["dataset"] == dataset.id]
        right.text(0.03, 0.04, "\n".join(prices), fontsize=FONT_PT - 1.5, color="#555555", transform=right.transAxes)
    return figure


def _draw_curves(
    figure: Figure,
    axes: Axes,
    rows: Sequence[Row],
    style: Style,
    *,
    with_lmbda: bool = False,
    with_legend: bool = False,
) -> None:
    """PSNR over size, a line per method with several rates and a lone marker otherwise.

    Labelled directly, or by a legend on the right.
    """
    axes.set_ylabel("PSNR [dB]")
    labels, obstacles = [], []
    size_axis(axes, [_mib(row) for row in rows])
    methods = _methods(rows, style)
    for method in reversed(methods):
        color, marker = look_of(style, method)
        points = sorted(_of(rows, method), key=_mib)
        sizes, qualities = [_mib(row) for row in points], [_float(row, "psnr") for row in points]
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
                Label(_mib(row), _float(row, "psnr"), f"λ = {str(row['rate']).rpartition('_')[2]}", "#555555")
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


def _drawable(rows: Iterable[Row]) -> list[Row]:
    """Rows with a place in the figure: means over complete sets whose PSNR is finite."""
    return [row for row in rows if not row["hole"] and math.isfinite(_float(row, "psnr"))]


def _left_out(rows: Sequence[Row], style: Style) -> str:
    """Which methods lack scenes at every rate, and which have an infinite PSNR at some, as equal pictures have."""
    methods = _methods(rows, style)
    lacking = [method for method in methods if all(row["hole"] for row in _of(rows, method))]
    infinite = []
    for method in methods:
        own = _of(rows, method)
        if count := sum(_float(row, "psnr") == math.inf for row in own):
            infinite.append(style.label_of(method) + (f" ({count} of {len(own)} rates)" if len(own) > 1 else ""))
    named = (("scenes missing", [style.label_of(method) for method in lacking]), ("PSNR infinite", infinite))
    return "; ".join(f"{why}: {', '.join(found)}" for why, found in named if found)


def _along(xs: Sequence[float], ys: Sequence[float], steps: int = 12) -> list[tuple[float, float]]:
    """Points on a polyline, close enough that a label cannot hide a stretch of it unnoticed."""
    corners = list(zip(xs, ys, strict=True))
    dense = list(corners)
    for (x0, y0), (x1, y1) in itertools.pairwise(corners):
        dense += [(x0 + (x1 - x0) * k / steps, y0 + (y1 - y0) * k / steps) for k in range(1, steps)]
    return dense


def _variable_rows(summary: Summary, style: Style) -> list[Row]:
    """Rows of the methods that serve all rates from one model, and of variants of theirs trained once per rate."""
    shown = set(style.variable_rate)
    shown |= {method.id for method in style.methods if method.base in shown and method.kind == "per_rate"}
    return [row for row in summary.datasets if row["method"] in shown]


def _cost_columns(row: Row, costs: Iterable[Row]) -> dict[str, Value]:
    """Columns of a model that serves all rates: what it costs against its variant that is trained once per rate."""
    for cost in costs:
        if (cost["method"], cost["dataset"]) == (row["method"], row["dataset"]):
            return {column: cost[name] for column, name in _COST_COLUMNS.items()}
    return {}


def _price(cost: Row, style: Style) -> str:
    one, many = (style.label_of(str(cost[name])) for name in ("method", "reference"))
    return textwrap.fill(f"{one} against {many}: {in_words(cost, style)}", _PRICE_CHARACTERS)


def _methods(rows: Iterable[Row], style: Style) -> list[str]:
    return sorted({str(row["method"]) for row in rows}, key=style.order_of)


def _of(rows: Iterable[Row], method: str) -> list[Row]:
    return [row for row in rows if row["method"] == method]


def _mib(row: Row) -> float:
    return _float(row, "bytes_total") / MIB


def _float(row: Row, name: str) -> float:
    return float(row[name] or 0.0)


def _short(reason: str, limit: int = 90) -> str:
    return reason if len(reason) <= limit else f"{reason[: limit - 1]}…"


def _csv(rows: Iterable[Row], columns: Sequence[str]) -> str:
    table = pd.DataFrame(list(rows), columns=list(columns), dtype=object)
    return str(table.to_csv(index=False, na_rep=NOT_AVAILABLE, lineterminator="\n"))

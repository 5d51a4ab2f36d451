"""The paper's figures, from the summary: rate–distortion curves and the variable-rate figure; and all figures as files.

Owns Figures 3 and 4 of HEMGS (arXiv 2411.18473) and the list of figure files. Does not own the visual comparison
(``hemgs.analysis.visual``) or looks (``hemgs.analysis.looks``).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hemgs.analysis.looks import (
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
from hemgs.analysis.plan import DatasetNames, Style
from hemgs.analysis.points import lmbda_of
from hemgs.analysis.sheet import MIB
from hemgs.analysis.tables import Summary
from hemgs.analysis.visual import visual_figure
from hemgs.core.files import write_text
from hemgs.core.records import NOT_AVAILABLE, Row

_CSV_COLUMNS = ("method", "rate", "lmbda", "iterations", "bytes_total", "bytes_total_std", "psnr", "psnr_std", "hole")


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
            rows = _variable_rows(summary, style)
            save(variable_rate_figure(rows, style), out / "variable_rate")
            write_text(out / "variable_rate.csv", _csv(rows, ("dataset", *_CSV_COLUMNS)))
        for shown in style.visual:
            figure, shown_rows = visual_figure(shown, summary.points, style)
            stem = out / f"visual_{shown.dataset}_{shown.scene}"
            save(figure, stem)
            columns = ("method", "rate", "view", "psnr", "ssim", "bytes_total", "picture", "crops")
            write_text(stem.with_name(f"{stem.name}.csv"), _csv(shown_rows, columns))


def rd_figure(rows: Sequence[Row], style: Style, dataset: DatasetNames) -> Figure:
    """Figure 3: PSNR over size for every method on one data set; rows are of ``datasets.csv``."""
    complete = [row for row in rows if not row["hole"]]
    if not complete:
        why = next((str(row["hole"]) for row in rows), "nothing was planned")
        return empty(f"{dataset.label}: no complete set of scenes\n{_short(why)}")
    holes = [method for method in _methods(rows, style) if all(row["hole"] for row in _of(rows, method))]
    figure = new_figure(COLUMN_WIDTH_IN, 2.75 + (0.14 if holes else 0.0))
    bottom = 0.165 + (0.04 if holes else 0.0)
    axes = figure.add_axes((0.145, bottom, 0.81, 0.91 - bottom))
    _draw_curves(figure, axes, complete, style)
    axes.set_title(dataset.label)
    if holes:
        names = ", ".join(style.label_of(method) for method in holes)
        figure.text(0.01, 0.012, f"Not shown, scenes missing: {names}", fontsize=FONT_PT - 2, color="#555555")
    return figure


def variable_rate_figure(rows: Sequence[Row], style: Style) -> Figure:
    """Figure 4: the rates of one model, as a rate–distortion curve and as size over λ, per data set."""
    complete = [row for row in rows if not row["hole"]]
    datasets = [dataset for dataset in style.datasets if any(row["dataset"] == dataset.id for row in complete)]
    if not datasets:
        return empty("No model with several rates was measured on a complete set of scenes")
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
    return figure


def _draw_curves(figure: Figure, axes: Axes, rows: Sequence[Row], style: Style, with_lmbda: bool = False) -> None:
    """PSNR over size, a line per method with several rates and a lone marker otherwise, labelled directly."""
    axes.set_ylabel("PSNR [dB]")
    labels, obstacles = [], []
    size_axis(axes, [_mib(row) for row in rows])
    methods = _methods(rows, style)
    for method in reversed(methods):
        color, marker = look_of(style, method)
        points = sorted(_of(rows, method), key=_mib)
        sizes, qualities = [_mib(row) for row in points], [_float(row, "psnr") for row in points]
        axes.plot(sizes, qualities, color=color, marker=marker, zorder=3 + (method in style.variable_rate))
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
    place_labels(figure, axes, labels[::-1], obstacles)


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

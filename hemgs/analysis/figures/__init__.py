"""The figures, and the conventions that all of them share (``drawing``).

Owns the drawing, and the CSV file with the data of each figure. Does not own the list of a benchmark's figures
(``hemgs.core.catalogue``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from hemgs.analysis.figures.drawing import conventions, save
from hemgs.analysis.figures.rate_distortion import CURVE_COLUMNS, rd_figure
from hemgs.analysis.figures.variable_rate import VARIABLE_RATE_COLUMNS, draw_variable_rate
from hemgs.analysis.figures.visual import VISUAL_COLUMNS, visual_figure
from hemgs.analysis.plan import Style
from hemgs.analysis.summary import Summary
from hemgs.core.catalogue import FIGURE_FORMATS, figure_stems
from hemgs.core.csv_text import csv_text
from hemgs.core.files import write_text
from hemgs.core.records import Row, format_value


def write_figures(summary: Summary, style: Style, out: Path) -> list[Path]:
    """Draw every figure, and write it together with the CSV of its data.

    Returns:
        The files written.
    """
    visual = [(shown.dataset, shown.scene) for shown in style.visual]
    stems = figure_stems([dataset.id for dataset in style.datasets], bool(style.variable_rate), visual)
    with conventions():
        for stem, (figure, rows, columns) in zip(stems, _drawn(summary, style), strict=True):
            save(figure, out / stem)
            write_text(out / f"{stem}.csv", csv_of(rows, columns))
    return [out / f"{stem}.{suffix}" for stem in stems for suffix in FIGURE_FORMATS]


def _drawn(summary: Summary, style: Style) -> Iterator[tuple[Figure, Sequence[Row], Sequence[str]]]:
    """Yield every figure with the rows and columns of its CSV, in the order of the catalogue."""
    for dataset in style.datasets:
        rows = [row for row in summary.datasets if row["dataset"] == dataset.id]
        yield rd_figure(rows, style, dataset), rows, CURVE_COLUMNS
    if style.variable_rate:
        yield *draw_variable_rate(summary, style), VARIABLE_RATE_COLUMNS
    for shown in style.visual:
        yield *visual_figure(shown, summary.points, style), VISUAL_COLUMNS


def csv_of(rows: Iterable[Row], columns: Sequence[str]) -> str:
    """Return the rows behind a figure as CSV."""
    return csv_text([columns, *([format_value(row.get(name)) for name in columns] for row in rows)])

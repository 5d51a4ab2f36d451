"""Every method against every other: BD-rates per dataset and metric."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from hemgs.analysis.plan import Style
from hemgs.analysis.summary import Summary
from hemgs.analysis.tables.bdrate import half_range, overlap_of, percent_cell, point_counts, seed_notes
from hemgs.analysis.tables.cells import Cell, signed, text, with_spread
from hemgs.analysis.tables.table import Heading, Table, TableSpec
from hemgs.core.catalogue import METRICS
from hemgs.core.records import Row

#: Ratio of bytes, or its inverse, with the strongest shade.
FULL_SHADE = 2.0
_Pairs = Mapping[tuple[str, str, str, str], Row]


def build(summary: Summary, style: Style) -> Table:
    """Return every method against every other, per dataset and every metric that was measured, by PCHIP."""
    means = [row for row in summary.bdrate if (row["scene"], row["interpolation"]) == ("mean", "pchip")]
    found: _Pairs = {tuple(str(row[n]) for n in ("dataset", "metric", "reference", "method")): row for row in means}  # type: ignore[misc]
    methods = sorted({str(row["reference"]) for row in means}, key=style.order_of)
    metrics = [name for name in METRICS if any(row["percent"] is not None for row in means if row["metric"] == name)]
    headings = [Heading(name, numeric=False) for name in ("Dataset", "At equal", "Method")]
    headings += [Heading(style.label_of(reference), "BD-rate [%] against") for reference in methods]
    lines = [
        (
            text(dataset.label),
            text(METRICS[metric].label),
            text(style.label_of(method)),
            *(_against(found, (dataset.id, metric, reference, method), style) for reference in methods),
        )
        for dataset in style.datasets
        for metric in metrics or ["psnr"]
        for method in methods
    ]
    notes = [
        "Bytes that the method of the line needs beyond the method of the column at equal quality; positive: more. "
        "PCHIP; overlap and points of every pair, and the same by one cubic, are in summary/bdrate.csv.",
        *seed_notes(means),
    ]
    if len({row[name] for row in means for name in ("iterations_reference", "iterations_method")}) > 1:
        notes.append("The methods were trained for different numbers of iterations.")
    if not lines:
        notes = ["No rows: the run has only one method."]
    return Table(headings, lines, notes)


def _against(found: _Pairs, key: tuple[str, str, str, str], style: Style) -> Cell:
    if key[2] == key[3]:
        return text("·")
    row = found.get(key)
    if row is None or row["percent"] is None:
        return percent_cell(row, style)
    percent = float(row["percent"])
    shade = math.log1p(percent / 100) / math.log(FULL_SHADE)
    cell = with_spread(signed(percent), half_range(row))
    hint = f"overlap {overlap_of(row)}, points {point_counts(row)}"
    return replace(cell, hint=hint, shade=max(-1.0, min(1.0, shade)))


TABLE = TableSpec("bdrate_matrix", "Bjøntegaard delta rate of every method against every other", build)

"""Table 1 of HEMGS (arXiv 2411.18473): quality and size, means over the scenes of each dataset."""

from __future__ import annotations

from collections.abc import Iterable

from hemgs.analysis.plan import Style
from hemgs.analysis.summary import Summary
from hemgs.analysis.tables.cells import MIB, iterations_cell, number, size_mib, spread_note, text, with_spread
from hemgs.analysis.tables.rates import by_key, lines_of, row_label
from hemgs.analysis.tables.table import Heading, Table, TableSpec, marked
from hemgs.core.catalogue import METRICS
from hemgs.core.records import Row


def build(summary: Summary, style: Style) -> Table:
    """Return methods by datasets: every metric that was measured, and size."""
    found = by_key(summary.datasets)
    metrics = [METRICS[name] for name in METRICS if _measured(summary, name)]
    headings = [Heading("Method", numeric=False), Heading("Iterations", numeric=True)]
    for dataset in style.datasets:
        headings += [Heading(metric.heading, dataset.label, metric.better) for metric in metrics]
        headings.append(Heading("Size [MiB]", dataset.label, "lower"))
    rows = []
    for method, rate, ends in lines_of(summary.datasets, style):
        per_dataset = [found.get((method, dataset.id, rate)) for dataset in style.datasets]
        cells = [text(row_label(style, method, rate, ends)), iterations_cell(per_dataset)]
        for row in per_dataset:
            hole = "not planned" if row is None else str(row["hole"])
            for metric in metrics:
                mean = number(None if row is None else row[metric.id], metric.decimals, hole)
                cells.append(with_spread(mean, row.get(f"{metric.id}_half_range") if row else None))
            size = size_mib(None if row is None else row["bytes_total"], hole)
            cells.append(with_spread(size, row["bytes_total_half_range"] if row else None, 1 / MIB))
        rows.append(tuple(cells))
    equal = len({row[1].text for row in rows}) < 2
    notes = ["Sizes are MiB (2^20 bytes) of the one file that the decoder opens.", *spread_note(summary.num_seeds)]
    if not equal:
        notes.append("Best values are not marked: the rows were trained for different numbers of iterations.")
    notes += _remarks(summary.datasets)
    return Table(headings, marked(headings, rows) if equal else rows, notes)


def _measured(summary: Summary, name: str) -> bool:
    """Return whether every point needs a metric, or some row has it."""
    return METRICS[name].required or any(row[name] is not None for row in summary.datasets)


def _remarks(rows: Iterable[Row]) -> list[str]:
    remarks = dict.fromkeys(part for row in rows for part in str(row["remarks"]).split(" | ") if part)
    return [f"Not available: {remark}" for remark in remarks]


TABLE = TableSpec(
    "quality", "Quality on decoded scenes and size of the bitstream, means over the scenes of each dataset", build
)

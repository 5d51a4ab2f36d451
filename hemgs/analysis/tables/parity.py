"""Our values and the published ones, with a verdict for each pair."""

from __future__ import annotations

from hemgs.analysis.plan import Style
from hemgs.analysis.summary import Summary
from hemgs.analysis.tables.cells import significant, text
from hemgs.analysis.tables.table import Heading, Table, TableSpec
from hemgs.core.catalogue import METRICS


def build(summary: Summary, style: Style) -> Table:
    """Return a row for each published value of a method and dataset of this run."""
    headings = (
        Heading("Dataset", numeric=False),
        Heading("Scene", numeric=False),
        Heading("Method", numeric=False),
        Heading("Rate", numeric=False),
        Heading("Metric", numeric=False),
        Heading("Published"),
        Heading("Ours"),
        Heading("Difference"),
        Heading("Verdict", numeric=False),
        Heading("Source", numeric=False),
    )
    rows = []
    for row in summary.parity:
        dataset = style.dataset(str(row["dataset"]))
        scene = str(row["scene"])
        rows.append(
            (
                text(dataset.label),
                text("mean" if scene == "mean" else dataset.label_of(scene)),
                text(style.label_of(str(row["method"]))),
                text(str(row["rate"])),
                text(_metric_label(str(row["metric"]), str(row["unit"]))),
                significant(row["published"], 4),
                significant(row["ours"], 4, str(row["reason"]) if row["ours"] is None else ""),
                significant(row["difference"], 2),
                text(str(row["verdict"]), str(row["reason"]) if row["ours"] is not None else ""),
                text(" ".join(filter(None, (str(row["source"]), str(row["table"]))))),
            )
        )
    notes = ("Ours: means over seeds.",) if summary.num_seeds > 1 else ()
    notes = notes if rows else ("No rows: no values are published for the datasets of this run.",)
    return Table(headings, rows, notes)


def _metric_label(metric: str, unit: str) -> str:
    """Return ``PSNR [dB]`` for ``psnr``, and ``Size [MiB]`` for ``size_mib``."""
    if metric in METRICS:
        return METRICS[metric].heading
    words = metric.removesuffix("_mib").removesuffix("_h").removesuffix("_percent").replace("_", " ").capitalize()
    return f"{words} [{unit}]" if unit else words


TABLE = TableSpec("parity", "Our values and published ones", build)

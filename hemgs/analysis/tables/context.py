"""Table 4 of HEMGS (arXiv 2411.18473): the neighbours that the autoregressive network uses."""

from __future__ import annotations

from hemgs.analysis.plan import Style
from hemgs.analysis.summary import Summary
from hemgs.analysis.tables.ablation import by_family, dataset_label, rates_in_words
from hemgs.analysis.tables.cells import MIB, number, size_mib, text, with_spread
from hemgs.analysis.tables.table import Heading, Table, TableSpec
from hemgs.core.catalogue import METRICS

_NO_CONTEXT = "no autoregressive network"


def build(summary: Summary, style: Style) -> Table:
    """Return the anchors in the receptive field of the autoregressive network, and those that it uses."""
    rows, psnr = summary.context, METRICS["psnr"]
    headings = [
        Heading("Dataset", numeric=False),
        Heading("Method", numeric=False),
        Heading("Iterations"),
        Heading("mean", "Anchors used"),
        Heading("max", "Anchors used"),
        Heading("mean", "Anchors in the window"),
        Heading("max", "Anchors in the window"),
        Heading("Anchors"),
        Heading("Wavefronts", better="lower"),
        Heading("Size [MiB]", better="lower"),
        Heading(psnr.heading, better=psnr.better),
    ]
    lines = []
    for row in by_family(rows, style):
        hole = str(row["hole"])
        without = hole or (_NO_CONTEXT if row["context_mean"] is None else "")
        lines.append(
            (
                text(dataset_label(style, row)),
                text(style.label_of(str(row["method"]))),
                number(row["iterations"], 0),
                number(row["context_mean"], 2, without),
                number(row["context_max"], 0, without),
                number(row["context_mean_in_window"], 2, without),
                number(row["context_max_in_window"], 0, without),
                number(row["num_anchors"], 0, hole),
                number(row["num_wavefronts"], 0, without),
                with_spread(size_mib(row["bytes_total"], hole), row["bytes_total_half_range"], 1 / MIB),
                with_spread(number(row["psnr"], psnr.decimals, hole), row["psnr_half_range"]),
            )
        )
    notes = (
        [
            f"At {rates_in_words(rows)}. Anchors that are decoded before the one they are counted for, per anchor.",
            "Wavefronts: steps of decoding, each of anchors that do not depend on each other.",
        ]
        if rows
        else ["No rows: no method of this run counts neighbours."]
    )
    return Table(headings, lines, notes)


TABLE = TableSpec("context", "Context of the autoregressive network", build)

"""Table 5 of HEMGS (arXiv 2411.18473): bytes by section, with published rows for comparison."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hemgs.analysis.plan import DatasetNames, Style
from hemgs.analysis.summary import Summary
from hemgs.analysis.tables.cells import MIB, Cell, number, size_mib, spread_note, text, with_spread
from hemgs.analysis.tables.rates import by_key, lines_of, row_label, sections_of
from hemgs.analysis.tables.table import Heading, Table, TableSpec
from hemgs.core.catalogue import SectionSpec
from hemgs.core.records import Row

#: Size below which the storage table has one more decimal.
SMALL_FILE_MIB = 0.3


def build(summary: Summary, style: Style) -> Table:
    """Return bytes by section, in MiB, with the coder's overhead over the model's own estimate."""
    sections = sections_of(summary.storage)
    used = [s for s in sections if not s.overhead and any(row[f"bytes_{s.id}"] for row in summary.storage)]
    overheads = [f"bytes_{section.id}" for section in sections if section.overhead]
    headings = [Heading("Dataset", numeric=False), Heading("Method", numeric=False)]
    headings += [Heading(section.label, "Size [MiB]") for section in used]
    headings += [Heading("Other", "Size [MiB]"), Heading("Total", "Size [MiB]")]
    headings += [Heading("Overhead [%]"), Heading("PSNR [dB]"), Heading("SSIM")]
    found = by_key(summary.storage)
    totals = [float(row["bytes_total"]) for row in summary.storage if row["bytes_total"] is not None]
    # Three decimals as the paper prints them; one more where whole files are small.
    decimals = 4 if totals and min(totals) < SMALL_FILE_MIB * MIB else 3
    rows = []
    for dataset in style.datasets:
        for method, rate, ends in lines_of(summary.storage, style):
            row = found.get((method, dataset.id, rate))
            if row is None:
                continue
            hole = str(row["hole"])
            estimated, coded = row["estimated_bits"], row["coded_bits"]
            overhead = 100 * (float(coded) / float(estimated) - 1) if estimated and coded else None
            rows.append(
                (
                    text(dataset.label),
                    text(row_label(style, method, rate, ends)),
                    *(size_mib(row[f"bytes_{section.id}"], hole, decimals) for section in used),
                    size_mib(_sum(row, overheads), hole, decimals),
                    with_spread(size_mib(row["bytes_total"], hole, decimals), row["bytes_total_half_range"], 1 / MIB),
                    number(overhead, 2, hole or ("" if estimated else "no entropy-coded sections")),
                    with_spread(number(row["psnr"], 2, hole), row["psnr_half_range"]),
                    number(row["ssim"], 3, hole),
                )
            )
        rows += _published_storage(summary.parity, style, dataset, used)
    notes = (
        "MiB (2^20 bytes); sections add up to the file, to the byte, before rounding. Other: header and settings.",
        "Overhead: bits in the file beyond the ideal code length under the model that coded them.",
        *spread_note(summary.num_seeds),
    )
    return Table(headings, rows, notes)


def _published_storage(
    parity_rows: Iterable[Row], style: Style, dataset: DatasetNames, used: Sequence[SectionSpec]
) -> list[tuple[Cell, ...]]:
    """Return published rows of a dataset; ``Others`` contains all sections without a column."""
    groups: dict[tuple[str, str, str], dict[str, Row]] = {}
    for row in parity_rows:
        if (row["dataset"], row["scene"]) == (dataset.id, "mean"):
            key = (str(row["method"]), str(row["source"]), str(row["table"]))
            groups.setdefault(key, {})[str(row["metric"])] = row
    rows = []
    for (method, source, table), found in sorted(groups.items(), key=lambda item: style.order_of(item[0][0])):
        if "others_mib" not in found:
            continue
        value = {name: row["published"] for name, row in found.items()}
        origin = " ".join(filter(None, (source, table)))
        reasons = dict.fromkeys(str(row["reason"]) for row in found.values() if row["reason"])
        rows.append(
            (
                text(dataset.label),
                text(f"{style.label_of(method)}, published", "; ".join((origin, *reasons))),
                *(number(value.get(f"{section.id}_mib"), 3, f"{origin}: counted under Other") for section in used),
                *(number(value.get(name), decimals) for name, decimals in (("others_mib", 3), ("size_mib", 3))),
                Cell(None, note="not published"),
                number(value.get("psnr"), 2),
                number(value.get("ssim"), 3),
            )
        )
    return rows


def _sum(row: Row, names: Iterable[str]) -> float | None:
    values = [row[name] for name in names]
    return None if any(value is None for value in values) else sum(float(value or 0) for value in values)


TABLE = TableSpec("storage", "Storage by section of the bitstream", build)

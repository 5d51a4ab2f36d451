"""Table 2 of HEMGS (arXiv 2411.18473): BD-rates against one reference, and the printed form of every BD-rate.

A BD-rate is printed with its overlap and points. A missing one is printed with its reason. Does not own the values
(``hemgs.analysis.bdrate``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hemgs.analysis.bdrate import REFERENCE
from hemgs.analysis.plan import Style
from hemgs.analysis.summary import Summary
from hemgs.analysis.tables.cells import Cell, iterations_cell, number, signed, spread_note, text, with_spread
from hemgs.analysis.tables.table import Heading, Table, TableSpec
from hemgs.core.catalogue import METRICS
from hemgs.core.records import Row


def build(summary: Summary, style: Style) -> Table:
    """Return extra bytes at equal PSNR against :data:`REFERENCE`, with overlap and number of points."""
    headings = [Heading("Method", numeric=False), Heading("Iterations")]
    for dataset in style.datasets:
        headings.append(Heading("BD-rate [%]", dataset.label, "lower"))
        headings.append(Heading("by cubic [%]", dataset.label, "lower"))
        headings.append(Heading("Overlap [dB]", dataset.label))
        headings.append(Heading("Points", dataset.label))
    wanted = [r for r in summary.bdrate if (r["reference"], r["scene"], r["metric"]) == (REFERENCE, "mean", "psnr")]
    found = {(str(row["method"]), str(row["dataset"]), str(row["interpolation"])): row for row in wanted}
    lines = []
    for method in sorted({str(row["method"]) for row in wanted}, key=style.order_of):
        own = [found.get((method, dataset.id, "pchip")) for dataset in style.datasets]
        cells = [text(style.label_of(method)), iterations_cell(own, "iterations_method")]
        for dataset, row in zip(style.datasets, own, strict=True):
            cells += [percent_cell(row, style), percent_cell(found.get((method, dataset.id, "cubic")), style)]
            cells += [text(words) if words else Cell(None) for words in (overlap_of(row), point_counts(row))]
        lines.append(tuple(cells))
    reference = style.label_of(REFERENCE)
    notes = [
        f"Positive: more bytes than {reference} at equal PSNR. Log size over PSNR by PCHIP, and by one cubic "
        f"polynomial, integrated over the overlap; points of the method / of {reference} that were used.",
        *seed_notes(wanted),
    ]
    if trained := iterations_cell(wanted, "iterations_reference").text:
        notes.append(f"{reference} was trained for {trained} iterations.")
    if not lines:
        notes.append(f"No rows: this run has no {reference}, or no other method.")
    return Table(headings, lines, notes)


def variable_rate_costs(rows: Sequence[Row], style: Style) -> list[Row]:
    """Return BD-rates of models that serve all rates against their variants trained once per rate.

    Rows of ``bdrate.csv`` by PCHIP, for the mean over scenes, in the order of the style.
    """
    kinds = {known.id: known for known in style.methods}
    pairs = {
        (variant.id, variant.base)
        for variant in style.methods
        if variant.kind == "per_rate" and variant.base in kinds and kinds[variant.base].kind == "all_rates"
    }
    shown = [dataset.id for dataset in style.datasets]
    return sorted(
        (
            row
            for row in rows
            if (row["reference"], row["method"]) in pairs
            and (row["scene"], row["metric"], row["interpolation"]) == ("mean", "psnr", "pchip")
            and row["dataset"] in shown
        ),
        key=lambda row: (style.order_of(str(row["method"])), shown.index(str(row["dataset"]))),
    )


def in_words(row: Row, style: Style) -> str:
    """Return ``+1.01 % bytes (BD-rate, overlap 27.96–28.65 dB, 4/4 points)``, or the reason for a missing BD-rate."""
    cell = percent_cell(row, style)
    if cell.text is None:
        return f"no BD-rate: {cell.note}"
    value = with_spread(signed(row["percent"]), half_range(row)).text
    return f"{value} % bytes (BD-rate, overlap {overlap_of(row)} dB, {point_counts(row)} points)"


def percent_cell(row: Row | None, style: Style) -> Cell:
    """Return the BD-rate of a row of ``bdrate.csv`` with its spread, or an empty cell with its reason."""
    if row is None:
        return number(None, 2, "not planned")
    return with_spread(number(row["percent"], 2, style.in_print(str(row["hole"]))), half_range(row))


def half_range(row: Row, low: str = "percent_min", high: str = "percent_max") -> float | None:
    """Return half of the range over seeds; ``None`` for one seed.

    >>> half_range({"percent_min": 4.0, "percent_max": 5.0})
    0.5
    """
    ends = row[low], row[high]
    return None if ends[0] is None or ends[1] is None else (float(ends[1]) - float(ends[0])) / 2


def overlap(low: object, high: object, decimals: int = 2) -> str:
    """Return an interval of qualities; empty without one.

    >>> overlap(27.9612, 28.65)
    '27.96–28.65'
    """
    ends = number(low, decimals), number(high, decimals)
    return "–".join(end.text for end in ends if end.text is not None)


def overlap_of(row: Row | None) -> str:
    """Return the quality interval of both curves of a row; empty without a row."""
    return "" if row is None else overlap(row["low"], row["high"], METRICS[str(row["metric"])].decimals)


def point_counts(row: Row | None) -> str:
    """Return points of the method / of the reference; empty without a value."""
    return "" if row is None or row["percent"] is None else f"{row['num_points_method']}/{row['num_points_reference']}"


def seed_notes(rows: Iterable[Row]) -> tuple[str, ...]:
    """Return a note on the use of several seeds; no note for one seed."""
    spread = spread_note(max((int(row["num_seeds"] or 0) for row in rows), default=0))
    more = "One BD-rate per seed, then the mean; overlaps reach from the lowest to the highest end of any seed."
    return (*spread, more) if spread else ()


TABLE = TableSpec("bdrate", "Bjøntegaard delta rate against {reference}", build)

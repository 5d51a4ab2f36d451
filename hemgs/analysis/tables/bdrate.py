"""The tables of BD-rates, from the summary: Table 2 of HEMGS (arXiv 2411.18473), and every method against every other.

Owns what stands in them, and how a BD-rate is printed: with its overlap and points, or the reason why there is none.
Does not own the values (``hemgs.analysis.pairs``) or rounding (``hemgs.analysis.tables.table``).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from hemgs.analysis.pairs import REFERENCE
from hemgs.analysis.plan import Style
from hemgs.analysis.tables.rates import iterations_entry, spread_note
from hemgs.analysis.tables.table import QUALITY_HEADINGS, Entry, Heading, Sheet, number, signed, text, with_spread
from hemgs.core.records import Row

#: A method that needs this many times the bytes, or one over it, has the strongest shade.
FULL_SHADE = 2.0
_Pairs = Mapping[tuple[str, str, str, str], Row]


def bdrate_sheet(rows: Sequence[Row], style: Style) -> Sheet:
    """Table 2: extra bytes at equal PSNR against :data:`REFERENCE`, with overlap and number of points.

    Args:
        rows: of ``bdrate.csv``.
        style: labels and order.
    """
    headings = [Heading("Method", numeric=False), Heading("Iterations")]
    for dataset in style.datasets:
        headings.append(Heading("BD-rate [%]", dataset.label, "lower"))
        headings.append(Heading("by cubic [%]", dataset.label, "lower"))
        headings.append(Heading("Overlap [dB]", dataset.label))
        headings.append(Heading("Points", dataset.label))
    wanted = [r for r in rows if (r["reference"], r["scene"], r["metric"]) == (REFERENCE, "mean", "psnr")]
    found = {(str(row["method"]), str(row["dataset"]), str(row["interpolation"])): row for row in wanted}
    lines = []
    for method in sorted({str(row["method"]) for row in wanted}, key=style.order_of):
        own = [found.get((method, dataset.id, "pchip")) for dataset in style.datasets]
        cells = [text(style.label_of(method)), iterations_entry(own, "iterations_method")]
        for dataset, row in zip(style.datasets, own, strict=True):
            cells += [percent_entry(row, style), percent_entry(found.get((method, dataset.id, "cubic")), style)]
            cells += [text(words) if words else Entry(None) for words in (_overlap(row), _points(row))]
        lines.append(tuple(cells))
    reference = style.label_of(REFERENCE)
    notes = [
        f"Positive: more bytes than {reference} at equal PSNR. Log size over PSNR by PCHIP, and by one cubic "
        f"polynomial, integrated over the overlap; points of the method / of {reference} that were used.",
        *_seed_notes(wanted),
    ]
    if trained := iterations_entry(wanted, "iterations_reference").text:
        notes.append(f"{reference} was trained for {trained} iterations.")
    if not lines:
        notes.append(f"No rows: this run has no {reference}, or nothing besides it.")
    return Sheet("bdrate", f"Bjøntegaard delta rate against {reference}", tuple(headings), tuple(lines), tuple(notes))


def matrix_sheet(rows: Sequence[Row], style: Style) -> Sheet:
    """Every method against every other, per data set and every metric that was measured, by PCHIP.

    Args:
        rows: of ``bdrate.csv``.
        style: labels and order.
    """
    means = [row for row in rows if (row["scene"], row["interpolation"]) == ("mean", "pchip")]
    found: _Pairs = {tuple(str(row[n]) for n in ("dataset", "metric", "reference", "method")): row for row in means}  # type: ignore[misc]
    methods = sorted({str(row["reference"]) for row in means}, key=style.order_of)
    metrics = [name for name in QUALITY_HEADINGS if any(_compared(row) for row in means if row["metric"] == name)]
    headings = [Heading(name, numeric=False) for name in ("Data set", "At equal", "Method")]
    headings += [Heading(style.label_of(reference), "BD-rate [%] against") for reference in methods]
    lines = [
        (
            text(dataset.label),
            text(QUALITY_HEADINGS[metric][0].partition(" [dB]")[0]),
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
        *_seed_notes(means),
    ]
    if len({row[name] for row in means for name in ("iterations_reference", "iterations_method")}) > 1:
        notes.append("The methods were trained for different numbers of iterations.")
    if not lines:
        notes = ["No rows: a single method has nothing to be compared with."]
    caption = "Bjøntegaard delta rate of every method against every other"
    return Sheet("bdrate_matrix", caption, tuple(headings), tuple(lines), tuple(notes))


def variable_rate_costs(rows: Sequence[Row], style: Style) -> list[Row]:
    """BD-rates of the models that serve all rates against their variants that are trained once per rate, at equal PSNR.

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
    """``+1.01 % bytes (BD-rate, overlap 27.96–28.65 dB, 4/4 points)``, or why there is none; row of ``bdrate.csv``."""
    entry = percent_entry(row, style)
    if entry.text is None:
        return f"no BD-rate: {entry.note}"
    value = with_spread(signed(row["percent"]), half_range(row)).text
    return f"{value} % bytes (BD-rate, overlap {_overlap(row)} dB, {_points(row)} points)"


def percent_entry(row: Row | None, style: Style) -> Entry:
    """The BD-rate of a row of ``bdrate.csv`` with its spread over seeds, or a hole with its reason."""
    if row is None:
        return number(None, 2, "not planned")
    return with_spread(number(row["percent"], 2, style.in_print(str(row["hole"]))), half_range(row))


def half_range(row: Row, low: str = "percent_min", high: str = "percent_max") -> float | None:
    """Half of the range over seeds; ``None`` where there was one seed."""
    ends = row[low], row[high]
    return None if ends[0] is None or ends[1] is None else (float(ends[1]) - float(ends[0])) / 2


def overlap(low: object, high: object, decimals: int = 2) -> str:
    """``27.96–28.65``; empty without one."""
    ends = number(low, decimals), number(high, decimals)
    return "–".join(end.text for end in ends if end.text is not None)


def _overlap(row: Row | None) -> str:
    return "" if row is None else overlap(row["low"], row["high"], QUALITY_HEADINGS[str(row["metric"])][1])


def _points(row: Row | None) -> str:
    """Points of the method / of the reference; empty without a value."""
    return "" if row is None or row["percent"] is None else f"{row['num_points_method']}/{row['num_points_reference']}"


def _against(found: _Pairs, key: tuple[str, str, str, str], style: Style) -> Entry:
    if key[2] == key[3]:
        return text("·")
    row = found.get(key)
    if row is None or row["percent"] is None:
        return percent_entry(row, style)
    percent = float(row["percent"])
    shade = math.log1p(percent / 100) / math.log(FULL_SHADE)
    entry = with_spread(signed(percent), half_range(row))
    hint = f"overlap {_overlap(row)}, points {_points(row)}"
    return replace(entry, hint=hint, shade=max(-1.0, min(1.0, shade)))


def _compared(row: Row) -> bool:
    return row["percent"] is not None


def _seed_notes(rows: Iterable[Row]) -> tuple[str, ...]:
    """How seeds went in; nothing where there was one."""
    spread = spread_note(max((int(row["num_seeds"] or 0) for row in rows), default=0))
    more = "One BD-rate per seed, then the mean; overlaps reach from the lowest to the highest end of any seed."
    return (*spread, more) if spread else ()

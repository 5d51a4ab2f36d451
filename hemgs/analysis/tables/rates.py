"""Which lines a table has, and how methods, rates and data sets are called in it.

Owns what several tables share: the two rates that stand for a curve, labels of lines, headings of sections, and look-up
by method, data set and rate. Does not own what stands in a table.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hemgs.analysis.plan import DatasetNames, Style
from hemgs.analysis.points import lmbda_of
from hemgs.analysis.tables.table import Entry, number, text
from hemgs.core.catalogue import SECTIONS, SectionSpec, section_of
from hemgs.core.records import Row, section_id


def sections_of(rows: Iterable[Row]) -> list[SectionSpec]:
    """The sections that rows have columns for: those with a column in published tables first, overhead last."""
    names = dict.fromkeys((*SECTIONS, *(section_id(column) for row in rows for column in row)))
    specs = [section_of(name) for name in names if name]
    return sorted(specs, key=lambda spec: (spec.overhead, spec.counts_as == "others"))


def end_rates(rows: Iterable[Row]) -> dict[str, tuple[str, ...]]:
    """Method → the rates that tables show: the smallest and the largest file, or the only one."""
    rates: dict[str, set[str]] = {}
    for row in rows:
        rates.setdefault(str(row["method"]), set()).add(str(row["rate"]))
    ends: dict[str, tuple[str, ...]] = {}
    for method, found in rates.items():
        ordered = sorted(found, key=lmbda_of, reverse=True)
        ends[method] = (ordered[0],) if len(ordered) == 1 else (ordered[0], ordered[-1])
    return ends


def row_label(style: Style, method: str, rate: str, ends: Sequence[str]) -> str:
    """``HEMGS, low rate (λ = 0.0040)`` for a method with several rates, else its label."""
    label = style.label_of(method)
    if len(ends) < 2:
        return label
    name = "low rate" if rate == ends[0] else "high rate" if rate == ends[-1] else "rate"
    return f"{label}, {name} (λ = {rate.rpartition('_')[2]})"


def by_key(rows: Iterable[Row]) -> dict[tuple[str, str, str], Row]:
    """Rows by method, data set and rate."""
    return {(str(row["method"]), str(row["dataset"]), str(row["rate"])): row for row in rows}


def lines_of(rows: Sequence[Row], style: Style) -> list[tuple[str, str, tuple[str, ...]]]:
    """Method, rate and the method's end rates of every line, in the order of the style."""
    ends = end_rates(rows)
    return [(m, rate, ends[m]) for m in sorted(ends, key=style.order_of) for rate in ends[m]]


def dataset_names(style: Style, dataset: str) -> DatasetNames:
    """A data set's names; its id where the style does not show it."""
    return next((known for known in style.datasets if known.id == dataset), DatasetNames(dataset, dataset, ()))


def iterations_entry(rows: Iterable[Row | None], name: str = "iterations") -> Entry:
    """Training iterations of rows: one number, or every one that occurs."""
    found = list(dict.fromkeys(int(row[name] or 0) for row in rows if row is not None and row[name] is not None))
    if len(found) == 1:
        return number(found[0], 0)
    return text(" / ".join(f"{value:,}" for value in found)) if found else Entry(None)


def spread_note(num_seeds: int) -> tuple[str, ...]:
    """What ± means; nothing where there was one seed."""
    return (f"Means over {num_seeds} seeds ± half of their range.",) if num_seeds > 1 else ()

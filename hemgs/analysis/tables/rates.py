"""The rates of a method that tables show, and the sections of its files.

Owns the two rates that represent a curve in tables, labels of lines, the order of sections, and look-up by method,
dataset and rate. Does not own the contents of a table.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hemgs.analysis.plan import Style
from hemgs.analysis.points import lmbda_of
from hemgs.core.catalogue import SECTIONS, SectionSpec, section_of
from hemgs.core.records import Row, section_id


def sections_of(rows: Iterable[Row]) -> list[SectionSpec]:
    """Return the sections with columns in the rows, first those that published tables list, and overhead last.

    >>> [section.id for section in sections_of([{"bytes_codebook": 7}])][:4]
    ['locations', 'features', 'scalings', 'offsets']
    """
    names = dict.fromkeys((*SECTIONS, *(section_id(column) for row in rows for column in row)))
    specs = [section_of(name) for name in names if name]
    return sorted(specs, key=lambda spec: (spec.overhead, spec.counts_as == "others"))


def end_rates(rows: Iterable[Row]) -> dict[str, tuple[str, ...]]:
    """Return the rates that tables show by method: the smallest and the largest file, or the only one.

    >>> end_rates({"method": "hac", "rate": f"lmbda_{lmbda}"} for lmbda in ("0.0005", "0.0020", "0.0040"))
    {'hac': ('lmbda_0.0040', 'lmbda_0.0005')}
    """
    rates: dict[str, set[str]] = {}
    for row in rows:
        rates.setdefault(str(row["method"]), set()).add(str(row["rate"]))
    ends: dict[str, tuple[str, ...]] = {}
    for method, found in rates.items():
        ordered = sorted(found, key=lmbda_of, reverse=True)
        ends[method] = (ordered[0],) if len(ordered) == 1 else (ordered[0], ordered[-1])
    return ends


def row_label(style: Style, method: str, rate: str, ends: Sequence[str]) -> str:
    """Return ``HEMGS, low rate (λ = 0.0040)`` for a method with several rates, else its label."""
    label = style.label_of(method)
    if len(ends) < 2:
        return label
    name = "low rate" if rate == ends[0] else "high rate" if rate == ends[-1] else "rate"
    return f"{label}, {name} (λ = {rate.rpartition('_')[2]})"


def by_key(rows: Iterable[Row]) -> dict[tuple[str, str, str], Row]:
    """Return rows by method, dataset and rate."""
    return {(str(row["method"]), str(row["dataset"]), str(row["rate"])): row for row in rows}


def lines_of(rows: Sequence[Row], style: Style) -> list[tuple[str, str, tuple[str, ...]]]:
    """Return method, rate and end rates of every line, in the order of the style."""
    ends = end_rates(rows)
    return [(m, rate, ends[m]) for m in sorted(ends, key=style.order_of) for rate in ends[m]]

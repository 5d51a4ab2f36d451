"""The overhead of the coder: ideal and actual bits of every entropy-coded section.

Does not own the estimates, which the methods make.
"""

from __future__ import annotations

from collections.abc import Iterator

from hemgs.analysis.plan import Style
from hemgs.analysis.summary import Summary
from hemgs.analysis.tables.cells import Cell, number, signed, text
from hemgs.analysis.tables.rates import by_key, lines_of, row_label
from hemgs.analysis.tables.table import Heading, Table, TableSpec
from hemgs.core.catalogue import section_of
from hemgs.core.records import Row, section_id


def build(summary: Summary, style: Style) -> Table:
    """Return ideal and actual bits of every entropy-coded section, at the ends of the rates."""
    rows = summary.storage
    headings = (
        Heading("Dataset", numeric=False),
        Heading("Method", numeric=False),
        Heading("Section", numeric=False),
        Heading("Ideal [bit]"),
        Heading("Actual [bit]"),
        Heading("Difference [bit]"),
        Heading("Difference [%]"),
    )
    found = by_key(rows)
    lines: list[tuple[Cell, ...]] = []
    without: dict[str, None] = {}
    for dataset in style.datasets:
        for method, rate, ends in lines_of(rows, style):
            row = found.get((method, dataset.id, rate))
            if row is None:
                continue
            if not row["hole"] and row["estimated_bits"] is None:
                without[style.label_of(method)] = None
                continue
            name = (text(dataset.label), text(row_label(style, method, rate, ends)))
            lines += ((*name, text(section), *cells) for section, cells in _costs(row))
    notes = [
        "Ideal: code length under the model that coded the section. Actual: length of the section in the file. "
        "Means over the scenes of a dataset; only entropy-coded sections whose ideal length is known.",
        "Actual below ideal: the estimate floors small probabilities, and the coder's escapes take fewer bits.",
    ]
    if without:
        notes.append(f"No ideal length is known of any section: {', '.join(without)}.")
    if not lines:
        notes = ["No rows: no method of this run reports the ideal length of its sections."]
    return Table(headings, lines, notes)


def _costs(row: Row) -> Iterator[tuple[str, tuple[Cell, ...]]]:
    """Yield the label and the cells of each section, and finally of all sections together."""
    hole = str(row["hole"])
    own = [name for name in map(section_id, row) if name and row.get(f"estimated_bits_{name}") is not None]
    for name in dict.fromkeys(own):
        yield section_of(name).label, _cost(row[f"estimated_bits_{name}"], 8 * float(row[f"bytes_{name}"] or 0), hole)
    remark = hole or ("" if own else "the points do not contain the ideal length of each section")
    ideal, actual, *changes = _cost(row["estimated_bits"], row["coded_bits"], hole)
    yield "All coded", (Cell(ideal.text, ideal.value, remark), actual, *changes)


def _cost(ideal: object, actual: object, hole: str) -> tuple[Cell, ...]:
    extra = actual - ideal if isinstance(ideal, int | float) and isinstance(actual, int | float) else None
    share = 100 * extra / ideal if extra is not None and isinstance(ideal, int | float) and ideal else None
    return number(ideal, 0, hole), number(actual, 0, hole), signed(extra, 0, hole), signed(share, 3, hole)


TABLE = TableSpec("coder_cost", "Overhead of the coder: ideal and actual bits of entropy-coded sections", build)

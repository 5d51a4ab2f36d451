"""Cells of printed tables: the rounding of numbers, sizes and spreads, and cells without a value.

Figures and the page print their numbers by the same functions. Does not own tables (``hemgs.analysis.tables.table``).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from hemgs.core.records import Row

MIB = 2.0**20


@dataclass(frozen=True)
class Cell:
    """A cell.

    Attributes:
        text: printed text; ``None`` for a missing value.
        value: number that decides the order of sorting, and the best cell.
        note: footnote of this cell.
        mark: ``best`` or ``second`` in its column.
        hint: text that the page shows when the pointer is over the cell, in addition to the note.
        shade: colour of the cell on the page, from -1 (a saving) to 1 (a cost); 0 for none.
    """

    text: str | None
    value: float | None = None
    note: str = ""
    mark: str = ""
    hint: str = ""
    shade: float = 0.0


def number(value: object, decimals: int, note: str = "", scale: float = 1.0) -> Cell:
    """Return a cell with a fixed number of decimals, or an empty one if ``value`` is ``None``.

    >>> number(12345.678, 1).text, number(None, 1, "not measured").note
    ('12,345.7', 'not measured')
    """
    if not isinstance(value, int | float):
        return Cell(None, note=note)
    scaled = float(value) * scale
    infinite = "∞" if scaled > 0 else "-∞"
    return Cell(f"{scaled:,.{decimals}f}" if math.isfinite(scaled) else infinite, scaled, note)


def signed(value: object, decimals: int = 2, note: str = "") -> Cell:
    """Return a change with its sign, or 0.00 without a sign if it rounds to zero.

    >>> signed(3.14159).text, signed(-0.001).text
    ('+3.14', '0.00')
    """
    cell = number(value, decimals, note)
    if cell.text is None or cell.value is None or not math.isfinite(cell.value):
        return cell
    sign = "" if float(cell.text.replace(",", "")) == 0 else "+" if cell.value > 0 else "-"
    return replace(cell, text=sign + cell.text.lstrip("-"))


def with_spread(cell: Cell, half_range: object, scale: float = 1.0) -> Cell:
    """Return a mean over seeds with ``± half of the range``; only the mean for one seed.

    The spread has as many decimals as the mean, or more if its first digit needs them.

    >>> with_spread(number(28.54, 2), 0.031).text
    '28.54 ± 0.03'
    """
    if cell.text is None or not isinstance(half_range, int | float):
        return cell
    decimals = len(cell.text.partition(".")[2])
    spread = half_range * scale
    shown = f"{spread:.{decimals}f}"
    if spread and float(shown) == 0:
        shown = significant(spread, 1).text or shown
    return replace(cell, text=f"{cell.text} ± {shown}")


def significant(value: object, digits: int = 3, note: str = "", scale: float = 1.0) -> Cell:
    """Return a cell with at least ``digits`` significant digits and no exponent; an empty one if ``value`` is ``None``.

    >>> significant(0.012345).text, significant(123456.0).text
    ('0.0123', '123,456')
    """
    if not isinstance(value, int | float):
        return Cell(None, note=note)
    scaled = float(value) * scale
    magnitude = math.floor(math.log10(abs(scaled))) if scaled and math.isfinite(scaled) else 0
    return number(scaled, max(0, digits - 1 - magnitude), note)


def size_mib(num_bytes: object, note: str = "", decimals: int | None = None) -> Cell:
    """Return bytes in MiB; zero bytes are printed as 0.

    Without ``decimals``: two from 1 MiB on as the papers print them, three significant digits below.

    >>> size_mib(8_234_444).text, size_mib(165_525).text
    ('7.85', '0.158')
    """
    if num_bytes == 0:
        return Cell("0", 0.0, note)
    if decimals is not None or not isinstance(num_bytes, int | float):
        return number(num_bytes, decimals or 0, note, 1 / MIB)
    if num_bytes >= MIB:
        return number(num_bytes, 1 if num_bytes >= 100 * MIB else 2, note, 1 / MIB)
    return significant(num_bytes, 3, note, 1 / MIB)


def text(content: str, note: str = "") -> Cell:
    """Return a cell of words."""
    return Cell(content, None, note)


def iterations_cell(rows: Iterable[Row | None], name: str = "iterations") -> Cell:
    """Return the training iterations of rows: one number, or all that occur."""
    found = list(dict.fromkeys(int(row[name] or 0) for row in rows if row is not None and row[name] is not None))
    if len(found) == 1:
        return number(found[0], 0)
    return text(" / ".join(f"{value:,}" for value in found)) if found else Cell(None)


def spread_note(num_seeds: int) -> tuple[str, ...]:
    """Return a note on the meaning of ±; no note for one seed.

    >>> spread_note(3)
    ('Means over 3 seeds ± half of their range.',)
    """
    return (f"Means over {num_seeds} seeds ± half of their range.",) if num_seeds > 1 else ()

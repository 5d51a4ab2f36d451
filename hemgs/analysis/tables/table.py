"""The parts of a table: headings, rows of cells and notes; and the declaration of a table.

Does not own rounding (``hemgs.analysis.tables.cells``) or files (``hemgs.analysis.tables.formats``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from hemgs.analysis.bdrate import REFERENCE
from hemgs.analysis.plan import Style
from hemgs.analysis.summary import Summary
from hemgs.analysis.tables.cells import Cell
from hemgs.core.catalogue import Better


@dataclass(frozen=True)
class Heading:
    """A column: its group (a dataset, say), its name with unit, and which direction is better."""

    name: str
    group: str = ""
    better: Better = ""
    numeric: bool = True


@dataclass(frozen=True)
class Table:
    """One table. ``notes`` are printed below it, after the footnotes of single cells."""

    headings: Sequence[Heading]
    rows: Sequence[tuple[Cell, ...]]
    notes: Sequence[str] = ()
    id: str = ""
    caption: str = ""
    _letters: dict[str, str] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.headings):
                raise ValueError(f"{self.id}: {len(row)} cells under {len(self.headings)} headings")
            for cell in row:
                if cell.note and cell.note not in self._letters:
                    self._letters[cell.note] = _letter(len(self._letters))

    def footnotes(self) -> list[tuple[str, str]]:
        """Return (letter, text) of every cell note, then (empty, text) of the table's own notes."""
        return [(letter, note) for note, letter in self._letters.items()] + [("", note) for note in self.notes]

    def letter(self, cell: Cell) -> str:
        """Return the letter of a cell's footnote; empty without one."""
        return self._letters.get(cell.note, "")


@dataclass(frozen=True)
class TableSpec:
    """The declaration of a table.

    Attributes:
        id: as in ``hemgs.core.catalogue.TABLES``, and the name of the module that declares it.
        caption: one line; ``{reference}`` stands for the label of the method that BD-rates are measured against.
        build: function from the summary to columns, rows and notes. The columns depend on the measured values.
    """

    id: str
    caption: str
    build: Callable[[Summary, Style], Table]

    def make(self, summary: Summary, style: Style) -> Table:
        """Return the table of a summary, with its id and caption."""
        caption = self.caption.format(reference=style.label_of(REFERENCE))
        return replace(self.build(summary, style), id=self.id, caption=caption)


def marked(headings: Sequence[Heading], rows: Sequence[tuple[Cell, ...]]) -> tuple[tuple[Cell, ...], ...]:
    """Return rows in which the best and second-best values of each column with a direction are marked."""
    grid = [list(row) for row in rows]
    for index, heading in enumerate(headings):
        present = [cell.value for cell in (row[index] for row in grid) if cell.value is not None]
        values = sorted(set(present), reverse=heading.better == "higher")
        if not heading.better or len(present) < 3 or len(values) < 2:
            continue
        for row in grid:
            cell = row[index]
            mark = "best" if cell.value == values[0] else "second" if cell.value == values[1] else ""
            row[index] = replace(cell, mark=mark)
    return tuple(tuple(row) for row in grid)


def _letter(index: int) -> str:
    letters = ""
    index += 1
    while index:
        index, rest = divmod(index - 1, 26)
        letters = chr(ord("a") + rest) + letters
    return letters

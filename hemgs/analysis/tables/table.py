"""A printed table: typed cells in, CSV, Markdown, LaTeX and HTML text out.

Owns how numbers are rounded, how the best is marked and how a hole is shown. Does not own what a table holds
(``hemgs.analysis.tables.quality``).
"""

from __future__ import annotations

import csv
import html
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from hemgs.core.catalogue import METRICS, Better
from hemgs.core.records import NOT_AVAILABLE

MIB = 2.0**20
HOLE = "—"
#: More columns than this do not fit a printed column.
WIDE = 7
#: Vermilion and blue of Okabe and Ito's palette, which everyone can tell apart, as red, green and blue.
COST_COLOR, SAVING_COLOR = "213, 94, 0", "0, 114, 178"
STRONGEST_TINT = 0.55
#: Quality columns and how they are headed; the variants of LPIPS are different quantities and never share a column.
QUALITY_HEADINGS: Mapping[str, tuple[str, int, Better]] = {
    spec.id: (spec.heading, spec.decimals, spec.better) for spec in METRICS.values()
}
_TEX_ESCAPES = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "λ": r"$\lambda$",
    "±": r"$\pm$",
    "×": r"$\times$",
    "–": "--",
    "—": "---",
    "…": r"\ldots{}",
    "−": "$-$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
}
_ARROWS = {"higher": " ↑", "lower": " ↓", "": ""}


@dataclass(frozen=True)
class Heading:
    """A column: its group (a data set, say), its name with unit, and which direction is better."""

    name: str
    group: str = ""
    better: Better = ""
    numeric: bool = True


@dataclass(frozen=True)
class Entry:
    """A cell.

    Attributes:
        text: as printed; ``None`` is a hole.
        value: what sorting and marking go by.
        note: footnote of this cell.
        mark: ``best`` or ``second`` of its column.
        hint: what the page says of the cell where the pointer rests on it, besides the note.
        shade: from -1 (a saving) to 1 (a cost): how the page colours the cell; 0 for none.
    """

    text: str | None
    value: float | None = None
    note: str = ""
    mark: str = ""
    hint: str = ""
    shade: float = 0.0


@dataclass(frozen=True)
class Sheet:
    """One table. ``notes`` stand below it, after the footnotes of single cells."""

    id: str
    caption: str
    headings: tuple[Heading, ...]
    rows: tuple[tuple[Entry, ...], ...]
    notes: tuple[str, ...] = ()
    _letters: dict[str, str] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.headings):
                raise ValueError(f"{self.id}: {len(row)} cells under {len(self.headings)} headings")
            for entry in row:
                if entry.note and entry.note not in self._letters:
                    self._letters[entry.note] = _letter(len(self._letters))

    def footnotes(self) -> list[tuple[str, str]]:
        """(letter, text) of every cell note, in reading order, then (empty, text) of the table's own notes."""
        return [(letter, note) for note, letter in self._letters.items()] + [("", note) for note in self.notes]

    def letter(self, entry: Entry) -> str:
        """Letter of a cell's footnote; empty without one."""
        return self._letters.get(entry.note, "")


def number(value: object, decimals: int, note: str = "", scale: float = 1.0) -> Entry:
    """A cell with a fixed number of decimals; a hole where ``value`` is ``None``."""
    if not isinstance(value, int | float):
        return Entry(None, note=note)
    scaled = float(value) * scale
    infinite = "∞" if scaled > 0 else "-∞"
    return Entry(f"{scaled:,.{decimals}f}" if math.isfinite(scaled) else infinite, scaled, note)


def signed(value: object, decimals: int = 2, note: str = "") -> Entry:
    """A change with its sign; a plain 0.00 where it rounds to nothing."""
    entry = number(value, decimals, note)
    if entry.text is None or entry.value is None or not math.isfinite(entry.value):
        return entry
    sign = "" if float(entry.text.replace(",", "")) == 0 else "+" if entry.value > 0 else "-"
    return replace(entry, text=sign + entry.text.lstrip("-"))


def with_spread(entry: Entry, half_range: object, scale: float = 1.0) -> Entry:
    """A mean over seeds with ``± half of the range``; as it is where there was one seed.

    The spread has as many decimals as the mean, or what it takes to show one digit of it.
    """
    if entry.text is None or not isinstance(half_range, int | float):
        return entry
    decimals = len(entry.text.partition(".")[2])
    spread = half_range * scale
    shown = f"{spread:.{decimals}f}"
    if spread and float(shown) == 0:
        shown = significant(spread, 1).text or shown
    return replace(entry, text=f"{entry.text} ± {shown}")


def significant(value: object, digits: int = 3, note: str = "", scale: float = 1.0) -> Entry:
    """A cell with at least ``digits`` significant digits and no exponent; a hole where ``value`` is ``None``."""
    if not isinstance(value, int | float):
        return Entry(None, note=note)
    scaled = float(value) * scale
    magnitude = math.floor(math.log10(abs(scaled))) if scaled and math.isfinite(scaled) else 0
    return number(scaled, max(0, digits - 1 - magnitude), note)


def size_mib(num_bytes: object, note: str = "", decimals: int | None = None) -> Entry:
    """Bytes in MiB; nothing at all is a plain 0.

    Without ``decimals``: two from 1 MiB on as the papers print them, three significant digits below.
    """
    if num_bytes == 0:
        return Entry("0", 0.0, note)
    if decimals is not None or not isinstance(num_bytes, int | float):
        return number(num_bytes, decimals or 0, note, 1 / MIB)
    if num_bytes >= MIB:
        return number(num_bytes, 1 if num_bytes >= 100 * MIB else 2, note, 1 / MIB)
    return significant(num_bytes, 3, note, 1 / MIB)


def text(content: str, note: str = "") -> Entry:
    """A cell of words."""
    return Entry(content, None, note)


def marked(headings: Sequence[Heading], rows: Sequence[tuple[Entry, ...]]) -> tuple[tuple[Entry, ...], ...]:
    """Rows with the best and second-best value of every column that has a direction and three values or more."""
    grid = [list(row) for row in rows]
    for index, heading in enumerate(headings):
        present = [entry.value for entry in (row[index] for row in grid) if entry.value is not None]
        values = sorted(set(present), reverse=heading.better == "higher")
        if not heading.better or len(present) < 3 or len(values) < 2:
            continue
        for row in grid:
            entry = row[index]
            mark = "best" if entry.value == values[0] else "second" if entry.value == values[1] else ""
            row[index] = replace(entry, mark=mark)
    return tuple(tuple(row) for row in grid)


def to_csv(sheet: Sheet) -> str:
    """CSV with one header line; numbers without thousands separators, holes as ``not available``."""
    output = io.StringIO()
    writer = csv.writer(output, lineterminator="\n")
    writer.writerow([f"{h.group}: {h.name}" if h.group else h.name for h in sheet.headings])
    for row in sheet.rows:
        writer.writerow(
            [
                NOT_AVAILABLE if e.text is None else e.text.replace(",", "") if e.value is not None else e.text
                for e in row
            ]
        )
    return output.getvalue()


def to_markdown(sheet: Sheet) -> str:
    """GitHub Markdown; best in bold, second best in italics."""
    names = [f"{h.group} {h.name}".strip() + _ARROWS[h.better] for h in sheet.headings]
    lines = [
        f"**{sheet.caption}**",
        "",
        _md_row(names),
        _md_row(["---:" if h.numeric else "---" for h in sheet.headings]),
    ]
    for row in sheet.rows:
        cells = []
        for entry in row:
            content = HOLE if entry.text is None else entry.text
            content = {"best": f"**{content}**", "second": f"*{content}*"}.get(entry.mark, content)
            letter = sheet.letter(entry)
            cells.append(content + (f"<sup>{letter}</sup>" if letter else ""))
        lines.append(_md_row(cells))
    if notes := sheet.footnotes():
        lines += ["", *(f"{f'<sup>{letter}</sup> ' if letter else ''}{note}  " for letter, note in notes)]
    return "\n".join(lines) + "\n"


def to_latex(sheet: Sheet) -> str:
    """A ``tabular`` in a ``table`` with caption and label; best in bold, second best underlined.

    A table of more than :data:`WIDE` columns spans the page and is scaled to its width.
    """
    spec = "".join("r" if heading.numeric else "l" for heading in sheet.headings)
    wide = len(sheet.headings) > WIDE
    environment = "table*" if wide else "table"
    lines = ["% needs the packages booktabs and graphicx", rf"\begin{{{environment}}}", r"\centering"]
    lines += [rf"\caption{{{tex(sheet.caption)}}}", rf"\label{{tab:{sheet.id}}}"]
    lines += [r"\resizebox{\textwidth}{!}{%"] if wide else []
    lines += [rf"\begin{{tabular}}{{{spec}}}", r"\toprule"]
    if any(heading.group for heading in sheet.headings):
        lines += _tex_groups(sheet.headings)
    lines.append(_tex_row([tex(heading.name + _ARROWS[heading.better]) for heading in sheet.headings]))
    lines.append(r"\midrule")
    for row in sheet.rows:
        cells = []
        for entry in row:
            content = tex(HOLE if entry.text is None else entry.text)
            content = {"best": rf"\textbf{{{content}}}", "second": rf"\underline{{{content}}}"}.get(entry.mark, content)
            letter = sheet.letter(entry)
            cells.append(content + (rf"\textsuperscript{{{letter}}}" if letter else ""))
        lines.append(_tex_row(cells))
    lines += [r"\bottomrule", r"\end{tabular}" + ("}" if wide else "")]
    lines += [r"\par\smallskip\raggedright\footnotesize"] if sheet.footnotes() else []
    for letter, note in sheet.footnotes():
        mark = rf"\textsuperscript{{{letter}}} " if letter else ""
        lines.append(rf"{mark}{tex(note)}\par")
    return "\n".join([*lines, rf"\end{{{environment}}}"]) + "\n"


def to_html(sheet: Sheet) -> str:
    """A ``table`` element; cells carry ``data-value`` so that the page can sort by number."""
    parts = [f'<table class="sheet" id="table-{html.escape(sheet.id)}">']
    parts.append(f"<caption>{html.escape(sheet.caption)}</caption><thead>")
    if any(heading.group for heading in sheet.headings):
        parts.append("<tr>")
        for group, span in _groups(sheet.headings):
            parts.append(f'<th colspan="{span}" scope="colgroup">{html.escape(group)}</th>')
        parts.append("</tr>")
    parts.append('<tr class="sortable">')
    for heading in sheet.headings:
        kind = "num" if heading.numeric else "word"
        parts.append(f'<th scope="col" class="{kind}">{html.escape(heading.name + _ARROWS[heading.better])}</th>')
    parts.append("</tr></thead><tbody>")
    for row in sheet.rows:
        parts.append("<tr>")
        for heading, entry in zip(sheet.headings, row, strict=True):
            classes = " ".join(filter(None, ("num" if heading.numeric else "word", entry.mark)))
            value = "" if entry.value is None else f' data-value="{entry.value!r}"'
            told = entry.note or entry.hint
            title = f' title="{html.escape(told, quote=True)}"' if told else ""
            letter = f"<sup>{sheet.letter(entry)}</sup>" if entry.note else ""
            content = html.escape(HOLE if entry.text is None else entry.text)
            parts.append(f'<td class="{classes}"{value}{title}{_tint(entry.shade)}>{content}{letter}</td>')
        parts.append("</tr>")
    parts.append("</tbody></table>")
    for letter, note in sheet.footnotes():
        mark = f"<sup>{letter}</sup> " if letter else ""
        parts.append(f'<p class="note">{mark}{html.escape(note)}</p>')
    return "".join(parts)


def tex(content: str) -> str:
    """Text with every character that LaTeX would interpret escaped."""
    return "".join(_TEX_ESCAPES.get(character, character) for character in content)


def _tint(shade: float) -> str:
    """Background of a cell; black text keeps a contrast of 7 to 1 or more on the strongest tint."""
    if not shade:
        return ""
    color = COST_COLOR if shade > 0 else SAVING_COLOR
    return f' style="background: rgba({color}, {STRONGEST_TINT * min(1.0, abs(shade)):.2f})"'


def _letter(index: int) -> str:
    letters = ""
    index += 1
    while index:
        index, rest = divmod(index - 1, 26)
        letters = chr(ord("a") + rest) + letters
    return letters


def _md_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", r"\|").replace("\n", " ") for cell in cells) + " |"


def _tex_row(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def _groups(headings: Sequence[Heading]) -> list[tuple[str, int]]:
    groups: list[tuple[str, int]] = []
    for heading in headings:
        if groups and groups[-1][0] == heading.group:
            groups[-1] = (heading.group, groups[-1][1] + 1)
        else:
            groups.append((heading.group, 1))
    return groups


def _tex_groups(headings: Sequence[Heading]) -> list[str]:
    cells, rules, column = [], [], 1
    for group, span in _groups(headings):
        cells.append(rf"\multicolumn{{{span}}}{{{'c' if group else 'l'}}}{{{tex(group)}}}")
        if group:
            rules.append(rf"\cmidrule(lr){{{column}-{column + span - 1}}}")
        column += span
    return [_tex_row(cells), "".join(rules)]

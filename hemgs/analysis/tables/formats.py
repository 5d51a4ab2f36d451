"""A table as text: CSV, Markdown, LaTeX and HTML."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence

from hemgs.analysis.tables.cells import Cell
from hemgs.analysis.tables.table import Heading, Table
from hemgs.core.csv_text import csv_text
from hemgs.core.records import NOT_AVAILABLE

HOLE = "—"
#: More columns than this do not fit a printed column.
WIDE = 7
#: Vermilion and blue of Okabe and Ito's palette, which everyone can distinguish, as red, green and blue.
COST_COLOR, SAVING_COLOR = "213, 94, 0", "0, 114, 178"
STRONGEST_TINT = 0.55
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


def to_csv(table: Table) -> str:
    """Return CSV with one header line; numbers have no thousands separators, holes are ``not available``."""
    header = [f"{h.group}: {h.name}" if h.group else h.name for h in table.headings]
    return csv_text([header, *([_csv_cell(cell) for cell in row] for row in table.rows)])


def _csv_cell(cell: Cell) -> str:
    if cell.text is None:
        return NOT_AVAILABLE
    return cell.text if cell.value is None else cell.text.replace(",", "")


def to_markdown(table: Table) -> str:
    """Return GitHub Markdown; the best is bold, the second best italic."""
    names = [f"{h.group} {h.name}".strip() + _ARROWS[h.better] for h in table.headings]
    lines = [
        f"**{table.caption}**",
        "",
        _md_row(names),
        _md_row(["---:" if h.numeric else "---" for h in table.headings]),
    ]
    for row in table.rows:
        cells = []
        for cell in row:
            content = HOLE if cell.text is None else cell.text
            content = {"best": f"**{content}**", "second": f"*{content}*"}.get(cell.mark, content)
            letter = table.letter(cell)
            cells.append(content + (f"<sup>{letter}</sup>" if letter else ""))
        lines.append(_md_row(cells))
    if notes := table.footnotes():
        lines += ["", *(f"{f'<sup>{letter}</sup> ' if letter else ''}{note}  " for letter, note in notes)]
    return "\n".join(lines) + "\n"


def to_latex(table: Table) -> str:
    """Return a ``tabular`` in a ``table`` with caption and label; the best is bold, the second best underlined.

    A table of more than :data:`WIDE` columns spans the page and is scaled to its width.
    """
    spec = "".join("r" if heading.numeric else "l" for heading in table.headings)
    wide = len(table.headings) > WIDE
    environment = "table*" if wide else "table"
    lines = ["% needs the packages booktabs and graphicx", rf"\begin{{{environment}}}", r"\centering"]
    lines += [rf"\caption{{{tex(table.caption)}}}", rf"\label{{tab:{table.id}}}"]
    lines += [r"\resizebox{\textwidth}{!}{%"] if wide else []
    lines += [rf"\begin{{tabular}}{{{spec}}}", r"\toprule"]
    if any(heading.group for heading in table.headings):
        lines += _tex_groups(table.headings)
    lines.append(_tex_row([tex(heading.name + _ARROWS[heading.better]) for heading in table.headings]))
    lines.append(r"\midrule")
    for row in table.rows:
        cells = []
        for cell in row:
            content = tex(HOLE if cell.text is None else cell.text)
            content = {"best": rf"\textbf{{{content}}}", "second": rf"\underline{{{content}}}"}.get(cell.mark, content)
            letter = table.letter(cell)
            cells.append(content + (rf"\textsuperscript{{{letter}}}" if letter else ""))
        lines.append(_tex_row(cells))
    lines += [r"\bottomrule", r"\end{tabular}" + ("}" if wide else "")]
    lines += [r"\par\smallskip\raggedright\footnotesize"] if table.footnotes() else []
    for letter, note in table.footnotes():
        mark = rf"\textsuperscript{{{letter}}} " if letter else ""
        lines.append(rf"{mark}{tex(note)}\par")
    return "\n".join([*lines, rf"\end{{{environment}}}"]) + "\n"


def to_html(table: Table) -> str:
    """Return a ``table`` element; cells carry ``data-value``, so the page can sort by number."""
    parts = [f'<table class="table" id="table-{html.escape(table.id)}">']
    parts.append(f"<caption>{html.escape(table.caption)}</caption><thead>")
    if any(heading.group for heading in table.headings):
        parts.append("<tr>")
        for group, span in _groups(table.headings):
            parts.append(f'<th colspan="{span}" scope="colgroup">{html.escape(group)}</th>')
        parts.append("</tr>")
    parts.append('<tr class="sortable">')
    for heading in table.headings:
        kind = "num" if heading.numeric else "word"
        parts.append(f'<th scope="col" class="{kind}">{html.escape(heading.name + _ARROWS[heading.better])}</th>')
    parts.append("</tr></thead><tbody>")
    for row in table.rows:
        parts.append("<tr>")
        for heading, cell in zip(table.headings, row, strict=True):
            classes = " ".join(filter(None, ("num" if heading.numeric else "word", cell.mark)))
            value = "" if cell.value is None else f' data-value="{cell.value!r}"'
            hint = cell.note or cell.hint
            title = f' title="{html.escape(hint, quote=True)}"' if hint else ""
            letter = f"<sup>{table.letter(cell)}</sup>" if cell.note else ""
            content = html.escape(HOLE if cell.text is None else cell.text)
            parts.append(f'<td class="{classes}"{value}{title}{_tint(cell.shade)}>{content}{letter}</td>')
        parts.append("</tr>")
    parts.append("</tbody></table>")
    for letter, note in table.footnotes():
        mark = f"<sup>{letter}</sup> " if letter else ""
        parts.append(f'<p class="note">{mark}{html.escape(note)}</p>')
    return "".join(parts)


def tex(content: str) -> str:
    r"""Return text with every character that LaTeX would interpret escaped.

    >>> tex("λ = 5 %")
    '$\\lambda$ = 5 \\%'
    """
    return "".join(_TEX_ESCAPES.get(character, character) for character in content)


def _tint(shade: float) -> str:
    """Return the background of a cell; black text keeps a contrast of 7 to 1 on the strongest tint."""
    if not shade:
        return ""
    color = COST_COLOR if shade > 0 else SAVING_COLOR
    return f' style="background: rgba({color}, {STRONGEST_TINT * min(1.0, abs(shade)):.2f})"'


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


#: Suffix of a file → the text of a table in that format.
WRITERS: Mapping[str, Callable[[Table], str]] = {"csv": to_csv, "md": to_markdown, "tex": to_latex}

"""Rounding, marks and text forms of a printed table."""

from __future__ import annotations

import csv
import io

import pytest

from hemgs.analysis.tables.cells import MIB, Cell, number, signed, significant, size_mib, text, with_spread
from hemgs.analysis.tables.formats import tex, to_csv, to_html, to_latex, to_markdown
from hemgs.analysis.tables.table import Heading, Table, marked


@pytest.fixture
def table() -> Table:
    headings = (
        Heading("Method", numeric=False),
        Heading("PSNR [dB]", "Court & yard", "higher"),
        Heading("Size [MiB]", "Court & yard", "lower"),
    )
    rows = [
        (text("A_1 <b>"), number(28.004, 2), number(12345.678, 2)),
        (text("B | c"), number(27.0, 2), number(3.0, 2)),
        (text("C"), number(26.0, 2), number(None, 2, "scene missing: 100%")),
        (text("D"), number(None, 2, "scene missing: 100%"), number(None, 2, "other")),
    ]
    return Table(headings, marked(headings, rows), ("A note.",), "demo", "Costs 5 % & more")


@pytest.mark.parametrize(
    ("num_bytes", "printed"),
    [
        (0, "0"),
        (1, "0.000000954"),
        (54321, "0.0518"),
        (0.5 * MIB, "0.500"),
        (MIB, "1.00"),
        (12.518 * MIB, "12.52"),
        (744.7 * MIB, "744.7"),
        (1234.5 * MIB, "1,234.5"),
        (None, None),
    ],
)
def test_sizes(num_bytes: float | None, printed: str | None) -> None:
    assert size_mib(num_bytes).text == printed


@pytest.mark.parametrize(
    ("value", "digits", "printed"),
    [
        (0.0123456, 3, "0.0123"),
        (123.456, 3, "123"),
        (1.5, 3, "1.50"),
        (0.0, 3, "0.00"),
        (-0.0312, 2, "-0.031"),
        (float("inf"), 3, "∞"),
        (None, 3, None),
        ("12", 3, None),
    ],
)
def test_significant_digits(value: object, digits: int, printed: str | None) -> None:
    assert significant(value, digits).text == printed


def test_marks_follow_the_direction_of_the_column(table: Table) -> None:
    marks = [[cell.mark for cell in row] for row in table.rows]
    # Two values are too few to call one of them best.
    assert marks == [["", "best", ""], ["", "second", ""], ["", "", ""], ["", "", ""]]
    lower = (Heading("x", better="lower"),)
    rows = [(number(value, 1),) for value in (3.0, 1.0, 2.0, 1.0)]
    assert [row[0].mark for row in marked(lower, rows)] == ["", "best", "second", "best"]
    assert all(not row[0].mark for row in marked((Heading("x"),), rows))


def test_csv_is_plain(table: Table) -> None:
    rows = list(csv.reader(io.StringIO(to_csv(table))))
    assert rows[0] == ["Method", "Court & yard: PSNR [dB]", "Court & yard: Size [MiB]"]
    assert rows[1] == ["A_1 <b>", "28.00", "12345.68"]
    assert rows[4] == ["D", "not available", "not available"]


def test_markdown_has_one_row_per_line_and_notes_once(table: Table) -> None:
    lines = to_markdown(table).splitlines()
    assert lines[2] == "| Method | Court & yard PSNR [dB] ↑ | Court & yard Size [MiB] ↓ |"
    assert lines[4] == "| A_1 <b> | **28.00** | 12,345.68 |"
    assert lines[5] == r"| B \| c | *27.00* | 3.00 |"
    assert lines[6] == "| C | 26.00 | —<sup>a</sup> |"
    assert lines[7] == "| D | —<sup>a</sup> | —<sup>b</sup> |"
    assert [line.strip() for line in lines[9:]] == [
        "<sup>a</sup> scene missing: 100%",
        "<sup>b</sup> other",
        "A note.",
    ]


def test_latex_escapes_and_groups(table: Table) -> None:
    latex = to_latex(table)
    assert r"\caption{Costs 5 \% \& more}" in latex
    assert r"\multicolumn{1}{l}{} & \multicolumn{2}{c}{Court \& yard} \\" in latex
    assert r"\cmidrule(lr){2-3}" in latex
    assert r"A\_1 <b> & \textbf{28.00} & 12,345.68 \\" in latex
    assert r"B | c & \underline{27.00} & 3.00 \\" in latex
    assert r"\textsuperscript{a} scene missing: 100\%" in latex
    assert latex.count(r"\begin") == latex.count(r"\end")
    assert r"\begin{table}" in latex


def test_a_wide_table_is_scaled_to_the_page() -> None:
    headings = tuple(Heading(f"h{index}") for index in range(8))
    latex = to_latex(Table(headings, [tuple(number(1, 0) for _ in headings)]))
    assert r"\begin{table*}" in latex
    assert r"\resizebox{\textwidth}{!}{%" in latex
    assert latex.count("{") == latex.count("}")


@pytest.mark.parametrize(
    ("plain", "escaped"),
    [
        ("\\x{y}", r"\textbackslash{}x\{y\}"),
        ("λ = 1 ± 2", r"$\lambda$ = 1 $\pm$ 2"),
        ("a_b#$~^", r"a\_b\#\$\textasciitilde{}\textasciicircum{}"),
    ],
)
def test_latex_text(plain: str, escaped: str) -> None:
    assert tex(plain) == escaped


def test_html_escapes_and_carries_values(table: Table) -> None:
    page = to_html(table)
    assert "A_1 &lt;b&gt;" in page
    assert "<b>" not in page
    assert '<td class="num best" data-value="28.004">28.00</td>' in page
    assert '<th colspan="2" scope="colgroup">Court &amp; yard</th>' in page


def test_footnotes_go_on_after_z() -> None:
    rows = tuple((Cell(None, note=f"note {index}"),) for index in range(28))
    notes = Table([Heading("x")], rows).footnotes()
    assert [letter for letter, _ in notes[24:]] == ["y", "z", "aa", "ab"]


@pytest.mark.parametrize(
    ("value", "printed"),
    [
        (1.234, "+1.23"),
        (-1.234, "-1.23"),
        (0.001, "0.00"),
        (-0.001, "0.00"),
        (1234.5, "+1,234.50"),
        (float("inf"), "∞"),
        (float("-inf"), "-∞"),
        (None, None),
    ],
)
def test_changes_carry_their_sign(value: float | None, printed: str | None) -> None:
    assert signed(value).text == printed


@pytest.mark.parametrize(
    ("half_range", "printed"),
    [
        (0.04, "27.50 ± 0.04"),
        (12.0, "27.50 ± 12.00"),
        (0.0, "27.50 ± 0.00"),
        (0.0004, "27.50 ± 0.0004"),
        (None, "27.50"),
    ],
)
def test_a_spread_has_the_decimals_of_its_mean_or_one_digit(half_range: float | None, printed: str) -> None:
    cell = with_spread(number(27.5, 2, "note"), half_range)
    assert (cell.text, cell.value, cell.note) == (printed, 27.5, "note")
    assert with_spread(number(None, 2), half_range).text is None
    assert with_spread(size_mib(2 * MIB), 0.5 * MIB, 1 / MIB).text == "2.00 ± 0.50"


def test_html_shades_costs_and_savings_in_two_colours() -> None:
    entries = (Cell("+50", 50.0, shade=0.5), Cell("-50", -50.0, shade=-9.0), Cell("·", hint="a < b"))
    page = to_html(Table([Heading(name) for name in "abc"], [entries]))
    assert '<td class="num" data-value="50.0" style="background: rgba(213, 94, 0, 0.28)">' in page
    assert '<td class="num" data-value="-50.0" style="background: rgba(0, 114, 178, 0.55)">' in page
    assert '<td class="num" title="a &lt; b">·</td>' in page


def test_ragged_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="2 cells under 1 headings"):
        Table([Heading("a")], [(text("1"), text("2"))])

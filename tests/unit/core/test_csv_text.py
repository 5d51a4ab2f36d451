"""No cell of any CSV is a formula to a spreadsheet, and reading gives the cell that was written."""

from __future__ import annotations

import csv
import io
import itertools
from pathlib import Path

import pytest

from hemgs.analysis.figures import csv_of
from hemgs.analysis.tables.cells import Cell
from hemgs.analysis.tables.formats import to_csv
from hemgs.analysis.tables.table import Heading, Table
from hemgs.core.csv_text import csv_text, quoted, unquoted
from hemgs.core.files import write_text
from hemgs.core.records import REFIT_COLUMNS, Row, Value, read_rows, write_rows

FORMULAS = [
    "=1+1",
    "+cmd|' /C calc'!A0",
    "-2+3+cmd|x",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "@a\rb",
    "=",
    "-",
    "+",
    "'=1",
    "''=1",
    "'-3.5",
    "-1e5x",
]
PLAIN = ["", "'", "it's", "'quoted'", "3DGS", "-3.5", "+1.01", "-1e-05", "12", "-0.50 ± 0.03", "not available", "a=b"]


def opened(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline=""), strict=True))


def test_formulas_are_quoted_and_numbers_and_texts_are_not() -> None:
    for cell in FORMULAS:
        assert quoted(cell) == "'" + cell
    for cell in PLAIN:
        assert quoted(cell) == cell


def test_every_short_text_comes_back() -> None:
    for length in range(5):
        for letters in itertools.product("'=+-@1a\t", repeat=length):
            text = "".join(letters)
            assert unquoted(quoted(text)) == text
            assert quoted(text)[:1] not in {"=", "@", "\t"}


def refit_row(variant: str) -> dict[str, Value]:
    row: dict[str, Value] = {column.name: "x" if column.dtype == "text" else -1.0 for column in REFIT_COLUMNS}
    row |= {column.name: 1 for column in REFIT_COLUMNS if column.dtype == "int"}
    return row | {"variant": variant, "lmbda": -3.5}


@pytest.mark.parametrize("cell", FORMULAS)
def test_records_figures_and_tables_are_written_so(cell: str, tmp_path: Path) -> None:
    rows: list[Row] = [refit_row(cell)]
    write_rows(tmp_path / "a.csv", rows, REFIT_COLUMNS)
    assert read_rows(tmp_path / "a.csv", REFIT_COLUMNS) == rows
    table = Table((Heading(cell), Heading("Rate")), ((Cell(cell), Cell("-3.50", -3.5)),))
    written = (tmp_path / "a.csv").read_bytes().decode()
    for text in (written, csv_of(rows, ["variant", "lmbda"]), to_csv(table)):
        cells = [each for line in opened(text) for each in line]
        assert f"'{cell}" in cells
        assert {"-3.5", "-3.50"} & {*cells}
        assert cell not in cells


def test_lone_surrogates_are_written_as_escapes(tmp_path: Path) -> None:
    write_text(tmp_path / "a.csv", csv_text([["\udce9t\ud800"]]))
    assert (tmp_path / "a.csv").read_text(encoding="utf-8") == "\\udce9t\\ud800\n"
    write_rows(tmp_path / "b.csv", [refit_row("\udce9")], REFIT_COLUMNS)
    assert read_rows(tmp_path / "b.csv", REFIT_COLUMNS)[0]["variant"] == "\\udce9"

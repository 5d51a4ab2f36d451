"""Rows as CSV that a spreadsheet opens as text and numbers, never as formulas.

Cells contain labels, names and messages that come from configurations, captures and bitstreams. A spreadsheet runs a
cell that begins with ``=``, ``+``, ``-`` or ``@``. Owns how such cells are written, and how they become what they were.
Does not own columns and types (``records``).
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence

#: A number, or a mean over seeds with its spread.
_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?( ± \d+(\.\d*)?)?")
#: A cell that a spreadsheet may run, or one that is quoted already.
_DANGEROUS = re.compile(r"'*[=+\-@\t\r]")
_QUOTED = re.compile(r"'+[=+\-@\t\r]")


def csv_text(rows: Iterable[Sequence[str]]) -> str:
    """Return rows as lines of CSV; :func:`unquoted` inverts the form of each cell.

    >>> csv_text([["label", "psnr"], ["=1+1", "-3.5"]])
    "label,psnr\\n'=1+1,-3.5\\n"
    """
    output = io.StringIO()
    plain = csv.writer(output, lineterminator="\n")
    # By itself, the library quotes no carriage return, and takes one for the end of a row when it reads.
    guarded = csv.writer(output, lineterminator="\n", quoting=csv.QUOTE_ALL)
    for row in rows:
        writer = guarded if any("\r" in cell for cell in row) else plain
        writer.writerow([quoted(cell) for cell in row])
    return output.getvalue()


def quoted(cell: str) -> str:
    """Return a cell that no spreadsheet runs: with an apostrophe in front, if it is no number and looks like a formula.

    >>> quoted("@me"), quoted("-3.5"), quoted("it's")
    ("'@me", '-3.5', "it's")
    """
    return f"'{cell}" if _DANGEROUS.match(cell) and not _NUMBER.fullmatch(cell) else cell


def unquoted(cell: str) -> str:
    """Invert :func:`quoted`.

    >>> unquoted("'@me"), unquoted("-3.5"), unquoted("it's")
    ('@me', '-3.5', "it's")
    """
    return cell[1:] if _QUOTED.match(cell) else cell

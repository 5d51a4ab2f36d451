"""Output of the command line: the only module that writes to standard output and standard error.

Owns formats of sizes, durations and plain tables. Does not own the content of messages.
"""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

_KIB = 1 << 10
#: Characters that move the cursor, change colours or turn the direction of writing: names in files may contain them.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def show_what_can_be_shown() -> None:
    """Let a terminal replace what its encoding lacks, such as λ in ISO 8859-1, where Python would raise an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def printable(text: str) -> str:
    r"""Replace control characters other than tabs and line breaks.

    >>> printable("red\x1b[31m")
    'red\\x1b[31m'
    """
    return _CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def say(text: str = "") -> None:
    """Print one line of result on standard output."""
    sys.stdout.write(printable(text) + "\n")


def say_json(data: Mapping[str, Any]) -> None:
    """Print a result for programs on standard output."""
    say(json.dumps(data, indent=2, ensure_ascii=False))


def note(text: str) -> None:
    """Print one line that is not a result on standard error."""
    sys.stderr.write(printable(text) + "\n")


def report_error(message: str, fix: str = "") -> None:
    """Print the one line of an error on standard error."""
    line = " ".join(f"{message} — {fix}".split() if fix else message.split())
    note(f"error: {line}")


def size_text(size_bytes: float) -> str:
    """Write a size for people.

    >>> size_text(812), size_text(14540), size_text(3219128)
    ('812 B', '14.2 KiB', '3.07 MiB')
    """
    if size_bytes < _KIB:
        return f"{size_bytes:.0f} B"
    if size_bytes < _KIB * _KIB:
        return f"{size_bytes / _KIB:.1f} KiB"
    return f"{size_bytes / _KIB / _KIB:.2f} MiB"


def seconds_text(seconds: float) -> str:
    """Write a duration for people.

    >>> seconds_text(0.1234), seconds_text(45.06), seconds_text(723)
    ('0.123 s', '45.1 s', '12 min 3 s')
    """
    if seconds < 10:
        return f"{seconds:.3f} s"
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60} s"


def table(header: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Lay out plain text columns; the first ``left`` of them are flush left, the others flush right."""
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    lines = []
    for row in (header, ["-" * width for width in widths], *rows):
        cells = [
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)

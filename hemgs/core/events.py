"""Progress of long work: one JSON line per report in a log file, one live line on a terminal.

Owns rate and ETA. Does not know what is being done.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import IO

#: Least time between two drawings of the live line, seconds.
REDRAW_S = 0.2


class EventLog:
    """Reports progress of one job.

    Args:
        path: JSON-lines file to append to; ``None`` keeps no file.
        title: short name shown on the terminal line.
        stream: receives the live line if it is a terminal. ``None`` draws nothing.
    """

    def __init__(self, path: Path | None = None, title: str = "", stream: IO[str] | None = None) -> None:
        self.title = title
        self._stream = stream if stream is not None and stream.isatty() else None
        self._file = None
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a", encoding="utf-8")
        self._started_s = time.monotonic()
        self._first_done: int | None = None
        self._drawn_s = 0.0
        self._drawn = False

    def progress(self, done: int, total: int, **numbers: float) -> None:
        """Report that ``done`` of ``total`` steps are finished, with figures such as ``loss`` or ``size_mib``."""
        elapsed_s = time.monotonic() - self._started_s
        if self._first_done is None:
            self._first_done = done - 1 if done > 0 else 0
        rate = (done - self._first_done) / elapsed_s if elapsed_s > 0 else 0.0
        eta_s = (total - done) / rate if rate > 0 else float("inf")
        self.write(
            "progress",
            done=done,
            total=total,
            elapsed_s=round(elapsed_s, 3),
            rate_per_s=round(rate, 3),
            **numbers,
        )
        now_s = time.monotonic()
        if self._stream is None or (now_s - self._drawn_s < REDRAW_S and done < total):
            return
        figures = "  ".join(f"{name} {value:.4g}" for name, value in numbers.items())
        eta = "--:--" if eta_s == float("inf") else f"{int(eta_s) // 60:02d}:{int(eta_s) % 60:02d}"
        self._stream.write(
            f"\r\x1b[K{self.title} {done}/{total} {100 * done // max(total, 1)}%  {rate:.1f}/s  ETA {eta}  {figures}"
        )
        self._stream.flush()
        self._drawn, self._drawn_s = True, now_s

    def write(self, event: str, **fields: object) -> None:
        """Append one line to the log file."""
        if self._file is not None:
            self._file.write(json.dumps({"event": event, **fields}) + "\n")
            self._file.flush()

    def close(self) -> None:
        """End the live line and close the file."""
        if self._stream is not None and self._drawn:
            self._stream.write("\n")
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> EventLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def terminal_events(title: str, path: Path | None = None) -> EventLog:
    """Open the log of a command-line verb: a file, and a live line on standard error."""
    return EventLog(path, title, sys.stderr)

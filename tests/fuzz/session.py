"""Run workers over a sequence of altered files, and count the outcomes.

Owns time limits, the end of workers, and figures. Does not decode.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.fuzz.mutations import Subject, mutation

REPOSITORY = Path(__file__).resolve().parents[2]
#: What may come of a file: refused with an error that names it, the intact scene, or, for one with right checksums,
#: another scene, as of another file.
FINE = ("refused", "same scene", "other scene")
#: What must not come of it. "accepted" means another scene although a checksum is wrong. "not finite" means a scene
#: with such values. "file not named" means an error without the file's name. "exception" means one that is none of the
#: package's own. The last three mean too much memory, the end of the process, and no end at all.
FAILURES = ("accepted", "not finite", "file not named", "exception", "memory", "crash", "hang")
#: A worker may take this long to start and to decode the intact files, compiling included.
START_LIMIT_S = 300.0
_NUM_STDERR_LINES = 4


@dataclass
class Tally:
    """Outcomes of the files so far.

    Attributes:
        counts: files by kind of alteration and outcome.
        failures: the reports of those that failed.
        slowest_s, largest_mib: largest time and memory of a file.
        peaks_mib: memory that the intact files take.
        seconds: wall time.
    """

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    failures: list[dict[str, Any]] = field(default_factory=list)
    slowest_s: float = 0.0
    largest_mib: float = 0.0
    peaks_mib: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def num_files(self) -> int:
        """Files so far."""
        return sum(self.counts.values())

    def add(self, report: dict[str, Any]) -> None:
        """Counts one file."""
        self.counts[report["kind"], report["outcome"]] += 1
        self.slowest_s = max(self.slowest_s, report.get("s", 0.0))
        self.largest_mib = max(self.largest_mib, report.get("mib", 0.0))
        if report["outcome"] not in FINE:
            self.failures.append(report)


def fuzz(
    bitstreams: Sequence[Path],
    num_files: int,
    seed: int,
    first: int = 0,
    limit_s: float = 20.0,
    progress: Callable[[Tally], None] = lambda tally: None,
) -> Tally:
    """Decodes files ``first`` to ``first + num_files`` of the sequence ``seed``.

    Args:
        bitstreams: the intact files, of different names.
        num_files, seed, first: selection of the files; the same numbers give the same files.
        limit_s: time limit for one file; a worker that takes longer is killed.
        progress: called after each file.

    Raises:
        RuntimeError: a worker ended before its first file.
    """
    tally, index, stop = Tally(), first, first + num_files
    subjects = [Subject.read(path) for path in bitstreams]
    started_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="hemgs_fuzz_") as folder:
        while index < stop:
            with _Worker(bitstreams, seed, index, stop, Path(folder)) as worker:
                tally.peaks_mib = worker.next(START_LIMIT_S)["peaks_mib"]
                while index < stop:
                    report = worker.next(limit_s)
                    ended = "outcome" in report and "kind" not in report
                    if ended:
                        subject, altered = mutation(subjects, seed, index)
                        report |= {"subject": subject.name, "kind": altered.kind, "what": altered.what, "index": index}
                    tally.add(report)
                    index += 1
                    tally.seconds = time.monotonic() - started_s
                    progress(tally)
                    if ended:
                        break
    return tally


class _Worker:
    """One process that decodes; its reports are read by a thread, so that waiting has a limit."""

    def __init__(self, bitstreams: Sequence[Path], seed: int, first: int, stop: int, folder: Path) -> None:
        self._stderr = folder / "stderr.txt"
        command = [sys.executable, "-m", "tests.fuzz.worker", str(seed), str(first), str(stop)]
        command += [str(folder / "altered.gsc"), *(str(path.resolve()) for path in bitstreams)]
        threads = dict.fromkeys(("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
        with self._stderr.open("wb") as stderr:
            self._process = subprocess.Popen(
                command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=stderr, env={**os.environ, **threads}, text=True
            )
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._reported = False

    def __enter__(self) -> _Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def next(self, limit_s: float) -> dict[str, Any]:
        """The next report, or how the process ended without one."""
        try:
            line = self._lines.get(timeout=limit_s)
        except queue.Empty:
            self._process.kill()
            return self._end("hang", f"killed after {limit_s:g} s", limit_s)
        if line:
            self._reported = True
            return json.loads(line)
        self._process.wait()
        lines = self._stderr.read_text(errors="replace").strip().splitlines()[-_NUM_STDERR_LINES:]
        return self._end("crash", f"exit code {self._process.returncode}: {' | '.join(lines)}", 0.0)

    def _end(self, outcome: str, message: str, seconds: float) -> dict[str, Any]:
        if not self._reported:
            raise RuntimeError(f"the worker did not get to its first file: {message}")
        return {"outcome": outcome, "message": message, "s": seconds}

    def _read(self) -> None:
        if self._process.stdout is not None:
            for line in self._process.stdout:
                self._lines.put(line)
        self._lines.put("")


@contextmanager
def subjects_folder() -> Iterator[Path]:
    """A folder for the intact files."""
    with tempfile.TemporaryDirectory(prefix="hemgs_fuzz_subjects_") as folder:
        yield Path(folder)

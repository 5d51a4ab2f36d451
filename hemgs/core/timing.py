"""Clocks and the memory of this process.

Durations are wall time in seconds. Owns how durations and memory peaks are measured. Does not import torch: callers
that measure work on a GPU pass ``synchronize`` (``core.device``).
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

BYTES_PER_MIB = 1 << 20
_KIB_PER_MIB = 1 << 10
_STATUS = Path("/proc/self/status")
_CLEAR_REFS = Path("/proc/self/clear_refs")
#: Written to ``clear_refs``, resets the high-water mark of the resident set (Linux, proc(5)).
_RESET_HIGH_WATER = "5"


def _nothing() -> None:
    """Do nothing: a CPU needs no synchronisation."""


class Stopwatch:
    """Wall time of a ``with`` block; ``seconds`` may also be read inside the block."""

    def __init__(self, synchronize: Callable[[], None] = _nothing) -> None:
        self._synchronize = synchronize
        self._started_s = 0.0
        self._elapsed_s: float | None = None

    @property
    def seconds(self) -> float:
        """Duration of the block; inside the block, the duration so far."""
        if self._elapsed_s is not None:
            return self._elapsed_s
        return time.perf_counter() - self._started_s

    def __enter__(self) -> Stopwatch:
        self._synchronize()
        self._elapsed_s = None
        self._started_s = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self._synchronize()
        self._elapsed_s = time.perf_counter() - self._started_s


def process_peak_mib() -> float:
    """High-water mark of this process's resident set, MiB.

    On Linux this is ``VmHWM``: unlike ``getrusage``, it does not start from the parent's mark when a large process
    starts a small one.
    """
    status = _status_kib("VmHWM")
    if status is not None:
        return status / _KIB_PER_MIB
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (BYTES_PER_MIB if sys.platform == "darwin" else _KIB_PER_MIB)


def reset_process_peak() -> bool:
    """Reset the high-water mark to the present size; return False where the system cannot."""
    try:
        _CLEAR_REFS.write_text(_RESET_HIGH_WATER)
    except OSError:
        return False
    return True


def _status_kib(name: str) -> int | None:
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    return None

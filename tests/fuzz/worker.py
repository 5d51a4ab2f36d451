"""Decodes altered files one after the other and reports the result of each: one line of JSON on standard output.

Runs in a process of its own, which may crash, hang or be killed: ``session`` watches over it and goes on with another.

Memory is the growth of the resident set while a file is decoded, by the kernel's high-water mark (``VmHWM``). Before
each file the worker gives back free memory (``malloc_trim``) and resets the mark. Unlike ``tracemalloc``, the mark
includes what numpy, torch and compiled code allocate. Memory that is allocated and never touched does not show in it.
The address space is therefore limited as well (``RLIMIT_AS``): a request beyond that fails.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import IO

import torch

from hemgs.bench.decoding import bundles_equal, method_of_bitstream
from hemgs.coding.container import inspect_container
from hemgs.core.errors import HemgsError
from hemgs.core.timing import BYTES_PER_MIB, process_peak_mib, reset_process_peak
from hemgs.protocol import Method, Renderable
from tests.fuzz.mutations import Mutation, Subject, mutation

CPU = torch.device("cpu")
#: Address space above what the process has after decoding every intact file.
ADDRESS_MIB = 1024
#: A file may take this many times the memory of the intact one that it was made from, and of the bytes that it is
#: longer. The grain of the measurement is added.
MAX_PEAK_RATIO = 2.0
PEAK_GRAIN_MIB = 1.0
#: Forged settings of HEMGS may ask for more neighbours than the intact file's. The golden files have 400 anchors, so at
#: most 80,000 pairs; measured: 4.2 MiB for all of them.
PAIRS_MIB = 5.0
#: Peaks of intact files are the largest of this many.
_NUM_WARM_UPS = 4
_NUM_AGAIN = 3
_PAGE_BYTES = resource.getpagesize()


class Worker:
    """Subjects with what they decode to and the memory that takes."""

    def __init__(self, paths: list[Path], scratch: Path) -> None:
        self._subjects = [Subject.read(path) for path in paths]
        self._scratch = scratch
        self._methods: dict[str, Method] = {}
        self._trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        self._decoded: dict[str, Renderable] = {}
        self.peaks_mib: dict[str, float] = {}
        for subject in self._subjects:
            scratch.write_bytes(subject.data)
            self._decoded[subject.name] = self._decode()
            peaks = [self._peak_mib() for _ in range(_NUM_WARM_UPS)]
            self.peaks_mib[subject.name] = max(peaks[1:])

    def examine(self, seed: int, index: int) -> dict[str, object]:
        """The outcome of one file."""
        subject, altered = mutation(self._subjects, seed, index)
        self._scratch.write_bytes(altered.data)
        started_s = time.perf_counter()
        outcome, message, peak_mib = self._outcome(subject, altered)
        longer_mib = max(len(altered.data) - len(subject.data), 0) / BYTES_PER_MIB
        limit_mib = MAX_PEAK_RATIO * (self.peaks_mib[subject.name] + longer_mib) + PEAK_GRAIN_MIB
        if subject.method == "hemgs" and altered.kind == "forged settings":
            limit_mib += PAIRS_MIB
        if peak_mib > limit_mib:
            # Not what a first call loads or compiles, which later ones do not need.
            peak_mib = min(peak_mib, *(self._peak_mib() for _ in range(_NUM_AGAIN)))
            if peak_mib > limit_mib:
                message = (
                    f"{peak_mib:.1f} MiB, the intact file {self.peaks_mib[subject.name]:.1f}; {outcome}: {message}"
                )
                outcome = "memory"
        return {
            "index": index,
            "subject": subject.name,
            "kind": altered.kind,
            "what": altered.what,
            "outcome": outcome,
            "message": message[:300],
            "s": round(time.perf_counter() - started_s, 4),
            "mib": round(peak_mib, 2),
        }

    def _outcome(self, subject: Subject, altered: Mutation) -> tuple[str, str, float]:
        before_mib = self._start_peak()
        try:
            decoded = self._decode()
        except HemgsError as fault:
            named = str(self._scratch) in str(fault)
            found = ("refused" if named else "file not named"), f"{type(fault).__name__}: {fault}"
        except Exception as fault:  # noqa: BLE001 - any other is what is looked for
            found = "exception", f"{type(fault).__name__}: {fault}"
        else:
            found = self._compared(subject, altered, decoded), ""
        return *found, process_peak_mib() - before_mib

    def _compared(self, subject: Subject, altered: Mutation, decoded: Renderable) -> str:
        bundle = decoded.to_bundle()
        if bundles_equal(bundle, self._decoded[subject.name].to_bundle()):
            return "same scene"
        if not altered.sealed:
            return "accepted"
        finite = all(bool(torch.isfinite(tensor).all()) for tensor in bundle.tensors.values())
        return "other scene" if finite else "not finite"

    def _decode(self) -> Renderable:
        """As `hemgs decode` does, but a method is looked up once."""
        written_by = inspect_container(self._scratch).method
        if written_by not in self._methods:
            self._methods[written_by] = method_of_bitstream(self._scratch)
        return self._methods[written_by].decode(self._scratch, device=CPU)

    def _peak_mib(self) -> float:
        before_mib = self._start_peak()
        with contextlib.suppress(Exception):
            self._decode()
        return process_peak_mib() - before_mib

    def _start_peak(self) -> float:
        """Give back free memory, reset the high-water mark, and return its value."""
        if self._trim is not None:
            self._trim(0)
        reset_process_peak()
        return process_peak_mib()


def limit_memory() -> None:
    """Limits the address space to what there is now and :data:`ADDRESS_MIB` more, if the system says that."""
    sizes = Path("/proc/self/statm")
    if not sizes.exists():
        return
    pages = int(sizes.read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * _PAGE_BYTES + ADDRESS_MIB * BYTES_PER_MIB,) * 2)


def main() -> int:
    """Arguments: seed, first index, one after the last, scratch file, intact files."""
    parser = argparse.ArgumentParser()
    for name in ("seed", "first", "stop"):
        parser.add_argument(name, type=int)
    parser.add_argument("scratch", type=Path)
    parser.add_argument("bitstreams", type=Path, nargs="+")
    arguments = parser.parse_args()
    reports: IO[str] = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # other printed lines do not belong to the reports
    torch.set_num_threads(1)
    worker = Worker(arguments.bitstreams, arguments.scratch)
    limit_memory()
    print(json.dumps({"peaks_mib": worker.peaks_mib}), file=reports, flush=True)
    for index in range(arguments.first, arguments.stop):
        print(json.dumps(worker.examine(arguments.seed, index)), file=reports, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

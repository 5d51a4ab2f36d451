"""Decode thousands of altered bitstreams: ``python -m tests.fuzz --files 100000 --seed 0``.

The seed and the number of a file define it, so that a failed one can be made again:

    python -m tests.fuzz --seed 0 --first 4711 --files 1 --keep failed
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from tests.fuzz.mutations import KINDS, Subject, mutation
from tests.fuzz.session import FAILURES, FINE, Tally, fuzz, subjects_folder
from tests.fuzz.subjects import write_subjects

_REPORT_EVERY_S = 5.0
_MAX_LISTED = 40


def main() -> int:
    """Return 1 unless every file was refused or gave the intact scene or, for forgeries, another scene."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz",
        description="Alters intact bitstreams in every way a broken copy or an attacker may, decodes each result in a\n"
        "process with limits on time and memory, and counts what comes of it.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "bitstreams", type=Path, nargs="*", metavar="FILE.gsc", help="to alter [tiny ones, every method]"
    )
    parser.add_argument("--files", type=int, default=1000, metavar="N", help="altered files to decode [%(default)s]")
    parser.add_argument("--seed", type=int, default=0, help="names the sequence of files [%(default)s]")
    parser.add_argument("--first", type=int, default=0, metavar="I", help="number of the first file [%(default)s]")
    parser.add_argument("--limit-s", type=float, default=20.0, metavar="S", help="time for one file [%(default)s]")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="write the files that failed into this folder")
    arguments = parser.parse_args()
    with subjects_folder() as folder:
        bitstreams = arguments.bitstreams or write_subjects(folder)
        progress = _Progress(arguments.files)
        tally = fuzz(bitstreams, arguments.files, arguments.seed, arguments.first, arguments.limit_s, progress.report)
        if arguments.keep is not None:
            _keep(tally, [Subject.read(path) for path in bitstreams], arguments.seed, arguments.keep)
    _print_result(tally, arguments.seed)
    return 1 if tally.failures else 0


class _Progress:
    """A line every few seconds."""

    def __init__(self, num_files: int) -> None:
        self._num_files = num_files
        self._next_s = time.monotonic() + _REPORT_EVERY_S
        self._first: tuple[float, int] | None = None

    def report(self, tally: Tally) -> None:
        """Called after each file. The rate leaves out the start of the first worker."""
        now_s = time.monotonic()
        if self._first is None:
            self._first = now_s, tally.num_files
        if now_s < self._next_s or now_s == self._first[0]:
            return
        self._next_s = now_s + _REPORT_EVERY_S
        rate = (tally.num_files - self._first[1]) / (now_s - self._first[0])
        left_s = (self._num_files - tally.num_files) / max(rate, 1e-9)
        print(
            f"{tally.num_files}/{self._num_files} files, {rate:.0f} per second, {left_s:.0f} s left, "
            f"{len(tally.failures)} failures",
            file=sys.stderr,
            flush=True,
        )


def _keep(tally: Tally, subjects: list[Subject], seed: int, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for failure in tally.failures:
        _, altered = mutation(subjects, seed, failure["index"])
        (folder / f"seed{seed}_{failure['index']}.gsc").write_bytes(altered.data)


def _print_result(tally: Tally, seed: int) -> None:
    outcomes = [outcome for outcome in (*FINE, *FAILURES) if any(key[1] == outcome for key in tally.counts)]
    width = max(len(text) for text in (*KINDS, "all"))
    print("  ".join([" " * width, *outcomes]))
    for kind in (*KINDS, "all"):
        cells = [
            sum(number for (its, name), number in tally.counts.items() if name == outcome and kind in (its, "all"))
            for outcome in outcomes
        ]
        print(
            "  ".join([kind.ljust(width), *(str(n).rjust(len(name)) for n, name in zip(cells, outcomes, strict=True))])
        )
    peaks = ", ".join(f"{name} {peak:.1f}" for name, peak in tally.peaks_mib.items())
    rate = tally.num_files / max(tally.seconds, 1e-9)
    print(
        f"{tally.num_files} files in {tally.seconds:.0f} s, {rate:.0f} per second "
        f"with starts; slowest {tally.slowest_s:.2f} s; most memory {tally.largest_mib:.1f} MiB "
        f"(intact: {peaks})"
    )
    for failure in tally.failures[:_MAX_LISTED]:
        print(
            f"FAILED seed {seed} file {failure['index']} ({failure['subject']}, {failure['kind']}: {failure['what']}): "
            f"{failure['outcome']}: {failure['message']}"
        )
    if len(tally.failures) > _MAX_LISTED:
        print(f"… and {len(tally.failures) - _MAX_LISTED} more")


if __name__ == "__main__":
    sys.exit(main())

"""All speed measurements, one after the other in separate processes: ``python -m tests.speed``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
#: What is measured, and the module with its arguments that prints the table. Plain torch takes half a minute a picture,
#: and ratios of hundreds need no best of many rounds.
PROGRAMS = {
    "rendering, against the plain-torch path": ("render", "--rounds", "1"),
    "entropy coding, against torchac and constriction": ("coder",),
    "a training step of HEMGS, by stage": ("training",),
    "search for context neighbours": ("neighbours",),
    "coding locations": ("locations",),
    "a dry run of the workflow (2,100 scenes: python -m tests.speed.dag)": ("dag", "--scenes", "21", "210"),
    "encoding and decoding whole files, by stage": ("codec", "--rounds", "1"),
}


def main() -> int:
    """Prints every table; gives the number of measurements that failed."""
    failed = 0
    for title, (program, *options) in PROGRAMS.items():
        print(f"\n== {title} ==", flush=True)
        command = [sys.executable, "-m", f"tests.speed.{program}", *options]
        failed += subprocess.run(command, cwd=REPOSITORY).returncode != 0
    return failed


if __name__ == "__main__":
    sys.exit(main())

"""All speed measurements in turn, each in a process of its own: ``python -m tests.speed``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

#: What is measured, and the script with its arguments that prints the table. Plain torch takes half a minute a picture,
#: and ratios of hundreds need no best of many rounds.
SCRIPTS = {
    "rendering, against the plain-torch path": ("render.py", "--rounds", "1"),
    "entropy coding, against torchac and constriction": ("coder.py",),
    "a training step of HEMGS, by stage": ("training.py",),
    "search for context neighbours": ("neighbours.py",),
    "coding locations": ("locations.py",),
    "a dry run of the workflow (2,100 scenes: python tests/speed/dag.py)": ("dag.py", "--scenes", "21", "210"),
    "encoding and decoding whole files, by stage": ("codec.py", "--rounds", "1"),
}


def main() -> int:
    """Prints every table; gives the number of measurements that failed."""
    folder = Path(__file__).resolve().parent
    failed = 0
    for title, (script, *options) in SCRIPTS.items():
        print(f"\n== {title} ==", flush=True)
        command = [sys.executable, str(folder / script), *options]
        failed += subprocess.run(command, cwd=folder.parents[1]).returncode != 0
    return failed


if __name__ == "__main__":
    sys.exit(main())

"""Snakemake in a separate process that does not import it again: a fork server imports it once.

The import takes a second, and most of these tests check the plan of a run of two seconds. Owns starting the process,
which has the same environment as ``python -m snakemake``.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

_CONTEXT = multiprocessing.get_context("forkserver")
# Only libraries that every run imports, and no module of this repository: a project has its own copy.
_CONTEXT.set_forkserver_preload(["pytest", "snakemake.cli", "snakemake.report", "snakemake.storage", "jsonschema"])


def run_snakemake(
    arguments: Sequence[str], root: Path, environment: Mapping[str, str], timeout_s: float
) -> subprocess.CompletedProcess[str]:
    """Run Snakemake to its end in a folder; ``stdout`` of the result holds both streams.

    Raises:
        subprocess.TimeoutExpired: the run took longer than ``timeout_s`` and was killed.
    """
    output = root / "snakemake.out"
    process = _CONTEXT.Process(target=_main, args=([*arguments], root, {**environment}, output))
    process.start()
    process.join(timeout_s)
    if process.exitcode is None:
        process.kill()
        process.join()
        raise subprocess.TimeoutExpired([*arguments], timeout_s)
    text = output.read_text(encoding="utf-8")
    output.unlink()
    return subprocess.CompletedProcess([*arguments], process.exitcode, text)


def _main(arguments: list[str], root: Path, environment: dict[str, str], output: Path) -> None:
    with output.open("wb") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    os.chdir(root)
    os.environ.clear()
    os.environ.update(environment)
    own = environment["PYTHONPATH"].split(os.pathsep)
    sys.path[:] = [str(root), *own, *(entry for entry in sys.path if entry not in own)]
    from snakemake.cli import main

    main(arguments)

"""The same bits for any number of threads, and no crash when two Python threads render at once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]


def digests(words: list[str], **environment: str) -> list[str]:
    """Hashes printed by a process of its own, which may start four kernel threads whatever the machine."""
    settings = {"NUMBA_NUM_THREADS": "4", "OMP_NUM_THREADS": "4", "OMP_WAIT_POLICY": "passive"}
    run = subprocess.run(
        [sys.executable, "-m", "tests.unit.render.render_digest", *words],
        cwd=REPOSITORY,
        env={**os.environ, **settings, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.split()


def test_results_are_bit_identical_for_any_number_of_threads() -> None:
    found = digests(["1", "2", "3", "4", "1"])
    assert len(found) == 5
    assert len(set(found)) == 1


@pytest.mark.parametrize("layer", ["workqueue", "omp"])
def test_two_python_threads_may_render_at_once(layer: str) -> None:
    found = digests(["together"], NUMBA_THREADING_LAYER=layer)
    assert len(found) == 4
    assert len(set(found)) == 1

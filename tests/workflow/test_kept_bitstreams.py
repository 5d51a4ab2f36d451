"""Bitstreams that exist stay, whatever happens to the job that would add to them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.workflow.workflow_project import HELD_TIMEOUT_S, Project

pytestmark = pytest.mark.slow

POINTS = "results/points/all_rates_stub/toy/one/all/s0"
ENCODE = "encode results/models/all_rates_stub/toy/one"


def kept(project: Project) -> dict[str, str]:
    """Contents of the bitstreams of an encoding."""
    return {path.name: path.read_text() for path in (project.root / POINTS / "bitstreams").iterdir()}


def add_a_rate(project: Project) -> None:
    project.edit("methods/all_rates_stub.yaml", lambda data: data.update(rates=[0.001, 0.0015, 0.002]))


def train_again(project: Project) -> None:
    project.edit("methods/all_rates_stub.yaml", lambda data: data.update(params={"iterations": 20}))


@pytest.mark.parametrize("change", [add_a_rate, train_again])
def test_a_failing_job_leaves_them(finished: Project, change: object) -> None:
    before = kept(finished)
    assert callable(change)
    change(finished)
    finished.environment["STUB_FAIL"] = ENCODE
    assert finished.snakemake("--keep-going", check=False).returncode != 0
    assert kept(finished) == before
    finished.environment["STUB_FAIL"] = ""
    finished.snakemake()
    assert set(before) <= set(kept(finished))
    assert finished.planned() == {}


def test_a_killed_job_leaves_them(finished: Project) -> None:
    before = kept(finished)
    add_a_rate(finished)
    go_on = finished.root / "go_on"
    process = subprocess.Popen(
        [sys.executable, "-m", "snakemake", "--cores", "2"],
        cwd=finished.root,
        env=finished.environment | {"STUB_HOLD": ENCODE, "STUB_GO_ON": str(go_on)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    end = time.monotonic() + HELD_TIMEOUT_S
    while not go_on.with_suffix(".held").exists():
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert kept(finished) == before
    finished.snakemake("--unlock")
    finished.snakemake()
    assert set(kept(finished)) == {*before, "lmbda_0.0015.gsc"}


def test_measured_are_the_rates_that_are_planned(finished: Project) -> None:
    """One rate less: its bitstream stays, and has no row."""
    finished.edit("methods/all_rates_stub.yaml", lambda data: data.update(rates=[0.002]))
    finished.snakemake("points")
    assert "lmbda_0.0010.gsc" in kept(finished)
    assert "lmbda_0.0010" not in (finished.root / POINTS / "points.csv").read_text()


def test_files_of_ones_own_next_to_them_stay(finished: Project) -> None:
    mine = finished.root / POINTS / "bitstreams/my_best.gsc"
    mine.write_text("mine")
    add_a_rate(finished)
    finished.snakemake(str(Path(POINTS) / "points.csv"))
    assert mine.read_text() == "mine"

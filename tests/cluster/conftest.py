"""A real Slurm for the tests of this folder, or the reason why there is none."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.slurm_machine import SlurmMachine, missing_programs

INSTALL = Path(__file__).with_name("install")
#: `run` starts the tests, which take minutes and want idle cores; `install` also installs what is missing: nothing is
#: installed on a machine whose owner did not ask for it.
SWITCH = "HEMGS_TEST_SLURM"
#: Seconds for the installation.
INSTALL_S = 400


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlurmMachine]:
    """A Slurm of one node with two GPUs, and one more node in reserve; it ends with the tests."""
    make_slurm_available()
    machine = SlurmMachine(tmp_path_factory.mktemp("slurm"))
    try:
        machine.start()
        yield machine
    finally:
        machine.stop()


def make_slurm_available() -> None:
    """Installs Slurm where that was asked for; skips, with the reason, where it is not there in the end."""
    if SWITCH not in os.environ:
        pytest.skip(f"takes minutes of idle cores: tests/cluster/run, or {SWITCH}=run")
    pytest.importorskip("snakemake_executor_plugin_slurm", reason="snakemake-executor-plugin-slurm is not installed")
    said = ""
    if missing_programs() and os.environ.get(SWITCH) == "install":
        # Where there is no way to the packages, waiting for them leads nowhere; `timeout` ends all that it has started.
        command = ["timeout", str(INSTALL_S), str(INSTALL)]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        said = f"; tests/cluster/install exited with {done.returncode}: {done.stdout.strip()[-300:]}"
    if missing := missing_programs():
        packages = " ".join(sorted(set(missing.values())))
        hint = f"; {SWITCH}=install installs {packages} (Debian, as root)"
        pytest.skip(f"no {', '.join(missing)} here{said or hint}")


@pytest.fixture(autouse=True)
def heading(request: pytest.FixtureRequest) -> None:
    """Says which test the lines that follow belong to."""
    print(f"\n{request.node.name.removeprefix('test_').replace('_', ' ')}", flush=True)

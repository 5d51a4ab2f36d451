"""Snakemake that checks its cluster jobs every second.

The Slurm plugin waits ten seconds longer after every check that finds no finished job, up to three minutes, and has no
option for this. The wait suits trainings of hours, but would be most of the time of these tests.
"""

from __future__ import annotations

import sys

from snakemake.cli import main
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor

SECONDS_BETWEEN_LOOKS = 1

if __name__ == "__main__":
    RemoteExecutor.next_seconds_between_status_checks = property(
        lambda executor: SECONDS_BETWEEN_LOOKS, lambda executor, seconds: None
    )
    sys.exit(main())

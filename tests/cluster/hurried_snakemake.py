"""Snakemake, looking at its cluster jobs every second.

The Slurm plugin waits ten seconds longer after every look that found nothing finished, up to three minutes, and nothing
can be set against it. That is right for trainings of hours, and would make up most of the time of these tests.
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

"""Time and memory of a dry run of the workflow for 21, 210 and 2,100 scenes.

Run as ``python -m tests.speed.dag``; the paper's methods at their rates (HEMGS at sixteen) on made-up scenes, nothing
made yet. ``--sixteen-rates`` takes every method at sixteen rates instead, which is a training each for those that have
one per rate. Each size runs in a process of its own; processor seconds, since other work disturbs them least.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
SIZES = (21, 210, 2100)
SIXTEEN = {"start": 0.001, "stop": 0.004, "step": 0.0002}
#: Methods with rates, among those of the repository.
WITH_RATES = ("hac", "context_gs", "hac_plus", "hemgs")


@dataclass(frozen=True)
class DryRun:
    """Time and memory of one dry run."""

    scenes: int
    jobs: int
    processor_s: float
    wall_s: float
    peak_mib: float


def make_project(root: Path, num_scenes: int, *, sixteen_rates: bool = False) -> None:
    """A copy of the workflow whose paper configuration has that many scenes, all of one dataset."""
    for folder in ("workflow", "profiles"):
        shutil.copytree(REPOSITORY / folder, root / folder)
    shutil.copy(REPOSITORY / "environment.yml", root)
    config = root / "workflow/config"
    dataset = yaml.safe_load((config / "datasets/tanksandtemples.yaml").read_text())
    dataset |= {"id": "many", "scenes": {f"scene_{index:05d}": {} for index in range(num_scenes)}}
    for file in (config / "datasets").iterdir():
        file.unlink()
    (config / "datasets/many.yaml").write_text(yaml.safe_dump(dataset))
    settings = yaml.safe_load((config / "config.yaml").read_text())
    settings["run"]["datasets"] = ["many"]
    settings["publish"]["visual"] = []
    if sixteen_rates:
        settings["run"]["methods"] = ["gs3d", "scaffold_gs", *WITH_RATES]
        settings["rates"] = dict.fromkeys(WITH_RATES, SIXTEEN)
    (config / "config.yaml").write_text(yaml.safe_dump(settings))


def dry_run(root: Path, num_scenes: int) -> DryRun:
    """Runs it once; its own numbers, not those of earlier children, since each is measured in a fresh process."""
    watch = (
        "import resource, subprocess, sys\n"
        "done = subprocess.run(sys.argv[1:], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)\n"
        "used = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
        "print(done.stdout[-2000:])\n"
        "print('used', done.returncode, used.ru_utime + used.ru_stime, used.ru_maxrss)\n"
    )
    command = [sys.executable, "-m", "snakemake", "-n", "--quiet", "rules", "host", "reason"]
    started = time.perf_counter()
    output = subprocess.run(
        [sys.executable, "-c", watch, *command], cwd=root, capture_output=True, text=True, check=True
    ).stdout
    wall_s = time.perf_counter() - started
    jobs = re.search(r"^total +(\d+)$", output, re.MULTILINE)
    code, processor_s, peak_kib = output.rsplit("used ", 1)[1].split()
    if jobs is None or code != "0":
        raise RuntimeError(f"the dry run of {num_scenes} scenes failed:\n{output}")
    return DryRun(num_scenes, int(jobs.group(1)), float(processor_s), wall_s, float(peak_kib) / 1024)


def measure(num_scenes: int, *, sixteen_rates: bool = False) -> DryRun:
    """A dry run in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        make_project(Path(folder), num_scenes, sixteen_rates=sixteen_rates)
        return dry_run(Path(folder), num_scenes)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--scenes", type=int, nargs="+", default=SIZES, help="numbers of scenes [%(default)s]")
    parser.add_argument("--sixteen-rates", action="store_true", help="every method at sixteen rates")
    arguments = parser.parse_args()
    print(f"{'scenes':>7} {'jobs':>8} {'processor s':>12} {'ms per job':>11} {'wall s':>8} {'peak MiB':>9}")
    for number in arguments.scenes:
        found = measure(number, sixteen_rates=arguments.sixteen_rates)
        per_job = 1000 * found.processor_s / found.jobs
        print(
            f"{found.scenes:>7} {found.jobs:>8} {found.processor_s:>12.1f} {per_job:>11.2f}"
            f" {found.wall_s:>8.1f} {found.peak_mib:>9.0f}",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())

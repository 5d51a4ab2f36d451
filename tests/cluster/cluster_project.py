"""A workflow folder whose jobs go to the test's Slurm: starting snakemake there, and looking at jobs and trainings."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.slurm_machine import SlurmError, SlurmMachine, wait_for
from tests.unit.cli.cli_cases import heed_interrupts
from tests.workflow.workflow_project import REPOSITORY, Project, copy_workflow

#: Seconds that a whole run, and a job on its way to its first checkpoint, may take on two shared cores.
RUN_TIMEOUT_S = 300.0
CHECKPOINT_TIMEOUT_S = 120.0
#: Changes in a test's copy of a cluster profile: shorter times.
HURRY = {"slurm-init-seconds-before-status-checks": 1, "latency-wait": 10}
#: Snakemake that does not wait longer and longer between two looks at its jobs.
HURRIED = Path(__file__).with_name("hurried_snakemake.py")
#: One row of `sacct` per attempt.
SACCT = (
    "sacct", "-X", "--parsable2", "--noheader", "--duplicates", "--starttime", "now-1days",
    "--format", "JobIDRaw,State,TimelimitRaw,ReqTRES,WorkDir%512,Comment%512",
)  # fmt: skip
MIB_PER_UNIT = {"M": 1, "G": 1024}
#: How a profile lets a request grow with each attempt.
GROWS = " * attempt"


@dataclass(frozen=True)
class Requests:
    """The request of a job."""

    mem_mib: int
    minutes: int
    cpus: int
    gpus: int


@dataclass(frozen=True)
class SlurmJob:
    """One job in Slurm's accounting: its request and its end."""

    number: int
    rule: str
    state: str
    requests: Requests


def requests_of(profile: str, rule: str, attempt: int = 1) -> Requests:
    """The request of a rule's job in a profile."""
    settings = yaml.safe_load((REPOSITORY / "profiles" / profile / "config.yaml").read_text())
    asked = {**settings["default-resources"], **settings["set-resources"].get(rule, {})}

    def number(name: str) -> int:
        text = str(asked[name])
        return int(text.removesuffix(GROWS)) * (attempt if text.endswith(GROWS) else 1)

    gpus = asked.get("gpu", 0) or int(asked.get("gres", "gpu:0").removeprefix("gpu:"))
    return Requests(number("mem_mb"), number("runtime"), settings["set-threads"].get(rule, 1), gpus)


def parse_job(fields: list[str]) -> SlurmJob:
    number, state, minutes, tres, _, comment = fields
    asked = dict(item.split("=", 1) for item in tres.split(","))
    memory = asked["mem"]
    return SlurmJob(
        number=int(number),
        rule=re.sub(r"^rule_(.*?)(_wildcards_.*)?$", r"\1", comment),
        state=state.split()[0],  # "CANCELLED by 0"
        requests=Requests(
            mem_mib=round(float(memory[:-1]) * MIB_PER_UNIT[memory[-1]]),
            minutes=int(minutes),
            cpus=int(asked["cpu"]),
            gpus=int(asked.get("gres/gpu", 0)),
        ),
    )


class Invocation:
    """A running snakemake."""

    def __init__(self, command: list[str], root: Path, environment: dict[str, str], log: Path) -> None:
        self._log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command, cwd=root, env=environment, stdout=output, stderr=output, preexec_fn=heed_interrupts
            )

    @property
    def output(self) -> str:
        return self._log.read_text(errors="replace")

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def wait(self, timeout_s: float = RUN_TIMEOUT_S) -> int:
        """Its exit code."""
        try:
            return self._process.wait(timeout=timeout_s)
        except subprocess.TimeoutExpired as fault:
            self._process.kill()
            raise SlurmError(f"snakemake did not end within {timeout_s:.0f} s:\n{self.output[-4000:]}") from fault

    def succeed(self) -> None:
        if code := self.wait():
            raise SlurmError(f"snakemake exited with {code}:\n{self.output[-4000:]}")

    def kill(self, how: signal.Signals) -> None:
        self._process.send_signal(how)
        self._process.wait(timeout=60)


class Training:
    """The process of a training inside a Slurm job, held where it was when its checkpoint appeared."""

    def __init__(self, number: int) -> None:
        self._number = number
        os.kill(number, signal.SIGSTOP)
        entries = Path(f"/proc/{number}/environ").read_bytes().split(b"\0")
        self.environment = dict(entry.decode().split("=", 1) for entry in entries if b"=" in entry)

    @property
    def job(self) -> str:
        return self.environment["SLURM_JOB_ID"]

    @property
    def alive(self) -> bool:
        """Whether it is there and not a zombie."""
        try:
            status = Path(f"/proc/{self._number}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return False
        return status.rpartition(")")[2].split()[0] != "Z"

    def go_on(self) -> None:
        os.kill(self._number, signal.SIGCONT)


class ClusterProject:
    """A folder with ``workflow/`` and ``profiles/``, and a home with the profile that ``hemgs setup`` put there."""

    def __init__(self, root: Path, slurm: SlurmMachine, config: dict[str, Any], profile: str = "slurm") -> None:
        root.mkdir(parents=True)
        self.slurm, self.profile, self.root = slurm, profile, root
        self.project: Project = copy_workflow(root, stub=False)
        self.project.environment |= {name: slurm.environment[name] for name in ("SLURM_CONF", "PATH", "HEMGS_DEVICE")}
        self.project.environment["PATH"] = f"{root / 'bin'}{os.pathsep}{slurm.environment['PATH']}"
        (root / "workflow/config/config.yaml").write_text(yaml.safe_dump(config))
        self._num_started = 0

    def set_up_profile(self, **changes: Any) -> None:
        """As the documentation says: a copy of the profile in the user's folder, edited."""
        self.hemgs("setup", "--profile", self.profile, "--copy", "--force")
        file = self.root / ".config/snakemake" / self.profile / "config.yaml"
        text = file.read_text()
        settings = yaml.safe_load(text)
        file.write_text(yaml.safe_dump({**settings, **HURRY, **changes}))

    def take_over(self, other: ClusterProject) -> None:
        """Results and Snakemake's notes of another folder, with their times, as if they had been made here."""
        for folder in ("results", ".snakemake"):
            shutil.copytree(other.root / folder, self.root / folder)

    def hemgs(self, *words: str) -> str:
        environment = {**self.project.environment, "XDG_CONFIG_HOME": str(self.root / ".config")}
        return subprocess.run(
            [sys.executable, "-m", "hemgs", *words],
            cwd=self.root,
            env=environment,
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        ).stdout

    def start(self, *arguments: str, hurried: bool = True) -> Invocation:
        """Run ``snakemake --profile NAME`` with more arguments; ``hurried`` lets it check its jobs every second."""
        self._num_started += 1
        program = [str(HURRIED)] if hurried else ["-m", "snakemake"]
        command = [sys.executable, *program, "--profile", self.profile, *arguments]
        environment = {**self.project.environment, "XDG_CONFIG_HOME": str(self.root / ".config")}
        return Invocation(command, self.root, environment, self.root / f"snakemake.{self._num_started}.log")

    # --- what came of it ----------------------------------------------------------------------------------------

    def jobs(self, rule: str | None = None) -> list[SlurmJob]:
        """Slurm's account of the jobs of this folder, in order of submission."""
        rows = [line.split("|") for line in self.slurm.command(*SACCT).splitlines()]
        jobs = [parse_job(row) for row in rows if row[4] == str(self.root)]
        return sorted((job for job in jobs if rule in (None, job.rule)), key=lambda job: job.number)

    def states(self, rule: str) -> list[str]:
        return [job.state for job in self.jobs(rule)]

    def read(self, path: str) -> dict[str, Any]:
        return json.loads((self.root / path).read_text())

    def log(self, rule: str, fit: str) -> str:
        """Return a job's log, empty where it is absent: Snakemake removes an old one before the job runs again."""
        try:
            return (self.root / f"results/logs/{rule}/{fit}.log").read_text()
        except FileNotFoundError:
            return ""

    def events(self, fit: str) -> list[dict[str, Any]]:
        lines = (self.root / "results/models" / fit / "events.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]

    def resumed_at(self, fit: str) -> list[int]:
        """Iterations from which sessions of a training continued."""
        return [event["iteration"] for event in self.events(fit) if event["event"] == "resumed"]

    def hold_training(self, fit: str, *, resumed: bool = False) -> Training:
        """Stop the process of a training that has a checkpoint, or, with ``resumed``, has just continued from one."""
        folder = self.root / "results/models" / fit
        found: list[int] = []

        def at_a_checkpoint() -> bool:
            there = self.resumed_at(fit) if resumed else list(folder.glob("work/checkpoint_*"))
            found[:] = self._training_processes(fit) if there else []
            return bool(found)

        wait_for(f"a training with a checkpoint in {folder}", at_a_checkpoint, CHECKPOINT_TIMEOUT_S, every_s=0.02)
        return Training(found[0])

    def _training_processes(self, fit: str) -> list[int]:
        """Numbers of the processes that train this fit in this folder."""
        numbers = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                words = (folder / "cmdline").read_bytes().split(b"\0")
                is_training = words[1:4] == [b"-m", b"hemgs", b"train"] and f"results/models/{fit}".encode() in words
                if is_training and (folder / "cwd").resolve() == self.root.resolve():
                    numbers.append(int(folder.name))
            except (FileNotFoundError, ProcessLookupError):
                continue  # ended while being looked at
        return numbers

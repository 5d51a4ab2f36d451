"""Copies of the workflow in separate folders, with a stub in place of the ``hemgs`` command."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.workflow.snakemake_process import run_snakemake

REPOSITORY = Path(__file__).resolve().parents[2]
STUB = Path(__file__).with_name("stub_hemgs.py")
#: Seconds until a run reaches the call at which it is held, and from there to its end.
HELD_TIMEOUT_S = 120.0
#: Seconds for a run.
TIMEOUT_S = 300.0
#: Two scenes; a method that serves all rates, one that is trained per rate, one without rates.
CONFIG = {
    "title": "workflow test",
    "run": {"methods": ["all_rates_stub", "per_rate_stub", "single_stub"], "datasets": ["toy"], "seeds": [0]},
    "publish": {"tables": ["quality"], "visual": ["toy/one"]},
}
METHODS: dict[str, dict[str, Any]] = {
    "all_rates_stub": {
        "entry": "stub_methods.method:AllRates",
        "kind": "all_rates",
        "rates": [0.001, 0.002],
        "color": "#112233",
        "params": {"iterations": 10},
    },
    "per_rate_stub": {"entry": "stub_methods.method:PerRate", "kind": "per_rate", "rates": [0.004, 0.003]},
    "single_stub": {"entry": "stub_methods.method:Single", "kind": "single"},
}
#: The module of methods whose libraries are not installed where snakemake runs.
STUB_PARAMS = """
from dataclasses import dataclass

from hemgs.core.types import LmbdaInterval, MethodSpec


@dataclass(frozen=True)
class Params:
    iterations: int = 1


KINDS = {"PerRate": "per_rate", "Single": "single", "Post": "post"}
SPECS = {name: MethodSpec(kind, kind, kind) for name, kind in KINDS.items()}
SPECS["AllRates"] = MethodSpec(
    "all_rates", "all_rates", "all_rates", lmbda_interval=LmbdaInterval(1e-4, 1.0), sweep=(0.001,)
)
"""
DATASET = {
    "id": "toy",
    "label": "Toy",
    "source": {"kind": "procedural", "procedural": {"layout": "court"}},
    "protocol": {"max_width": None, "split": {"kind": "every_nth", "n": 8}, "background": [0, 0, 0]},
    "initial_points": {"kind": "sfm"},
    "scenes": {"one": {}, "two": {}},
}


def with_archive(data: dict[str, Any]) -> None:
    """Lets the scenes of a dataset come from an archive."""
    data["source"] = {
        "kind": "colmap",
        "local": "captures",
        "archives": [{"url": "http://127.0.0.1:9/toy.zip", "scenes": ["one", "two"]}],
    }


@dataclass
class Project:
    """A folder with ``workflow/`` and ``profiles/`` in which snakemake is run."""

    root: Path
    environment: dict[str, str] = field(default_factory=dict)

    def snakemake(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Runs snakemake to its end; ``stdout`` holds both streams. With ``check``, a failure fails the test."""
        done = run_snakemake(self.command(*arguments), self.root, self.environment, TIMEOUT_S)
        if check and done.returncode != 0:
            pytest.fail(f"snakemake {' '.join(done.args)} exited with {done.returncode}:\n{done.stdout}")
        return done

    @contextmanager
    def held(self, call: str, *arguments: str) -> Iterator[None]:
        """Snakemake, stopped where the stub is called with these words until the block ends; then it must succeed."""
        go_on = self.root / "go_on"
        hold = {"STUB_HOLD": call, "STUB_GO_ON": str(go_on)}
        with (self.root / "held.log").open("w+") as log:
            command = [sys.executable, "-m", "snakemake", *self.command(*arguments)]
            process = subprocess.Popen(command, cwd=self.root, env=self.environment | hold, stdout=log, stderr=log)
            try:
                deadline = time.monotonic() + HELD_TIMEOUT_S
                while not go_on.with_suffix(".held").exists():
                    assert process.poll() is None and time.monotonic() < deadline, Path(log.name).read_text()
                    time.sleep(0.05)
                yield
                go_on.touch()
                assert process.wait(timeout=HELD_TIMEOUT_S) == 0, Path(log.name).read_text()
            finally:
                process.kill()
                process.wait()

    @staticmethod
    def command(*arguments: str) -> list[str]:
        """Arguments of snakemake: with a number of cores, where no profile says one."""
        cores = [] if "--profile" in arguments or "--workflow-profile" in arguments else ["--cores", "2"]
        return [*cores, *arguments]

    def planned(self, *arguments: str) -> Counter[str]:
        """Jobs per rule of a dry run, without ``all``."""
        return Counter(job_counts(self.snakemake("-n", *arguments).stdout))

    def calls(self) -> list[list[str]]:
        """Command lines of the stub since the last call."""
        path = Path(self.environment["STUB_CALLS"])
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return [json.loads(line) for line in lines]

    def edit(self, path: str, change: Any) -> None:
        """Loads a YAML file below ``workflow/config``, lets ``change`` alter it, writes it back."""
        file = self.root / "workflow" / "config" / path
        data = yaml.safe_load(file.read_text())
        change(data)
        file.write_text(yaml.safe_dump(data))


def job_counts(output: str) -> dict[str, int]:
    """The table of jobs that snakemake prints, without its sum and without ``all``."""
    table = re.search(r"^job +count\n[- ]+\n(.*?)^total", output, re.MULTILINE | re.DOTALL)
    rows = [line.split() for line in table.group(1).splitlines() if line.strip()] if table else []
    return {row[0]: int(row[1]) for row in rows if row[0] != "all"}


def environment(root: Path) -> dict[str, str]:
    """The environment of a project: the repository importable, and programs of its own first on the path."""
    (root / "bin").mkdir(exist_ok=True)
    make_captures(root / "captures")
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("SNAKEMAKE", "HEMGS"))}
    return variables | {
        "PATH": f"{root / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(root)]),
        "STUB_CALLS": str(root / "calls.jsonl"),
        "XDG_CACHE_HOME": str(root / "cache"),
        "HOME": str(root),
        "HEMGS_TEST_DATA": str(root / "captures"),
    }


def make_captures(folder: Path) -> None:
    """Folders in place of the captures that the repository's configurations name: a dry run asks for them."""
    for scene in ("mip360_bonsai", "synthetic_chair", "real_kwrous_cup"):
        (folder / scene).mkdir(parents=True, exist_ok=True)


def install_stub(root: Path) -> None:
    """Write a package ``hemgs`` next to the workflow. Its command line is the stub; the rest is the repository's."""
    package = root / "hemgs"
    package.mkdir()
    (package / "__init__.py").write_text(f"__path__.append({str(REPOSITORY / 'hemgs')!r})\n")
    shutil.copy(STUB, package / "__main__.py")


def copy_workflow(root: Path, *, stub: bool = True) -> Project:
    """The repository's workflow and profiles, as they are, with the stub or the real command."""
    shutil.copytree(REPOSITORY / "workflow", root / "workflow")
    shutil.copytree(REPOSITORY / "profiles", root / "profiles")
    shutil.copy(REPOSITORY / "environment.yml", root)  # Snakemake keeps its text with every job
    if stub:
        install_stub(root)
    return Project(root, environment(root))


def small_project(root: Path) -> Project:
    project = copy_workflow(root)
    config = root / "workflow" / "config"
    shutil.rmtree(config)
    for folder in ("methods", "datasets"):
        (config / folder).mkdir(parents=True)
    (config / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    (config / "datasets" / "toy.yaml").write_text(yaml.safe_dump(DATASET))
    for name, method in METHODS.items():
        text = {"id": name, "label": name, **method}
        (config / "methods" / f"{name}.yaml").write_text(yaml.safe_dump(text))
    (root / "stub_methods").mkdir()
    (root / "stub_methods/method.py").write_text("import not_installed_anywhere\n")
    (root / "stub_methods/params.py").write_text(STUB_PARAMS)
    return project

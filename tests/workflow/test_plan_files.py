"""What the workflow writes down of its plan, and the names, labels and paths that it must carry unchanged."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.workflow.workflow_project import Project

pytestmark = pytest.mark.slow

PLAN, STYLE = "results/summary/plan.json", "results/summary/style.json"
LABELS = ("HEMGS$_{fast}$", "{dataset}", "{unknown} {}", "100 %, \\{a\\}")


@pytest.mark.parametrize("label", LABELS)
def test_braces_and_dollars_are_text(project: Project, label: str) -> None:
    project.edit("config.yaml", lambda data: data.update(title=label))
    project.edit("methods/single_stub.yaml", lambda data: data.update(label=label))
    project.edit(
        "datasets/toy.yaml", lambda data: data.update(label=label, scenes={"one": {"label": label}, "two": {}})
    )
    assert project.planned()["write_plan"] == 1
    project.snakemake(PLAN, STYLE)
    plan, style = (json.loads((project.root / file).read_text()) for file in (PLAN, STYLE))
    for file in (plan, style):
        assert file["title"] == label
        assert label in [method["label"] for method in file["methods"]]
        assert file["datasets"][0]["label"] == file["datasets"][0]["scenes"][0]["label"] == label


def test_a_whole_run_and_its_report_with_such_labels(project: Project) -> None:
    project.edit("config.yaml", lambda data: data.update(title=LABELS[0]))
    project.edit("methods/single_stub.yaml", lambda data: data.update(label=LABELS[2]))
    project.edit("datasets/toy.yaml", lambda data: data.update(label=LABELS[1], scenes={"one": {"label": LABELS[0]}}))
    project.snakemake()
    project.snakemake("--report", "report.zip")
    assert (project.root / "report.zip").is_file()


def test_the_plan_of_another_configuration_is_made_again_without_notes(finished: Project) -> None:
    """As after copying ``results/`` from a cluster: what Snakemake noted of its runs stays there."""
    shutil.rmtree(finished.root / ".snakemake")
    finished.edit("config.yaml", lambda data: data.update(title="another", publish={"tables": ["bdrate"]}))
    planned = finished.planned()
    assert (planned["write_plan"], planned["write_style"], planned["summarise_points"]) == (1, 1, 1)
    assert planned["train_model"] == planned["encode_points"] == planned["evaluate_points"] == 0
    finished.snakemake()
    assert json.loads((finished.root / PLAN).read_text())["title"] == "another"
    assert json.loads((finished.root / STYLE).read_text())["tables"] == ["bdrate"]
    assert finished.planned() == {}


def test_a_plan_is_not_made_again_because_of_a_run_with_another(finished: Project) -> None:
    """A dry run of another configuration, or one for single files, changes nothing that is published."""
    before = (finished.root / PLAN).stat().st_mtime_ns
    assert finished.planned("--config", "title=another")["write_plan"] == 1
    assert finished.planned() == {}
    finished.snakemake()
    assert (finished.root / PLAN).stat().st_mtime_ns == before


def test_a_python_in_a_folder_with_blanks_and_brackets(project: Project, tmp_path: Path) -> None:
    environment = tmp_path / "My Projects (1)" / ".venv [x]"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    (packages,) = environment.glob("lib/python3*/site-packages")
    (packages / "base.pth").write_text("".join(f"{path}\n" for path in sys.path if path.endswith("site-packages")))
    command = [str(environment / "bin/python"), "-m", "snakemake", "--cores", "2"]
    done = subprocess.run(
        command,
        cwd=project.root,
        env={**os.environ, **project.environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert (project.root / "results/page/index.html").is_file()

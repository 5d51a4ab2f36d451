"""Results in a separate storage: rules read only their declared inputs, and another machine continues from them."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
from pathlib import Path

import pytest

from hemgs.analysis.plan import load_plan, load_style
from hemgs.analysis.summary import FILE_COLUMNS
from tests.workflow.workflow_project import REPOSITORY, Project, small_project

needs_plugin = pytest.mark.skipif(
    importlib.util.find_spec("snakemake_storage_plugin_fs") is None or shutil.which("rsync") is None,
    reason="snakemake-storage-plugin-fs or rsync is not installed",
)


def storage(bucket: Path, scratch: Path) -> tuple[str, ...]:
    return (
        "--default-storage-provider", "fs", "--default-storage-prefix", str(bucket),
        "--local-storage-prefix", str(scratch),
        "--shared-fs-usage", "persistence", "software-deployment", "sources", "source-cache",
    )  # fmt: skip


@needs_plugin
@pytest.mark.slow
def test_a_storage_holds_all_results_and_another_machine_goes_on(project: Project, tmp_path: Path) -> None:
    project.edit("config.yaml", lambda data: data["run"].update(methods=["single_stub"], scenes=["one"]))
    bucket = tmp_path / "bucket"
    project.snakemake(*storage(bucket, tmp_path / "scratch"))
    assert not (project.root / "results").exists(), "nothing lies where it would without a storage"
    assert (bucket / "results/page/index.html").is_file()
    assert (bucket / "results/points/single_stub/toy/one/single/s0/bitstreams/single.gsc").is_file()
    other = small_project(tmp_path / "other")
    other.edit(
        "config.yaml", lambda data: data["run"].update(methods=["single_stub", "all_rates_stub"], scenes=["one"])
    )
    planned = other.planned(*storage(bucket, tmp_path / "other_scratch"))
    assert (planned["prepare_scene"], planned["train_model"], planned["evaluate_points"]) == (0, 1, 1)


def test_publishing_declares_every_file_of_the_summary_that_it_reads(project: Project) -> None:
    """A job with copied inputs finds no other files."""
    read = [f"{name}.csv" for name in ("points", *FILE_COLUMNS)]
    output = project.snakemake("-n", "--nocolor", "--verbose", "results/page/index.html").stdout
    (inputs,) = re.findall(r"make the page\n(?:.*\n)*?Reason: (.*)", output)
    for name in read:
        assert f"results/summary/{name}" in inputs
    assert not (project.root / "results").exists()


def test_paths_of_plan_and_style_follow_the_copy_that_is_read(tmp_path: Path) -> None:
    dataset = {"id": "d", "label": "D", "scenes": [{"id": "s", "label": "S"}]}
    common = {"schema_version": 1, "title": "t", "methods": [], "datasets": [dataset]}
    fit = {"method": "m", "dataset": "d", "scene": "s", "fit": "all", "seed": 0, "rates": ["single"]}
    fit |= {"points": "results/points/points.csv", "logs": {"train_model": "results/logs/train.log"}}
    visual = {"dataset": "d", "scene": "s", "showcases": {"m": ["results/points/showcase"]}}
    for root in (tmp_path / "copy", tmp_path / "elsewhere"):
        folder = root / ("results/summary" if root.name == "copy" else "summary")
        folder.mkdir(parents=True)
        (folder / "plan.json").write_text(json.dumps(common | {"fits": [fit]}))
        style = common | {"tables": [], "visual": [visual], "variable_rate": []}
        (folder / "style.json").write_text(json.dumps(style))
        base = root if root.name == "copy" else Path()
        (found,) = load_plan(folder / "plan.json").fits
        assert found.points == base / "results/points/points.csv"
        assert found.logs == {"train_model": base / "results/logs/train.log"}
        assert load_style(folder / "style.json").visual[0].folders == {"m": (base / "results/points/showcase",)}


@pytest.mark.parametrize("page", ["README.md", "workflow/README.md", "workflow/config/README.md", "profiles/README.md"])
def test_commands_over_several_lines_can_be_pasted(page: str) -> None:
    lines = (REPOSITORY / page).read_text().splitlines()
    assert not [line for line in lines if line.endswith("\\\\")], (
        "the shell takes two backslashes for one in an argument"
    )

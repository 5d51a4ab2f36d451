"""A whole, small run on a real capture, from images and a COLMAP model to tables and a page, without stubs."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import yaml

from tests.workflow.workflow_project import Project, copy_workflow

pytestmark = pytest.mark.slow

LMBDAS = [0.001, 0.004]
CONFIG = {
    "title": "A cup",
    "run": {"methods": ["gs3d", "scaffold_gs", "hemgs"], "datasets": ["cup"], "seeds": [0]},
    "rates": {"hemgs": LMBDAS},
    "method_params": {
        "all_methods": {"iterations": 150},
        "hemgs": {"sample_share": 0.2, "grid_resolutions_3d": "12 20", "grid_resolutions_2d": "34"},
    },
    "publish": {"tables": ["quality", "storage", "context"], "visual": ["cup/cup"]},
}


@pytest.fixture(scope="module")
def finished(captures: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = copy_workflow(tmp_path_factory.mktemp("cup"), stub=False)
    project.environment["HEMGS_TEST_DATA"] = str(captures)
    project.edit("datasets/cup.yaml", lambda data: data["protocol"].update(scale=0.125))
    (project.root / "cup.yaml").write_text(yaml.safe_dump(CONFIG))
    project.snakemake("--configfile", "cup.yaml")
    return project


def points(project: Project) -> list[dict[str, str]]:
    with (project.root / "results" / "summary" / "points.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_every_point_is_measured_on_what_its_file_holds(finished: Project) -> None:
    rows = points(finished)
    assert [(row["method"], row["status"]) for row in rows] == [
        ("gs3d", "ok"), ("scaffold_gs", "ok"), ("hemgs", "ok"), ("hemgs", "ok"),
    ]  # fmt: skip
    for row in rows:
        folder = finished.root / "results" / "points" / row["method"] / "cup" / "cup" / row["fit"] / "s0" / "bitstreams"
        assert (folder / f"{row['rate']}.gsc").stat().st_size == int(row["bytes_total"])
        # Each view's own mean colour has 15.6 dB.
        assert float(row["psnr"]) > 16.5


def test_hemgs_files_are_smaller_at_the_larger_lmbda_and_look_at_neighbours(finished: Project) -> None:
    sizes = {float(row["lmbda"]): int(row["bytes_total"]) for row in points(finished) if row["method"] == "hemgs"}
    assert sizes[max(LMBDAS)] < sizes[min(LMBDAS)]
    assert all(float(row["context_mean"]) > 0 for row in points(finished) if row["method"] == "hemgs")


def test_tables_and_page_are_there(finished: Project) -> None:
    results = finished.root / "results"
    assert "HEMGS" in (results / "tables" / "quality.md").read_text()
    assert (results / "figures" / "visual_cup_cup.png").stat().st_size > 10_000
    assert "A cup" in (results / "page" / "index.html").read_text()

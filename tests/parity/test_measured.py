"""The committed figures: every table and sentence in ``results/measured`` follows from the points next to it.

The points are laid out as the workflow leaves them, by the plan that the workflow writes for their configuration, and
published by the same code. Where a table compares them with published values, the verdict must be an honest one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from hemgs.analysis.parity import PARITY_COLUMNS
from hemgs.analysis.plan import load_plan
from hemgs.analysis.points import FAILURE_COLUMNS, series_of
from hemgs.analysis.publish import make_tables
from hemgs.analysis.summary import summarise
from hemgs.analysis.tables import TABLE_SPECS
from hemgs.core.records import Row, read_points, read_rows, write_points
from tests.workflow.workflow_project import REPOSITORY, copy_workflow

MEASURED = REPOSITORY / "results" / "measured"
#: Folders of measured results; each is named after the configuration that made it.
NAMES = sorted(path.parent.name for path in MEASURED.glob("*/points.csv"))
SUMMARY = Path("results/summary")


@pytest.fixture(scope="module", params=NAMES)
def republished(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """Name of a measured folder, and a project with its summary and tables made again from ``points.csv``."""
    name: str = request.param
    project = copy_workflow(tmp_path_factory.mktemp(name))
    files = [str(SUMMARY / "plan.json"), str(SUMMARY / "style.json")]
    project.snakemake(*files, "--configfile", f"workflow/config/{name}.yaml")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project.root)  # the plan's paths are relative
        lay_out(read_points(MEASURED / name / "points.csv"))
        summarise(SUMMARY / "plan.json", project.root / "workflow" / "published", SUMMARY)
        make_tables(SUMMARY, SUMMARY / "style.json", Path("results/tables"), list(TABLE_SPECS))
    return name, project.root


def lay_out(rows: Iterable[Row]) -> None:
    """One ``points.csv`` per fit, at its path in the plan."""
    listed = list(rows)
    for fit in load_plan(SUMMARY / "plan.json").fits:
        key = (fit.method, fit.dataset, fit.scene, fit.fit, fit.seed)
        own = [r for r in listed if (series_of(r), r["dataset"], r["scene"], r["fit"], r["seed"]) == key]
        write_points(fit.points, own)


def test_something_is_measured() -> None:
    assert {"demo", "bonsai"} <= set(NAMES)


@pytest.mark.slow
def test_the_points_are_those_of_the_configuration_and_complete(republished: tuple[str, Path]) -> None:
    name, root = republished
    assert read_rows(root / SUMMARY / "failures.csv", FAILURE_COLUMNS) == []
    assert read_points(root / SUMMARY / "points.csv") == read_points(MEASURED / name / "points.csv")


@pytest.mark.slow
def test_tables_follow_from_the_points(republished: tuple[str, Path]) -> None:
    name, root = republished
    committed = {path.name: path.read_text() for path in (MEASURED / name).glob("*.md")}
    assert {"quality.md", "storage.md"} <= set(committed)
    for table, text in committed.items():
        assert (root / "results/tables" / table).read_text() == text, f"{name}/{table}"


@pytest.mark.slow
def test_scaled_down_captures_never_count_as_a_reproduction(republished: tuple[str, Path]) -> None:
    """None of these trainings has the published number of iterations."""
    _, root = republished
    rows = read_rows(root / SUMMARY / "parity.csv", PARITY_COLUMNS)
    assert {row["verdict"] for row in rows} <= {"not comparable", "missing"}
    assert all(row["reason"] for row in rows)


def test_no_machine_path_is_committed() -> None:
    for path in MEASURED.rglob("*"):
        if path.suffix in (".csv", ".md"):
            found = re.findall(r"""(?:^|[\s,'"(])/\w[^\s,'")]*""", path.read_text(), re.MULTILINE)
            assert not found, f"{path}: {found}"


@pytest.mark.parametrize("page", [MEASURED / "README.md", MEASURED.parents[1] / "README.md"])
def test_figures_in_overviews_are_those_of_the_points(page: Path) -> None:
    """Every PSNR with its size in bytes: ``28.54 | 8,265,360`` in a table, ``28.29 dB at 23,549,900`` in a sentence."""
    text = page.read_text()
    points = [row for name in NAMES for row in read_points(MEASURED / name / "points.csv")]
    known = {(f"{float(row['psnr'] or 0):.2f}", int(row["bytes_total"] or 0)) for row in points}
    pairs = re.findall(r"(\d+\.\d\d)(?: dB)? (?:at|\|) (\d[\d,]{5,})", text)
    assert len(pairs) >= 10
    for psnr, size in pairs:
        assert (psnr, int(size.replace(",", ""))) in known, f"{psnr} dB at {size} bytes"

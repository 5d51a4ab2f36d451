"""The publishing verbs: declared files, equal bytes, no torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from hemgs.analysis.publish import make_figures, make_page, make_tables
from hemgs.analysis.summary import summarise
from hemgs.core.errors import ConfigError
from hemgs.core.records import RecordError
from tests.unit.analysis.synthetic_results import PUBLISHED, Results

SUMMARY_FILES = {
    *(f"{n}.csv" for n in ("points", "datasets", "bdrate", "parity", "complexity", "storage", "failures")),
    *(f"{n}.csv" for n in ("ablation", "context")),
    "points.parquet",
    "environment.json",
}


def _everything(results: Results, out: Path) -> dict[str, bytes]:
    written = summarise(results.plan, PUBLISHED, out / "summary")
    written += make_tables(out / "summary", results.style, out / "tables")
    written += make_figures(out / "summary", results.style, out / "figures")
    written += make_page(out / "summary", results.style, out / "tables", out / "figures", out / "page")
    return {str(path.relative_to(out)): path.read_bytes() for path in written}


@pytest.mark.slow
def test_made_twice_everything_is_the_same_bytes(complete: Results, tmp_path: Path) -> None:
    first, second = _everything(complete, tmp_path / "a"), _everything(complete, tmp_path / "b")
    assert first == second
    assert {name.split("/")[1] for name in first if name.startswith("summary/")} == SUMMARY_FILES
    assert {name for name in first if name.startswith("tables/")} == {
        f"tables/{n}.{s}" for n in ("quality", "bdrate", "storage", "complexity") for s in ("csv", "md", "tex")
    }
    assert "page/index.html" in first


def test_nothing_measured_still_publishes(tmp_path: Path) -> None:
    results = Results(tmp_path).write(lambda _: None)
    files = _everything(results, tmp_path / "out")
    assert all(files.values())
    assert b"Nothing was measured yet" in files["page/index.html"]


def test_another_configuration_replaces_what_the_first_published(tmp_path: Path) -> None:
    """Its page links to no table or figure of the first one; files that nobody published stay."""
    results = Results(tmp_path, methods=("gs3d",)).write()
    _everything(results, tmp_path / "out")
    mine = [tmp_path / "out" / folder / "rd_mine.csv" for folder in ("tables", "figures")]
    for path in mine:
        path.write_text("mine")
    style = json.loads(results.style.read_text())
    style |= {"tables": ["quality"], "datasets": style["datasets"][:1]}
    results.style.write_text(json.dumps(style))
    files = _everything(results, tmp_path / "out")
    page = files["page/index.html"].decode()
    assert "quality.csv" in page and "storage.csv" not in page
    for folder in ("tables", "figures"):
        names = {f"{folder}/{path.name}" for path in (tmp_path / "out" / folder).iterdir() if path.name[0] != "."}
        assert names == {name for name in files if name.startswith(folder)} | {f"{folder}/rd_mine.csv"}
    assert all(path.read_text() == "mine" for path in mine)


def test_the_environment_says_where_points_come_from(complete: Results) -> None:
    data = json.loads((complete.summary / "environment.json").read_text())
    assert data["points"]["hardware"] == ["Example CPU (2 cores), 8 GiB"]
    assert data["points"]["iterations"] == [30000]
    assert data["scenes"] == {"chair/chair": "hash-chair", "court/knot": "hash-knot", "court/tower": "hash-tower"}
    assert "numpy" in data["summary"]["versions"]


def test_unknown_tables_are_refused_by_name(complete: Results, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown tables qualty"):
        make_tables(complete.summary, complete.style, tmp_path, ["quality", "qualty"])
    assert list(tmp_path.iterdir()) == []


def test_a_summary_that_is_not_there_is_named(complete: Results, tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"points\.csv cannot be read"):
        make_tables(tmp_path, complete.style, tmp_path)


def test_publishing_never_imports_torch() -> None:
    code = "import sys, hemgs.analysis.publish; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

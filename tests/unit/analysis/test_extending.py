"""Additions to a copy of the package: a metric, a table and a section. The changed files are counted; the copy runs."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

# All of them look at one run of the extended package.
pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parents[3]
CATALOGUE = "hemgs/core/catalogue.py"
TOY = "tests/unit/bench/toy_methods.py"
METRIC = 'MetricSpec("mae", "MAE", "mean error", "lower", "hemgs.metrics.absolute_error:load", decimals=4),'
METRIC_MODULE = '''
"""Mean absolute error."""


def load(device):
    return {"mae": lambda image, target: (image - target).abs().mean()}
'''
TABLE_MODULE = '''
"""Rates that each method offers."""

from hemgs.analysis.tables.cells import number, text
from hemgs.analysis.tables.table import Heading, Table, TableSpec


def build(summary, style):
    headings = [Heading("Method", numeric=False), Heading("Offered")]
    return Table(headings, [(text(style.label_of(r["method"])), number(r["num_rates"], 0)) for r in summary.complexity])


TABLE = TableSpec("offered", "Rates on offer", build)
'''


@dataclass(frozen=True)
class Extended:
    """A run of the extended package, and the files that each extension touched in it."""

    out: Path
    touched: dict[str, set[str]]

    def rows(self, file: str) -> list[dict[str, str]]:
        with (self.out / file).open(encoding="utf-8", newline="") as lines:
            return list(csv.DictReader(lines))

    def page_data(self) -> dict[str, Any]:
        text = (self.out / "page/index.html").read_text()
        data: dict[str, Any] = json.loads(text.partition('id="data">')[2].partition("</script>")[0])
        return data


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def replaced(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) == 1, f"{path}: {old!r}"
    path.write_text(text.replace(old, new))


def add_metric(root: Path) -> None:
    first = '        MetricSpec(\n            "lpips_vgg_unit",'
    replaced(root / CATALOGUE, first, f"        {METRIC}\n{first}")
    (root / "hemgs/metrics/absolute_error.py").write_text(METRIC_MODULE.lstrip())


def add_table(root: Path) -> None:
    replaced(root / CATALOGUE, '    "parity",\n)', '    "parity",\n    "offered",\n)')
    (root / "hemgs/analysis/tables/offered.py").write_text(TABLE_MODULE.lstrip())


def add_section(root: Path) -> None:
    """The section belongs to a codec outside the package, which no catalogue lists."""
    codec = root / "outside.py"
    codec.write_text(codec.read_text().replace('"extra_part"', '"code_book"'))


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Extended:
    root, out = tmp_path_factory.mktemp("package"), tmp_path_factory.mktemp("run")
    shutil.copytree(REPOSITORY / "hemgs", root / "hemgs", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / TOY, root / "outside.py")
    touched = {}
    for add in (add_metric, add_table, add_section):
        before = contents(root)
        add(root)
        after = contents(root)
        touched[add.__name__] = {name for name in after if after[name] != before.get(name)}
    program = REPOSITORY / "tests/unit/analysis/extended_run.py"
    path = os.pathsep.join((str(root), str(REPOSITORY)))
    done = subprocess.run(
        [sys.executable, str(program), str(out), "outside:ToyAll"],
        cwd=out,
        env={**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return Extended(out, touched)


def test_a_metric_is_a_declaration_and_an_implementation(extended: Extended) -> None:
    assert extended.touched["add_metric"] == {CATALOGUE, "hemgs/metrics/absolute_error.py"}
    for file in ("points/points.csv", "points/views.csv", "summary/datasets.csv"):
        assert all(0 < float(row["mae"]) < 1 for row in extended.rows(file)), file
    assert {"mae", "change_mae"} <= set((extended.out / "summary/ablation.csv").read_text().splitlines()[0].split(","))
    (row, _) = extended.rows("tables/quality.csv")
    assert row["Tiny: MAE"] == f"{float(extended.rows('points/points.csv')[1]['mae']):.4f}"
    assert "Tiny MAE ↓" in (extended.out / "tables/quality.md").read_text()
    data = extended.page_data()
    assert {"id": "mae", "label": "MAE", "decimals": 4, "better": "lower"} in data["metrics"]
    assert all(point["mae"] > 0 for curve in data["curves"] for point in curve["points"])


def test_a_table_is_an_id_and_a_module(extended: Extended) -> None:
    assert extended.touched["add_table"] == {CATALOGUE, "hemgs/analysis/tables/offered.py"}
    assert [row["Offered"] for row in extended.rows("tables/offered.csv")] == ["2"]
    assert {f"offered.{form}" for form in ("csv", "md", "tex")} <= {p.name for p in (extended.out / "tables").iterdir()}
    assert '<table class="table" id="table-offered"><caption>Rates on offer</caption>' in (
        extended.out / "page/index.html"
    ).read_text(encoding="utf-8")


def test_a_section_is_what_a_codec_writes(extended: Extended) -> None:
    assert extended.touched["add_section"] == {"outside.py"}
    assert [row["bytes_code_book"] for row in extended.rows("points/points.csv")] == ["2000", "1000"]
    assert [row["bytes_code_book"] for row in extended.rows("summary/storage.csv")] == ["2000.0", "1000.0"]
    assert all(float(row["Size [MiB]: Code book"]) > 0 for row in extended.rows("tables/storage.csv"))
    data = extended.page_data()
    (section,) = (section for section in data["sections"] if section["id"] == "code_book")
    assert section["label"] == "Code book"
    assert all(point["sections"]["code_book"] for curve in data["curves"] for point in curve["points"])

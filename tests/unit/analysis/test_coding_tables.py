"""The overhead of the coder by section, and entropy models on the same symbols."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from hemgs.analysis.plan import Style, load_style
from hemgs.analysis.summary import load_summary, summarise
from hemgs.analysis.tables import TABLE_SPECS
from hemgs.analysis.tables.table import Table
from hemgs.core.records import POINT_COLUMNS, REFIT_COLUMNS, Row, Value, write_rows
from tests.unit.analysis.synthetic_results import PUBLISHED, Results, summary_with

#: Bytes of hash grid, networks, features, scalings and offsets.
SIZES = {"trained": (90, 110, 400, 200, 300), "base": (100, 100, 400, 200, 200), "both": (100, 120, 300, 180, 200)}

REFIT = TABLE_SPECS["refit"].make


def _costs(results: Results) -> Table:
    return TABLE_SPECS["coder_cost"].make(load_summary(results.summary), load_style(results.style))


def _line(table: Table, *key: str) -> list[str | None]:
    (found,) = [row for row in table.rows if tuple(cell.text for cell in row[: len(key)]) == key]
    return [cell.text for cell in found[len(key) :]]


def test_every_coded_section_has_its_ideal_and_actual_bits(tmp_path: Path) -> None:
    def bits(row: dict[str, Value]) -> dict[str, Value]:
        sizes = [int(row[f"bytes_{name}"] or 0) for name in ("features", "scalings", "offsets")]
        ideal = [8 * sizes[0] / 1.01, 8 * sizes[1] / 0.99, 8.0 * sizes[2]]
        columns = (f"estimated_bits_{name}" for name in ("features", "scalings", "offsets"))
        return row | dict(zip(columns, ideal, strict=True)) | {"estimated_bits": sum(ideal)} if row["lmbda"] else row

    results = Results(tmp_path, methods=("gs3d", "hemgs"), scenes={"chair": ("chair",)}).write(bits)
    summarise(results.plan, PUBLISHED, results.summary)
    table = _costs(results)
    low = "HEMGS, low rate (λ = 0.0040)"
    assert [row[2].text for row in table.rows if row[1].text == low] == ["Features", "Scalings", "Offsets", "All coded"]
    assert _line(table, "Chair", low, "Features")[3] == "+1.000"
    assert _line(table, "Chair", low, "Scalings")[3] == "-1.000"
    assert _line(table, "Chair", low, "Offsets")[2:] == ["0", "0.000"]
    values = [[cell.value or 0.0 for cell in row[3:6]] for row in table.rows if row[1].text == low]
    assert [sum(parts) for parts in zip(*values[:3], strict=True)] == pytest.approx(values[3])
    assert values[0][1] - values[0][0] == pytest.approx(values[0][2])
    assert "No ideal length is known of any section: 3DGS." in [note for _, note in table.footnotes()]


def test_points_that_know_only_the_sum_show_only_the_sum(tmp_path: Path) -> None:
    results = Results(tmp_path, methods=("hemgs",), scenes={"chair": ("chair",)})
    unknown = dict.fromkeys(c.name for c in POINT_COLUMNS if c.name.startswith("estimated_bits_"))
    results.write(lambda row: row | unknown)
    summarise(results.plan, PUBLISHED, results.summary)
    table = _costs(results)
    assert {row[2].text for row in table.rows} == {"All coded"}
    assert all("do not contain" in row[3].note for row in table.rows)
    assert table.rows[0][6].text == "+0.301"


def test_a_hole_keeps_its_reason(with_hole: Results) -> None:
    table = _costs(with_hole)
    row = next(r for r in table.rows if (r[0].text, r[1].text) == ("Court", "HAC, high rate (λ = 0.0005)"))
    assert [cell.text for cell in row[2:]] == ["All coded", None, None, None, None]
    assert row[3].note == "1 of 2 scenes missing: tower (the file is cut <b>)"


def test_nothing_coded_says_so(tmp_path: Path) -> None:
    results = Results(tmp_path, methods=("gs3d",)).write()
    summarise(results.plan, PUBLISHED, results.summary)
    assert not _costs(results).rows
    assert _costs(results).notes[0].startswith("No rows")


def _models(dataset: str, scene: str, scale: int = 1, models: dict[str, Any] = SIZES) -> list[Row]:
    rows: list[Row] = []
    for model, sizes in models.items():
        row: dict[str, Value] = {"method": "hemgs", "method_variant": "", "dataset": dataset, "scene": scene, "seed": 0}
        row |= {"lmbda": 0.002, "variant": model, "iterations": 1500, "num_anchors": 100 * scale, "fit_s": 1.0}
        names = ("hash_grid", "networks", "features", "scalings", "offsets")
        row |= {f"bytes_{name}": size * scale for name, size in zip(names, sizes, strict=True)}
        total = sum(sizes) * scale
        row |= {"bytes_total": total, "bits_per_anchor": 8 * total / (100 * scale)}
        rows.append(row | {"bytes_float": (sum(sizes[2:]) - 10) * scale})
    return rows


@pytest.fixture
def style(complete: Results) -> Style:
    return load_style(complete.style)


def test_models_are_compared_with_the_hash_grid_alone(style: Style) -> None:
    table = REFIT(summary_with(refit=_models("chair", "chair")), style)
    names = [f"{heading.group} {heading.name}".strip() for heading in table.headings]
    assert names[3:6] == ["Steps", "Size [B]", "Change [%]"]
    assert names[6:] == [
        f"Bits per anchor {n}"
        for n in ("Hash grid", "Networks", "Features", "Scalings", "Offsets", "all", "attributes in float")
    ]
    assert _line(table, "Chair", "Chair", "hash grid only")[1:3] == ["1,000", "0.00"]
    assert _line(table, "Chair", "Chair", "as trained")[2] == "+10.00"
    both = _line(table, "Chair", "Chair", "with both")
    assert both == ["1,500", "900", "-10.00", "8.00", "9.60", "24.00", "14.40", "16.00", "72.00", "53.60"]
    assert {row[1].text for row in table.rows} == {"Chair"}
    assert "Not measured: Court, Knot; Court, Tower." in table.notes


def test_a_mean_is_over_all_scenes_or_there_is_none(style: Style) -> None:
    small, large = _models("court", "knot"), _models("court", "tower", 3)
    table = REFIT(summary_with(refit=[*small, *large]), style)
    assert _line(table, "Court", "mean", "with both")[1:3] == ["1,800", "-10.00"]
    assert _line(table, "Court", "mean", "with both")[-2:] == ["72.00", "53.60"]
    without = TABLE_SPECS["refit"].make(
        summary_with(refit=[*small, *(row for row in large if row["variant"] != "both")]), style
    )
    assert {row[2].text for row in without.rows if row[1].text == "mean"} == {"as trained", "hash grid only"}
    assert all(row[1].text != "mean" for row in REFIT(summary_with(refit=small), style).rows)


def test_without_the_base_there_is_no_percent_and_other_scenes_do_not_show(style: Style) -> None:
    rows = _models("chair", "chair", models={"both": SIZES["both"]})
    table = REFIT(summary_with(refit=[*rows, *_models("elsewhere", "chair")]), style)
    (row,) = table.rows
    assert (row[5].text, row[5].note) == (None, "hash grid only was not fitted")
    assert list(REFIT(summary_with(refit=[]), style).notes) == [
        "No rows: no entropy models were compared on the scenes of this run."
    ]


def test_the_tables_of_the_verb_are_read_from_the_summary(complete: Results, tmp_path: Path) -> None:
    summary = shutil.copytree(complete.summary, tmp_path / "summary")
    rows = _models("chair", "chair")
    write_rows(summary / "refit" / "chair" / "chair.csv", rows, REFIT_COLUMNS)
    assert load_summary(summary).refit == tuple(rows)

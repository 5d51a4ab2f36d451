"""points.csv and views.csv: round trips, and every way a row can be wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from hemgs.core.catalogue import METRICS, SECTIONS
from hemgs.core.records import (
    NOT_AVAILABLE,
    POINT_COLUMNS,
    VIEW_COLUMNS,
    RecordError,
    Value,
    blank_row,
    check_row,
    format_value,
    mean_quality,
    parse_value,
    read_points,
    read_views,
    recorded_reason,
    with_sections,
    write_points,
    write_views,
)
from tools.make_schemas import points_schema

SCHEMA = Path(__file__).resolve().parents[3] / "workflow" / "schemas" / "points.schema.yaml"


def point(**changes: Value) -> dict[str, Value]:
    row = blank_row()
    row.update(
        method="hemgs",
        label="HEMGS, one model",
        dataset="demo",
        scene="knot",
        fit="all",
        seed=0,
        rate="lmbda_0.0040",
        lmbda=0.004,
        iterations=3000,
        status="ok",
        bytes_total=1000,
        bytes_container=100,
        bytes_features=900,
        psnr=27.123456789012345,
        ssim=0.9,
        lpips_squeeze=0.1,
        num_views=8,
        code_version="0.1.0",
    )
    row.update(changes)
    return row


def view(**changes: Value) -> dict[str, Value]:
    row = blank_row(VIEW_COLUMNS)
    row.update(method="hemgs", dataset="demo", scene="knot", fit="all", seed=0, rate="single", view="v0")
    row.update(width=64, height=48, psnr=float("inf"), ssim=1.0)
    row.update(changes)
    return row


def test_points_come_back_as_written(tmp_path: Path) -> None:
    failed = point(status="failed", reason='decode: cut, "flipped"\nor worse', bytes_total=None, psnr=None)
    rows = [point(), failed]
    write_points(tmp_path / "points.csv", rows)
    assert read_points(tmp_path / "points.csv") == rows
    text = (tmp_path / "points.csv").read_text()
    assert text.splitlines()[0].split(",") == [column.name for column in POINT_COLUMNS]
    assert f"27.123456789012344,0.9,{NOT_AVAILABLE},{NOT_AVAILABLE},0.1," in text


def test_views_come_back_as_written(tmp_path: Path) -> None:
    write_views(tmp_path / "views.csv", [view(), view(view="v1", psnr=30.0)])
    assert read_views(tmp_path / "views.csv") == [view(), view(view="v1", psnr=30.0)]


def test_no_rows_is_a_table_too(tmp_path: Path) -> None:
    write_points(tmp_path / "points.csv", [])
    assert read_points(tmp_path / "points.csv") == []
    (tmp_path / "points.csv").write_text("a,b\n")
    with pytest.raises(RecordError, match="unknown columns a, b"):
        read_points(tmp_path / "points.csv")


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"colour": 1}, "unknown columns colour"),
        ({"schema_version": 0}, "schema version 0"),
        ({"psnr": float("nan")}, "psnr is NaN"),
        ({"reason": "not available"}, "reason is the text"),
        ({"psnr": "27.1"}, "psnr is '27.1', expected float"),
        ({"seed": 0.0}, "seed is 0.0, expected int"),
        ({"num_views": True}, "num_views is True"),
        ({"bytes_total": -1}, "bytes_total is -1"),
        ({"bytes_total": 1001}, "add up to 1000 bytes, the file has 1001"),
        ({"ssim": None}, "no value for ssim"),
        ({"scene": ""}, "no value for scene"),
        ({"status": "fine"}, "status 'fine'"),
        ({"status": "failed"}, "without a reason"),
    ],
)
def test_a_wrong_row_is_not_written(tmp_path: Path, changes: dict[str, Value], fault: str) -> None:
    with pytest.raises(RecordError, match=fault):
        write_points(tmp_path / "points.csv", [point(), point(**changes)])
    assert list(tmp_path.iterdir()) == []


def test_a_missing_column_is_named() -> None:
    row = point()
    del row["decode_s"]
    with pytest.raises(RecordError, match="row 7: missing columns decode_s"):
        check_row(row, where="row 7")


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("knot", "knot,extra", "cells under"),
        (",3000,", ",many,", "iterations is 'many'"),
        ("psnr", "PSNR", "unknown columns PSNR"),
        ("1000", "999", "add up"),
        ("3,hemgs", "9,hemgs", "schema version 9"),
        ("HEMGS", '"HEMGS', "cannot be read"),
    ],
)
def test_an_altered_file_is_refused_with_file_and_row(tmp_path: Path, old: str, new: str, fault: str) -> None:
    path = tmp_path / "points.csv"
    write_points(path, [point(label="HEMGS")])
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(RecordError, match=fault) as caught:
        read_points(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"nowhere\.csv"):
        read_points(tmp_path / "nowhere.csv")


@given(st.one_of(st.none(), st.floats(allow_nan=False), st.integers(-(2**60), 2**60), st.text()))
def test_any_value_survives_its_cell(value: Value) -> None:
    dtype = "text" if isinstance(value, str) else "int" if isinstance(value, int) else "float"
    column = next(column for column in POINT_COLUMNS if column.dtype == dtype)
    if value != NOT_AVAILABLE:
        assert parse_value(format_value(value), column) == value


def test_mean_needs_every_view() -> None:
    means = mean_quality([view(psnr=20.0), view(psnr=30.0, lpips_squeeze=0.5)])
    assert means == {"psnr": 25.0, "ssim": 1.0, "lpips_vgg_unit": None, "lpips_vgg": None, "lpips_squeeze": None}
    assert set(mean_quality([]).values()) == {None}


def test_schema_file_is_the_generated_one() -> None:
    assert yaml.safe_load(SCHEMA.read_text(encoding="utf-8")) == points_schema()


def test_schema_accepts_what_the_writer_accepts_and_no_unknown_column() -> None:
    jsonschema.validate(point(), points_schema())
    for changes in ({"colour": 1}, {"status": "fine"}, {"psnr": "27"}, {"schema_version": 0}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**point(), **changes}, points_schema())


def test_columns_are_unique_and_described() -> None:
    for columns in (POINT_COLUMNS, VIEW_COLUMNS):
        names = [column.name for column in columns]
        assert len(set(names)) == len(names)
        assert all(column.description for column in columns)
    known = {column.name for column in POINT_COLUMNS}
    assert set(METRICS) | {f"bytes_{name}" for name in SECTIONS} <= known
    assert "estimated_bits_container" not in known


def test_a_section_that_only_its_codec_knows_has_columns_in_every_row(tmp_path: Path) -> None:
    path, own = tmp_path / "points.csv", point(bytes_features=880, bytes_codebook=20, estimated_bits_codebook=150.5)
    write_points(path, [point(rate="lmbda_0.0010"), own])
    first, second = read_points(path)
    assert first == point(rate="lmbda_0.0010") | {"bytes_codebook": 0, "estimated_bits_codebook": None}
    assert second == own
    jsonschema.validate(second, points_schema())
    path.write_text(path.read_text().replace(",20,150.5", ",21,150.5"))
    with pytest.raises(RecordError, match="sections add up to 1001 bytes, the file has 1000"):
        read_points(path)


def test_only_tables_of_bitstreams_have_sections_of_their_own() -> None:
    with pytest.raises(RecordError, match="unknown columns bytes_codebook"):
        check_row(view(bytes_codebook=1), VIEW_COLUMNS)


def test_a_file_from_before_a_metric_was_declared_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "points.csv"
    write_points(path, [point()])
    path.write_text(path.read_text().replace(",lpips_squeeze,", ",").replace(",not available,0.1,", ",not available,"))
    assert read_points(path) == [point(lpips_squeeze=None)]
    write_points(path, [point(psnr=30.0)])
    path.write_text(path.read_text().replace(",psnr,", ",").replace(",30.0,", ","))
    with pytest.raises(RecordError, match="missing columns psnr"):
        read_points(path)


@pytest.mark.parametrize(
    ("said", "recorded"),
    [
        ("/home/me/a.gsc: cut", "…/a.gsc: cut"),
        ("in none of /data/x, results/data/assets, /opt/y/", "in none of …/x, results/data/assets, …/y"),
        ("No such file: '/root/.cache/vgg.pth' (/lib/x.so)", "No such file: '…/vgg.pth' (…/x.so)"),
        ("PATH=/a/b:/c", "PATH=…/b:…/c"),
        ("{here}/results/one.gsc in {here}", "results/one.gsc in …/my folder"),
        ("/other{here}/one.gsc", "…/my folder/one.gsc"),
        ("see https://example.org/a/b, 3/4 or 1 / 2", "see https://example.org/a/b, 3/4 or 1 / 2"),
    ],
)
def test_a_recorded_reason_names_no_folder_of_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, recorded: str
) -> None:
    here = tmp_path / "my folder"
    here.mkdir()
    monkeypatch.chdir(here)
    assert recorded_reason(said.format(here=here)) == recorded
    monkeypatch.chdir("/")
    assert recorded_reason("/home/me/a.gsc: cut") == "…/a.gsc: cut"


def test_a_section_of_a_codec_s_own_may_lack_bytes_where_all_sections_may() -> None:
    """Means over an incomplete set of scenes are not available, of any section."""
    points = with_sections(POINT_COLUMNS, ["bytes_codebook"])
    optional = tuple(replace(column, required=False) for column in POINT_COLUMNS)
    means = with_sections(optional, ["bytes_codebook"])
    assert [columns[-1].required for columns in (points, means)] == [True, False]

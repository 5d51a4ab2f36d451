"""Gathering points by the plan: found, missing and foreign ones."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from hemgs.analysis.plan import load_plan, load_style
from hemgs.analysis.points import FAILURE_COLUMNS, frame_of, gather, lmbda_of, rows_of, write_parquet
from hemgs.core.errors import ConfigError
from hemgs.core.records import POINT_COLUMNS, RecordError, read_points, read_rows
from tests.unit.analysis.synthetic_results import HEMGS_RATES, Results


def test_everything_planned_is_found_in_the_order_of_the_plan(complete: Results) -> None:
    points = gather(load_plan(complete.plan))
    assert points.failures == ()
    assert len(points.rows) == 3 * (1 + 1 + 4 + 16)
    hemgs = [row["rate"] for row in points.rows if (row["method"], row["scene"]) == ("hemgs", "tower")]
    assert tuple(hemgs) == HEMGS_RATES
    assert read_points(complete.summary / "points.csv") == list(points.rows)


def test_holes_have_reasons_and_logs(with_hole: Results) -> None:
    rows = read_rows(with_hole.summary / "failures.csv", FAILURE_COLUMNS)
    missing, failed = rows
    assert (missing["method"], missing["scene"], missing["rate"], missing["kind"]) == (
        "scaffold_gs",
        "tower",
        "all",
        "missing",
    )
    # The last error line of the deepest log that exists.
    assert missing["reason"] == "train_model: loss is not finite at step 20 — lower the learning rate"
    assert str(missing["log"]).endswith("train_model/scaffold_gs-court-tower-single-s0.log")
    assert (failed["method"], failed["rate"], failed["kind"]) == ("hac", "lmbda_0.0005", "failed")
    assert failed["reason"] == "the file is cut <b>"


SILENT = "ended without an error message, probably killed (memory, time limit)"
TRACEBACK = 'Traceback (most recent call last):\n  File "a.py", line 1, in f\n    f()\n'


def write_logs(root: Path, logs: dict[str, str]) -> None:
    """Logs of the one fit, each younger than the one before."""
    for age_s, (step, text) in enumerate(reversed(logs.items())):
        log = root / "logs" / step / "gs3d-chair-chair-single-s0.log"
        log.parent.mkdir(parents=True)
        log.write_text(text)
        os.utime(log, (1e9 - age_s, 1e9 - age_s))


@pytest.mark.parametrize(
    ("logs", "reason"),
    [
        ({"train_model": "  error: a\nok", "encode_points": "error: b"}, "encode_points: b"),
        ({"train_model": "error: /home/me/images/0.jpg: cut"}, "train_model: …/0.jpg: cut"),
        ({"train_model": f"{TRACEBACK}ValueError: nothing left\n\n"}, "train_model: ValueError: nothing left"),
        ({"train_model": f"error: handled\n{TRACEBACK}ValueError: b"}, "train_model: ValueError: b"),
        ({"train_model": f"{TRACEBACK}ValueError: handled\nerror: b"}, "train_model: b"),
        ({"train_model": ""}, f"train_model: {SILENT}"),
        ({"train_model": "fine", "encode_points": "a\n50 %\n"}, f"encode_points: {SILENT}; last line: 50 %"),
        # An older attempt got further than the newest one.
        ({"evaluate_points": "error: old", "train_model": "error: new"}, "train_model: new"),
        ({"evaluate_points": "error: old", "train_model": ""}, f"train_model: {SILENT}"),
        ({}, "not run: no step has left a log of a failure"),
    ],
)
def test_the_reason_is_the_end_of_the_newest_log(tmp_path: Path, logs: dict[str, str], reason: str) -> None:
    results = Results(tmp_path, methods=("gs3d",), scenes={"chair": ("chair",)}).write(lambda _: None)
    write_logs(tmp_path, logs)
    # The workflow sorts the keys of its JSON. This must not change the order of the steps.
    results.plan.write_text(json.dumps(json.loads(results.plan.read_text()), sort_keys=True))
    (failure,) = gather(load_plan(results.plan)).failures
    assert failure["reason"] == reason


def test_a_silent_end_names_the_log_of_the_executor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This log contains the reason why the job ended: `oom-kill`, or `DUE TO TIME LIMIT`."""
    monkeypatch.chdir(tmp_path)
    results = Results(tmp_path, methods=("gs3d",), scenes={"chair": ("chair",)}).write(lambda _: None)
    write_logs(tmp_path, {"train_model": "step 7"})
    (tmp_path / ".snakemake/slurm_logs/rule_train_model").mkdir(parents=True)
    (failure,) = gather(load_plan(results.plan)).failures
    assert failure["reason"] == f"train_model: {SILENT}; see .snakemake/slurm_logs/rule_train_model; last line: step 7"


def test_a_comparison_of_entropy_models_that_is_missing_is_a_hole_of_its_own(tmp_path: Path) -> None:
    results = Results(tmp_path, methods=("gs3d",), scenes={"chair": ("chair",)}).write()
    write_logs(tmp_path, {"refit_model": "error: too few anchors"})
    plan = json.loads(results.plan.read_text())
    log = str(tmp_path / "logs/refit_model/gs3d-chair-chair-single-s0.log")
    comparison = plan["fits"][0] | {"rates": [], "logs": {"refit_model": log}}
    plan["refit"] = [comparison | {"finished": True}, comparison | {"finished": False}]
    results.plan.write_text(json.dumps(plan))
    points = gather(load_plan(results.plan))
    (failure,) = points.failures
    assert (failure["rate"], failure["reason"]) == ("refit", "refit_model: too few anchors")
    assert len(points.rows) == 1


def test_a_file_from_before_a_failed_attempt_does_not_count(tmp_path: Path) -> None:
    results = Results(tmp_path, methods=("gs3d",), scenes={"chair": ("chair",)}).write()
    plan = json.loads(results.plan.read_text())
    plan["fits"][0]["finished"] = False
    results.plan.write_text(json.dumps(plan))
    points = gather(load_plan(results.plan))
    assert points.rows == ()
    assert points.failures[0]["kind"] == "missing"


def test_points_made_with_other_settings_are_a_hole_explained_by_the_newest_log(tmp_path: Path) -> None:
    results = Results(tmp_path, methods=("gs3d",), scenes={"chair": ("chair",)}).write()
    write_logs(tmp_path, {"evaluate_points": "done", "train_model": "error: new fault"})
    plan = json.loads(results.plan.read_text())
    plan["fits"][0]["finished"] = False
    results.plan.write_text(json.dumps(plan))
    points = gather(load_plan(results.plan))
    assert points.rows == ()
    assert [failure["reason"] for failure in points.failures] == ["train_model: new fault"]


def test_rates_no_longer_planned_are_left_out_and_absent_ones_are_holes(tmp_path: Path) -> None:
    results = Results(tmp_path, methods=("hemgs",), scenes={"chair": ("chair",)})
    results.write(lambda row: None if row["rate"] == HEMGS_RATES[3] else row)
    plan = json.loads(results.plan.read_text())
    plan["fits"][0]["rates"].remove(HEMGS_RATES[5])
    results.plan.write_text(json.dumps(plan))
    points = gather(load_plan(results.plan))
    assert {row["rate"] for row in points.rows} == set(HEMGS_RATES) - {HEMGS_RATES[3], HEMGS_RATES[5]}
    (failure,) = points.failures
    assert (failure["rate"], failure["kind"]) == (HEMGS_RATES[3], "missing")


def test_a_file_of_another_fit_is_refused(tmp_path: Path) -> None:
    results = Results(tmp_path, methods=("gs3d",)).write()
    target = results.points_of("gs3d", "court", "knot", "single")
    shutil.copyfile(results.points_of("gs3d", "court", "tower", "single"), target)
    with pytest.raises(
        RecordError, match="holds gs3d/court/tower/single/0, expected gs3d/court/knot/single/0"
    ) as fault:
        gather(load_plan(results.plan))
    assert str(target) in str(fault.value)


def test_variants_go_by_their_own_id(tmp_path: Path) -> None:
    results = Results(tmp_path, methods=("gs3d",), scenes={"chair": ("chair",)})
    results.write(lambda row: {**row, "variant": "gs3d_small"})
    plan = json.loads(results.plan.read_text())
    plan["fits"][0]["variant"] = "gs3d_small"
    results.plan.write_text(json.dumps(plan))
    assert len(gather(load_plan(results.plan)).rows) == 1


def test_parquet_has_types_nulls_and_units(complete: Results) -> None:
    table = pq.read_table(complete.summary / "points.parquet")
    assert table.column_names == [column.name for column in POINT_COLUMNS]
    assert str(table.schema.field("bytes_total").type) == "int64"
    assert str(table.schema.field("psnr").type) == "double"
    assert table.schema.field("psnr").metadata == {
        b"unit": b"dB",
        b"description": b"peak signal-to-noise ratio of 8-bit views, peak 1",
    }
    assert table.column("lpips_vgg").null_count == table.num_rows
    assert table.column("lmbda").null_count == 6
    assert table.to_pylist() == read_points(complete.summary / "points.csv")


def test_an_empty_parquet_keeps_its_types(tmp_path: Path) -> None:
    write_parquet(tmp_path / "points.parquet", [], POINT_COLUMNS)
    assert str(pq.read_table(tmp_path / "points.parquet").schema.field("bytes_total").type) == "int64"


def test_a_frame_gives_back_the_same_rows_with_none_where_a_value_is_missing(complete: Results) -> None:
    rows = read_points(complete.summary / "points.csv")
    back = rows_of(frame_of(rows), POINT_COLUMNS)
    assert back == rows
    assert [[type(value) for value in row.values()] for row in back] == [list(map(type, row.values())) for row in rows]
    empty = dict.fromkeys((column.name for column in POINT_COLUMNS), None)
    assert rows_of(frame_of([empty, rows[0]]), POINT_COLUMNS) == [empty, rows[0]]


@pytest.mark.parametrize(
    ("rate", "lmbda"), [("lmbda_0.0020", 0.002), ("lmbda_1e-05", 1e-5), ("single", 0.0), ("all", 0.0)]
)
def test_lmbda_of_a_rate_id(rate: str, lmbda: float) -> None:
    assert lmbda_of(rate) == lmbda


FIT = {"method": "hac", "dataset": "d", "scene": "s", "fit": "all", "seed": 0, "rates": [], "points": "points.csv"}


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"schema_version": 2}, "schema version 2, this program reads 1 — write it with this version"),
        ({"title": None}, "'title' cannot be null — a value of type string is expected"),
        ({"fits": [{"method": "x"}]}, r"'fits\[0\]' lacks 'dataset', 'scene', 'fit', 'seed', 'rates', 'points'"),
        ({"fits": [FIT | {"logs": {"train_model": 3}}]}, r"'fits\[0\].logs.train_model' cannot be 3"),
        ({"fits": [FIT | {"seed": True}]}, r"'fits\[0\].seed' cannot be true — a value of type integer"),
        ({"methods": "gs3d"}, "'methods' cannot be \"gs3d\" — a value of type array is expected"),
        ({"methods": [{"label": "HAC", "kind": "per_rate", "rates": []}]}, r"'methods\[0\]' lacks 'id'"),
    ],
)
def test_a_plan_that_cannot_be_used_names_file_and_field(
    complete: Results, tmp_path: Path, change: dict[str, object], fault: str
) -> None:
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(json.loads(complete.plan.read_text()) | change))
    with pytest.raises(ConfigError, match=fault) as caught:
        load_plan(path)
    assert str(path) in str(caught.value)


def test_a_plan_names_variants_by_their_own_ids_and_finds_files_from_the_root_of_its_results(tmp_path: Path) -> None:
    path = tmp_path / "results/summary/plan.json"
    method = {"id": "hac", "label": "HAC", "kind": "per_rate", "rates": []}
    variant = {**method, "id": "hac_big", "base": "hac"}
    logs = {step: f"logs/{step}.log" for step in ("train_model", "elsewhere", "prepare_scene")}
    fits = [FIT | {"variant": "hac_big", "finished": False, "logs": logs, "of_later_versions": 1}, FIT]
    data = {"schema_version": 1, "title": "T", "methods": [method, variant], "datasets": [], "fits": fits}
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(data))
    plan = load_plan(path)
    assert [(known.id, known.base) for known in plan.methods] == [("hac", "hac"), ("hac_big", "hac")]
    assert [(fit.method, fit.finished) for fit in plan.fits] == [("hac_big", False), ("hac", True)]
    assert plan.fits[0].points == tmp_path / "points.csv"
    steps = ("prepare_scene", "train_model", "elsewhere")
    assert list(plan.fits[0].logs.items()) == [(step, tmp_path / f"logs/{step}.log") for step in steps]
    assert (plan.fits[1].logs, plan.refit) == ({}, ())
    (tmp_path / "plan.json").write_text(json.dumps(data))
    assert load_plan(tmp_path / "plan.json").fits[0].points == Path("points.csv")


@pytest.mark.parametrize("text", [None, "{", "[]"])
def test_a_style_that_is_no_mapping_is_refused(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "style.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError, match=str(path)):
        load_style(path)

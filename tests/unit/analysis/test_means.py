"""Means, holes and costs."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from pathlib import Path

import pytest

from hemgs.analysis.means import (
    COMPLEXITY_COLUMNS,
    DATASET_COLUMNS,
    STORAGE_COLUMNS,
    dataset_rows,
    means_of,
    planned_points,
)
from hemgs.analysis.plan import load_plan
from hemgs.analysis.points import gather
from hemgs.core.catalogue import SECTIONS
from hemgs.core.records import Row, Value, read_rows
from tests.unit.analysis.synthetic_results import HEMGS_RATES, Results, point


def _row(rows: Sequence[Row], **key: str) -> Row:
    (found,) = [row for row in rows if all(row[name] == value for name, value in key.items())]
    return found


def _datasets(results: Results) -> Sequence[Row]:
    return list(read_rows(results.summary / "datasets.csv", DATASET_COLUMNS))


def _computed(results: Results) -> Sequence[Row]:
    plan = load_plan(results.plan)
    planned = planned_points(plan, gather(plan))
    return dataset_rows(planned, means_of(planned))


def test_a_mean_is_over_every_scene(complete: Results) -> None:
    row = _row(_datasets(complete), method="hemgs", dataset="court", rate="lmbda_0.0020")
    scenes = [point("hemgs", "court", scene, "all", 0, "lmbda_0.0020", 30000) for scene in ("knot", "tower")]
    for name in ("psnr", "ssim", "bytes_total", "lpips_squeeze"):
        assert row[name] == pytest.approx(statistics.mean(float(scene[name] or 0) for scene in scenes))
    assert (row["num_scenes"], row["num_scenes_planned"], row["num_seeds"], row["hole"]) == (2, 2, 1, "")
    assert (row["lmbda"], row["iterations"], row["lpips_vgg"], row["psnr_std"]) == (0.002, 30000, None, None)
    assert "torchvision" in str(row["remarks"])


def test_rows_come_in_the_order_of_the_plan(complete: Results) -> None:
    found = list(dict.fromkeys((row["dataset"], row["method"]) for row in _datasets(complete)))
    methods = ("gs3d", "scaffold_gs", "hac", "hemgs")
    assert found == [(dataset, method) for dataset in ("court", "chair") for method in methods]


def test_no_mean_over_an_incomplete_set(with_hole: Results) -> None:
    rows = _datasets(with_hole)
    hole = _row(rows, method="scaffold_gs", dataset="court")
    assert hole["psnr"] is None
    assert hole["bytes_total"] is None
    assert (hole["num_scenes"], hole["num_scenes_planned"]) == (1, 2)
    assert str(hole["hole"]).startswith("1 of 2 scenes missing: tower (train_model: loss is not finite")
    assert _row(rows, method="scaffold_gs", dataset="chair")["psnr"] is not None
    failed = _row(rows, method="hac", dataset="court", rate="lmbda_0.0005")
    assert (failed["psnr"], failed["hole"]) == (None, "1 of 2 scenes missing: tower (the file is cut <b>)")
    assert _row(rows, method="hac", dataset="court", rate="lmbda_0.0010")["psnr"] is not None
    for sheet, columns in (("storage", STORAGE_COLUMNS), ("complexity", COMPLEXITY_COLUMNS)):
        row = _row(list(read_rows(with_hole.summary / f"{sheet}.csv", columns)), method="scaffold_gs", dataset="court")
        assert row["hole"] == hole["hole"]
        assert row.get("bytes_total") is None
        assert row.get("train_s") is None


def test_seeds_are_averaged_and_their_spread_is_reported(tmp_path: Path) -> None:
    results = Results(tmp_path, methods=("gs3d",), scenes={"court": ("knot", "tower")}, seeds=(0, 1, 2)).write()
    (row,) = _computed(results)
    # Every seed adds 0.05 dB to every scene.
    assert row["psnr_std"] == pytest.approx(0.05)
    assert row["num_seeds"] == 3
    assert row["psnr"] == pytest.approx(28.9 - 0.75 + 0.05)


def test_half_of_the_range_over_seeds_follows_the_mean(tmp_path: Path) -> None:
    """Seeds 0 and 3 differ by three times 0.05 dB and three per cent of the bytes."""
    results = Results(tmp_path, methods=("gs3d",), scenes={"court": ("knot", "tower")}, seeds=(0, 1, 3)).write()
    (row,) = _computed(results)
    assert row["psnr_half_range"] == pytest.approx(0.075)
    assert row["num_seeds"] == 3
    first = [point("gs3d", "court", scene, "single", 0, "single", 1)["bytes_total"] for scene in ("knot", "tower")]
    mean = statistics.mean(float(size or 0) for size in first)
    assert row["bytes_total_half_range"] == pytest.approx(0.03 / 2 * mean, rel=1e-4)


def test_one_seed_has_no_spread_and_an_infinite_psnr_neither(tmp_path: Path) -> None:
    results = Results(tmp_path, methods=("gs3d",), scenes={"chair": ("chair",)}, seeds=(0, 1))
    results.write(lambda row: row | {"psnr": math.inf} if row["seed"] else row)
    (row,) = _computed(results)
    assert (row["psnr"], row["psnr_std"], row["psnr_half_range"]) == (math.inf, None, None)
    assert row["bytes_total_half_range"] is not None
    single = Results(tmp_path / "single", methods=("gs3d",), scenes={"chair": ("chair",)}).write()
    assert _computed(single)[0]["bytes_total_half_range"] is None


@pytest.mark.parametrize(
    ("reasons", "hole"),
    [
        ({0: "the file is cut"}, "the file is cut"),
        ({1: "the file is cut"}, "the file is cut"),
        ({0: "the file is cut", 1: "loss is not finite"}, "the file is cut; loss is not finite"),
        ({0: "the file is cut", 1: "the file is cut"}, "the file is cut"),
    ],
)
def test_one_missing_seed_is_a_hole_with_its_own_reason(tmp_path: Path, reasons: dict[int, str], hole: str) -> None:
    def spoil(row: dict[str, Value]) -> dict[str, Value]:
        reason = reasons.get(int(str(row["seed"]))) if row["scene"] == "knot" else None
        return row if reason is None else row | {"status": "failed", "reason": reason}

    results = Results(tmp_path, methods=("gs3d",), scenes={"court": ("knot", "tower")}, seeds=(0, 1)).write(spoil)
    (row,) = _computed(results)
    assert (row["psnr"], row["num_scenes"], row["num_scenes_planned"], row["num_seeds"]) == (None, 1, 2, 2)
    assert row["hole"] == f"1 of 2 scenes missing: knot ({hole})"


def test_each_rate_has_its_own_reasons(tmp_path: Path) -> None:
    reasons = {"lmbda_0.0005": "the file is cut", "lmbda_0.0010": "loss is not finite"}

    def spoil(row: dict[str, Value]) -> dict[str, Value]:
        reason = reasons.get(str(row["rate"]))
        return row if reason is None else row | {"status": "failed", "reason": reason}

    results = Results(tmp_path, methods=("hac",), scenes={"chair": ("chair",)}).write(spoil)
    holes = {str(row["rate"]): row["hole"] for row in _computed(results) if row["hole"]}
    assert holes == {rate: f"1 of 1 scenes missing: chair ({reason})" for rate, reason in reasons.items()}


def test_one_missing_figure_leaves_no_mean_of_it_and_the_others_stand(tmp_path: Path) -> None:
    results = Results(tmp_path, methods=("gs3d",), scenes={"court": ("knot", "tower")}, seeds=(0, 1))
    results.write(lambda row: {**row, "fps": None} if (row["scene"], row["seed"]) == ("knot", 1) else row)
    (row,) = _computed(results)
    assert (row["fps"], row["num_anchors"], row["hole"]) == (None, None, "")
    assert row["render_s"] == 0.02


def test_different_training_lengths_are_not_hidden(tmp_path: Path) -> None:
    results = Results(tmp_path, methods=("gs3d",), scenes={"court": ("knot", "tower")})
    results.write(lambda row: {**row, "iterations": 7000} if row["scene"] == "knot" else row)
    (row,) = _computed(results)
    assert row["iterations"] is None


def test_sections_add_up_in_the_mean(complete: Results) -> None:
    for row in read_rows(complete.summary / "storage.csv", STORAGE_COLUMNS):
        assert sum(float(row[f"bytes_{name}"] or 0) for name in SECTIONS) == pytest.approx(
            float(row["bytes_total"] or 0)
        )


def test_one_model_for_all_rates_is_paid_once(complete: Results) -> None:
    rows = list(read_rows(complete.summary / "complexity.csv", COMPLEXITY_COLUMNS))
    hemgs, hac = _row(rows, method="hemgs", dataset="court"), _row(rows, method="hac", dataset="court")
    assert (hemgs["num_rates"], hemgs["num_models"], hemgs["train_s"], hemgs["train_all_rates_s"]) == (
        len(HEMGS_RATES),
        1,
        700.0,
        700.0,
    )
    assert (hac["num_rates"], hac["num_models"], hac["train_s"], hac["train_all_rates_s"]) == (4, 4, 420.0, 1680.0)
    assert (hemgs["networks_all_rates_bytes"], hac["networks_all_rates_bytes"]) == (61000.0, 164000.0)
    assert hemgs["hardware"] == "Example CPU (2 cores), 8 GiB"

"""BD-rates compared with an independent package and with hand-computed values, and all cases without a value."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import bjontegaard
import numpy as np
import pytest

from hemgs.analysis.bdrate import BDRATE_COLUMNS, Curve, bd_rate, bdrate_rows
from hemgs.analysis.means import planned_points
from hemgs.analysis.plan import load_plan
from hemgs.analysis.points import gather
from hemgs.core.records import Row, Value, read_rows
from tests.unit.analysis.synthetic_results import Results


def _curve(rng: np.random.Generator, num_points: int) -> Curve:
    rates = np.sort(rng.uniform(0.5, 20.0, num_points)).cumsum()
    qualities = 25 + 3 * np.log(rates) + rng.uniform(-0.05, 0.05, num_points).cumsum()
    return Curve(list(rates), list(np.maximum.accumulate(qualities) + 1e-3 * np.arange(num_points)))


@pytest.mark.parametrize("interpolation", ["pchip", "cubic"])
@pytest.mark.parametrize("num_points", [4, 5, 16])
@pytest.mark.parametrize("seed", range(5))
def test_equals_the_bjontegaard_package(interpolation: str, num_points: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    reference, test = _curve(rng, num_points), _curve(rng, num_points)
    theirs = bjontegaard.bd_rate(
        reference.rates, reference.qualities, test.rates, test.qualities, method=interpolation, min_overlap=0
    )
    ours = bd_rate(reference, test, interpolation)  # type: ignore[arg-type]
    assert ours.reason == ""
    assert ours.percent == pytest.approx(theirs, abs=1e-6, rel=1e-8)


def test_akima_of_the_package_is_near_on_smooth_curves() -> None:
    rates = np.geomspace(1, 8, 6)
    reference, test = Curve(list(rates), list(30 + np.log(rates))), Curve(list(1.3 * rates), list(30 + np.log(rates)))
    theirs = bjontegaard.bd_rate(
        reference.rates, reference.qualities, test.rates, test.qualities, method="akima", min_overlap=0
    )
    assert bd_rate(reference, test).percent == pytest.approx(theirs, abs=1e-6)
    assert theirs == pytest.approx(30.0, abs=1e-6)


@pytest.mark.parametrize("interpolation", ["pchip", "cubic"])
def test_twice_the_bytes_is_plus_hundred_percent(interpolation: str) -> None:
    reference = Curve([1, 2, 4, 8], [30, 31, 32, 33])
    test = Curve([2, 4, 8, 16], [30, 31, 32, 33])
    assert bd_rate(reference, test, interpolation).percent == pytest.approx(100.0)  # type: ignore[arg-type]
    assert bd_rate(test, reference, interpolation).percent == pytest.approx(-50.0)  # type: ignore[arg-type]
    same = bd_rate(reference, reference, interpolation)  # type: ignore[arg-type]
    assert same.percent == pytest.approx(0.0, abs=1e-12)
    assert (same.low, same.high, same.num_points_reference, same.num_points_test) == (30, 33, 4, 4)


def test_the_order_of_points_does_not_matter() -> None:
    reference, test = Curve([1, 2, 4], [30, 31, 32]), Curve([3, 1.5, 6], [31.2, 30.2, 32.2])
    assert bd_rate(reference, test) == bd_rate(Curve([4, 1, 2], [32, 30, 31]), Curve([6, 3, 1.5], [32.2, 31.2, 30.2]))


def test_lower_is_better_is_the_mirror_image() -> None:
    reference, test = Curve([1, 2, 4, 8], [0.30, 0.27, 0.25, 0.24]), Curve([1.5, 3, 6, 12], [0.29, 0.26, 0.24, 0.23])
    mirrored, other = (Curve(curve.rates, [-quality for quality in curve.qualities]) for curve in (reference, test))
    result, mirror = bd_rate(reference, test, lower_is_better=True), bd_rate(mirrored, other)
    assert result.percent == pytest.approx(mirror.percent)
    assert (result.low, result.high) == (pytest.approx(0.24), pytest.approx(0.29))
    assert bd_rate(reference, test).percent != pytest.approx(result.percent)


def test_points_that_nobody_would_choose_are_dropped_and_counted() -> None:
    clean = Curve([1, 2, 4, 8], [30, 31, 32, 33])
    wavy = Curve([1, 2, 3, 4, 4, 8, 9], [30, 31, 30.5, 32, 31.9, 33, 33])
    result = bd_rate(clean, wavy)
    assert result.percent == pytest.approx(0.0, abs=1e-12)
    assert result.num_points_test == 4


@pytest.mark.parametrize(
    ("reference", "test", "interpolation", "fault"),
    [
        (
            Curve([1, 2, 4], [30, 31, 32]),
            Curve([1, 2, 4, 8], [30, 31, 32, 33]),
            "cubic",
            "reference has 3 usable points",
        ),
        (Curve([1, 2], [30, 31]), Curve([1], [30]), "pchip", "test has 1 usable points, pchip needs 2"),
        (Curve([1, 2, 3, 4], [31, 30, 29, 28]), Curve([1, 2], [30, 31]), "pchip", "reference has 1 usable"),
        (Curve([1, 2], [30, 31]), Curve([1, 2], [31, 32]), "pchip", r"do not overlap \(30 to 31 and 31 to 32\)"),
        (Curve([1, 2], [30, 31]), Curve([1, 2], [40, 41]), "pchip", "do not overlap"),
        (Curve([1, 2], [30, float("inf")]), Curve([1, 2], [30, 31]), "pchip", "infinite"),
        (Curve([], []), Curve([1, 2], [30, 31]), "pchip", "reference has 0 usable"),
    ],
)
def test_refusals_say_why(reference: Curve, test: Curve, interpolation: str, fault: str) -> None:
    result = bd_rate(reference, test, interpolation)  # type: ignore[arg-type]
    assert result.percent is None
    assert re.search(fault, result.reason)


@pytest.mark.parametrize("rates", [[0.0, 1.0], [-1.0, 1.0], [float("nan"), 1.0], [1.0]])
def test_rates_that_are_no_sizes_are_the_callers_fault(rates: list[float]) -> None:
    with pytest.raises(ValueError, match="rates"):
        Curve(rates, [30, 31])


def _pair(rows: Sequence[Row], reference: str, method: str, **key: str) -> Row:
    wanted = {
        "scene": "mean",
        "metric": "psnr",
        "interpolation": "pchip",
        **key,
        "reference": reference,
        "method": method,
    }
    (found,) = [row for row in rows if all(row[name] == value for name, value in wanted.items())]
    return found


def _rows(results: Results) -> Sequence[Row]:
    plan = load_plan(results.plan)
    return bdrate_rows(plan, planned_points(plan, gather(plan)))


def test_rows_are_every_ordered_pair_per_dataset_scene_metric_and_interpolation(complete: Results) -> None:
    rows = read_rows(complete.summary / "bdrate.csv", BDRATE_COLUMNS)
    methods = ("gs3d", "scaffold_gs", "hac", "hemgs")
    pairs = {(row["reference"], row["method"]) for row in rows}
    assert pairs == {(reference, method) for reference in methods for method in methods if reference != method}
    scenes = {("court", "mean"), ("court", "knot"), ("court", "tower"), ("chair", "mean"), ("chair", "chair")}
    assert {(row["dataset"], row["scene"]) for row in rows} == scenes
    assert len(rows) == len(pairs) * len(scenes) * 5 * 2
    psnr = [
        row
        for row in rows
        if (row["reference"], row["method"], row["scene"], row["metric"]) == ("hemgs", "hac", "chair", "psnr")
    ]
    # HAC's attributes cost 1.3 times as much and lose 0.1 dB; the rest of the file is the same.
    assert [row["interpolation"] for row in psnr] == ["pchip", "cubic"]
    for row in psnr:
        assert 15 < float(row["percent"] or 0) < 45
        assert (row["num_points_reference"], row["num_points_method"], row["num_seeds"]) == (16, 4, 1)
        assert (row["iterations_reference"], row["iterations_method"]) == (30000, 30000)
        assert (row["percent_min"], row["percent_max"]) == (None, None)
    missing = next(row for row in rows if row["metric"] == "lpips_vgg" and row["method"] == "hac")
    assert missing["percent"] is None
    assert "lpips_vgg is not available" in str(_pair(rows, "hemgs", "hac", dataset="chair", metric="lpips_vgg")["hole"])


def test_a_pair_and_its_reverse_cancel(complete: Results) -> None:
    rows = read_rows(complete.summary / "bdrate.csv", BDRATE_COLUMNS)
    there, back = _pair(rows, "hemgs", "hac", dataset="court"), _pair(rows, "hac", "hemgs", dataset="court")
    assert (1 + float(there["percent"] or 0) / 100) * (1 + float(back["percent"] or 0) / 100) == pytest.approx(1.0)
    assert (back["num_points_reference"], back["num_points_method"]) == (4, 16)
    assert (there["low"], there["high"]) == (back["low"], back["high"])


def test_a_method_with_one_rate_has_no_curve_and_says_so(complete: Results) -> None:
    rows = read_rows(complete.summary / "bdrate.csv", BDRATE_COLUMNS)
    row = _pair(rows, "hemgs", "gs3d", dataset="court")
    assert (row["percent"], row["low"], row["hole"]) == (None, None, "gs3d: one rate is no curve")
    both = _pair(rows, "gs3d", "scaffold_gs", dataset="court")
    assert both["hole"] == "gs3d: one rate is no curve; scaffold_gs: one rate is no curve"


def test_the_curve_of_a_method_trained_per_rate_is_made_of_its_trainings(tmp_path: Path) -> None:
    """One fit per rate, of which one costs a tenth more: no other value of the curve moves."""
    results = Results(tmp_path, methods=("hac", "hemgs"), scenes={"chair": ("chair",)}).write()
    assert len({fit.fit for fit in load_plan(results.plan).fits if fit.method == "hac"}) == 4
    before = _pair(_rows(results), "hemgs", "hac")
    assert (before["num_points_method"], before["hole"]) == (4, "")
    results.write(lambda row: row | _larger(row, 1.1) if row["fit"] == "lmbda_0.0020" else row)
    after = _pair(_rows(results), "hemgs", "hac")
    assert 0.5 < float(after["percent"] or 0) - float(before["percent"] or 0) < 10


def test_three_points_are_enough_for_pchip_and_too_few_for_a_cubic(tmp_path: Path) -> None:
    """A fit that costs more without being better is not a point of the curve."""
    results = Results(tmp_path, methods=("hac", "hemgs"), scenes={"chair": ("chair",)})
    results.write(lambda row: row | {"psnr": 20.0} if row["fit"] == "lmbda_0.0005" else row)
    rows = _rows(results)
    row, cubic = _pair(rows, "hemgs", "hac"), _pair(rows, "hemgs", "hac", interpolation="cubic")
    assert (row["num_points_method"], row["hole"]) == (3, "")
    assert (cubic["percent"], cubic["hole"]) == (None, "hac has 3 usable points, cubic needs 4")


def _larger(row: dict[str, Value], factor: float) -> dict[str, Value]:
    extra = round((factor - 1) * float(row["bytes_total"] or 0))
    return {"bytes_total": int(row["bytes_total"] or 0) + extra, "bytes_other": int(row["bytes_other"] or 0) + extra}


def test_every_seed_has_a_bd_rate_and_the_mean_is_over_them(tmp_path: Path) -> None:
    """HAC's second seed costs a tenth more; its first seed and both of HEMGS do not change."""
    chair: dict[str, Any] = {"methods": ("hac", "hemgs"), "scenes": {"chair": ("chair",)}}
    single = [Results(tmp_path / str(seed), seeds=(seed,), **chair) for seed in (0, 1)]

    def second_costs_more(row: dict[str, Value]) -> dict[str, Value]:
        return row | _larger(row, 1.1) if (row["method"], row["seed"]) == ("hac", 1) else row

    alone = [
        float(_pair(_rows(results.write(second_costs_more)), "hemgs", "hac")["percent"] or 0) for results in single
    ]
    row = _pair(_rows(Results(tmp_path, seeds=(0, 1), **chair).write(second_costs_more)), "hemgs", "hac")
    assert alone[1] - alone[0] > 10
    assert (row["percent_min"], row["percent_max"]) == (pytest.approx(alone[0]), pytest.approx(alone[1]))
    assert row["percent"] == pytest.approx(sum(alone) / 2)
    assert (row["num_seeds"], row["num_points_reference"], row["num_points_method"]) == (2, 16, 4)
    # Every seed adds 0.05 dB.
    assert float(row["high"] or 0) - float(row["low"] or 0) == pytest.approx(0.5 * math.log(4) + 0.05, abs=0.051)


def test_a_seed_without_a_bd_rate_leaves_no_mean(tmp_path: Path) -> None:
    results = Results(tmp_path, methods=("hac", "hemgs"), scenes={"chair": ("chair",)}, seeds=(0, 1))
    results.write(lambda row: row | {"psnr": math.inf} if (row["fit"], row["seed"]) == ("lmbda_0.0005", 1) else row)
    row = _pair(_rows(results), "hemgs", "hac")
    assert (row["percent"], row["percent_min"], row["low"]) == (None, None, None)
    assert row["hole"] == "seed 1: hac has an infinite quality"


def test_a_missing_scene_leaves_no_mean_but_the_other_scenes(with_hole: Results) -> None:
    rows = read_rows(with_hole.summary / "bdrate.csv", BDRATE_COLUMNS)
    court = {scene: _pair(rows, "hemgs", "hac", dataset="court", scene=scene) for scene in ("mean", "knot", "tower")}
    assert court["mean"]["percent"] is None
    assert court["mean"]["hole"] == "hac: 1 of 2 scenes missing: tower (the file is cut <b>)"
    assert court["tower"]["percent"] is None
    assert court["knot"]["percent"] is not None

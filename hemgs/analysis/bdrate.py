"""Bjøntegaard delta rate: the bytes that a method needs in addition to another at equal quality.

Owns the arithmetic, the rule for curves that are not monotone, and the reasons for missing values. Every ordered pair
of methods is compared. Each seed has a BD-rate, and several seeds have their mean and range.

The value is ``exp(mean over the common quality interval of (ln rate_test - ln rate_reference)) - 1``. Log rate over
quality is interpolated by a monotone piecewise cubic (PCHIP; Fritsch and Carlson 1980), or fitted by one cubic
polynomial (Bjøntegaard, VCEG-M33, 2001). A positive value means that the test needs more bytes than the reference.

Rule for curves that are not monotone: a point is dropped if it costs at least as much as another and is not better,
because no one would choose it. The points that are left rise strictly in rate and quality. Their number is part of the
result.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

from hemgs.analysis.means import means_of
from hemgs.analysis.plan import Plan
from hemgs.core.catalogue import METRICS
from hemgs.core.records import Column, Row, Value

Interpolation = Literal["pchip", "cubic"]
#: Least number of points: a cubic has four coefficients, and PCHIP needs an interval.
MIN_POINTS: dict[Interpolation, int] = {"pchip": 2, "cubic": 4}


@dataclass(frozen=True)
class BdRate:
    """Result of a comparison.

    Attributes:
        percent: the BD-rate; ``None`` exactly if ``reason`` is not empty.
        reason: reason for a missing value.
        low, high: common quality interval in the metric's unit, ``None`` if the curves do not overlap.
        num_points_reference, num_points_test: points left after the monotone rule.
    """

    percent: float | None
    reason: str
    low: float | None
    high: float | None
    num_points_reference: int
    num_points_test: int


@dataclass(frozen=True)
class Curve:
    """A rate–distortion curve: sizes in bytes (or any unit, positive) and qualities, in any order."""

    rates: Sequence[float]
    qualities: Sequence[float]

    def __post_init__(self) -> None:
        if len(self.rates) != len(self.qualities):
            raise ValueError(f"{len(self.rates)} rates for {len(self.qualities)} qualities")
        if not all(math.isfinite(rate) and rate > 0 for rate in self.rates):
            raise ValueError(f"rates must be positive and finite: {list(self.rates)}")


def bd_rate(
    reference: Curve,
    test: Curve,
    interpolation: Interpolation = "pchip",
    lower_is_better: bool = False,
    names: tuple[str, str] = ("the reference", "the test"),
) -> BdRate:
    """Return the extra rate of ``test`` over ``reference`` in percent, or the reason for a missing value.

    ``names`` are the names of the two curves in the reason.

    >>> reference = Curve([1000, 2000, 4000], [30.0, 31.0, 32.0])
    >>> double = Curve([2000, 4000, 8000], [30.0, 31.0, 32.0])
    >>> round(bd_rate(reference, double).percent, 6)
    100.0
    >>> bd_rate(reference, Curve([500], [29.0])).reason
    'the test has 1 usable points, pchip needs 2'
    """
    sign = -1.0 if lower_is_better else 1.0
    curves = [_monotone(curve, sign) for curve in (reference, test)]
    counts = len(curves[0][0]), len(curves[1][0])
    for name, curve, count in zip(names, curves, counts, strict=True):
        if not np.isfinite(curve[0]).all():
            return BdRate(None, f"{name} has an infinite quality", None, None, *counts)
        if count < MIN_POINTS[interpolation]:
            reason = f"{name} has {count} usable points, {interpolation} needs {MIN_POINTS[interpolation]}"
            return BdRate(None, reason, None, None, *counts)
    low = max(float(quality[0]) for quality, _ in curves)
    high = min(float(quality[-1]) for quality, _ in curves)
    if low >= high:
        spans = " and ".join(f"{sign * q[0]:.4g} to {sign * q[-1]:.4g}" for q, _ in curves)
        return BdRate(None, f"the curves do not overlap ({spans})", None, None, *counts)
    integrals = [_integral(quality, log_rate, low, high, interpolation) for quality, log_rate in curves]
    percent = 100.0 * math.expm1((integrals[1] - integrals[0]) / (high - low))
    ends = sorted((sign * low, sign * high))
    return BdRate(percent, "", ends[0], ends[1], *counts)


def _monotone(curve: Curve, sign: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return quality and log rate, both strictly rising, of the points that no other point beats."""
    kept: list[tuple[float, float]] = []
    for rate, quality in sorted(
        (rate, -sign * quality) for rate, quality in zip(curve.rates, curve.qualities, strict=True)
    ):
        if not kept or -quality > kept[-1][0]:
            kept.append((-quality, math.log(rate)))
    array = np.array(kept, dtype=np.float64).reshape(-1, 2)
    return array[:, 0], array[:, 1]


def _integral(
    quality: NDArray[np.float64], log_rate: NDArray[np.float64], low: float, high: float, interpolation: Interpolation
) -> float:
    if interpolation == "pchip":
        return float(PchipInterpolator(quality, log_rate).integrate(low, high))
    # Centred and scaled, so that the fit is well conditioned for 0.9…-like as for 30…-like qualities.
    center, width = float(quality.mean()), float(np.ptp(quality))
    fit = np.polynomial.Polynomial.fit(quality, log_rate, 3, domain=[center - width, center + width])
    primitive = fit.integ()
    return float(primitive(high) - primitive(low))


#: Method that Table 2 of HEMGS (arXiv 2411.18473) measures the others against.
REFERENCE = "hemgs"

#: Metrics for BD-rates: sizes are compared at equal values of each.
COMPARED = tuple(metric for metric, spec in METRICS.items() if spec.in_bd_rate)
#: Columns of ``summary/bdrate.csv``: one row per ordered pair of methods, dataset, scene, metric and interpolation.
BDRATE_COLUMNS: tuple[Column, ...] = (
    Column("reference", "text", "", "method that the other one is compared with", required=True),
    Column("method", "text", "", "method that is compared with the reference", required=True),
    Column("dataset", "text", "", "dataset id", required=True),
    Column("scene", "text", "", "scene id, or `mean` for the curve of dataset means", required=True),
    Column("metric", "text", "", "quality column", required=True),
    Column("interpolation", "text", "", "`pchip` or `cubic`", required=True),
    Column("percent", "float", "%", "bytes needed beyond the reference's at equal quality, mean over seeds"),
    Column("hole", "text", "", "reason for a missing value, else empty"),
    Column("low", "float", "", "common quality interval, lower end, in the metric's unit; the lowest of any seed"),
    Column("high", "float", "", "common quality interval, upper end; the highest of any seed"),
    Column(
        "num_points_reference", "int", "", "points of the reference's curve used; the fewest of any seed", required=True
    ),
    Column("num_points_method", "int", "", "points of the method's curve used; the fewest of any seed", required=True),
    Column("iterations_reference", "int", "", "training iterations of the reference"),
    Column("iterations_method", "int", "", "training iterations of the method"),
    Column("num_seeds", "int", "", "seeds, each with a BD-rate of its own", required=True),
    Column("percent_min", "float", "%", "smallest percent of any seed; not available with one seed"),
    Column("percent_max", "float", "%", "largest percent of any seed; not available with one seed"),
)

#: Means by method, dataset and scene, one line per rate; one table per seed.
Lines = Mapping[tuple[str, str, str], pd.DataFrame]
#: Curve of each seed, or the reason for a missing curve.
SeedCurves = Mapping[int, "Curve | str"]


def bdrate_rows(plan: Plan, planned: pd.DataFrame) -> list[Row]:
    """Return rows of ``bdrate.csv``: every ordered pair of methods, per dataset, scene and mean over scenes.

    Args:
        plan: methods, variants among them, and datasets, in their order.
        planned: result of ``hemgs.analysis.means.planned_points``. A method that is trained once per rate has a curve
            through its trainings. A method with a single rate has no curve.
    """
    per_seed = {int(seed): _lines(part) for seed, part in planned.groupby("seed")}
    rows: list[Row] = []
    for dataset in plan.datasets:
        scenes = ("mean", *(scene.id for scene in dataset.scenes))
        curves = {
            (method.id, scene, metric): _curves(per_seed, (method.id, dataset.id, scene), metric)
            for method in plan.methods
            for scene in scenes
            for metric in COMPARED
        }
        trained = {method.id: _iterations(per_seed, (method.id, dataset.id, "mean")) for method in plan.methods}
        for pair in itertools.permutations((method.id for method in plan.methods), 2):
            known: dict[str, Value] = {"reference": pair[0], "method": pair[1], "dataset": dataset.id}
            known |= {"iterations_reference": trained[pair[0]], "iterations_method": trained[pair[1]]}
            for scene, metric in itertools.product(scenes, COMPARED):
                both = [curves[name, scene, metric] for name in pair]
                rows += ({**known, "scene": scene, **row} for row in _compared(pair, both, metric))
    return rows


def _lines(planned: pd.DataFrame) -> Lines:
    return dict(iter(means_of(planned).reset_index().groupby(["method", "dataset", "scene"], sort=False)))


def _curves(per_seed: Mapping[int, Lines], key: tuple[str, str, str], metric: str) -> SeedCurves:
    return {seed: curve_of(key[0], lines.get(key), metric) for seed, lines in per_seed.items()}


def curve_of(method: str, means: pd.DataFrame | None, metric: str) -> Curve | str:
    """Return the curve through the means of a dataset or scene, or the reason for a missing curve."""
    if means is None or means.empty:
        return f"{method}: not planned"
    if len(means) == 1:
        return f"{method}: one rate is no curve"
    faulty = means[(means["hole"] != "") | means[["bytes_total", metric]].isna().any(axis=1)]
    if not faulty.empty:
        return f"{method}: {faulty['hole'].iloc[0] or f'{metric} is not available'}"
    return Curve(means["bytes_total"].to_list(), means[metric].to_list())


def _compared(pair: tuple[str, str], curves: Sequence[SeedCurves], metric: str) -> Iterator[dict[str, Value]]:
    for interpolation in MIN_POINTS:
        results = {
            seed: _of_seed(pair, (curve, curves[1][seed]), interpolation, METRICS[metric].better == "lower")
            for seed, curve in curves[0].items()
        }
        yield {"metric": metric, "interpolation": interpolation, **_over_seeds(results)}


def _of_seed(
    pair: tuple[str, str], curves: tuple[Curve | str, Curve | str], interpolation: Interpolation, lower_is_better: bool
) -> BdRate:
    reference, test = curves
    if isinstance(reference, str) or isinstance(test, str):
        holes = [curve for curve in curves if isinstance(curve, str)]
        return BdRate(None, "; ".join(sorted(set(holes))), None, None, 0, 0)
    return bd_rate(reference, test, interpolation, lower_is_better, pair)


def _over_seeds(results: Mapping[int, BdRate]) -> dict[str, Value]:
    """Return the mean and range of the BD-rates of all seeds; no mean over an incomplete set of seeds."""
    every = list(results.values())
    refused = {seed: result.reason for seed, result in results.items() if result.percent is None}
    percents = [result.percent for result in every if result.percent is not None]
    complete = bool(percents) and not refused
    several = complete and len(every) > 1
    shared = len(set(refused.values())) == 1 and len(refused) == len(every)
    reasons = [reason if shared else f"seed {seed}: {reason}" for seed, reason in refused.items()]
    lows, highs = ([v for v in ends if v is not None] for ends in zip(*((r.low, r.high) for r in every), strict=True))
    return {
        "percent": fmean(percents) if complete else None,
        "hole": "; ".join(dict.fromkeys(reasons)),
        "low": min(lows) if complete else None,
        "high": max(highs) if complete else None,
        "num_points_reference": min(result.num_points_reference for result in every),
        "num_points_method": min(result.num_points_test for result in every),
        "num_seeds": len(every),
        "percent_min": min(percents) if several else None,
        "percent_max": max(percents) if several else None,
    }


def _iterations(per_seed: Mapping[int, Lines], key: tuple[str, str, str]) -> int | None:
    """Return training iterations of a method, if all of its trainings have the same number."""
    found = pd.concat([lines[key]["iterations"] for lines in per_seed.values() if key in lines] or [pd.Series()])
    return int(found.iloc[0]) if found.notna().all() and found.nunique() == 1 else None

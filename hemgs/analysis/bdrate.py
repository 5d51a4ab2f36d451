"""Bjøntegaard delta rate: how many more bytes a method needs than another at equal quality.

Owns the arithmetic, the rule for curves that are not monotone, and the refusals. The value is
``exp(mean over the common quality interval of (ln rate_test - ln rate_anchor)) - 1``, with log rate interpolated over
quality by a monotone piecewise cubic (PCHIP; Fritsch and Carlson 1980) or fitted by one cubic polynomial (Bjøntegaard,
VCEG-M33, 2001). Positive means the test needs more bytes than the anchor.

Rule for curves that are not monotone: a point that costs at least as much as another without being better is dropped
before anything else, as no one would choose it; what is left rises strictly in rate and quality. How many points were
used is part of the result.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

from hemgs.analysis.plan import Plan
from hemgs.core.records import Column, Row, Value

Interpolation = Literal["pchip", "cubic"]
#: A cubic has four coefficients; PCHIP needs an interval.
MIN_POINTS: dict[Interpolation, int] = {"pchip": 2, "cubic": 4}
#: Quality columns that are compared; True where lower is better.
METRICS: dict[str, bool] = {
    "psnr": False,
    "ssim": False,
    "lpips_vgg_unit": True,
    "lpips_vgg": True,
    "lpips_squeeze": True,
}
#: Method that others are measured against, as in Table 2 of HEMGS (arXiv 2411.18473).
ANCHOR = "hemgs"

#: Columns of ``summary/bdrate.csv``.
BDRATE_COLUMNS: tuple[Column, ...] = (
    Column("anchor", "text", "", "method that needs 0 % more", required=True),
    Column("method", "text", "", "method that is compared with it", required=True),
    Column("dataset", "text", "", "dataset id", required=True),
    Column("scene", "text", "", "scene id, or `mean` for the curve of dataset means", required=True),
    Column("metric", "text", "", "quality column", required=True),
    Column("interpolation", "text", "", "`pchip` or `cubic`", required=True),
    Column("percent", "float", "%", "bytes needed beyond the anchor's at equal quality; positive: more"),
    Column("hole", "text", "", "why there is no value; empty where there is"),
    Column("low", "float", "", "common quality interval, lower end, in the metric's unit"),
    Column("high", "float", "", "common quality interval, upper end"),
    Column("num_points_anchor", "int", "", "points of the anchor's curve that were used", required=True),
    Column("num_points_method", "int", "", "points of the method's curve that were used", required=True),
    Column("iterations_anchor", "int", "", "training iterations of the anchor"),
    Column("iterations_method", "int", "", "training iterations of the method"),
)


@dataclass(frozen=True)
class BdRate:
    """Result of a comparison.

    Attributes:
        percent: ``None`` exactly where ``reason`` is not empty.
        reason: why there is no value.
        low, high: common quality interval in the metric's unit, ``None`` if the curves do not overlap.
        num_points_anchor, num_points_test: points left after the monotone rule.
    """

    percent: float | None
    reason: str
    low: float | None
    high: float | None
    num_points_anchor: int
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
    anchor: Curve, test: Curve, interpolation: Interpolation = "pchip", lower_is_better: bool = False
) -> BdRate:
    """Extra rate of ``test`` over ``anchor`` in percent, or the reason why there is none."""
    sign = -1.0 if lower_is_better else 1.0
    curves = [_monotone(curve, sign) for curve in (anchor, test)]
    counts = len(curves[0][0]), len(curves[1][0])
    for name, curve, count in zip(("anchor", "test"), curves, counts, strict=True):
        if not np.isfinite(curve[0]).all():
            return BdRate(None, f"the {name}'s quality is infinite", None, None, *counts)
        if count < MIN_POINTS[interpolation]:
            reason = f"the {name} has {count} usable points, {interpolation} needs {MIN_POINTS[interpolation]}"
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
    """Quality (larger is better, strictly rising) and log rate (strictly rising) of the points worth choosing."""
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


def bdrate_rows(plan: Plan, means: pd.DataFrame) -> list[Row]:
    """Rows of ``bdrate.csv``: every method with several rates against :data:`ANCHOR`, per data set and per scene."""
    with_curve = [method.id for method in plan.methods if len(method.rates) > 1]
    if ANCHOR not in with_curve:
        return []
    all_curves = dict(iter(means.groupby(["method", "dataset", "scene"], sort=False)))
    rows: list[Row] = []
    for dataset in plan.datasets:
        for method in with_curve:
            if method == ANCHOR:
                continue
            pair = (ANCHOR, method)
            iterations = [_iterations(all_curves[name, dataset.id, "mean"]) for name in pair]
            for scene in ("mean", *(scene.id for scene in dataset.scenes)):
                for metric, lower_is_better in METRICS.items():
                    curves = [curve_of(name, all_curves[name, dataset.id, scene], metric) for name in pair]
                    for interpolation in MIN_POINTS:
                        identity: dict[str, Value] = {
                            "anchor": ANCHOR,
                            "method": method,
                            "dataset": dataset.id,
                            "scene": scene,
                            "metric": metric,
                            "interpolation": interpolation,
                            "iterations_anchor": iterations[0],
                            "iterations_method": iterations[1],
                        }
                        rows.append(identity | _result(curves, interpolation, lower_is_better))
    return rows


def _result(curves: Sequence[Curve | str], interpolation: Interpolation, lower_is_better: bool) -> dict[str, Value]:
    holes = [curve for curve in curves if isinstance(curve, str)]
    if holes:
        empty = BdRate(None, "; ".join(dict.fromkeys(holes)), None, None, 0, 0)
        result = empty
    else:
        anchor, test = (curve for curve in curves if isinstance(curve, Curve))
        result = bd_rate(anchor, test, interpolation, lower_is_better)
    return {
        "percent": result.percent,
        "hole": result.reason,
        "low": result.low,
        "high": result.high,
        "num_points_anchor": result.num_points_anchor,
        "num_points_method": result.num_points_test,
    }


def curve_of(method: str, means: pd.DataFrame, metric: str) -> Curve | str:
    """The curve through the means of a data set or scene, or why there is none."""
    faulty = means[(means["hole"] != "") | means[["bytes_total", metric]].isna().any(axis=1)]
    if not faulty.empty:
        return f"{method}: {faulty['hole'].iloc[0] or f'{metric} is not available'}"
    return Curve(means["bytes_total"].to_list(), means[metric].to_list())


def _iterations(means: pd.DataFrame) -> int | None:
    found = means["iterations"].unique()
    return int(found[0]) if len(found) == 1 and not found.isna()[0] else None

"""Bjøntegaard delta rate: how many more bytes a method needs than another at equal quality.

Owns the arithmetic, the rule for curves that are not monotone, and the refusals; not which curves are compared
(``hemgs.analysis.pairs``). The value is
``exp(mean over the common quality interval of (ln rate_test - ln rate_reference)) - 1``, with log rate interpolated
over quality by a monotone piecewise cubic (PCHIP; Fritsch and Carlson 1980) or fitted by one cubic polynomial
(Bjøntegaard, VCEG-M33, 2001). Positive means the test needs more bytes than the reference.

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
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

Interpolation = Literal["pchip", "cubic"]
#: A cubic has four coefficients; PCHIP needs an interval.
MIN_POINTS: dict[Interpolation, int] = {"pchip": 2, "cubic": 4}


@dataclass(frozen=True)
class BdRate:
    """Result of a comparison.

    Attributes:
        percent: ``None`` exactly where ``reason`` is not empty.
        reason: why there is no value.
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
    """Extra rate of ``test`` over ``reference`` in percent, or the reason why there is none; ``names`` stand in it."""
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

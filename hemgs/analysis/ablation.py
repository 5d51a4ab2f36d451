"""Comparison of variants with the method that they extend, and of the neighbours of autoregressive networks.

Owns the columns of ``ablation.csv`` and ``context.csv``, and the rate at which both are read: the largest λ. HEMGS
(arXiv 2411.18473) does not state the rate of its Tables 3 and 4; their sizes are near its low rate. Does not own the
printed table (``hemgs.analysis.tables.ablation``).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import pandas as pd

from hemgs.analysis.means import SPREAD_COLUMNS
from hemgs.analysis.plan import Plan, PlannedMethod
from hemgs.analysis.points import lmbda_of, rows_of
from hemgs.core.catalogue import METRICS
from hemgs.core.records import CONTEXT_COLUMNS, Column, Row

#: Compared columns, each with the column of the change.
COMPARED = ("bytes_total", *METRICS)
#: Least number of rates in a curve: Bjøntegaard's own cubic needs four points (VCEG-M33, 2001).
MIN_CURVE_RATES = 4
_KEY = (
    Column("base", "text", "", "method that is extended; the full method", required=True),
    Column("method", "text", "", "the method itself, or a variant of it", required=True),
    Column("dataset", "text", "", "dataset id", required=True),
    Column("rate", "text", "", "rate id: the largest λ", required=True),
    Column("iterations", "int", "", "training iterations, if all scenes have the same number"),
    Column("hole", "text", "", "reason for missing means, else empty"),
)
#: Columns of ``summary/ablation.csv``: one row per method with variants and variant, and dataset.
ABLATION_COLUMNS: tuple[Column, ...] = (
    *_KEY,
    Column("bytes_total", "float", "B", "mean length of the files"),
    *(Column(spec.id, "float", spec.unit, f"mean {spec.id}") for spec in METRICS.values()),
    *SPREAD_COLUMNS,
    *(Column(f"change_{name}", "float", "%", f"change of {name} against the full method") for name in COMPARED),
    Column("bd_rate", "float", "%", "bytes needed beyond the full method's at equal PSNR; positive: more"),
    Column("bd_rate_hole", "text", "", "reason for a missing BD-rate, else empty"),
    Column("bd_rate_min", "float", "%", "smallest BD-rate of any seed"),
    Column("bd_rate_max", "float", "%", "largest BD-rate of any seed"),
    Column("bd_rate_low", "float", "dB", "lower end of the PSNR interval that both curves cover"),
    Column("bd_rate_high", "float", "dB", "upper end of the PSNR interval that both curves cover"),
    Column("bd_rate_points_base", "int", "", "used points of the full method's curve"),
    Column("bd_rate_points", "int", "", "used points of the curve"),
)
#: Column of ``bdrate.csv`` → column here.
_BD_RATE = {
    "percent": "bd_rate",
    "hole": "bd_rate_hole",
    "percent_min": "bd_rate_min",
    "percent_max": "bd_rate_max",
    "low": "bd_rate_low",
    "high": "bd_rate_high",
    "num_points_reference": "bd_rate_points_base",
    "num_points_method": "bd_rate_points",
}
#: Reduction over the scenes of a dataset: the maximum for columns that are maxima, else the mean.
_OVER_SCENES = {
    c: "most of all scenes" if c.name.startswith("context_max") else "mean over scenes" for c in CONTEXT_COLUMNS
}
#: Columns of ``summary/context.csv``: one row per method of a family that counts neighbours, and dataset.
NEIGHBOUR_COLUMNS: tuple[Column, ...] = (
    *_KEY,
    *(Column(c.name, "float", "", f"{c.description}; {over}") for c, over in _OVER_SCENES.items()),
    Column("num_anchors", "float", "", "mean number of anchors"),
    Column("bytes_total", "float", "B", "mean length of the files"),
    Column("psnr", "float", "dB", "mean PSNR"),
    *SPREAD_COLUMNS,
)


def ablation_rows(plan: Plan, means: pd.DataFrame, bdrate: Sequence[Row]) -> list[Row]:
    """Return rows of ``ablation.csv``: every planned method that has variants, and these variants.

    Args:
        plan: the plan, with the ``base`` of every method.
        means: result of ``hemgs.analysis.means.means_of``.
        bdrate: rows of ``bdrate.csv``.
    """
    compared = {
        (row["reference"], row["method"], row["dataset"]): row
        for row in bdrate
        if (row["scene"], row["metric"], row["interpolation"]) == ("mean", "psnr", "pchip")
    }
    rows: list[Row] = []
    for dataset in plan.datasets:
        curves = _curves(means, dataset.id)
        for base, family in _families(plan):
            rate = _largest(base)
            lines = [_line(curves, base, member, dataset.id, rate) for member in family if member.id in curves]
            full = lines[0]
            for line in lines:
                for name in COMPARED:
                    line[f"change_{name}"] = _change(line[name], full[name])
                pair = (base.id, str(line["method"]))
                line |= _bd_rate(curves, pair, compared.get((*pair, dataset.id), {}))
            rows += rows_of(pd.DataFrame(lines, dtype=object), ABLATION_COLUMNS)
    return rows


def context_rows(plan: Plan, planned: pd.DataFrame, means: pd.DataFrame) -> list[Row]:
    """Return rows of ``context.csv``: every method whose neighbours were counted, with its base and its variants.

    Args:
        plan, means: as for :func:`ablation_rows`.
        planned: result of ``hemgs.analysis.means.planned_points``.
    """
    base_of = {method.id: method.base for method in plan.methods}
    counted = planned.loc[planned["context_mean"].notna(), "method"].map(base_of).unique()
    rows: list[Row] = []
    for dataset in plan.datasets:
        curves = _curves(means, dataset.id)
        for method in plan.methods:
            if method.base not in counted or method.id not in curves:
                continue
            rate = _largest(method)
            line = _line(curves, method, method, dataset.id, rate) | {"base": method.base}
            own = planned[
                (planned["method"] == method.id) & (planned["dataset"] == dataset.id) & (planned["rate"] == rate)
            ]
            for column, over in _OVER_SCENES.items():
                if over.startswith("most"):
                    line[column.name] = own[column.name].max(skipna=False)
            rows += rows_of(pd.DataFrame([line]), NEIGHBOUR_COLUMNS)
    return rows


def _families(plan: Plan) -> Iterator[tuple[PlannedMethod, list[PlannedMethod]]]:
    """Yield every planned method that has planned variants, and these variants."""
    for method in plan.methods:
        variants = [other for other in plan.methods if other.base == method.id and other.id != method.id]
        if variants:
            yield method, [method, *variants]


def _curves(means: pd.DataFrame, dataset: str) -> dict[str, pd.DataFrame]:
    """Return the means over a dataset by method, one line per rate."""
    own = means.reset_index()
    own = own[(own["dataset"] == dataset) & (own["scene"] == "mean")]
    return {str(method): lines.set_index("rate") for method, lines in own.groupby("method", sort=False)}


def _line(
    curves: dict[str, pd.DataFrame], base: PlannedMethod, member: PlannedMethod, dataset: str, rate: str
) -> dict[str, object]:
    curve = curves[member.id]
    known = {"base": base.id, "method": member.id, "dataset": dataset, "rate": rate}
    if rate in curve.index:
        return {**curve.loc[rate].to_dict(), **known}
    return {**dict.fromkeys(curve.columns, math.nan), "hole": f"not encoded at {rate}", **known}


def _largest(method: PlannedMethod) -> str:
    return max(method.rates, key=lmbda_of)


def _change(value: object, full: object) -> float:
    """Return the change in per cent; missing if a value is missing or zero."""
    both = [float(v) if isinstance(v, int | float) else math.nan for v in (value, full)]
    return 100.0 * (both[0] / both[1] - 1.0) if all(map(math.isfinite, both)) and both[1] else math.nan


def _bd_rate(curves: Mapping[str, pd.DataFrame], pair: tuple[str, str], row: Row) -> dict[str, object]:
    """Return columns of the BD-rate from its row in ``bdrate.csv``, or the reason for a missing one."""
    nothing: dict[str, object] = dict.fromkeys(_BD_RATE.values())
    if pair[0] == pair[1]:
        return nothing | {"bd_rate_hole": "the full method"}
    if fewer := [name for name in pair if len(curves[name]) < MIN_CURVE_RATES]:
        return nothing | {"bd_rate_hole": f"{fewer[0]}: {len(curves[fewer[0]])} rates are no curve"}
    return {column: row[name] for name, column in _BD_RATE.items()}

"""Our values and the published ones, with a verdict for each pair.

Owns the conditions of a comparison, and the verdict. Does not own the published values or the tolerances
(``workflow/published``). If training length, resolution or views differ, the verdict is ``not comparable`` with the
reason. The number is shown, but not judged.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from hemgs.analysis.bdrate import REFERENCE
from hemgs.analysis.plan import Plan
from hemgs.analysis.points import lmbda_of
from hemgs.core.catalogue import SECTIONS, section_of
from hemgs.core.errors import ConfigError
from hemgs.core.records import Column, Row, Value, read_rows, read_views, section_id

MIB = 2.0**20
#: Columns of ``workflow/published/values.csv``.
PUBLISHED_COLUMNS: tuple[Column, ...] = (
    Column("method", "text", "", "method or variant id", required=True),
    Column("rate", "text", "", "`single`, `low`, `high`, `all`, or a rate id", required=True),
    Column("dataset", "text", "", "dataset id", required=True),
    Column("scene", "text", "", "scene id or `mean`", required=True),
    Column("metric", "text", "", "printed quantity", required=True),
    Column("value", "float", "", "as printed, in `unit`", required=True),
    Column("unit", "text", "", "unit of the value"),
    Column("table", "text", "", "table of the HEMGS paper; empty for other sources"),
    Column("iterations", "text", "", "training iterations behind the value; empty where not stated"),
    Column("source", "text", "", "place where it is printed", required=True),
    Column("note", "text", "", "remark"),
)
VERDICTS = ("reproduced", "better", "worse", "not comparable", "missing")
#: Columns of ``summary/parity.csv``.
PARITY_COLUMNS: tuple[Column, ...] = (
    *(column for column in PUBLISHED_COLUMNS if column.name not in ("value", "iterations")),
    Column("published", "float", "", "the published value, in `unit`", required=True),
    Column("ours", "float", "", "our value, in `unit`"),
    Column("difference", "float", "", "ours - published"),
    Column("tolerance", "float", "", "largest difference that counts as reproduced, in `unit`"),
    Column("verdict", "text", "", f"one of {', '.join(VERDICTS)}", required=True),
    Column("reason", "text", "", "reason why the values are not comparable or ours is missing"),
    Column("iterations_published", "text", "", "training iterations behind the published value"),
    Column("iterations_ours", "int", "", "training iterations behind ours"),
)


@dataclass(frozen=True)
class Protocol:
    """The data on which the published values of a dataset were measured."""

    scenes: tuple[str, ...]
    min_width: int
    num_views: int | None


@dataclass(frozen=True)
class Tolerance:
    """Largest difference of a reproduced value: absolute, or relative to the published value."""

    absolute: float | None
    relative: float | None
    better: str

    def of(self, published: float) -> float:
        return self.absolute if self.absolute is not None else (self.relative or 0.0) * abs(published)


@dataclass(frozen=True)
class Published:
    """The contents of ``workflow/published``; ``datasets`` maps our id of a dataset to the published one."""

    values: tuple[Row, ...]
    protocols: Mapping[str, Protocol]
    datasets: Mapping[str, str]
    tolerances: Mapping[str, Tolerance]


def load_published(folder: Path) -> Published:
    """Read ``values.csv`` and ``protocols.yaml``.

    Raises:
        ConfigError: a file is missing or lacks a field.
        RecordError: ``values.csv`` is altered.
    """
    path = folder / "protocols.yaml"
    try:
        data: Mapping[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
        protocols = {
            name: Protocol(tuple(entry["scenes"]), int(entry["min_width"]), entry.get("num_views"))
            for name, entry in data["datasets"].items()
        }
        aliases = {alias: name for name, entry in data["datasets"].items() for alias in entry.get("aliases", ())}
        tolerances = {
            name: Tolerance(entry.get("absolute"), entry.get("relative"), entry["better"])
            for name, entry in data["tolerances"].items()
        }
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as fault:
        raise ConfigError(f"{path} cannot be used: {fault!r}", "restore it from the repository") from fault
    values = tuple(read_rows(folder / "values.csv", PUBLISHED_COLUMNS))
    return Published(values, protocols, {name: name for name in protocols} | aliases, tolerances)


def parity_rows(plan: Plan, planned: pd.DataFrame, bdrate: Sequence[Row], published: Published) -> list[Row]:
    """Return rows of ``parity.csv``: every published value of a planned method and dataset, in their order."""
    methods = {method.id for method in plan.methods}
    rows: list[Row] = []
    for dataset in plan.datasets:
        published_as = published.datasets.get(dataset.id)
        if published_as is None:
            continue
        own = planned[planned["dataset"] == dataset.id]
        faults = _protocol_faults(plan, dataset.id, published.protocols[published_as])
        for value in published.values:
            scene = str(value["scene"])
            if value["dataset"] != published_as or value["method"] not in methods:
                continue
            if dataset.id != published_as and scene == "mean":
                continue
            if scene != "mean" and scene not in {known.id for known in dataset.scenes}:
                continue
            rows.append(_compare({**value, "dataset": dataset.id}, own, bdrate, published, faults))
    return rows


def _compare(
    value: Row, planned: pd.DataFrame, bdrate: Sequence[Row], published: Published, faults: Mapping[str, str]
) -> Row:
    metric, scene, printed = str(value["metric"]), str(value["scene"]), float(value["value"] or 0.0)
    ours, iterations, reason = _our_value(value, _cell_of(value, planned), bdrate)
    tolerance = published.tolerances.get(metric)
    stated = str(value["iterations"])
    row: dict[str, Value] = {name: value[name] for name in ("method", "rate", "dataset", "scene", "metric", "unit")}
    row |= {name: value[name] for name in ("table", "source", "note")}
    row |= {"published": printed, "ours": ours, "iterations_published": stated, "iterations_ours": iterations}
    row |= {"difference": None if ours is None else ours - printed, "tolerance": None, "reason": reason}
    if ours is None:
        return row | {"verdict": "missing"}
    reasons = [fault for name, fault in faults.items() if scene in ("mean", name)]
    if stated == "":
        reasons.append("the published value does not state its training length")
    elif str(iterations) != stated:
        reasons.append(f"trained for {_count(iterations)} iterations, published for {_count(stated)}")
    if tolerance is None:
        reasons.append("depends on the machine" if metric.endswith(("_h", "_s")) else "shown, not judged")
    if reasons or tolerance is None:
        return row | {"verdict": "not comparable", "reason": "; ".join(reasons)}
    allowed = tolerance.of(printed)
    gain = (ours - printed) * (1.0 if tolerance.better == "higher" else -1.0)
    verdict = "reproduced" if abs(gain) <= allowed else "better" if gain > 0 else "worse"
    return row | {"verdict": verdict, "tolerance": allowed}


def _cell_of(value: Row, planned: pd.DataFrame) -> pd.DataFrame:
    """Return the points of a published rate: the largest λ gives the low rate, the smallest λ the high one.

    A published value with a rate's id, such as ``lmbda_0.0010``, belongs to that rate only.
    """
    own = planned[planned["method"] == value["method"]]
    if str(value["rate"]).startswith("lmbda_"):
        return own[own["rate"] == value["rate"]]
    rates = sorted(own["rate"].unique(), key=lmbda_of, reverse=value["rate"] in ("low", "all"))
    return own[own["rate"].isin(rates[:1])]


def _our_value(value: Row, cell: pd.DataFrame, bdrate: Sequence[Row]) -> tuple[float | None, Value, str]:
    """Return our value in the published unit, its iterations, and the reason for a missing value."""
    metric, scene = str(value["metric"]), str(value["scene"])
    if cell.empty:
        return None, None, "not planned on this dataset"
    if metric == "bd_rate_percent":
        return _our_bdrate(value, bdrate)
    own = cell if scene == "mean" else cell[cell["scene"] == scene]
    measured = own.dropna(subset="status")
    # Trainings of different lengths have no common number of iterations. None is recorded, and no value is judged.
    lengths = measured["iterations"].unique()
    iterations = int(lengths[0]) if len(lengths) == 1 else None
    if own.empty or len(measured) < len(own):
        return None, iterations, str(cell["hole"].iloc[0]) or "not measured"
    names = _columns_of(metric, own.columns)
    if not names or not set(names) <= set(own.columns):
        return None, iterations, "not measured by this project"
    total = sum(sum(own[name]) / len(own) for name in names)
    if math.isnan(total):
        return None, iterations, "" if metric == "train_h" else "not measured on this machine"
    return total / (MIB if metric.endswith("_mib") else 3600.0 if metric == "train_h" else 1.0), iterations, ""


def _columns_of(metric: str, known: Iterable[str]) -> tuple[str, ...]:
    """Return the columns of ``points.csv`` whose sum is the printed quantity.

    ``size_mib`` is the file, ``networks_mib`` that section, and ``others_mib`` all sections that count as others.
    """
    if metric == "train_h":
        return ("train_s",)
    if not metric.endswith("_mib"):
        return (metric,)
    name = metric.removesuffix("_mib")
    if name in SECTIONS:
        return (f"bytes_{name}",)
    own = [column for column in known if column.startswith("bytes_") and section_id(column)]
    return ("bytes_total",) if name == "size" else tuple(c for c in own if section_of(section_id(c)).counts_as == name)


def _our_bdrate(value: Row, bdrate: Sequence[Row]) -> tuple[float | None, Value, str]:
    for row in bdrate:
        key = (row["reference"], row["method"], row["dataset"], row["scene"], row["metric"], row["interpolation"])
        if key == (REFERENCE, value["method"], value["dataset"], value["scene"], "psnr", "pchip"):
            percent = row["percent"]
            return (None if percent is None else float(percent)), row["iterations_method"], str(row["hole"])
    return None, None, f"no curve to compare with {REFERENCE}"


def _protocol_faults(plan: Plan, dataset: str, protocol: Protocol) -> dict[str, str]:
    """Return the differences from the published protocol by scene, from the measured views."""
    faults: dict[str, str] = {}
    planned = {fit.scene for fit in plan.fits if fit.dataset == dataset}
    if absent := [scene for scene in protocol.scenes if scene not in planned]:
        faults["mean"] = f"scenes not in this run: {', '.join(absent)}"
    for fit in plan.fits:
        path = fit.points.with_name("views.csv")
        if fit.dataset != dataset or fit.scene in faults or not path.is_file():
            continue
        views = [row for row in read_views(path) if row["rate"] == fit.rates[0]]
        widths = sorted({int(row["width"] or 0) for row in views})
        if widths and widths[0] < protocol.min_width:
            faults[fit.scene] = f"{fit.scene} is {widths[0]} pixels wide, published at {protocol.min_width} or more"
        elif protocol.num_views is not None and views and len(views) != protocol.num_views:
            faults[fit.scene] = f"{fit.scene} has {len(views)} test views, published with {protocol.num_views}"
    return faults


def _count(number: Value) -> str:
    return f"{int(number):,}" if number not in (None, "") else "differing numbers of"

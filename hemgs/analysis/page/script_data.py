"""The data behind the page's script (``templates/page.js``): methods, metrics, sections and curves."""

from __future__ import annotations

import math

from hemgs.analysis.bdrate import REFERENCE
from hemgs.analysis.figures.drawing import look_of
from hemgs.analysis.plan import DatasetNames, Style
from hemgs.analysis.points import lmbda_of, series_of
from hemgs.analysis.summary import Summary
from hemgs.analysis.tables.rates import sections_of
from hemgs.core.catalogue import METRICS
from hemgs.core.records import Row, Value, section_id


def script_data(summary: Summary, style: Style) -> dict[str, object]:
    """Return the data that the script draws."""
    return {
        "reference": REFERENCE,
        "methods": _methods(summary, style),
        "datasets": [_dataset(dataset) for dataset in style.datasets],
        "metrics": _metrics(summary),
        "sections": [
            {"id": section.id, "label": section.label, "color": section.color}
            for section in sections_of(summary.points)
        ],
        "curves": _curves(summary, style),
    }


def _methods(summary: Summary, style: Style) -> list[dict[str, str]]:
    shown = sorted({str(row["method"]) for row in summary.datasets}, key=style.order_of)
    looks = ((method, *look_of(style, method)) for method in shown)
    return [{"id": m, "label": style.label_of(m), "color": color, "marker": marker} for m, color, marker in looks]


def _dataset(dataset: DatasetNames) -> dict[str, object]:
    scenes = [{"id": scene.id, "label": scene.label} for scene in dataset.scenes]
    return {"id": dataset.id, "label": dataset.label, "scenes": scenes}


def _metrics(summary: Summary) -> list[dict[str, object]]:
    return [
        {"id": spec.id, "label": spec.heading, "decimals": spec.decimals, "better": spec.better}
        for spec in METRICS.values()
        if any(row[spec.id] is not None for row in summary.points)
    ]


def _curves(summary: Summary, style: Style) -> list[dict[str, object]]:
    """Return curves of dataset means (complete ones only) and of single scenes (first seed)."""
    storage = {(row["method"], row["dataset"], row["rate"]): row for row in summary.storage}
    curves: dict[tuple[str, str, str], dict[str, dict[str, object]]] = {}
    for row in summary.datasets:
        if not row["hole"]:
            method, dataset, rate = str(row["method"]), str(row["dataset"]), str(row["rate"])
            sections = storage[method, dataset, rate]
            curves.setdefault((method, dataset, "mean"), {})[rate] = _point(row, sections)
    for row in summary.points:
        key = (series_of(row), str(row["dataset"]), str(row["scene"]))
        curves.setdefault(key, {}).setdefault(str(row["rate"]), _point(row, row))
    return [
        {
            "method": method,
            "dataset": dataset,
            "scene": scene,
            "points": sorted(points.values(), key=lambda point: -lmbda_of(str(point["rate"]))),
        }
        for (method, dataset, scene), points in sorted(curves.items(), key=lambda item: style.order_of(item[0][0]))
    ]


def _point(row: Row, sections: Row) -> dict[str, object]:
    point: dict[str, object] = {name: _finite(row[name]) for name in METRICS}
    point |= {"rate": row["rate"], "lmbda": row["lmbda"], "bytes": row["bytes_total"], "iterations": row["iterations"]}
    bytes_of = {section_id(name): size for name, size in sections.items() if name.startswith("bytes_")}
    point["sections"] = {name: size for name, size in bytes_of.items() if name and size}
    return point


def _finite(value: Value) -> float | None:
    return round(value, 6) if isinstance(value, float) and math.isfinite(value) else None

"""The results as one self-contained HTML file: tables, interactive curves, decoded views, bytes, provenance.

Owns what the page shows and the data behind its script (``templates/page.js``). Does not own the tables
(``hemgs.analysis.tables``) or which views are shown (``hemgs.analysis.figures.visual``). The page loads nothing from
anywhere.
"""

from __future__ import annotations

import base64
import importlib.resources
import io
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

from hemgs.analysis.bdrate import REFERENCE
from hemgs.analysis.figures.drawing import look_of
from hemgs.analysis.figures.visual import TARGET_FOLDER, Picture, pictures_of, read_pixels
from hemgs.analysis.plan import DatasetNames, Style
from hemgs.analysis.points import lmbda_of, series_of
from hemgs.analysis.summary import Summary
from hemgs.analysis.tables import TABLE_SPECS
from hemgs.analysis.tables.cells import number, size_mib
from hemgs.analysis.tables.formats import to_html
from hemgs.analysis.tables.rates import end_rates, sections_of
from hemgs.core.catalogue import METRICS, ON_REQUEST_TABLES
from hemgs.core.records import Row, Value, section_id

PAGE_FILE = "index.html"
#: Pictures wider than this are scaled down for the page; up to LOSSLESS_WIDTH they are kept to the bit.
MAX_WIDTH = 800
LOSSLESS_WIDTH = 400
WEBP_QUALITY = 90
#: Rates per method that are embedded: ends and middle.
MAX_RATES = 3


def page_html(summary: Summary, style: Style, origin: Mapping[str, Any], tables: Path, figures: Path, out: Path) -> str:
    """The text of ``index.html``.

    Args:
        summary, style: what was measured, and how it is to look.
        origin: content of ``environment.json``.
        tables, figures: folders to link to; links are relative to ``out``.
    """
    showcase = _showcase(summary, style)
    # A table that needs files of its own is shown where the run asks for it; the others also where they have rows.
    shown = [spec for name, spec in TABLE_SPECS.items() if name in style.tables or name not in ON_REQUEST_TABLES]
    tables_made = [spec.make(summary, style) for spec in shown]
    data = {
        "reference": REFERENCE,
        "methods": _methods(summary, style),
        "datasets": [_dataset(dataset) for dataset in style.datasets],
        "metrics": _metrics(summary),
        "sections": [
            {"id": section.id, "label": section.label, "color": section.color}
            for section in sections_of(summary.points)
        ],
        "curves": _curves(summary, style),
        "showcase": showcase,
    }
    template = _environment().from_string(_template("page.html"))
    names = [("curves", "Rate–distortion"), ("compare", "Before and after"), ("bytes", "Bytes"), ("tables", "Tables")]
    return template.render(
        title=style.title,
        css=Markup(_template("page.css")),
        js=Markup(_template("page.js")),
        data=_json(data),
        sections=[*names, ("holes", "What is missing"), ("origin", "Provenance")],
        cards=_cards(summary, style),
        has_points=bool(summary.points),
        has_showcase=bool(showcase),
        showcase_note=_showcase_note(showcase),
        tables=[Markup(to_html(table)) for table in tables_made if table.rows or table.id in style.tables],
        failures=[_failure(row, style) for row in summary.failures],
        remarks=list(
            dict.fromkeys(part for row in summary.datasets for part in str(row["remarks"]).split(" | ") if part)
        ),
        origin=_origin(origin),
        links=_links(tables, figures, out),
    )


def _environment() -> jinja2.Environment:
    return jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)


def _template(name: str) -> str:
    return importlib.resources.files("hemgs.analysis.page").joinpath("templates", name).read_text(encoding="utf-8")


def _json(data: object) -> Markup:
    """JSON that cannot end the script element it stands in."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c"))


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
    """Curves of dataset means (complete ones only) and of single scenes (first seed)."""
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


def _showcase(summary: Summary, style: Style) -> list[dict[str, object]]:
    """One view per scene: the photograph and a few rates of every method."""
    scenes: list[dict[str, object]] = []
    for shown in style.visual:
        by_view = pictures_of(shown, summary.points, style)
        if not by_view:
            continue
        view, pictures = next(iter(by_view.items()))
        dataset = next((known for known in style.datasets if known.id == shown.dataset), None)
        label = f"{dataset.label}: {dataset.label_of(shown.scene)}" if dataset else f"{shown.dataset}: {shown.scene}"
        target = read_pixels(pictures[0].path.parents[1] / TARGET_FOLDER / f"{view}.png")
        items = [
            {
                "method": picture.method,
                "lmbda": lmbda_of(picture.rate) or None,
                "psnr": picture.psnr if isinstance(picture.psnr, float) and math.isfinite(picture.psnr) else None,
                "bytes": picture.size_bytes,
                "src": _embedded(read_pixels(picture.path)),
            }
            for method in dict.fromkeys(picture.method for picture in pictures)
            for picture in _thinned([p for p in pictures if p.method == method])
        ]
        scenes.append({"label": label, "width": target.shape[1], "target": _embedded(target), "items": items})
    return scenes


def _thinned(pictures: Sequence[Picture]) -> list[Picture]:
    last = len(pictures) - 1
    chosen = sorted({round(last * part / (MAX_RATES - 1)) for part in range(MAX_RATES)})
    return [pictures[index] for index in chosen]


def _embedded(pixels: NDArray[np.uint8]) -> str:
    """A picture as a data URL."""
    picture = Image.fromarray(pixels)
    lossless = picture.width <= LOSSLESS_WIDTH
    if picture.width > MAX_WIDTH:
        height = max(1, round(picture.height * MAX_WIDTH / picture.width))
        picture = picture.resize((MAX_WIDTH, height), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, format="WEBP", lossless=lossless, quality=100 if lossless else WEBP_QUALITY, method=4)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _showcase_note(showcase: Sequence[Mapping[str, Any]]) -> str:
    widest = max((int(scene["width"]) for scene in showcase), default=0)
    if widest <= LOSSLESS_WIDTH:
        return "Views that were not trained on, as decoded, to the bit."
    scaled = f" and scaled to {MAX_WIDTH} pixels" if widest > MAX_WIDTH else ""
    return (
        f"Views that were not trained on. For this page they are stored as WebP at quality {WEBP_QUALITY}{scaled}; "
        "figures were measured on the decoded views themselves."
    )


def _cards(summary: Summary, style: Style) -> list[dict[str, object]]:
    """Headline figures per data set, from complete means only."""
    groups: list[dict[str, object]] = []
    ends = end_rates(summary.datasets).get(REFERENCE, ())
    for dataset in style.datasets:
        rows = {
            (str(row["method"]), str(row["rate"])): row
            for row in summary.datasets
            if row["dataset"] == dataset.id and not row["hole"]
        }
        own = [row for (method, _), row in rows.items() if method == REFERENCE]
        if not own or any((REFERENCE, rate) not in rows for rate in ends):
            continue
        small, large = rows[REFERENCE, ends[0]], rows[REFERENCE, ends[-1]]
        label = style.label_of(REFERENCE)
        cards = [
            {"value": _span(size_mib, small, large, "bytes_total", " MiB"), "text": f"{len(own)} rates of {label}"},
            {
                "value": _span(lambda v: number(v, 2), small, large, "psnr", " dB"),
                "text": f"PSNR of {label} over these rates",
            },
        ]
        for (method, _), row in sorted(rows.items(), key=lambda item: style.order_of(item[0][0])):
            if method != REFERENCE and _num_rates(rows, method) == 1:
                cards.append(_against(row, large, style.label_of(method), label))
        groups.append({"title": dataset.label, "cards": cards})
    return groups


def _against(row: Row, large: Row, label: str, reference: str) -> dict[str, str]:
    """How much smaller the reference's largest file is than a method with one rate, and at what change of PSNR."""
    factor = float(row["bytes_total"] or 0.0) / float(large["bytes_total"] or 1.0)
    psnrs = float(large["psnr"] or 0.0), float(row["psnr"] or 0.0)
    quality = f"PSNR {psnrs[0] - psnrs[1]:+.2f} dB" if all(map(math.isfinite, psnrs)) else "PSNR infinite"
    words = f"{factor:.3g}× smaller" if factor >= 1 else f"{1 / factor:.3g}× larger"
    budget = ""
    if row["iterations"] != large["iterations"]:
        ours, theirs = (f"{n:,}" if n else "differing numbers of" for n in (large["iterations"], row["iterations"]))
        budget = f"; trained {ours} against {theirs} iterations"
    return {"value": words, "text": f"{reference} at its highest rate against {label}, {quality}{budget}"}


def _span(form: Any, small: Row, large: Row, name: str, unit: str) -> str:
    return f"{form(small[name]).text}–{form(large[name]).text}{unit}"


def _num_rates(rows: Iterable[tuple[str, str]], method: str) -> int:
    return sum(key[0] == method for key in rows)


def _failure(row: Row, style: Style) -> dict[str, Value]:
    dataset = next((known.label for known in style.datasets if known.id == row["dataset"]), row["dataset"])
    return {**row, "method": style.label_of(str(row["method"])), "dataset": dataset}


def _origin(origin: Mapping[str, Any]) -> list[tuple[str, str]]:
    points, here = origin.get("points", {}), origin.get("summary", {})
    names = {
        "code_version": "Code of the points",
        "code_fingerprint": "Fingerprint of that code",
        "hardware": "Measured on",
        "device": "Trained on device",
        "torch_version": "torch",
        "iterations": "Training iterations",
        "seed": "Seeds",
    }
    rows = []
    for name, title in names.items():
        values = [f"{value:,}" if name == "iterations" else str(value) for value in points.get(name, ())]
        rows.append((title, ", ".join(values) or "nothing measured"))
    rows += [(f"Scene {scene}", str(digest)) for scene, digest in origin.get("scenes", {}).items()]
    versions = ", ".join(f"{name} {version}" for name, version in here.get("versions", {}).items())
    return [*rows, ("Summary made with", versions)]


def _links(tables: Path, figures: Path, out: Path) -> list[tuple[str, str]]:
    files = [path for folder in (tables, figures) if folder.is_dir() for path in sorted(folder.iterdir())]
    wanted = [path for path in files if path.suffix in (".csv", ".md", ".tex", ".pdf", ".svg", ".png")]
    return [(path.name, Path(os.path.relpath(path, out)).as_posix()) for path in wanted]

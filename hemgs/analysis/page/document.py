"""The page as one HTML file: its template, with tables, data for its script, missing results, and provenance.

Does not own the tables (``hemgs.analysis.tables``). The page loads nothing from anywhere.
"""

from __future__ import annotations

import importlib.resources
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from hemgs.analysis.page.headlines import headlines
from hemgs.analysis.page.script_data import script_data
from hemgs.analysis.page.showcase import showcase, showcase_note
from hemgs.analysis.plan import Style
from hemgs.analysis.summary import Summary
from hemgs.analysis.tables import TABLE_SPECS
from hemgs.analysis.tables.formats import to_html
from hemgs.core.catalogue import ON_REQUEST_TABLES
from hemgs.core.records import Row, Value

PAGE_FILE = "index.html"


def page_html(summary: Summary, style: Style, origin: Mapping[str, Any], tables: Path, figures: Path, out: Path) -> str:
    """Return the text of ``index.html``.

    Args:
        summary, style: the measured results, and labels, colours and order.
        origin: content of ``environment.json``.
        tables, figures: folders to link to; links are relative to ``out``.
    """
    shown_views = showcase(summary, style)
    # A table that needs additional jobs is shown only if the run lists it. Others are also shown if they have rows.
    shown = [spec for name, spec in TABLE_SPECS.items() if name in style.tables or name not in ON_REQUEST_TABLES]
    tables_made = [spec.make(summary, style) for spec in shown]
    data = {**script_data(summary, style), "showcase": shown_views}
    template = _environment().from_string(_template("page.html"))
    names = [("curves", "Rate–distortion"), ("compare", "Before and after"), ("bytes", "Bytes"), ("tables", "Tables")]
    return template.render(
        title=style.title,
        css=Markup(_template("page.css")),
        js=Markup(_template("page.js")),
        data=_json(data),
        sections=[*names, ("holes", "Missing results"), ("origin", "Provenance")],
        cards=headlines(summary, style),
        has_points=bool(summary.points),
        has_showcase=bool(shown_views),
        showcase_note=showcase_note(shown_views),
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
    """Return JSON that cannot end its script element."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c"))


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

"""The verbs ``summarise``, ``tables``, ``figures`` and ``page`` as functions of paths.

Owns which files each of them reads and writes. All outputs appear whole or not at all, and the same inputs give the
same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from hemgs.analysis.ablation import ABLATION_COLUMNS, NEIGHBOUR_COLUMNS, ablation_rows, context_rows
from hemgs.analysis.complexity import COMPLEXITY_COLUMNS, complexity_rows
from hemgs.analysis.figures.rate_distortion import figure_files, write_figures
from hemgs.analysis.means import DATASET_COLUMNS, STORAGE_COLUMNS, dataset_rows, means_of, planned_points, storage_rows
from hemgs.analysis.page.document import PAGE_FILE, page_html
from hemgs.analysis.pairs import BDRATE_COLUMNS, bdrate_rows
from hemgs.analysis.parity import PARITY_COLUMNS, load_published, parity_rows
from hemgs.analysis.plan import load_plan, load_style
from hemgs.analysis.points import FAILURE_COLUMNS, Points, gather, write_parquet
from hemgs.analysis.tables.quality import BUILDERS, load_summary
from hemgs.analysis.tables.table import to_csv, to_latex, to_markdown
from hemgs.core.errors import ConfigError
from hemgs.core.files import write_text
from hemgs.core.provenance import environment
from hemgs.core.records import write_points, write_rows

#: Columns whose distinct values say where the points of a summary come from.
_ORIGIN_COLUMNS = ("code_version", "code_fingerprint", "hardware", "device", "torch_version", "iterations", "seed")


def summarise(plan: Path, published: Path, out: Path) -> list[Path]:
    """Gathers every planned ``points.csv`` and computes all that tables, figures and page show.

    Args:
        plan: ``plan.json``, what should exist.
        published: folder with ``values.csv`` and ``protocols.yaml``.
        out: folder for the summary.

    Returns:
        The files written.

    Raises:
        ConfigError: the plan or the published values cannot be used.
        RecordError: a ``points.csv`` is altered or belongs to another fit.
    """
    planned, printed = load_plan(plan), load_published(published)
    points = gather(planned)
    table = planned_points(planned, points)
    means = means_of(table)
    bdrate = bdrate_rows(planned, table)
    write_points(out / "points.csv", points.rows)
    write_parquet(out / "points.parquet", points.rows, points.columns)
    write_rows(out / "datasets.csv", dataset_rows(table, means), DATASET_COLUMNS)
    write_rows(out / "storage.csv", storage_rows(means), STORAGE_COLUMNS)
    write_rows(out / "complexity.csv", complexity_rows(table), COMPLEXITY_COLUMNS)
    write_rows(out / "bdrate.csv", bdrate, BDRATE_COLUMNS)
    write_rows(out / "ablation.csv", ablation_rows(planned, means, bdrate), ABLATION_COLUMNS)
    write_rows(out / "context.csv", context_rows(planned, table, means), NEIGHBOUR_COLUMNS)
    write_rows(out / "parity.csv", parity_rows(planned, table, bdrate, printed), PARITY_COLUMNS)
    write_rows(out / "failures.csv", points.failures, FAILURE_COLUMNS)
    write_text(out / "environment.json", json.dumps(_environment(points), indent=2, ensure_ascii=False) + "\n")
    names = ("points", "datasets", "storage", "complexity", "bdrate", "ablation", "context", "parity", "failures")
    return [*(out / f"{name}.csv" for name in names), out / "points.parquet", out / "environment.json"]


def make_tables(summary: Path, style: Path, out: Path, only: Sequence[str] | None = None) -> list[Path]:
    """Writes ``<table>.{csv,md,tex}`` for the tables that the style asks for, or for ``only``.

    Raises:
        ConfigError: an unknown table, or a style that cannot be used.
        RecordError: a file of the summary is missing or altered.
    """
    look, measured = load_style(style), load_summary(summary)
    names = list(only) if only is not None else list(look.tables)
    if unknown := sorted(set(names) - set(BUILDERS)):
        raise ConfigError(f"unknown tables {', '.join(unknown)}", f"use some of {', '.join(BUILDERS)}")
    written = []
    for name in names:
        sheet = BUILDERS[name](measured, look)
        for suffix, render in (("csv", to_csv), ("md", to_markdown), ("tex", to_latex)):
            path = out / f"{name}.{suffix}"
            write_text(path, render(sheet))
            written.append(path)
    return written


def make_figures(summary: Path, style: Path, out: Path) -> list[Path]:
    """Writes every figure as pdf, svg, png, and the csv behind it.

    One ``rd_<dataset>`` per data set, ``variable_rate`` if the style names methods for it, and one
    ``visual_<dataset>_<scene>`` per scene that the style shows. What has nothing to draw says so in the picture.

    Raises:
        ConfigError, RecordError: as :func:`make_tables`.
    """
    look, measured = load_style(style), load_summary(summary)
    write_figures(measured, look, out)
    return figure_files(look, out)


def make_page(summary: Path, style: Path, tables: Path, figures: Path, out: Path) -> list[Path]:
    """Writes ``index.html``: one file that needs no network.

    Args:
        summary, style: as for :func:`make_tables`.
        tables, figures: folders that the page links to, relative to it.
        out: folder for the page.

    Raises:
        ConfigError, RecordError: as :func:`make_tables`.
    """
    look, measured = load_style(style), load_summary(summary)
    origin = json.loads((summary / "environment.json").read_text(encoding="utf-8"))
    write_text(out / PAGE_FILE, page_html(measured, look, origin, tables, figures, out))
    return [out / PAGE_FILE]


def _environment(points: Points) -> dict[str, object]:
    """Where the summary was made, and where its points come from."""
    here = {name: value for name, value in environment().items() if name != "command"}
    origins = {name: sorted({row[name] for row in points.rows}, key=str) for name in _ORIGIN_COLUMNS}
    scenes = {f"{row['dataset']}/{row['scene']}": row["scene_hash"] for row in points.rows}
    return {"summary": here, "points": origins, "scenes": dict(sorted(scenes.items()))}

"""The verbs ``tables``, ``figures`` and ``page`` as functions of paths; ``summarise`` is ``hemgs.analysis.summary``'s.

Owns the input and output files of each. All outputs are written completely or not at all, and the same inputs give the
same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from hemgs.analysis.figures import write_figures
from hemgs.analysis.page.document import PAGE_FILE, page_html
from hemgs.analysis.plan import load_style
from hemgs.analysis.summary import load_summary
from hemgs.analysis.tables import TABLE_SPECS
from hemgs.analysis.tables.formats import WRITERS
from hemgs.core.catalogue import TABLE_FORMATS
from hemgs.core.errors import ConfigError
from hemgs.core.files import forget_earlier_outputs, write_text


def make_tables(summary: Path, style: Path, out: Path, only: Sequence[str] | None = None) -> list[Path]:
    """Write ``<table>.{csv,md,tex}`` for the tables that the style asks for, or for ``only``.

    Tables that an earlier call wrote into ``out`` and that are not asked for are removed.

    Raises:
        ConfigError: an unknown table, or a style that cannot be used.
        RecordError: a file of the summary is missing or altered.
    """
    look, measured = load_style(style), load_summary(summary)
    names = list(only) if only is not None else list(look.tables)
    if unknown := sorted(set(names) - set(TABLE_SPECS)):
        raise ConfigError(f"unknown tables {', '.join(unknown)}", f"use some of {', '.join(TABLE_SPECS)}")
    written = []
    for name in names:
        table = TABLE_SPECS[name].make(measured, look)
        for suffix in TABLE_FORMATS:
            write_text(out / f"{name}.{suffix}", WRITERS[suffix](table))
            written.append(out / f"{name}.{suffix}")
    forget_earlier_outputs(out, written)
    return written


def make_figures(summary: Path, style: Path, out: Path) -> list[Path]:
    """Write every figure as pdf, svg and png, and its data as csv.

    One ``rd_<dataset>`` per dataset, ``variable_rate`` if the style names methods for it, and one
    ``visual_<dataset>_<scene>`` per scene that the style shows. A figure without data contains the reason. Figures that
    an earlier call wrote into ``out`` and that are not asked for are removed.

    Raises:
        ConfigError, RecordError: as :func:`make_tables`.
    """
    look, measured = load_style(style), load_summary(summary)
    written = write_figures(measured, look, out)
    forget_earlier_outputs(out, written)
    return written


def make_page(summary: Path, style: Path, tables: Path, figures: Path, out: Path) -> list[Path]:
    """Write ``index.html``: one file that needs no network.

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

"""``results/summary``: everything that tables, figures and page read, computed once from ``points.csv`` files.

Owns the list of files, writing them (the verb ``summarise``) and reading them. Each is written completely or not at
all, and the same inputs give the same bytes. Does not own the arithmetic, which is in the module of each file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hemgs.analysis.ablation import ABLATION_COLUMNS, NEIGHBOUR_COLUMNS, ablation_rows, context_rows
from hemgs.analysis.bdrate import BDRATE_COLUMNS, bdrate_rows
from hemgs.analysis.means import (
    COMPLEXITY_COLUMNS,
    DATASET_COLUMNS,
    STORAGE_COLUMNS,
    complexity_rows,
    dataset_rows,
    means_of,
    planned_points,
    storage_rows,
)
from hemgs.analysis.parity import PARITY_COLUMNS, load_published, parity_rows
from hemgs.analysis.plan import load_plan
from hemgs.analysis.points import FAILURE_COLUMNS, Points, gather, write_parquet
from hemgs.core.files import write_text
from hemgs.core.provenance import environment
from hemgs.core.records import REFIT_COLUMNS, Column, Row, read_points, read_rows, write_points, write_rows

#: Columns of each CSV file except ``points.csv``; each name is a field of :class:`Summary`.
FILE_COLUMNS: Mapping[str, Sequence[Column]] = {
    "datasets": DATASET_COLUMNS,
    "storage": STORAGE_COLUMNS,
    "complexity": COMPLEXITY_COLUMNS,
    "bdrate": BDRATE_COLUMNS,
    "ablation": ABLATION_COLUMNS,
    "context": NEIGHBOUR_COLUMNS,
    "parity": PARITY_COLUMNS,
    "failures": FAILURE_COLUMNS,
}
#: Columns whose distinct values describe the origin of the points in a summary.
_ORIGIN_COLUMNS = ("code_version", "code_fingerprint", "hardware", "device", "torch_version", "iterations", "seed")


@dataclass(frozen=True)
class Summary:
    """The contents of ``results/summary``, typed."""

    points: tuple[Row, ...]
    datasets: tuple[Row, ...]
    storage: tuple[Row, ...]
    bdrate: tuple[Row, ...]
    ablation: tuple[Row, ...]
    context: tuple[Row, ...]
    complexity: tuple[Row, ...]
    parity: tuple[Row, ...]
    failures: tuple[Row, ...]
    refit: tuple[Row, ...] = ()

    @property
    def num_seeds(self) -> int:
        """Largest number of seeds in a mean."""
        return max((int(row["num_seeds"] or 0) for row in self.datasets), default=0)


def load_summary(folder: Path) -> Summary:
    """Read the summary. Raises ``RecordError`` where a file is missing or altered."""
    points = tuple(read_points(folder / "points.csv"))
    refit = (row for path in sorted(folder.glob("refit/*/*.csv")) for row in read_rows(path, REFIT_COLUMNS))
    files = {name: tuple(read_rows(folder / f"{name}.csv", columns)) for name, columns in FILE_COLUMNS.items()}
    return Summary(points=points, refit=tuple(refit), **files)


def summarise(plan: Path, published: Path, out: Path) -> list[Path]:
    """Gather every planned ``points.csv``, and compute all values of tables, figures and page.

    Args:
        plan: path of ``plan.json``, which lists the expected results.
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
    files: dict[str, Sequence[Row]] = {
        "datasets": dataset_rows(table, means),
        "storage": storage_rows(means),
        "complexity": complexity_rows(table),
        "bdrate": bdrate,
        "ablation": ablation_rows(planned, means, bdrate),
        "context": context_rows(planned, table, means),
        "parity": parity_rows(planned, table, bdrate, printed),
        "failures": points.failures,
    }
    for name, rows in files.items():
        write_rows(out / f"{name}.csv", rows, FILE_COLUMNS[name])
    write_text(out / "environment.json", json.dumps(_environment(points), indent=2, ensure_ascii=False) + "\n")
    return [*(out / f"{name}.csv" for name in ("points", *files)), out / "points.parquet", out / "environment.json"]


def _environment(points: Points) -> dict[str, object]:
    """Return the origin of the summary and of its points."""
    here = {name: value for name, value in environment().items() if name != "command"}
    origins = {name: sorted({row[name] for row in points.rows}, key=str) for name in _ORIGIN_COLUMNS}
    scenes = {f"{row['dataset']}/{row['scene']}": row["scene_hash"] for row in points.rows}
    return {"summary": here, "points": origins, "scenes": dict(sorted(scenes.items()))}

"""All measured points in one table, and the list of missing ones.

Owns gathering ``points.csv`` files by the plan, the list of missing results, and the parquet file of all points. Also
owns the conversion between checked rows and data frames. Does not average anything (``hemgs.analysis.means``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from hemgs.analysis.plan import Fit, Plan
from hemgs.core.files import atomic_path
from hemgs.core.records import (
    POINT_COLUMNS,
    Column,
    RecordError,
    Row,
    read_points,
    recorded_reason,
    with_all_sections,
    with_sections,
)

#: Columns of ``summary/failures.csv``.
FAILURE_COLUMNS: tuple[Column, ...] = (
    Column("method", "text", "", "method or variant id", required=True),
    Column("dataset", "text", "", "dataset id", required=True),
    Column("scene", "text", "", "scene id", required=True),
    Column("fit", "text", "", "which trained model", required=True),
    Column("seed", "int", "", "seed of the training", required=True),
    Column("rate", "text", "", "rate id; `all`: the whole fit; `refit`: its entropy models compared", required=True),
    Column("kind", "text", "", "`failed`: a row has this status; `skipped`: not attempted; `missing`: there is no row"),
    Column("reason", "text", "", "error message of the step that failed"),
    Column("log", "text", "", "log file to read; empty if none was written"),
)
#: Folder in which Snakemake's executor for Slurm stores job outputs by rule, such as "slurmstepd: ... oom-kill".
EXECUTOR_LOGS = Path(".snakemake/slurm_logs")
_TRACEBACK = "Traceback (most recent call last):"
_ARROW_TYPES = {"text": pa.string(), "int": pa.int64(), "float": pa.float64()}
_PANDAS_TYPES = {"text": "str", "int": "Int64", "float": "float64"}


@dataclass(frozen=True)
class Points:
    """The planned points that were measured, and a row for each one that was not.

    Attributes:
        rows: rows of ``POINT_COLUMNS`` with status ``ok``, in the order of the plan.
        failures: rows of ``FAILURE_COLUMNS``.
    """

    rows: tuple[Row, ...]
    failures: tuple[Row, ...]

    @property
    def columns(self) -> tuple[Column, ...]:
        """``POINT_COLUMNS``, and columns of sections that only a codec of these rows knows."""
        return with_sections(POINT_COLUMNS, self.rows[0] if self.rows else ())


def series_of(row: Row) -> str:
    """Return the id of a row in tables and figures: the variant if there is one, else the method.

    >>> series_of({"method": "hemgs", "variant": "hemgs_without_sa"})
    'hemgs_without_sa'
    """
    return str(row["variant"] or row["method"])


def gather(plan: Plan) -> Points:
    """Read every ``points.csv`` that the plan names.

    Rates that the plan no longer lists are left out. Absent or outdated rates and files become failures.

    Raises:
        RecordError: a file exists but is altered, or belongs to another fit.
    """
    rows: list[Row] = []
    failures: list[Row] = []
    for fit in plan.fits:
        if not fit.finished or not fit.points.is_file():
            failures.append(_missing(fit, "all"))
            continue
        found = {str(row["rate"]): row for row in read_points(fit.points)}
        for rate in fit.rates:
            if rate not in found:
                failures.append(_failure(fit, rate, "missing", f"{fit.points} has no row for this rate", ""))
                continue
            row = found[rate]
            _check_identity(row, fit)
            if row["status"] == "ok":
                rows.append(row)
            else:
                failures.append(_failure(fit, rate, str(row["status"]), str(row["reason"]), str(fit.points)))
    failures += [_missing(comparison, "refit") for comparison in plan.refit if not comparison.finished]
    return Points(tuple(with_all_sections(rows)), tuple(failures))


def write_parquet(path: Path, rows: Iterable[Row], columns: Sequence[Column]) -> None:
    """Write typed rows as parquet, ``None`` as null; units and descriptions are in the column metadata."""
    listed = list(rows)
    schema = pa.schema(
        [
            pa.field(c.name, _ARROW_TYPES[c.dtype], metadata={"unit": c.unit, "description": c.description})
            for c in columns
        ]
    )
    table = pa.Table.from_pylist([{c.name: row[c.name] for c in columns} for row in listed], schema=schema)
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def frame_of(rows: Iterable[Row], columns: Sequence[Column] = POINT_COLUMNS) -> pd.DataFrame:
    """Return rows as a typed table; ``None`` is a missing value (``isna``) in columns of every type."""
    frame = pd.DataFrame(list(rows), columns=[column.name for column in columns])
    return frame.astype({column.name: _PANDAS_TYPES[column.dtype] for column in columns})


def rows_of(frame: pd.DataFrame, columns: Sequence[Column]) -> list[Row]:
    """Return a table as rows, index included. A missing value is ``None``, so files contain no NaN."""
    chosen = frame.reset_index()[[column.name for column in columns]]
    rows: list[Row] = chosen.astype(object).where(chosen.notna(), None).to_dict("records")
    return rows


def lmbda_of(rate: str) -> float:
    """Return λ of a rate id; 0 for ids without a number, so that they sort as the largest file.

    >>> lmbda_of("lmbda_0.0020"), lmbda_of("single")
    (0.002, 0.0)
    """
    tail = rate.rpartition("_")[2]
    return float(tail) if re.fullmatch(r"[0-9]+(\.[0-9]+)?(e-?[0-9]+)?", tail) else 0.0


def _check_identity(row: Row, fit: Fit) -> None:
    found = (series_of(row), row["dataset"], row["scene"], row["fit"], row["seed"])
    expected = (fit.method, fit.dataset, fit.scene, fit.fit, fit.seed)
    if found != expected:
        raise RecordError(
            f"{fit.points} holds {'/'.join(map(str, found))}, expected {'/'.join(map(str, expected))}",
            "delete the file and evaluate again",
        )


def _failure(fit: Fit, rate: str, kind: str, reason: str, log: str) -> Row:
    return {
        "method": fit.method,
        "dataset": fit.dataset,
        "scene": fit.scene,
        "fit": fit.fit,
        "seed": fit.seed,
        "rate": rate,
        "kind": kind,
        "reason": recorded_reason(reason),
        "log": log,
    }


def _missing(fit: Fit, rate: str) -> Row:
    log, reason = _why(fit.logs)
    return _failure(fit, rate, "missing", reason, log)


def _why(logs: Mapping[str, Path]) -> tuple[str, str]:
    """Return the log that was written last, and its report of the end of its step.

    Steps run one after the other, so the newest log is that of the failed step. Faults in older logs were corrected.
    """
    written = [(step, log) for step, log in logs.items() if log.is_file()]
    if not written:
        return "", "not run: no step has left a log of a failure"
    step, log = max(reversed(written), key=lambda entry: entry[1].stat().st_mtime_ns)
    return str(log), f"{step}: {_last_words(step, log)}"


def _last_words(step: str, log: Path) -> str:
    """Return the last line that begins with ``error:``, or the last line of a traceback."""
    text = log.read_text(encoding="utf-8", errors="replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for number in range(len(lines) - 1, -1, -1):
        if lines[number].startswith("error:"):
            return lines[number].removeprefix("error:").strip()
        if lines[number] == _TRACEBACK:
            return lines[-1]
    executor = EXECUTOR_LOGS / f"rule_{step}"
    where = f"; see {executor}" if executor.is_dir() else ""
    last = f"; last line: {lines[-1]}" if lines else ""
    return f"ended without an error message, probably killed (memory, time limit){where}{last}"

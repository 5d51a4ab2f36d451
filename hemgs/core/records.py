"""The rows of ``points.csv`` and ``views.csv``: their columns, their checks and their files.

Owns the list of columns that the runner writes, the analysis reads and the schema documents. Metrics and sections come
from ``hemgs.core.catalogue``; a codec may have further sections, each with columns at the end of the table. Does not
own the values in the columns. Needs neither torch nor pandas.

A value that could not be computed is ``None`` in memory and the text ``not available`` in the file. It is never a
number, and NaN is refused.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hemgs.core.catalogue import CONTAINER, METRICS, MODEL_SECTIONS, SECTIONS, section_of
from hemgs.core.csv_text import csv_text, unquoted
from hemgs.core.errors import HemgsError
from hemgs.core.files import write_text

#: Version of the columns. Increase it by one when a column is added, removed or changes its meaning.
SCHEMA_VERSION = 3
#: The text of a cell whose value could not be computed.
NOT_AVAILABLE = "not available"
#: ``ok``: every required figure was measured. ``failed``: ``reason`` contains the error. ``skipped``: not attempted.
STATUSES = ("ok", "failed", "skipped")

DType = Literal["text", "int", "float"]
Value = str | int | float | None
Row = Mapping[str, Value]


#: An absolute path. It does not match a slash inside a relative path, a fraction or a URL.
_ABSOLUTE_PATH = re.compile(r"""(?<![\w./~-])/(?!/)[^\s,;:()'"]+""")


class RecordError(HemgsError):
    """A table of results is altered, of another version, or has sections that do not add up."""


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        name: as in the header; ends in its unit where it has one (``_s``, ``_mib``) or begins with it (``bytes_``).
        dtype: ``text``, ``int`` or ``float``.
        unit: for print; empty for ids, counts and texts.
        description: one line.
        required: whether every row with status ``ok`` has a value.
    """

    name: str
    dtype: DType
    unit: str
    description: str
    required: bool = False


#: Names of columns with the bytes or the ideal bits of one section. Totals do not match.
_SECTION_COLUMN = re.compile(r"(bytes|estimated_bits)_(?!total)([a-z0-9_]+)")
_QUALITY = tuple(
    Column(spec.id, "float", spec.unit, spec.description, required=spec.required) for spec in METRICS.values()
)
#: Counts that a method with an autoregressive network makes while it encodes: names in ``SectionTable.figures``.
CONTEXT_COLUMNS: tuple[Column, ...] = (
    Column("context_mean", "float", "", "coded anchors that the autoregressive network uses, mean over anchors"),
    Column("context_max", "int", "", "most coded anchors that it uses for one anchor"),
    Column("context_mean_in_window", "float", "", "coded anchors in its receptive field before selection, mean"),
    Column("context_max_in_window", "int", "", "the most coded anchors in the receptive field of one"),
    Column("num_wavefronts", "int", "", "steps of decoding; anchors of one step do not depend on each other"),
)
_IDENTITY = (
    Column("schema_version", "int", "", "version of this list of columns", required=True),
    Column("method", "text", "", "method id", required=True),
    Column("variant", "text", "", "variant id; empty for the method itself"),
)
_FIT = (
    Column("dataset", "text", "", "dataset id", required=True),
    Column("scene", "text", "", "scene id", required=True),
    Column("fit", "text", "", "trained model: `all` if one serves every rate, else the rate id", required=True),
    Column("seed", "int", "", "seed of the training", required=True),
    Column("rate", "text", "", "rate id, such as `lmbda_0.0020` or `single`", required=True),
)

#: Columns of ``points.csv``: one row per rate, quality averaged over the test views.
POINT_COLUMNS: tuple[Column, ...] = (
    *_IDENTITY,
    Column("label", "text", "", "the method's name in print", required=True),
    *_FIT,
    Column("lmbda", "float", "", "rate–distortion trade-off; not available for methods without a rate knob"),
    Column("iterations", "int", "", "training iterations spent, base model included", required=True),
    Column("status", "text", "", f"one of {', '.join(STATUSES)}", required=True),
    Column("reason", "text", "", "why the status is not ok, or why a figure is not available"),
    Column("bytes_total", "int", "B", "length of the one file that the decoder opens", required=True),
    *(Column(f"bytes_{spec.id}", "int", "B", spec.description, required=True) for spec in SECTIONS.values()),
    Column("estimated_bits", "float", "bit", "ideal code length of the entropy-coded sections under their model"),
    Column("coded_bits", "int", "bit", "bits that the entropy-coded sections take in the file"),
    *(
        Column(f"estimated_bits_{name}", "float", "bit", f"ideal code length of the section {name}")
        for name in SECTIONS
        if name != CONTAINER
    ),
    *_QUALITY,
    Column("num_views", "int", "", "test views measured", required=True),
    Column("num_anchors", "int", "", "anchors in the decoded model; not available for methods without anchors"),
    Column("num_gaussians", "int", "", "Gaussians in the decoded model"),
    *CONTEXT_COLUMNS,
    Column("train_s", "float", "s", "wall time of training, resumed parts added up"),
    Column("encode_s", "float", "s", "wall time of encoding, file writing included"),
    Column("decode_s", "float", "s", "wall time from opening the file to a model ready to render"),
    Column("render_s", "float", "s", "wall time to render one test view: median, after a warm-up"),
    Column("fps", "float", "1/s", "1 / render_s"),
    Column("train_peak_mib", "float", "MiB", "peak memory of training on the device"),
    Column("encode_peak_mib", "float", "MiB", "peak memory of encoding on the device"),
    Column("decode_peak_mib", "float", "MiB", "peak memory of decoding on the device"),
    Column(
        "code_version",
        "text",
        "",
        "version of the package, with its commit or else digits of its fingerprint",
        required=True,
    ),
    Column("code_fingerprint", "text", "", "hash of the source files that decide the result"),
    Column("config_hash", "text", "", "hash of the method's and dataset's settings"),
    Column("scene_hash", "text", "", "hash of the scene's pixels, cameras and points"),
    Column("bitstream_sha256", "text", "", "SHA-256 of the decoded file"),
    Column("hardware", "text", "", "processor or GPU model"),
    Column("device", "text", "", "torch device of the training, such as `cpu` or `cuda`"),
    Column("torch_version", "text", "", "version of torch"),
)

#: Columns of ``views.csv``: one row per rate and test view.
VIEW_COLUMNS: tuple[Column, ...] = (
    *_IDENTITY,
    *_FIT,
    Column("view", "text", "", "view name", required=True),
    Column("width", "int", "px", "width of the view", required=True),
    Column("height", "int", "px", "height of the view", required=True),
    *_QUALITY,
    Column("render_s", "float", "s", "wall time to render this view"),
)

#: Columns of a table of ``hemgs refit``: one row per entropy model fitted to the symbols of one trained model.
REFIT_COLUMNS: tuple[Column, ...] = (
    Column("method", "text", "", "method id of the trained model", required=True),
    Column("method_variant", "text", "", "variant id of the trained model; empty for the method itself"),
    *(column for column in _FIT if column.name in ("dataset", "scene", "seed")),
    Column("lmbda", "float", "", "rate–distortion trade-off of the symbols", required=True),
    Column("variant", "text", "", "entropy model; `trained` is that of the trained model", required=True),
    Column("iterations", "int", "", "steps of the fit, or of the training", required=True),
    Column("num_anchors", "int", "", "anchors that are coded", required=True),
    Column("fit_s", "float", "s", "wall time of the fit, or of the training"),
    Column("bytes_total", "int", "B", "length of all streams", required=True),
    Column("bits_per_anchor", "float", "bit", "8 bytes_total / num_anchors", required=True),
    *(Column(f"bytes_{name}", "int", "B", SECTIONS[name].description, required=True) for name in MODEL_SECTIONS),
    Column("bytes_float", "int", "B", "features, scalings and offsets by networks in float and an ideal coder"),
)


def blank_row(columns: Sequence[Column] = POINT_COLUMNS) -> dict[str, Value]:
    """Return a row with this version, zero bytes in every section, empty texts and no measured values."""
    row: dict[str, Value] = {column.name: "" if column.dtype == "text" else None for column in columns}
    row["schema_version"] = SCHEMA_VERSION
    return row | _without_sections(columns)


def section_id(column: str) -> str:
    """Return the section whose bytes or ideal bits a column contains; empty for other columns.

    >>> section_id("bytes_hash_grid"), section_id("bytes_total"), section_id("psnr")
    ('hash_grid', '', '')
    """
    found = _SECTION_COLUMN.fullmatch(column)
    return found[2] if found else ""


def with_sections(columns: Sequence[Column], names: Iterable[str]) -> tuple[Column, ...]:
    """Return the columns of a table, followed by those of sections that only its codecs know.

    Args:
        columns: columns of the table. A table without a column for the container has no sections of bitstreams.
        names: names of the columns that the table must have.

    >>> [column.name for column in with_sections(POINT_COLUMNS, ["psnr", "bytes_codebook"])[-2:]]
    ['torch_version', 'bytes_codebook']
    """
    known = {column.name: column for column in columns}
    if f"bytes_{CONTAINER}" not in known:
        return tuple(columns)
    own = [name for name in dict.fromkeys(names) if name not in known and section_id(name)]
    # Not required, as for the catalogue's sections: a mean over an incomplete set of scenes has no bytes.
    bytes_type, required = known["bytes_total"].dtype, known[f"bytes_{CONTAINER}"].required
    return (
        *columns,
        *(
            Column(name, bytes_type, "B", section_of(section_id(name)).description, required=required)
            if name.startswith("bytes_")
            else Column(name, "float", "bit", f"ideal code length of the section {section_id(name)}")
            for name in own
        ),
    )


def with_all_sections(rows: Iterable[Row], columns: Sequence[Column] = POINT_COLUMNS) -> list[Row]:
    """Return the rows, each with the columns of every section that any of them has.

    >>> with_all_sections([blank_row() | {"bytes_codebook": 5}, blank_row()])[1]["bytes_codebook"]
    0
    """
    listed = list(rows)
    every = with_sections(columns, (name for row in listed for name in row))
    blank = _without_sections([column for column in every if section_id(column.name) not in SECTIONS])
    return [blank | dict(row) for row in listed]


def _without_sections(columns: Sequence[Column]) -> dict[str, Value]:
    """Return the values of section columns for a file without these sections: zero bytes, and no ideal bits."""
    return {c.name: 0 if c.name.startswith("bytes_") else None for c in columns if section_id(c.name)}


def mean_quality(views: Sequence[Row]) -> dict[str, float | None]:
    """Return the quality of a point: the mean where every view has a value, else ``None``."""
    means: dict[str, float | None] = {}
    for name in METRICS:
        values = [view[name] for view in views]
        numbers = [float(value) for value in values if value is not None]
        means[name] = math.fsum(numbers) / len(numbers) if values and len(numbers) == len(values) else None
    return means


def check_row(row: Row, columns: Sequence[Column] = POINT_COLUMNS, where: str = "row") -> None:
    """Raise an error unless a row has exactly these columns, each of its type, and adds up.

    Raises:
        RecordError: a column is unknown, missing or of the wrong type; a value is NaN; the status is ``ok`` but a
            required value is absent; or sections do not add up to ``bytes_total``.
    """
    if row.get("schema_version", SCHEMA_VERSION) != SCHEMA_VERSION:
        raise RecordError(
            f"{where}: schema version {row['schema_version']!r}, this program reads {SCHEMA_VERSION}",
            "make the file again with this version",
        )
    columns = with_sections(columns, row)
    _check_names(row, columns, where)
    for column in columns:
        _check_value(row[column.name], column, where)
    status = row.get("status", "ok")
    if status not in STATUSES:
        raise RecordError(f"{where}: status {status!r}", f"use one of {', '.join(STATUSES)}")
    if status != "ok":
        if not row["reason"]:
            raise RecordError(f"{where}: status {status!r} without a reason", "say in `reason` what went wrong")
        return
    if absent := [column.name for column in columns if column.required and row[column.name] in (None, "")]:
        raise RecordError(f"{where}: status ok but no value for {', '.join(absent)}", "set status and reason instead")
    if "bytes_container" in row and isinstance(row["bytes_total"], int):
        total = sum(int(row[c.name] or 0) for c in columns if c.name.startswith("bytes_") and section_id(c.name))
        if total != row["bytes_total"]:
            raise RecordError(
                f"{where}: sections add up to {total} bytes, the file has {row['bytes_total']}",
                "count every section",
            )


def _check_names(names: Iterable[str], columns: Sequence[Column], where: str) -> None:
    found, expected = set(names), [column.name for column in columns]
    if unknown := sorted(found - set(expected)):
        raise RecordError(f"{where}: unknown columns {', '.join(unknown)}", "write only columns of hemgs.core.records")
    if missing := [name for name in expected if name not in found]:
        raise RecordError(f"{where}: missing columns {', '.join(missing)}", "start from blank_row()")


def _check_value(value: Value, column: Column, where: str) -> None:
    kinds: dict[DType, tuple[type, ...]] = {"text": (str,), "int": (int,), "float": (float, int)}
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, kinds[column.dtype]):
        raise RecordError(f"{where}: {column.name} is {value!r}, expected {column.dtype}", "convert it before writing")
    if value == NOT_AVAILABLE:
        raise RecordError(f"{where}: {column.name} is the text {value!r}", "use None, or other words")
    if isinstance(value, float) and math.isnan(value):
        raise RecordError(f"{where}: {column.name} is NaN", "use None and give the reason")
    if isinstance(value, (int, float)) and value < 0 and column.name.startswith(("bytes_", "num_", "context_")):
        raise RecordError(f"{where}: {column.name} is {value}", "counts and sizes are not negative")


def write_points(path: Path, rows: Iterable[Row]) -> None:
    """Write ``points.csv`` atomically, in the given order. Raises ``RecordError`` as :func:`check_row` does."""
    write_rows(path, rows, POINT_COLUMNS)


def recorded_reason(text: str) -> str:
    """Return an error as tables may contain it: as on the terminal, without the folders of this machine.

    A path below the working directory becomes relative to it, as in ``results/data/assets``. Any other path keeps only
    its last part, as in ``…/vgg16.pth``. A path outside the working directory is recognised up to its first space.
    """
    here = Path.cwd().as_posix().rstrip("/")
    if here:
        text = re.sub(rf"(?<![\w./~-]){re.escape(here)}/(?=[^\s/])", "", text)
    return _ABSOLUTE_PATH.sub(lambda found: f"…/{found[0].rstrip('/').rpartition('/')[2]}", text)


def read_points(path: Path) -> list[dict[str, Value]]:
    """Read and check ``points.csv``; ``not available`` becomes ``None``.

    Raises:
        RecordError: as :func:`check_row`; also where a number cannot be read or the file is missing.
    """
    return read_rows(path, POINT_COLUMNS)


def write_views(path: Path, rows: Iterable[Row]) -> None:
    """Write ``views.csv`` atomically. Raises ``RecordError`` as :func:`check_row` does."""
    write_rows(path, rows, VIEW_COLUMNS)


def read_views(path: Path) -> list[dict[str, Value]]:
    """Read and check ``views.csv``; as :func:`read_points`."""
    return read_rows(path, VIEW_COLUMNS)


def format_value(value: Value) -> str:
    """Return the text of a value; floats have the fewest digits that give the same number again.

    >>> format_value(0.1), format_value(None)
    ('0.1', 'not available')
    """
    if value is None:
        return NOT_AVAILABLE
    return repr(float(value)) if isinstance(value, float) else str(value)


def parse_value(cell: str, column: Column) -> Value:
    """Return the value of a cell. Raise ``ValueError`` if the text is not a number of the column's type.

    >>> parse_value("3", Column("seed", "int", "", "seed of the training"))
    3
    """
    if cell == NOT_AVAILABLE:
        return None
    if column.dtype == "text":
        return cell
    return int(cell) if column.dtype == "int" else float(cell)


def write_rows(path: Path, rows: Iterable[Row], columns: Sequence[Column]) -> None:
    """Write a table of checked rows atomically. The analysis writes its summaries in the same form.

    If only some rows have a section, the others get its columns with zero bytes and no ideal bits.
    """
    listed = with_all_sections(rows, columns)
    columns = with_sections(columns, listed[0] if listed else ())
    for number, row in enumerate(listed, start=1):
        check_row(row, columns, f"{path}, row {number}")
    names = [column.name for column in columns]
    write_text(path, csv_text([names, *([format_value(row[name]) for name in names] for row in listed)]))


def read_rows(path: Path, columns: Sequence[Column]) -> list[dict[str, Value]]:
    """Read a table that :func:`write_rows` wrote. Raises ``RecordError`` as :func:`read_points` does.

    The column of an optional metric may be missing: the file may be older than the metric.
    """
    try:
        with Path(path).open(encoding="utf-8", newline="") as file:
            table = list(csv.reader(file, strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as fault:
        raise RecordError(f"{path} cannot be read: {fault}", "make the file again") from fault
    header, lines = (table[0], table[1:]) if table else ([], [])
    columns = with_sections(columns, header)
    by_name = {column.name: column for column in columns}
    later = [name for name, spec in METRICS.items() if name in by_name and name not in header and not spec.required]
    rows = []
    for number, cells in enumerate(lines, start=1):
        where = f"{path}, row {number}"
        if len(cells) != len(header):
            raise RecordError(f"{where}: {len(cells)} cells under {len(header)} columns", "make the file again")
        row: dict[str, Value] = dict.fromkeys(later)
        for name, cell in zip(header, map(unquoted, cells), strict=True):
            try:
                row[name] = parse_value(cell, by_name[name]) if name in by_name else cell
            except ValueError as fault:
                raise RecordError(f"{where}: {name} is {cell!r}, no number", "make the file again") from fault
        check_row(row, columns, where)
        rows.append(row)
    if not rows:
        _check_names([*header, *later], columns, f"{path}, header")
    return rows

"""What a method costs: time to train, to code and to render, memory, and weights stored with a scene.

Owns the columns of ``complexity.csv``. A method that is trained once per rate pays for every rate; one model that
serves all rates pays once. That difference is what the table is about.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from hemgs.analysis.means import Cell
from hemgs.analysis.points import numbers
from hemgs.core.records import Column, Row, Value

#: Columns of ``summary/complexity.csv``: one row per method and data set, means per scene.
COMPLEXITY_COLUMNS: tuple[Column, ...] = (
    Column("method", "text", "", "method or variant id", required=True),
    Column("dataset", "text", "", "dataset id", required=True),
    Column("hole", "text", "", "why there are no means; empty where there are"),
    Column("iterations", "int", "", "training iterations of one model, where all have the same"),
    Column("num_rates", "int", "", "rates offered", required=True),
    Column("num_models", "int", "", "models trained per scene to offer them", required=True),
    Column("train_s", "float", "s", "wall time to train one model"),
    Column("train_all_rates_s", "float", "s", "wall time to train every model a scene needs"),
    Column("networks_bytes", "float", "B", "weights of networks stored with a scene, one model"),
    Column("networks_all_rates_bytes", "float", "B", "the same for every model a scene needs"),
    Column("encode_s", "float", "s", "wall time to encode one rate"),
    Column("decode_s", "float", "s", "wall time to decode one rate"),
    Column("render_s", "float", "s", "wall time to render one view"),
    Column("fps", "float", "1/s", "views rendered per second"),
    Column("train_peak_mib", "float", "MiB", "largest peak memory of a training"),
    Column("encode_peak_mib", "float", "MiB", "largest peak memory of an encoding"),
    Column("decode_peak_mib", "float", "MiB", "largest peak memory of a decoding"),
    Column("hardware", "text", "", "processors or GPUs it was measured on"),
)


def complexity_rows(all_cells: Sequence[Cell]) -> list[Row]:
    """Rows of ``complexity.csv``, in the order of the cells."""
    groups: dict[tuple[str, str], list[Cell]] = {}
    for cell in all_cells:
        groups.setdefault((cell.method, cell.dataset), []).append(cell)
    return [_row(method, dataset, group) for (method, dataset), group in groups.items()]


def _row(method: str, dataset: str, group: Sequence[Cell]) -> Row:
    rows = [row for cell in group for row in cell.rows]
    hole = next((cell.hole for cell in group if cell.hole), "")
    # One row per training: rates of one model repeat its figures.
    models = list({(row["scene"], row["seed"], row["fit"]): row for row in rows}.values())
    num_models = len({row["fit"] for row in models})
    row: dict[str, Value] = dict.fromkeys((column.name for column in COMPLEXITY_COLUMNS), None)
    row |= {"method": method, "dataset": dataset, "hole": hole, "num_rates": len(group), "num_models": num_models}
    row["hardware"] = "; ".join(sorted({str(each["hardware"]) for each in rows}))
    row["iterations"] = (
        next(iter(iterations)) if len(iterations := {each["iterations"] for each in models}) == 1 else None
    )
    if hole:
        return row
    row["train_s"] = _mean(numbers(models, "train_s"))
    row["networks_bytes"] = _mean(numbers(rows, "bytes_networks"))
    row["train_all_rates_s"] = _times(row["train_s"], num_models)
    row["networks_all_rates_bytes"] = _times(row["networks_bytes"], num_models)
    for name in ("encode_s", "decode_s", "render_s", "fps"):
        row[name] = _mean(numbers(rows, name))
    for name in ("train_peak_mib", "encode_peak_mib", "decode_peak_mib"):
        values = numbers(rows, name)
        row[name] = max(values) if values else None
    return row


def _mean(values: Sequence[float] | None) -> float | None:
    return math.fsum(values) / len(values) if values else None


def _times(value: Value, count: int) -> float | None:
    return None if value is None else float(value) * count

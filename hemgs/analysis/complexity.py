"""What a method costs: time to train, to code and to render, memory, and weights stored with a scene.

Owns the columns of ``complexity.csv``. A method that is trained once per rate pays for every rate; one model that
serves all rates pays once. That difference is what the table is about.
"""

from __future__ import annotations

import math
from statistics import fmean

import pandas as pd

from hemgs.analysis.points import rows_of
from hemgs.core.records import Column, Row

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


def complexity_rows(planned: pd.DataFrame) -> list[Row]:
    """Rows of ``complexity.csv`` from the planned points, in their order."""
    key = ["method", "dataset"]
    measured = planned.dropna(subset="status")
    groups = planned.groupby(key, sort=False)
    # One line per training: rates of one model repeat its figures.
    models = measured.drop_duplicates([*key, "scene", "seed", "fit"], keep="last").groupby(key)
    means = groups[["bytes_networks", "encode_s", "decode_s", "render_s", "fps"]].agg(fmean)
    table = means.join(groups[["train_peak_mib", "encode_peak_mib", "decode_peak_mib"]].max(skipna=False))
    table["hole"] = groups["hole"].agg(lambda holes: next(filter(None, holes), ""))
    table["hardware"] = measured.groupby(key)["hardware"].agg(lambda names: "; ".join(sorted(names.dropna().unique())))
    table["iterations"] = models["iterations"].first().where(models["iterations"].nunique() == 1)
    table["num_rates"] = groups["rate"].nunique()
    table["num_models"] = models["fit"].nunique().reindex(table.index, fill_value=0)
    table["train_s"] = models["train_s"].agg(fmean)
    table.loc[table["hole"] != "", "train_s"] = math.nan
    table["train_all_rates_s"] = table["train_s"] * table["num_models"]
    table["networks_all_rates_bytes"] = table["bytes_networks"] * table["num_models"]
    table = table.rename(columns={"bytes_networks": "networks_bytes"}).fillna({"hardware": ""})
    return rows_of(table, COMPLEXITY_COLUMNS)

"""Means over the scenes and seeds of a dataset, or the reason for a missing mean.

Owns the rule that nothing is averaged over an incomplete set, and the columns of ``datasets.csv``, ``storage.csv`` and
``complexity.csv``. ``complexity.csv`` shows the cost of all rates. A method that is trained once per rate needs a
training for each, and a model for all rates needs one. Does not own comparisons between methods (``bdrate``,
``parity``).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from statistics import fmean, stdev

import pandas as pd

from hemgs.analysis.plan import Plan
from hemgs.analysis.points import FAILURE_COLUMNS, Points, frame_of, rows_of, series_of
from hemgs.core.catalogue import CONTAINER, METRICS, SECTIONS
from hemgs.core.records import POINT_COLUMNS, Column, Row, with_sections

#: Keys of a mean over scenes and seeds.
_CELL = ["method", "dataset", "rate"]
_SHARED = ["lmbda", "iterations"]
#: Numeric columns of a point that are not averaged.
_NOT_AVERAGED = ("schema_version", "seed", *_SHARED)

_KEY = (
    Column("method", "text", "", "method or variant id", required=True),
    Column("dataset", "text", "", "dataset id", required=True),
)
_RATE = (
    Column("rate", "text", "", "rate id", required=True),
    Column("lmbda", "float", "", "rate–distortion trade-off"),
)
#: Half of the distance between the smallest and the largest mean of any seed; not available with one seed.
SPREAD_COLUMNS = (
    Column("bytes_total_half_range", "float", "B", "half of the range over seeds of the mean over scenes"),
    Column("psnr_half_range", "float", "dB", "half of the range over seeds of the mean over scenes"),
)
_HOLE = Column("hole", "text", "", "reason for missing means, else empty")
#: Columns of points.csv that are averaged into datasets.csv, in addition to bytes and quality.
_MEAN_COLUMNS = ("train_s", "encode_s", "decode_s", "render_s", "fps", "num_anchors", "num_gaussians")

#: Columns of ``summary/datasets.csv``: one row per method, dataset and rate.
DATASET_COLUMNS: tuple[Column, ...] = (
    *_KEY,
    *_RATE,
    Column("iterations", "int", "", "training iterations, where all scenes have the same"),
    Column("num_scenes", "int", "", "scenes measured with every seed", required=True),
    Column("num_scenes_planned", "int", "", "scenes the mean is over", required=True),
    Column("num_seeds", "int", "", "seeds per scene", required=True),
    _HOLE,
    Column("bytes_total", "float", "B", "mean length of the files"),
    Column("bytes_total_std", "float", "B", "standard deviation between seeds of the mean over scenes"),
    SPREAD_COLUMNS[0],
    *(Column(spec.id, "float", spec.unit, f"mean {spec.id}") for spec in METRICS.values()),
    Column("psnr_std", "float", "dB", "standard deviation between seeds of the mean over scenes"),
    SPREAD_COLUMNS[1],
    *(
        Column(name, "float", "1/s" if name == "fps" else "s" if name.endswith("_s") else "", f"mean {name}")
        for name in _MEAN_COLUMNS
    ),
    Column("scenes_psnr", "text", "", "PSNR of each scene, in dB"),
    Column("remarks", "text", "", "reasons for single missing values"),
)

#: Columns of ``summary/storage.csv``: one row per method, dataset and rate.
STORAGE_COLUMNS: tuple[Column, ...] = (
    *_KEY,
    *_RATE,
    _HOLE,
    Column("bytes_total", "float", "B", "mean length of the files"),
    SPREAD_COLUMNS[0],
    *(Column(f"bytes_{name}", "float", "B", "mean bytes, sections add up to the total") for name in SECTIONS),
    Column("estimated_bits", "float", "bit", "mean ideal code length of the entropy-coded sections"),
    Column("coded_bits", "float", "bit", "mean length of the entropy-coded sections"),
    *(Column(f"estimated_bits_{name}", "float", "bit", "mean ideal bits") for name in SECTIONS if name != CONTAINER),
    Column("psnr", "float", "dB", "mean PSNR"),
    SPREAD_COLUMNS[1],
    Column("ssim", "float", "", "mean SSIM"),
)

#: Columns of ``summary/complexity.csv``: one row per method and dataset, means per scene.
COMPLEXITY_COLUMNS: tuple[Column, ...] = (
    Column("method", "text", "", "method or variant id", required=True),
    Column("dataset", "text", "", "dataset id", required=True),
    Column("hole", "text", "", "reason for missing means, else empty"),
    Column("iterations", "int", "", "training iterations of one model, if all have the same number"),
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


def planned_points(plan: Plan, points: Points) -> pd.DataFrame:
    """Return one line per planned point, in the order of the plan.

    The table has the columns of ``points.csv``, where ``method`` is the variant if there is one. The column ``hole``
    contains the reason for a missing mean over the dataset at this rate, else it is empty. All values of a point that
    was not measured are missing, so every mean over it is missing, too.
    """
    point = [*_CELL, "scene", "seed"]
    order = {"dataset": [known.id for known in plan.datasets], "method": [known.id for known in plan.methods]}
    wanted = pd.DataFrame(
        [(fit.method, fit.dataset, rate, fit.scene, fit.seed) for fit in plan.fits for rate in fit.rates],
        columns=point,
    ).sort_values([*order], key=lambda ids: ids.map(order[ids.name].index))
    found = frame_of(points.rows, points.columns).assign(method=[series_of(row) for row in points.rows])
    planned = wanted.merge(found.astype(dict.fromkeys(_averaged(found), float)), how="left", on=point, validate="1:1")
    failures = frame_of(points.failures, FAILURE_COLUMNS)
    holes = {key: _hole(key, cell, failures) for key, cell in planned.groupby(_CELL)}
    return planned.join(pd.Series(holes, name="hole", dtype="str").rename_axis(_CELL), on=_CELL)


def _averaged(planned: Iterable[str]) -> list[str]:
    """Return the columns of ``points.csv`` with measured values, including sections that only a codec knows."""
    columns = with_sections(POINT_COLUMNS, planned)
    return [column.name for column in columns if column.dtype != "text" and column.name not in _NOT_AVERAGED]


def _hole(key: tuple[str, str, str], cell: pd.DataFrame, failures: pd.DataFrame) -> str:
    method, dataset, rate = key
    lacking = cell.loc[cell["status"].isna(), "scene"].unique()
    if not len(lacking):
        return ""
    own = failures[(failures["method"] == method) & (failures["dataset"] == dataset)]
    reasons = own[own["rate"].isin([rate, "all"])].groupby("scene")["reason"].unique().map("; ".join)
    texts = ", ".join(f"{scene} ({reasons.get(scene, 'no row')})" for scene in lacking)
    return f"{len(lacking)} of {cell['scene'].nunique()} scenes missing: {texts}"


def means_of(planned: pd.DataFrame) -> pd.DataFrame:
    """Return the mean of every figure over seeds, per scene and for the scene ``mean``; missing in a hole.

    The index is method, dataset, rate and scene. The table has λ and iterations where all points have the same,
    ``hole``, and half of the range over seeds for the columns of :data:`SPREAD_COLUMNS`.
    """
    absent = (planned["scene"] + " is missing").where(planned["status"].isna(), "")
    both = pd.concat([planned.assign(scene="mean"), planned.assign(hole=absent)])
    groups = both.groupby([*_CELL, "scene"], sort=False)
    # fmean rounds once, so the order of values has no effect. The mean of pandas differs in the last digit.
    means = groups[_averaged(planned)].agg(fmean)
    means[_SHARED] = groups[_SHARED].first().where(groups[_SHARED].nunique() == 1)
    means["hole"] = groups["hole"].max()
    by_seed = both.groupby([*_CELL, "scene", "seed"], sort=False)[["bytes_total", "psnr"]].agg(fmean)
    return means.join(by_seed.groupby([*_CELL, "scene"], sort=False).agg(_half_range).add_suffix("_half_range"))


def dataset_rows(planned: pd.DataFrame, means: pd.DataFrame) -> list[Row]:
    """Return rows of ``datasets.csv``."""
    groups = planned.assign(lacking=planned["scene"].where(planned["status"].isna())).groupby(_CELL)
    measured = planned.dropna(subset="status")
    psnr = measured["scene"] + ":" + measured["psnr"].map("{:.2f}".format).astype("str")
    by_seed = planned.groupby([*_CELL, "seed"])[["bytes_total", "psnr"]].agg(fmean)
    table = means.xs("mean", level="scene").join(by_seed.groupby(_CELL).agg(_spread).add_suffix("_std"))
    table["num_scenes_planned"] = groups["scene"].nunique()
    table["num_scenes"] = table["num_scenes_planned"] - groups["lacking"].nunique()
    table["num_seeds"] = groups["seed"].nunique()
    table["scenes_psnr"] = psnr.groupby([measured[name] for name in _CELL]).agg(" ".join)
    table["remarks"] = measured[measured["reason"].str.len() > 0].groupby(_CELL)["reason"].unique().map(" | ".join)
    return rows_of(table.fillna({"scenes_psnr": "", "remarks": ""}), DATASET_COLUMNS)


def storage_rows(means: pd.DataFrame) -> list[Row]:
    """Return rows of ``storage.csv``."""
    return rows_of(means.xs("mean", level="scene"), with_sections(STORAGE_COLUMNS, means.columns))


def complexity_rows(planned: pd.DataFrame) -> list[Row]:
    """Return rows of ``complexity.csv`` from the planned points, in their order."""
    key = ["method", "dataset"]
    measured = planned.dropna(subset="status")
    groups = planned.groupby(key, sort=False)
    # One line per training, since the rates of one model repeat its values.
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


def _spread(means: pd.Series) -> float:
    """Return the standard deviation between seeds; missing with fewer than two, or where one is infinite."""
    return stdev(means) if len(means) > 1 and means.map(math.isfinite).all() else math.nan


def _half_range(means: pd.Series) -> float:
    """Return half of the range over seeds; missing in the same cases as in :func:`_spread`."""
    return (max(means) - min(means)) / 2 if len(means) > 1 and means.map(math.isfinite).all() else math.nan

"""Means over the scenes and seeds of a data set, or the reason why there is none.

Owns the rule that nothing is averaged over an incomplete set, and the columns of ``datasets.csv`` and ``storage.csv``.
Does not own comparisons between methods (``bdrate``, ``parity``) or print.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from hemgs.analysis.plan import Plan
from hemgs.analysis.points import Points, common, numbers, series_of
from hemgs.core.records import QUALITY_COLUMNS, SECTION_COLUMNS, Column, Row, Value

_KEY = (
    Column("method", "text", "", "method or variant id", required=True),
    Column("dataset", "text", "", "dataset id", required=True),
)
_RATE = (
    Column("rate", "text", "", "rate id", required=True),
    Column("lmbda", "float", "", "rate–distortion trade-off"),
)
_HOLE = Column("hole", "text", "", "why there are no means; empty where there are")
#: Columns of points.csv that are averaged into datasets.csv, besides bytes and quality.
_MEAN_COLUMNS = ("train_s", "encode_s", "decode_s", "render_s", "fps", "num_anchors", "num_gaussians")

#: Columns of ``summary/datasets.csv``: one row per method, data set and rate.
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
    *(Column(name, "float", "dB" if name == "psnr" else "", f"mean {name}") for name in QUALITY_COLUMNS),
    Column("psnr_std", "float", "dB", "standard deviation between seeds of the mean over scenes"),
    *(
        Column(name, "float", "1/s" if name == "fps" else "s" if name.endswith("_s") else "", f"mean {name}")
        for name in _MEAN_COLUMNS
    ),
    Column("scenes_psnr", "text", "", "PSNR of each scene, in dB"),
    Column("remarks", "text", "", "why single figures are not available"),
)

#: Columns of ``summary/storage.csv``: one row per method, data set and rate.
STORAGE_COLUMNS: tuple[Column, ...] = (
    *_KEY,
    *_RATE,
    _HOLE,
    Column("bytes_total", "float", "B", "mean length of the files"),
    *(Column(name, "float", "B", f"mean {name}, sections add up to the total") for name in SECTION_COLUMNS),
    Column("estimated_bits", "float", "bit", "mean ideal code length of the entropy-coded sections"),
    Column("coded_bits", "float", "bit", "mean length of the entropy-coded sections"),
    Column("psnr", "float", "dB", "mean PSNR"),
    Column("ssim", "float", "", "mean SSIM"),
)


@dataclass(frozen=True)
class Cell:
    """All points of one method at one rate on one data set.

    Attributes:
        rows: measured points, one per scene and seed.
        hole: why a mean over them is not allowed; empty if it is.
        num_scenes: scenes complete with every seed; ``num_planned`` of them belong to the mean.
    """

    method: str
    dataset: str
    rate: str
    rows: tuple[Row, ...]
    hole: str
    num_scenes: int
    num_planned: int
    num_seeds: int

    def mean(self, name: str) -> float | None:
        """Mean of a column over scenes and seeds; ``None`` in a hole or where any value is missing."""
        values = None if self.hole else numbers(self.rows, name)
        return math.fsum(values) / len(values) if values else None

    def seed_std(self, name: str) -> float | None:
        """Standard deviation between seeds of the mean over scenes; ``None`` with fewer than two seeds."""
        if self.hole or self.num_seeds < 2:
            return None
        by_seed = [numbers([row for row in self.rows if row["seed"] == seed], name) for seed in self._seeds()]
        means = [math.fsum(values) / len(values) for values in by_seed if values]
        return statistics.stdev(means) if len(means) == self.num_seeds else None

    def common(self, name: str) -> Value:
        """The value all points share, else ``None``."""
        return common(self.rows, name)

    def _seeds(self) -> list[Value]:
        return sorted({row["seed"] for row in self.rows}, key=str)


def cells(plan: Plan, points: Points) -> list[Cell]:
    """Every planned (method, data set, rate), in the order of the plan, with its points or its hole."""
    wanted: dict[tuple[str, str, str], list[tuple[str, int]]] = {}
    for fit in plan.fits:
        for rate in fit.rates:
            wanted.setdefault((fit.method, fit.dataset, rate), []).append((fit.scene, fit.seed))
    found: dict[tuple[str, str, str], dict[tuple[str, int], Row]] = {}
    for row in points.rows:
        key = (series_of(row), str(row["dataset"]), str(row["rate"]))
        found.setdefault(key, {})[(str(row["scene"]), int(row["seed"] or 0))] = row
    rank = {method.id: number for number, method in enumerate(plan.methods)}
    order = {dataset.id: number for number, dataset in enumerate(plan.datasets)}
    keys = sorted(wanted, key=lambda key: (order.get(key[1], len(order)), rank.get(key[0], len(rank))))
    return [_cell(key, wanted[key], found.get(key, {}), points) for key in keys]


def _cell(
    key: tuple[str, str, str],
    wanted: Sequence[tuple[str, int]],
    found: dict[tuple[str, int], Row],
    points: Points,
) -> Cell:
    method, dataset, rate = key
    missing = [pair for pair in wanted if pair not in found]
    scenes = list(dict.fromkeys(scene for scene, _ in wanted))
    lacking = list(dict.fromkeys(scene for scene, _ in missing))
    hole = ""
    if missing:
        reasons = _reasons(key, lacking, points)
        hole = f"{len(lacking)} of {len(scenes)} scenes missing: {reasons}"
    return Cell(
        method=method,
        dataset=dataset,
        rate=rate,
        rows=tuple(found[pair] for pair in wanted if pair in found),
        hole=hole,
        num_scenes=len(scenes) - len(lacking),
        num_planned=len(scenes),
        num_seeds=len({seed for _, seed in wanted}),
    )


def _reasons(key: tuple[str, str, str], scenes: Sequence[str], points: Points) -> str:
    method, dataset, rate = key
    texts = []
    for scene in scenes:
        because = [
            str(failure["reason"])
            for failure in points.failures
            if (failure["method"], failure["dataset"], failure["scene"]) == (method, dataset, scene)
            and failure["rate"] in (rate, "all")
        ]
        texts.append(f"{scene} ({'; '.join(dict.fromkeys(because)) or 'no row'})")
    return ", ".join(texts)


def dataset_rows(all_cells: Sequence[Cell]) -> list[Row]:
    """Rows of ``datasets.csv``."""
    rows: list[Row] = []
    for cell in all_cells:
        row: dict[str, Value] = {
            **_identity(cell),
            "iterations": cell.common("iterations"),
            "num_scenes": cell.num_scenes,
            "num_scenes_planned": cell.num_planned,
            "num_seeds": cell.num_seeds,
            "hole": cell.hole,
            "bytes_total": cell.mean("bytes_total"),
            "bytes_total_std": cell.seed_std("bytes_total"),
            "psnr_std": cell.seed_std("psnr"),
            "scenes_psnr": " ".join(f"{row['scene']}:{float(row['psnr'] or 0):.2f}" for row in cell.rows),
            "remarks": " | ".join(dict.fromkeys(str(row["reason"]) for row in cell.rows if row["reason"])),
        }
        row |= {name: cell.mean(name) for name in (*QUALITY_COLUMNS, *_MEAN_COLUMNS)}
        rows.append(row)
    return rows


def storage_rows(all_cells: Sequence[Cell]) -> list[Row]:
    """Rows of ``storage.csv``."""
    names = ("bytes_total", *SECTION_COLUMNS, "estimated_bits", "coded_bits", "psnr", "ssim")
    return [{**_identity(cell), "hole": cell.hole, **{name: cell.mean(name) for name in names}} for cell in all_cells]


def _identity(cell: Cell) -> dict[str, Value]:
    return {"method": cell.method, "dataset": cell.dataset, "rate": cell.rate, "lmbda": cell.common("lmbda")}

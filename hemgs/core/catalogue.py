"""The catalogue of everything that the benchmark measures and publishes: metrics, sections, tables and figures.

Columns of ``points.csv``, headings, colours, the page and the files that the workflow expects follow from these
declarations. ``hemgs.metrics`` computes the metrics, and ``hemgs.analysis.tables`` makes the tables.

To add a metric, declare it in :data:`METRICS` and write the function that its ``entry`` names. To add a table, add its
id to :data:`TABLES` and write ``hemgs/analysis/tables/<id>.py``.

A section needs no declaration, because its codec may be outside this repository. The codec names the sections of its
files. :func:`section_of` derives a label and a colour from a name that :data:`SECTIONS` does not list. Results can
therefore be published where the codec is not installed. Declare a section here when several methods share it, or when a
published table counts it in a column of its own.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

Better = Literal["higher", "lower", ""]


@dataclass(frozen=True)
class MetricSpec:
    """A quality metric: a column of ``points.csv`` and ``views.csv``.

    Attributes:
        id: name of the column, lower snake_case.
        label: in headings, without the unit.
        description: one line.
        better: which direction is better.
        entry: ``package.module:function``. The function takes a torch device and returns metrics by id. A metric takes
            two images, ``[H, W, 3] float32`` in [0, 1], and returns a scalar tensor. For views with a mask it is given
            that too, ``[H, W] bool``, and measures the pixels where it is true (``hemgs.metrics.metric.Metric``).
        unit: empty for a number without one.
        decimals: in print.
        required: whether every measured point has a value. Other metrics may lack weights on some machines.
        in_bd_rate: whether curves are compared at equal values of it.
        min_side: smallest width and height in pixels that it can be computed on.
    """

    id: str
    label: str
    description: str
    better: Literal["higher", "lower"]
    entry: str
    unit: str = ""
    decimals: int = 3
    required: bool = False
    in_bd_rate: bool = True
    min_side: int = 1

    @property
    def heading(self) -> str:
        """The label with its unit.

        >>> METRICS["psnr"].heading
        'PSNR [dB]'
        """
        return f"{self.label} [{self.unit}]" if self.unit else self.label


@dataclass(frozen=True)
class SectionSpec:
    """A section of bitstreams: the columns ``bytes_<id>`` and ``estimated_bits_<id>`` of ``points.csv``.

    Attributes:
        id: as in the file, lower snake_case.
        label: in headings.
        color: ``#rrggbb``, in the chart of bytes.
        description: one line.
        counts_as: the quantity of published tables that contains it. Table 5 of HEMGS (arXiv 2411.18473) prints
            locations, features, scalings and offsets, and the rest as "others".
        overhead: whether the storage table adds it up under "Other".
    """

    id: str
    label: str
    color: str
    description: str
    counts_as: str = "others"
    overhead: bool = False


#: LPIPS needs this many pixels on each side. With fewer, the third pooling of its networks has no input left.
_LPIPS_MIN_SIDE = 17
#: Metrics by id, in the order of columns and tables. Different variants of LPIPS are different quantities.
METRICS: Mapping[str, MetricSpec] = {
    spec.id: spec
    for spec in (
        MetricSpec(
            "psnr",
            "PSNR",
            "peak signal-to-noise ratio of 8-bit views, peak 1",
            "higher",
            "hemgs.metrics.psnr:load",
            unit="dB",
            decimals=2,
            required=True,
        ),
        MetricSpec(
            "ssim",
            "SSIM",
            "structural similarity, 11 x 11 Gaussian window, sigma 1.5, zero padding",
            "higher",
            "hemgs.metrics.ssim:load",
            required=True,
        ),
        MetricSpec(
            "lpips_vgg_unit",
            "LPIPS-VGG [0,1]",
            "LPIPS with VGG-16 on [0, 1] input, not rescaled: the papers' convention",
            "lower",
            "hemgs.metrics.lpips:load_vgg",
            min_side=_LPIPS_MIN_SIDE,
        ),
        MetricSpec(
            "lpips_vgg",
            "LPIPS-VGG",
            "LPIPS with VGG-16 on input rescaled to [-1, 1]",
            "lower",
            "hemgs.metrics.lpips:load_vgg",
            min_side=_LPIPS_MIN_SIDE,
        ),
        MetricSpec(
            "lpips_squeeze",
            "LPIPS-SqueezeNet",
            "LPIPS with SqueezeNet 1.1 on input rescaled to [-1, 1]",
            "lower",
            "hemgs.metrics.lpips:load_squeeze",
            min_side=_LPIPS_MIN_SIDE,
        ),
    )
}

#: Sections by id. Colours are warm for geometry, cold for appearance, and grey for sections that every file has.
SECTIONS: Mapping[str, SectionSpec] = {
    spec.id: spec
    for spec in (
        SectionSpec("locations", "Locations", "#D55E00", "positions of anchors or Gaussians", "locations"),
        SectionSpec("colors", "Colours", "#56B4E9", "spherical harmonics or other colours"),
        SectionSpec("opacities", "Opacities", "#8CC9C0", "opacities"),
        SectionSpec("rotations", "Rotations", "#B8860B", "rotations"),
        SectionSpec("masks", "Masks", "#CC79A7", "which offsets of an anchor exist"),
        SectionSpec("hash_grid", "Hash grid", "#009E73", "binary hash grid of the hyperprior"),
        SectionSpec("networks", "Networks", "#332288", "weights of every network stored with the scene"),
        SectionSpec("features", "Features", "#0072B2", "anchor features", "features"),
        SectionSpec("scalings", "Scalings", "#E69F00", "scalings of anchors or Gaussians", "scalings"),
        SectionSpec("offsets", "Offsets", "#F0C95A", "offsets of an anchor's Gaussians", "offsets"),
        SectionSpec(
            "settings",
            "Settings",
            "#777777",
            "bounds, counts, rate, hyper-parameters the decoder needs",
            overhead=True,
        ),
        SectionSpec("container", "Container", "#AAAAAA", "header, section table and checksums", overhead=True),
        SectionSpec(
            "other", "Other", "#CCCCCC", "sections that an earlier version did not record by name", overhead=True
        ),
    )
}
#: The section that the container's own bytes are counted as; it is never entropy-coded.
CONTAINER = "container"
#: Sections that an entropy model decides; the others are equal for all entropy models fitted to the same symbols.
MODEL_SECTIONS = ("hash_grid", "networks", "features", "scalings", "offsets")
#: Colours of sections that are not declared; none of them is in :data:`SECTIONS`.
_SPARE_COLORS = ("#88CCEE", "#44AA99", "#999933", "#882255", "#AA4499", "#6699CC", "#661100", "#DDCC77")

#: Tables that a benchmark publishes by default, in the order in which they are shown.
TABLES = (
    "quality",
    "bdrate",
    "bdrate_matrix",
    "ablation",
    "context",
    "storage",
    "coder_cost",
    "complexity",
    "parity",
)
#: Tables that need additional jobs. They are made only if a benchmark lists them.
ON_REQUEST_TABLES = ("refit",)
#: Formats in which each table is written, and each figure.
TABLE_FORMATS = ("csv", "md", "tex")
FIGURE_FORMATS = ("pdf", "svg", "png", "csv")
#: CSV files of ``results/summary``, in addition to ``points.csv``.
SUMMARY_FILES = ("datasets", "bdrate", "parity", "complexity", "storage", "ablation", "context", "failures")


def section_of(name: str) -> SectionSpec:
    """Return the declared section of that name, or one derived from the name.

    A derived section has the same label and colour wherever it occurs, and counts as "others".

    >>> section_of("hash_grid").label, section_of("code_books").label
    ('Hash grid', 'Code books')
    """
    if name in SECTIONS:
        return SECTIONS[name]
    color = _SPARE_COLORS[zlib.crc32(name.encode()) % len(_SPARE_COLORS)]
    return SectionSpec(name, name.replace("_", " ").capitalize(), color, f"section {name} of the codec")


def figure_stems(datasets: Iterable[str], variable_rate: bool, visual: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """Return the names of all figures, without suffix.

    Args:
        datasets: ids of the datasets that are published.
        variable_rate: whether a method with a variable rate is drawn.
        visual: (dataset, scene) of every visual comparison.

    >>> figure_stems(["demo"], True, [("demo", "knot")])
    ('rd_demo', 'variable_rate', 'visual_demo_knot')
    """
    return (
        *(f"rd_{dataset}" for dataset in datasets),
        *(("variable_rate",) if variable_rate else ()),
        *(f"visual_{dataset}_{scene}" for dataset, scene in visual),
    )

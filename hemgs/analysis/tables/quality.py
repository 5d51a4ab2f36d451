"""The paper's tables, from the summary.

Owns what stands in which table: quality (layout of Table 1 of HEMGS, arXiv 2411.18473), storage (Table 5), complexity
(Table 6), and parity with published values. Table 2 is ``hemgs.analysis.tables.bdrate``', Tables 3 and 4 are
``hemgs.analysis.tables.ablation``', and what coding costs is ``hemgs.analysis.tables.coder_cost``'. Does not own
rounding and file formats (``hemgs.analysis.tables.table``) or arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hemgs.analysis.ablation import ABLATION_COLUMNS, NEIGHBOUR_COLUMNS
from hemgs.analysis.complexity import COMPLEXITY_COLUMNS
from hemgs.analysis.means import DATASET_COLUMNS, STORAGE_COLUMNS
from hemgs.analysis.pairs import BDRATE_COLUMNS
from hemgs.analysis.parity import PARITY_COLUMNS
from hemgs.analysis.plan import DatasetNames, Style
from hemgs.analysis.points import FAILURE_COLUMNS
from hemgs.analysis.tables.ablation import ablation_sheet, context_sheet
from hemgs.analysis.tables.bdrate import bdrate_sheet, matrix_sheet
from hemgs.analysis.tables.coder_cost import coder_cost_sheet, refit_sheet
from hemgs.analysis.tables.rates import (
    by_key,
    dataset_names,
    iterations_entry,
    lines_of,
    row_label,
    sections_of,
    spread_note,
)
from hemgs.analysis.tables.table import (
    MIB,
    QUALITY_HEADINGS,
    Entry,
    Heading,
    Sheet,
    marked,
    number,
    significant,
    size_mib,
    text,
    with_spread,
)
from hemgs.core.catalogue import METRICS, SectionSpec
from hemgs.core.records import REFIT_COLUMNS, Row, read_points, read_rows

#: Below this, the storage table takes one more decimal.
SMALL_FILE_MIB = 0.3


@dataclass(frozen=True)
class Summary:
    """Everything in ``results/summary``, typed."""

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


def load_summary(folder: Path) -> Summary:
    """Reads the summary. Raises ``RecordError`` where a file is missing or altered."""
    return Summary(
        points=tuple(read_points(folder / "points.csv")),
        datasets=tuple(read_rows(folder / "datasets.csv", DATASET_COLUMNS)),
        storage=tuple(read_rows(folder / "storage.csv", STORAGE_COLUMNS)),
        bdrate=tuple(read_rows(folder / "bdrate.csv", BDRATE_COLUMNS)),
        ablation=tuple(read_rows(folder / "ablation.csv", ABLATION_COLUMNS)),
        context=tuple(read_rows(folder / "context.csv", NEIGHBOUR_COLUMNS)),
        complexity=tuple(read_rows(folder / "complexity.csv", COMPLEXITY_COLUMNS)),
        parity=tuple(read_rows(folder / "parity.csv", PARITY_COLUMNS)),
        failures=tuple(read_rows(folder / "failures.csv", FAILURE_COLUMNS)),
        refit=tuple(row for path in sorted(folder.glob("refit/*/*.csv")) for row in read_rows(path, REFIT_COLUMNS)),
    )


def quality(summary: Summary, style: Style) -> Sheet:
    """Table 1: methods by data sets; PSNR, SSIM, every LPIPS that was measured, size."""
    found = by_key(summary.datasets)
    columns = [name for name in QUALITY_HEADINGS if _measured(summary, name)]
    headings = [Heading("Method", numeric=False), Heading("Iterations", numeric=True)]
    for dataset in style.datasets:
        for title, _, better in (QUALITY_HEADINGS[name] for name in columns):
            headings.append(Heading(title, dataset.label, better))
        headings.append(Heading("Size [MiB]", dataset.label, "lower"))
    rows = []
    for method, rate, ends in lines_of(summary.datasets, style):
        per_dataset = [found.get((method, dataset.id, rate)) for dataset in style.datasets]
        cells = [text(row_label(style, method, rate, ends)), iterations_entry(per_dataset)]
        for row in per_dataset:
            hole = "not planned" if row is None else str(row["hole"])
            for name in columns:
                mean = number(None if row is None else row[name], QUALITY_HEADINGS[name][1], hole)
                cells.append(with_spread(mean, row.get(f"{name}_half_range") if row else None))
            size = size_mib(None if row is None else row["bytes_total"], hole)
            cells.append(with_spread(size, row["bytes_total_half_range"] if row else None, 1 / MIB))
        rows.append(tuple(cells))
    equal = len({row[1].text for row in rows}) < 2
    notes = ["Sizes are MiB (2^20 bytes) of the one file that the decoder opens.", *spread_note(_num_seeds(summary))]
    if not equal:
        notes.append("Best values are not marked: the rows were trained for different numbers of iterations.")
    notes += _remarks(summary.datasets)
    caption = "Quality on decoded scenes and size of the bitstream, means over the scenes of each data set"
    return Sheet("quality", caption, tuple(headings), marked(headings, rows) if equal else tuple(rows), tuple(notes))


def storage(summary: Summary, style: Style) -> Sheet:
    """Table 5: bytes by section, in MiB, with the coder's overhead over the model's own estimate."""
    sections = sections_of(summary.storage)
    used = [s for s in sections if not s.overhead and any(row[f"bytes_{s.id}"] for row in summary.storage)]
    overheads = [f"bytes_{section.id}" for section in sections if section.overhead]
    headings = [Heading("Data set", numeric=False), Heading("Method", numeric=False)]
    headings += [Heading(section.label, "Size [MiB]") for section in used]
    headings += [Heading("Other", "Size [MiB]"), Heading("Total", "Size [MiB]")]
    headings += [Heading("Overhead [%]"), Heading("PSNR [dB]"), Heading("SSIM")]
    found = by_key(summary.storage)
    totals = [float(row["bytes_total"]) for row in summary.storage if row["bytes_total"] is not None]
    # Three decimals as the paper prints them; one more where whole files are small.
    decimals = 4 if totals and min(totals) < SMALL_FILE_MIB * MIB else 3
    rows = []
    for dataset in style.datasets:
        for method, rate, ends in lines_of(summary.storage, style):
            row = found.get((method, dataset.id, rate))
            if row is None:
                continue
            hole = str(row["hole"])
            estimated, coded = row["estimated_bits"], row["coded_bits"]
            overhead = 100 * (float(coded) / float(estimated) - 1) if estimated and coded else None
            rows.append(
                (
                    text(dataset.label),
                    text(row_label(style, method, rate, ends)),
                    *(size_mib(row[f"bytes_{section.id}"], hole, decimals) for section in used),
                    size_mib(_sum(row, overheads), hole, decimals),
                    with_spread(size_mib(row["bytes_total"], hole, decimals), row["bytes_total_half_range"], 1 / MIB),
                    number(overhead, 2, hole or ("" if estimated else "no entropy-coded sections")),
                    with_spread(number(row["psnr"], 2, hole), row["psnr_half_range"]),
                    number(row["ssim"], 3, hole),
                )
            )
        rows += _published_storage(summary.parity, style, dataset, used)
    notes = (
        "MiB (2^20 bytes); sections add up to the file, to the byte, before rounding. Other: header and settings.",
        "Overhead: bits in the file beyond the ideal code length under the model that coded them.",
        *spread_note(_num_seeds(summary)),
    )
    return Sheet("storage", "Storage by section of the bitstream", tuple(headings), tuple(rows), notes)


def _published_storage(
    parity_rows: Iterable[Row], style: Style, dataset: DatasetNames, used: Sequence[SectionSpec]
) -> list[tuple[Entry, ...]]:
    """Published rows of a data set, for methods of this run; ``Others`` hold all that has no column of its own."""
    groups: dict[tuple[str, str, str], dict[str, Row]] = {}
    for row in parity_rows:
        if (row["dataset"], row["scene"]) == (dataset.id, "mean"):
            key = (str(row["method"]), str(row["source"]), str(row["table"]))
            groups.setdefault(key, {})[str(row["metric"])] = row
    rows = []
    for (method, source, table), found in sorted(groups.items(), key=lambda item: style.order_of(item[0][0])):
        if "others_mib" not in found:
            continue
        value = {name: row["published"] for name, row in found.items()}
        origin = " ".join(filter(None, (source, table)))
        reasons = dict.fromkeys(str(row["reason"]) for row in found.values() if row["reason"])
        rows.append(
            (
                text(dataset.label),
                text(f"{style.label_of(method)}, published", "; ".join((origin, *reasons))),
                *(number(value.get(f"{section.id}_mib"), 3, f"{origin}: counted under Other") for section in used),
                *(number(value.get(name), decimals) for name, decimals in (("others_mib", 3), ("size_mib", 3))),
                Entry(None, note="not published"),
                number(value.get("psnr"), 2),
                number(value.get("ssim"), 3),
            )
        )
    return rows


def complexity(summary: Summary, style: Style) -> Sheet:
    """Table 6: what it costs to offer all rates of a scene."""
    headings = (
        Heading("Data set", numeric=False),
        Heading("Method", numeric=False),
        Heading("Iterations"),
        Heading("Rates"),
        Heading("Models"),
        Heading("one model", "Training [min]"),
        Heading("all rates", "Training [min]"),
        Heading("one model", "Networks [MiB]"),
        Heading("all rates", "Networks [MiB]"),
        Heading("encode", "Time [s]"),
        Heading("decode", "Time [s]"),
        Heading("FPS"),
        Heading("Peak [MiB]"),
    )
    order = {dataset.id: rank for rank, dataset in enumerate(style.datasets)}
    lines = sorted(
        (row for row in summary.complexity if row["dataset"] in order),
        key=lambda row: (order[str(row["dataset"])], style.order_of(str(row["method"]))),
    )
    rows = []
    for row in lines:
        hole = str(row["hole"])
        rows.append(
            (
                text(dataset_names(style, str(row["dataset"])).label),
                text(style.label_of(str(row["method"]))),
                number(row["iterations"], 0, "" if row["iterations"] else "differs between models"),
                number(row["num_rates"], 0),
                number(row["num_models"], 0),
                significant(row["train_s"], 3, hole, 1 / 60),
                significant(row["train_all_rates_s"], 3, hole, 1 / 60),
                size_mib(row["networks_bytes"], hole),
                size_mib(row["networks_all_rates_bytes"], hole),
                significant(row["encode_s"], 3, hole),
                significant(row["decode_s"], 3, hole),
                significant(row["fps"], 3, hole),
                number(row["train_peak_mib"], 0, hole),
            )
        )
    hardware = sorted({str(row["hardware"]) for row in lines if row["hardware"]})
    notes = [f"Wall time per scene, measured on {'; '.join(hardware)}."] if hardware else []
    notes.append("A model that serves every rate is trained and stored once; others once per rate.")
    post = [method.label for method in style.methods if method.kind == "post"]
    if post:
        notes.append(f"Iterations and training times of {', '.join(post)} include the model that training starts from.")
    notes.append("FPS: decoded views rendered per second. Peak: largest memory of a training.")
    return Sheet("complexity", "Cost of offering every rate of a scene", headings, tuple(rows), tuple(notes))


def parity(summary: Summary, style: Style) -> Sheet:
    """Our values beside the published ones."""
    headings = (
        Heading("Data set", numeric=False),
        Heading("Scene", numeric=False),
        Heading("Method", numeric=False),
        Heading("Rate", numeric=False),
        Heading("Metric", numeric=False),
        Heading("Published"),
        Heading("Ours"),
        Heading("Difference"),
        Heading("Verdict", numeric=False),
        Heading("Source", numeric=False),
    )
    rows = []
    for row in summary.parity:
        dataset = dataset_names(style, str(row["dataset"]))
        scene = str(row["scene"])
        rows.append(
            (
                text(dataset.label),
                text("mean" if scene == "mean" else dataset.label_of(scene)),
                text(style.label_of(str(row["method"]))),
                text(str(row["rate"])),
                text(_metric_label(str(row["metric"]), str(row["unit"]))),
                significant(row["published"], 4),
                significant(row["ours"], 4, str(row["reason"]) if row["ours"] is None else ""),
                significant(row["difference"], 2),
                text(str(row["verdict"]), str(row["reason"]) if row["ours"] is not None else ""),
                text(" ".join(filter(None, (str(row["source"]), str(row["table"]))))),
            )
        )
    notes = ("Ours: means over seeds.",) if _num_seeds(summary) > 1 else ()
    notes = notes if rows else ("No rows: nothing is published for the data sets of this run.",)
    return Sheet("parity", "Our values beside published ones", headings, tuple(rows), notes)


BUILDERS: Mapping[str, Callable[[Summary, Style], Sheet]] = {
    "quality": quality,
    "bdrate": lambda summary, style: bdrate_sheet(summary.bdrate, style),
    "bdrate_matrix": lambda summary, style: matrix_sheet(summary.bdrate, style),
    "ablation": lambda summary, style: ablation_sheet(summary.ablation, style, summary.bdrate),
    "context": lambda summary, style: context_sheet(summary.context, style),
    "storage": storage,
    "coder_cost": lambda summary, style: coder_cost_sheet(summary.storage, style),
    "complexity": complexity,
    "parity": parity,
    "refit": lambda summary, style: refit_sheet(summary.refit, style),
}


def _sum(row: Row, names: Iterable[str]) -> float | None:
    values = [row[name] for name in names]
    return None if any(value is None for value in values) else sum(float(value or 0) for value in values)


def _metric_label(metric: str, unit: str) -> str:
    """``psnr`` → ``PSNR [dB]``, ``size_mib`` → ``Size [MiB]``."""
    if metric in QUALITY_HEADINGS:
        return QUALITY_HEADINGS[metric][0]
    words = metric.removesuffix("_mib").removesuffix("_h").removesuffix("_percent").replace("_", " ").capitalize()
    return f"{words} [{unit}]" if unit else words


def _num_seeds(summary: Summary) -> int:
    return max((int(row["num_seeds"] or 0) for row in summary.datasets), default=0)


def _measured(summary: Summary, name: str) -> bool:
    """Metrics that every point needs always; others only if some row has them."""
    return METRICS[name].required or any(row[name] is not None for row in summary.datasets)


def _remarks(rows: Iterable[Row]) -> list[str]:
    remarks = dict.fromkeys(part for row in rows for part in str(row["remarks"]).split(" | ") if part)
    return [f"Not available: {remark}" for remark in remarks]

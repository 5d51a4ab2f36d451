"""The paper's tables, from the summary.

Owns what stands in which table: quality (layout of Table 1 of HEMGS, arXiv 2411.18473), bdrate (Table 2), storage
(Table 5), complexity (Table 6), and parity with published values. Tables 3 and 4 are
``hemgs.analysis.ablation_tables``'. Does not own rounding and file formats (``hemgs.analysis.sheet``) or arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hemgs.analysis.ablation import ABLATION_COLUMNS, NEIGHBOUR_COLUMNS
from hemgs.analysis.ablation_tables import ablation_sheet, context_sheet
from hemgs.analysis.bdrate import ANCHOR, BDRATE_COLUMNS
from hemgs.analysis.complexity import COMPLEXITY_COLUMNS
from hemgs.analysis.means import DATASET_COLUMNS, STORAGE_COLUMNS
from hemgs.analysis.parity import PARITY_COLUMNS
from hemgs.analysis.plan import DatasetNames, Style
from hemgs.analysis.points import FAILURE_COLUMNS, lmbda_of
from hemgs.analysis.sheet import (
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
)
from hemgs.core.records import Row, read_points, read_rows

#: Sections that the storage table prints as one.
OVERHEAD_SECTIONS = ("bytes_settings", "bytes_container", "bytes_other")
#: Below this, the storage table takes one more decimal.
SMALL_FILE_MIB = 0.3
SECTION_HEADINGS: Mapping[str, str] = {
    "bytes_locations": "Locations",
    "bytes_features": "Features",
    "bytes_scalings": "Scalings",
    "bytes_offsets": "Offsets",
    "bytes_colors": "Colours",
    "bytes_opacities": "Opacities",
    "bytes_rotations": "Rotations",
    "bytes_masks": "Masks",
    "bytes_hash_grid": "Hash grid",
    "bytes_networks": "Networks",
    "bytes_settings": "Settings",
    "bytes_container": "Container",
    "bytes_other": "Other",
}


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
    )


def end_rates(rows: Iterable[Row]) -> dict[str, tuple[str, ...]]:
    """Method → the rates that tables show: the smallest and the largest file, or the only one."""
    rates: dict[str, set[str]] = {}
    for row in rows:
        rates.setdefault(str(row["method"]), set()).add(str(row["rate"]))
    ends: dict[str, tuple[str, ...]] = {}
    for method, found in rates.items():
        ordered = sorted(found, key=lmbda_of, reverse=True)
        ends[method] = (ordered[0],) if len(ordered) == 1 else (ordered[0], ordered[-1])
    return ends


def row_label(style: Style, method: str, rate: str, ends: Sequence[str]) -> str:
    """``HEMGS, low rate (λ = 0.0040)`` for a method with several rates, else its label."""
    label = style.label_of(method)
    if len(ends) < 2:
        return label
    name = "low rate" if rate == ends[0] else "high rate" if rate == ends[-1] else "rate"
    return f"{label}, {name} (λ = {rate.rpartition('_')[2]})"


def quality(summary: Summary, style: Style) -> Sheet:
    """Table 1: methods by data sets; PSNR, SSIM, every LPIPS that was measured, size."""
    found = _by_key(summary.datasets)
    columns = [name for name in QUALITY_HEADINGS if _measured(summary, name)]
    headings = [Heading("Method", numeric=False), Heading("Iterations", numeric=True)]
    for dataset in style.datasets:
        for title, _, better in (QUALITY_HEADINGS[name] for name in columns):
            headings.append(Heading(title, dataset.label, better))
        headings.append(Heading("Size [MiB]", dataset.label, "lower"))
    rows = []
    for method, rate, ends in _lines(summary.datasets, style):
        per_dataset = [found.get((method, dataset.id, rate)) for dataset in style.datasets]
        cells = [text(row_label(style, method, rate, ends)), _iterations(per_dataset)]
        for row in per_dataset:
            hole = "not planned" if row is None else str(row["hole"])
            for name in columns:
                cells.append(number(None if row is None else row[name], QUALITY_HEADINGS[name][1], hole))
            cells.append(size_mib(None if row is None else row["bytes_total"], hole))
        rows.append(tuple(cells))
    equal = len({row[1].text for row in rows}) < 2
    notes = ["Sizes are MiB (2^20 bytes) of the one file that the decoder opens."]
    if not equal:
        notes.append("Best values are not marked: the rows were trained for different numbers of iterations.")
    notes += _remarks(summary.datasets)
    caption = "Quality on decoded scenes and size of the bitstream, means over the scenes of each data set"
    return Sheet("quality", caption, tuple(headings), marked(headings, rows) if equal else tuple(rows), tuple(notes))


def bdrate(summary: Summary, style: Style) -> Sheet:
    """Table 2: extra bytes at equal PSNR, with overlap and number of points beside each value."""
    headings = [Heading("Method", numeric=False), Heading("Iterations")]
    for dataset in style.datasets:
        headings.append(Heading("BD-rate [%]", dataset.label, "lower"))
        headings.append(Heading("Overlap [dB]", dataset.label))
        headings.append(Heading("Points", dataset.label))
    wanted = [r for r in summary.bdrate if (r["scene"], r["metric"], r["interpolation"]) == ("mean", "psnr", "pchip")]
    found = {(row["method"], row["dataset"]): row for row in wanted}
    methods = sorted({str(row["method"]) for row in wanted}, key=style.order_of)
    rows = []
    for method in methods:
        per_dataset = [found.get((method, dataset.id)) for dataset in style.datasets]
        cells = [text(style.label_of(method)), _iterations(per_dataset, "iterations_method")]
        for row in per_dataset:
            hole = "not planned" if row is None else str(row["hole"])
            for name in (ANCHOR, method):
                hole = hole.replace(f"{name}: ", f"{style.label_of(name)}: ")
            cells.append(number(None if row is None else row["percent"], 2, hole))
            if row is None or row["percent"] is None:
                cells += [Entry(None), Entry(None)]
            else:
                cells.append(text(f"{float(row['low'] or 0):.2f}–{float(row['high'] or 0):.2f}"))
                cells.append(text(f"{row['num_points_method']}/{row['num_points_anchor']}"))
        rows.append(tuple(cells))
    anchor = style.label_of(ANCHOR)
    trained = _iterations(wanted, "iterations_anchor").text
    notes = [
        f"Positive: more bytes than {anchor} at equal PSNR. Log size over PSNR by PCHIP, integrated over the overlap; "
        f"points of the method / of {anchor} that were used.",
    ]
    if trained:
        notes.append(f"{anchor} was trained for {trained} iterations.")
    if not rows:
        notes.append(f"No rows: no method besides {anchor} has several rates.")
    caption = f"Bjøntegaard delta rate against {anchor}"
    return Sheet("bdrate", caption, tuple(headings), tuple(rows), tuple(notes))


def storage(summary: Summary, style: Style) -> Sheet:
    """Table 5: bytes by section, in MiB, with the coder's overhead over the model's own estimate."""
    named = [name for name in SECTION_HEADINGS if name not in OVERHEAD_SECTIONS]
    used = [name for name in named if any(row[name] for row in summary.storage)]
    headings = [Heading("Data set", numeric=False), Heading("Method", numeric=False)]
    headings += [Heading(SECTION_HEADINGS[name], "Size [MiB]") for name in used]
    headings += [Heading("Other", "Size [MiB]"), Heading("Total", "Size [MiB]")]
    headings += [Heading("Overhead [%]"), Heading("PSNR [dB]"), Heading("SSIM")]
    found = _by_key(summary.storage)
    totals = [float(row["bytes_total"]) for row in summary.storage if row["bytes_total"] is not None]
    # Three decimals as the paper prints them; one more where whole files are small.
    decimals = 4 if totals and min(totals) < SMALL_FILE_MIB * MIB else 3
    rows = []
    for dataset in style.datasets:
        for method, rate, ends in _lines(summary.storage, style):
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
                    *(size_mib(row[name], hole, decimals) for name in used),
                    size_mib(_sum(row, OVERHEAD_SECTIONS), hole, decimals),
                    size_mib(row["bytes_total"], hole, decimals),
                    number(overhead, 2, hole or ("" if estimated else "no entropy-coded sections")),
                    number(row["psnr"], 2, hole),
                    number(row["ssim"], 3, hole),
                )
            )
        rows += _published_storage(summary.parity, style, dataset, used)
    notes = (
        "MiB (2^20 bytes); sections add up to the file, to the byte, before rounding. Other: header and settings.",
        "Overhead: bits in the file beyond the ideal code length under the model that coded them.",
    )
    return Sheet("storage", "Storage by section of the bitstream", tuple(headings), tuple(rows), notes)


def _published_storage(
    parity_rows: Iterable[Row], style: Style, dataset: DatasetNames, used: Sequence[str]
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
                *(
                    number(value.get(f"{name.removeprefix('bytes_')}_mib"), 3, f"{origin}: counted under Other")
                    for name in used
                ),
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
                text(_dataset(style, str(row["dataset"])).label),
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
        dataset = _dataset(style, str(row["dataset"]))
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
    notes = () if rows else ("No rows: nothing is published for the data sets of this run.",)
    return Sheet("parity", "Our values beside published ones", headings, tuple(rows), notes)


BUILDERS: Mapping[str, Callable[[Summary, Style], Sheet]] = {
    "quality": quality,
    "bdrate": bdrate,
    "ablation": lambda summary, style: ablation_sheet(summary.ablation, style),
    "context": lambda summary, style: context_sheet(summary.context, style),
    "storage": storage,
    "complexity": complexity,
    "parity": parity,
}


def _sum(row: Row, names: Iterable[str]) -> float | None:
    values = [row[name] for name in names]
    return None if any(value is None for value in values) else sum(float(value or 0) for value in values)


def _by_key(rows: Iterable[Row]) -> dict[tuple[str, str, str], Row]:
    return {(str(row["method"]), str(row["dataset"]), str(row["rate"])): row for row in rows}


def _lines(rows: Sequence[Row], style: Style) -> list[tuple[str, str, tuple[str, ...]]]:
    ends = end_rates(rows)
    return [(m, rate, ends[m]) for m in sorted(ends, key=style.order_of) for rate in ends[m]]


def _dataset(style: Style, dataset: str) -> DatasetNames:
    return next((known for known in style.datasets if known.id == dataset), DatasetNames(dataset, dataset, ()))


def _metric_label(metric: str, unit: str) -> str:
    """``psnr`` → ``PSNR [dB]``, ``size_mib`` → ``Size [MiB]``."""
    if metric in QUALITY_HEADINGS:
        return QUALITY_HEADINGS[metric][0]
    words = metric.removesuffix("_mib").removesuffix("_h").removesuffix("_percent").replace("_", " ").capitalize()
    return f"{words} [{unit}]" if unit else words


def _iterations(rows: Iterable[Row | None], name: str = "iterations") -> Entry:
    found = list(dict.fromkeys(int(row[name] or 0) for row in rows if row is not None and row[name] is not None))
    if len(found) == 1:
        return number(found[0], 0)
    return text(" / ".join(f"{value:,}" for value in found)) if found else Entry(None)


def _measured(summary: Summary, name: str) -> bool:
    """PSNR and SSIM always; an LPIPS variant only if some row has it."""
    return name in ("psnr", "ssim") or any(row[name] is not None for row in summary.datasets)


def _remarks(rows: Iterable[Row]) -> list[str]:
    remarks = dict.fromkeys(part for row in rows for part in str(row["remarks"]).split(" | ") if part)
    return [f"Not available: {remark}" for remark in remarks]

"""Table 3 of HEMGS (arXiv 2411.18473): the full method and its variants, and the gain from each part."""

from __future__ import annotations

from collections.abc import Iterable

from hemgs.analysis.plan import Style
from hemgs.analysis.summary import Summary
from hemgs.analysis.tables.bdrate import half_range, in_words, overlap, variable_rate_costs
from hemgs.analysis.tables.cells import MIB, Cell, number, signed, size_mib, text, with_spread
from hemgs.analysis.tables.table import Heading, Table, TableSpec
from hemgs.core.catalogue import METRICS
from hemgs.core.records import Row


def build(summary: Summary, style: Style) -> Table:
    """Return the full method and its variants at the largest λ, with the change that each variant makes."""
    rows = summary.ablation
    metrics = [m for m in METRICS.values() if any(row[m.id] is not None for row in rows)]
    headings = [Heading("Dataset", numeric=False), Heading("Method", numeric=False), Heading("Iterations")]
    headings.append(Heading("Size [MiB]", better="lower"))
    headings += [Heading(metric.heading, better=metric.better) for metric in metrics]
    headings.append(Heading("Size", "Change [%]", "lower"))
    headings += [Heading(metric.label, "Change [%]", metric.better) for metric in metrics]
    headings += [Heading("BD-rate [%]", better="lower"), Heading("Overlap [dB]"), Heading("Points")]
    lines = []
    for row in by_family(rows, style):
        hole = str(row["hole"])
        cells = [
            text(dataset_label(style, row)),
            text(style.label_of(str(row["method"]))),
            number(row["iterations"], 0),
        ]
        cells.append(with_spread(size_mib(row["bytes_total"], hole), row["bytes_total_half_range"], 1 / MIB))
        cells += [
            with_spread(number(row[metric.id], metric.decimals, hole), row.get(f"{metric.id}_half_range"))
            for metric in metrics
        ]
        if row["method"] == row["base"]:
            cells += [Cell("", None)] * (len(metrics) + 4)
        else:
            cells += [signed(row[f"change_{name}"], 2, hole) for name in ("bytes_total", *(m.id for m in metrics))]
            cells += _bd_rate(row, style)
        lines.append(tuple(cells))
    notes = (
        [f"At {rates_in_words(rows)}; change against {_names(rows, 'base', style)}, negative: less."] if rows else []
    )
    notes.append(
        "BD-rate: bytes needed beyond the full method's at equal PSNR, over all of their rates, by PCHIP; PSNR that "
        "both curves have, points of the variant / of the full method."
    )
    for cost in variable_rate_costs(summary.bdrate, style):
        one, many = (style.label_of(str(cost[name])) for name in ("method", "reference"))
        where = style.dataset(str(cost["dataset"])).label
        notes.append(f"One model for all rates, {one} against {many} on {where}: {in_words(cost, style)}.")
    if any(row["psnr_half_range"] is not None for row in rows):
        notes.append("Sizes, PSNR and BD-rates are means over seeds ± half of their range.")
    if len({row["iterations"] for row in rows}) > 1:
        notes.append("The rows were trained for different numbers of iterations.")
    if not rows:
        notes = ["No rows: no variant was run with the method that it extends."]
    return Table(headings, lines, notes)


def by_family(rows: Iterable[Row], style: Style) -> list[Row]:
    """Return rows of the datasets that are shown, by dataset, full method and place in the tables."""
    places = {dataset.id: place for place, dataset in enumerate(style.datasets)}
    shown = [row for row in rows if row["dataset"] in places]
    return sorted(
        shown,
        key=lambda row: (
            places[str(row["dataset"])],
            style.order_of(str(row["base"])),
            row["method"] != row["base"],
            style.order_of(str(row["method"])),
        ),
    )


def dataset_label(style: Style, row: Row) -> str:
    """Return the dataset's label, with its scene where there is only one."""
    dataset = next(known for known in style.datasets if known.id == row["dataset"])
    only = dataset.scenes[0].label if len(dataset.scenes) == 1 else dataset.label
    return dataset.label if only == dataset.label else f"{dataset.label}, {only}"


def _bd_rate(row: Row, style: Style) -> list[Cell]:
    """Return the BD-rate, overlap and points, or an empty cell with its reason."""
    cell = signed(row["bd_rate"], 2, style.in_print(str(row["bd_rate_hole"])))
    if cell.text is None:
        return [cell, Cell(None), Cell(None)]
    cell = with_spread(cell, half_range(row, "bd_rate_min", "bd_rate_max"))
    counts = f"{row['bd_rate_points']}/{row['bd_rate_points_base']}"
    return [cell, text(overlap(row["bd_rate_low"], row["bd_rate_high"])), text(counts)]


def rates_in_words(rows: Iterable[Row]) -> str:
    """Return every λ that occurs, as ``λ = 0.0040``."""
    lmbdas = sorted({str(row["rate"]).rpartition("_")[2] for row in rows})
    return f"λ = {', '.join(lmbdas)}" if lmbdas != ["single"] else "the only rate"


def _names(rows: Iterable[Row], column: str, style: Style) -> str:
    return ", ".join(style.label_of(method) for method in dict.fromkeys(str(row[column]) for row in rows))


TABLE = TableSpec("ablation", "Gain from each part: variants against the full method", build)

"""The tables of the ablations, from the summary: Tables 3 and 4 of HEMGS (arXiv 2411.18473).

Owns what stands in them. Does not own the figures (``hemgs.analysis.ablation``) or rounding
(``hemgs.analysis.tables.table``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hemgs.analysis.plan import Style
from hemgs.analysis.tables.bdrate import half_range, in_words, overlap, variable_rate_costs
from hemgs.analysis.tables.rates import dataset_names
from hemgs.analysis.tables.table import (
    MIB,
    QUALITY_HEADINGS,
    Entry,
    Heading,
    Sheet,
    number,
    signed,
    size_mib,
    text,
    with_spread,
)
from hemgs.core.catalogue import Better
from hemgs.core.records import Row

_NO_CONTEXT = "no autoregressive network"


def ablation_sheet(rows: Sequence[Row], style: Style, bdrate: Sequence[Row] = ()) -> Sheet:
    """Table 3: the full method and its variants at the largest λ, and what each part is worth.

    Args:
        rows: of ``ablation.csv``.
        style: labels and order.
        bdrate: rows of ``bdrate.csv``, for what a variable rate costs.
    """
    quality = [name for name in QUALITY_HEADINGS if any(row[name] is not None for row in rows)]
    headings = [Heading("Data set", numeric=False), Heading("Method", numeric=False), Heading("Iterations")]
    headings.append(Heading("Size [MiB]", better="lower"))
    headings += [Heading(title, better=better) for title, _, better in (QUALITY_HEADINGS[name] for name in quality)]
    changes: list[tuple[str, str, Better]] = [("bytes_total", "Size", "lower")]
    changes += [(name, QUALITY_HEADINGS[name][0].partition(" [dB]")[0], QUALITY_HEADINGS[name][2]) for name in quality]
    headings += [Heading(title, "Change [%]", better) for _, title, better in changes]
    headings += [Heading("BD-rate [%]", better="lower"), Heading("Overlap [dB]"), Heading("Points")]
    lines = []
    for row in _ordered(rows, style):
        hole = str(row["hole"])
        cells = [text(_dataset(style, row)), text(style.label_of(str(row["method"]))), number(row["iterations"], 0)]
        cells.append(with_spread(size_mib(row["bytes_total"], hole), row["bytes_total_half_range"], 1 / MIB))
        cells += [
            with_spread(number(row[name], QUALITY_HEADINGS[name][1], hole), row.get(f"{name}_half_range"))
            for name in quality
        ]
        if row["method"] == row["base"]:
            cells += [Entry("", None)] * (len(changes) + 3)
        else:
            cells += [signed(row[f"change_{name}"], 2, hole) for name, _, _ in changes]
            cells += _bd_rate(row, style)
        lines.append(tuple(cells))
    notes = [f"At {_rates(rows)}; change against {_names(rows, 'base', style)}, negative: less."] if rows else []
    notes.append(
        "BD-rate: bytes needed beyond the full method's at equal PSNR, over all of their rates, by PCHIP; PSNR that "
        "both curves have, points of the variant / of the full method."
    )
    for cost in variable_rate_costs(bdrate, style):
        one, many = (style.label_of(str(cost[name])) for name in ("method", "reference"))
        where = dataset_names(style, str(cost["dataset"])).label
        notes.append(f"One model for all rates, {one} against {many} on {where}: {in_words(cost, style)}.")
    if any(row["psnr_half_range"] is not None for row in rows):
        notes.append("Sizes, PSNR and BD-rates are means over seeds ± half of their range.")
    if len({row["iterations"] for row in rows}) > 1:
        notes.append("The rows were trained for different numbers of iterations.")
    if not rows:
        notes = ["No rows: no variant was run beside the method that it extends."]
    return Sheet(
        "ablation",
        "What each part is worth: variants against the full method",
        tuple(headings),
        tuple(lines),
        tuple(notes),
    )


def context_sheet(rows: Sequence[Row], style: Style) -> Sheet:
    """Table 4: anchors in the receptive field of the autoregressive network, and those that it uses.

    Args:
        rows: of ``context.csv``.
        style: labels and order.
    """
    headings = [
        Heading("Data set", numeric=False),
        Heading("Method", numeric=False),
        Heading("Iterations"),
        Heading("mean", "Anchors used"),
        Heading("max", "Anchors used"),
        Heading("mean", "Anchors in the window"),
        Heading("max", "Anchors in the window"),
        Heading("Anchors"),
        Heading("Wavefronts", better="lower"),
        Heading("Size [MiB]", better="lower"),
        Heading("PSNR [dB]", better="higher"),
    ]
    lines = []
    for row in _ordered(rows, style):
        hole = str(row["hole"])
        without = hole or (_NO_CONTEXT if row["context_mean"] is None else "")
        lines.append(
            (
                text(_dataset(style, row)),
                text(style.label_of(str(row["method"]))),
                number(row["iterations"], 0),
                number(row["context_mean"], 2, without),
                number(row["context_max"], 0, without),
                number(row["context_mean_in_window"], 2, without),
                number(row["context_max_in_window"], 0, without),
                number(row["num_anchors"], 0, hole),
                number(row["num_wavefronts"], 0, without),
                with_spread(size_mib(row["bytes_total"], hole), row["bytes_total_half_range"], 1 / MIB),
                with_spread(number(row["psnr"], 2, hole), row["psnr_half_range"]),
            )
        )
    notes = (
        [
            f"At {_rates(rows)}. Anchors that are decoded before the one they are counted for, per anchor.",
            "Wavefronts: steps of decoding, each of anchors that do not depend on each other.",
        ]
        if rows
        else ["No rows: no method of this run counts neighbours."]
    )
    return Sheet("context", "Context of the autoregressive network", tuple(headings), tuple(lines), tuple(notes))


def _ordered(rows: Iterable[Row], style: Style) -> list[Row]:
    """Rows of the data sets that are shown, by data set, full method and place in the tables."""
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


def _dataset(style: Style, row: Row) -> str:
    """The data set's label, with its scene where there is only one."""
    dataset = next(known for known in style.datasets if known.id == row["dataset"])
    only = dataset.scenes[0].label if len(dataset.scenes) == 1 else dataset.label
    return dataset.label if only == dataset.label else f"{dataset.label}, {only}"


def _bd_rate(row: Row, style: Style) -> list[Entry]:
    """BD-rate, overlap and points, or a hole with its reason."""
    entry = signed(row["bd_rate"], 2, style.in_print(str(row["bd_rate_hole"])))
    if entry.text is None:
        return [entry, Entry(None), Entry(None)]
    entry = with_spread(entry, half_range(row, "bd_rate_min", "bd_rate_max"))
    counts = f"{row['bd_rate_points']}/{row['bd_rate_points_base']}"
    return [entry, text(overlap(row["bd_rate_low"], row["bd_rate_high"])), text(counts)]


def _rates(rows: Iterable[Row]) -> str:
    """``λ = 0.0040``, every one that occurs."""
    lmbdas = sorted({str(row["rate"]).rpartition("_")[2] for row in rows})
    return f"λ = {', '.join(lmbdas)}" if lmbdas != ["single"] else "the only rate"


def _names(rows: Iterable[Row], column: str, style: Style) -> str:
    return ", ".join(style.label_of(method) for method in dict.fromkeys(str(row[column]) for row in rows))

"""The rates of one model: Figure 4 of HEMGS (arXiv 2411.18473)."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

from matplotlib.figure import Figure

from hemgs.analysis.figures.drawing import FONT_PT, PAGE_WIDTH_IN, empty, look_of, new_figure
from hemgs.analysis.figures.rate_distortion import (
    CURVE_COLUMNS,
    draw_curves,
    drawable,
    left_out_in_words,
    methods_of,
    mib_of,
    rows_of_method,
    shortened,
)
from hemgs.analysis.plan import Style
from hemgs.analysis.points import lmbda_of
from hemgs.analysis.summary import Summary
from hemgs.analysis.tables.bdrate import in_words, variable_rate_costs
from hemgs.core.records import Row, Value

#: Number of characters across a panel in the smallest type.
_PRICE_CHARACTERS = 56
#: Columns of ``variable_rate.csv`` with the cost of one model → columns of ``bdrate.csv``.
_COST_COLUMNS = {
    "bd_rate_against": "reference",
    "bd_rate_percent": "percent",
    "bd_rate_percent_min": "percent_min",
    "bd_rate_percent_max": "percent_max",
    "bd_rate_low": "low",
    "bd_rate_high": "high",
    "bd_rate_points": "num_points_method",
    "bd_rate_points_against": "num_points_reference",
    "bd_rate_hole": "hole",
}
#: Columns of the CSV with the data of the figure.
VARIABLE_RATE_COLUMNS = ("dataset", *CURVE_COLUMNS, *_COST_COLUMNS)


def draw_variable_rate(summary: Summary, style: Style) -> tuple[Figure, list[Row]]:
    """Draw the figure, and return it with the rows of its CSV."""
    rows, costs = _variable_rows(summary, style), variable_rate_costs(summary.bdrate, style)
    priced: list[Row] = [{**row, **_cost_columns(row, costs)} for row in rows]
    return variable_rate_figure(rows, style, costs), priced


def variable_rate_figure(rows: Sequence[Row], style: Style, costs: Sequence[Row] = ()) -> Figure:
    """Draw Figure 4: the rates of one model, as a curve and as size over λ, per dataset.

    Args:
        rows: rows of ``datasets.csv``.
        style: labels and colours.
        costs: rows of ``bdrate.csv`` that compare one model with one per rate.
    """
    complete = drawable(rows)
    datasets = [dataset for dataset in style.datasets if any(row["dataset"] == dataset.id for row in complete)]
    if not datasets:
        left_out = left_out_in_words(rows, style)
        return empty(
            "No model with several rates was measured on a complete set of scenes"
            + (f"\n{shortened(left_out)}" if left_out else "")
        )
    height_in = 2.55
    figure = new_figure(PAGE_WIDTH_IN, height_in * len(datasets))
    grid = figure.add_gridspec(
        len(datasets),
        2,
        left=0.082,
        right=0.985,
        bottom=0.42 / (height_in * len(datasets)),
        top=1 - 0.26 / (height_in * len(datasets)),
        wspace=0.2,
        hspace=0.38,
    )
    for index, dataset in enumerate(datasets):
        own = [row for row in complete if row["dataset"] == dataset.id]
        left, right = figure.add_subplot(grid[index, 0]), figure.add_subplot(grid[index, 1])
        draw_curves(figure, left, own, style, with_lmbda=True)
        left.set_title(f"{dataset.label}: rate–distortion of one model")
        for method in methods_of(own, style):
            color, marker = look_of(style, method)
            points = sorted(rows_of_method(own, method), key=lambda row: lmbda_of(str(row["rate"])))
            lmbdas = [lmbda_of(str(row["rate"])) * 1e3 for row in points]
            right.plot(
                lmbdas, [mib_of(row) for row in points], color=color, marker=marker, label=style.label_of(method)
            )
        right.set_ylim(0, 1.08 * max(mib_of(row) for row in own))
        right.set_xlabel("λ [10⁻³]")
        right.set_ylabel("Size [MiB]")
        right.set_title(f"{dataset.label}: size set by λ")
        if len(methods_of(own, style)) > 1:
            right.legend(frameon=False, fontsize=FONT_PT - 1)
        prices = [_price(cost, style) for cost in costs if cost["dataset"] == dataset.id]
        right.text(0.03, 0.04, "\n".join(prices), fontsize=FONT_PT - 1.5, color="#555555", transform=right.transAxes)
    return figure


def _variable_rows(summary: Summary, style: Style) -> list[Row]:
    """Return rows of the methods with one model for all rates, and of their variants trained once per rate."""
    shown = set(style.variable_rate)
    shown |= {method.id for method in style.methods if method.base in shown and method.kind == "per_rate"}
    return [row for row in summary.datasets if row["method"] in shown]


def _cost_columns(row: Row, costs: Iterable[Row]) -> dict[str, Value]:
    """Return the cost of a model for all rates against its variant that is trained once per rate, by column."""
    for cost in costs:
        if (cost["method"], cost["dataset"]) == (row["method"], row["dataset"]):
            return {column: cost[name] for column, name in _COST_COLUMNS.items()}
    return {}


def _price(cost: Row, style: Style) -> str:
    one, many = (style.label_of(str(cost[name])) for name in ("method", "reference"))
    return textwrap.fill(f"{one} against {many}: {in_words(cost, style)}", _PRICE_CHARACTERS)

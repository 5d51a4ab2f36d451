"""Variants against the full method, and the context of the autoregressive network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hemgs.analysis.ablation import ABLATION_COLUMNS, NEIGHBOUR_COLUMNS, ablation_rows, context_rows
from hemgs.analysis.bdrate import bdrate_rows
from hemgs.analysis.means import means_of, planned_points
from hemgs.analysis.plan import DatasetNames, Fit, MethodStyle, Named, Plan, PlannedMethod, Style
from hemgs.analysis.points import Points
from hemgs.analysis.tables import TABLE_SPECS
from hemgs.analysis.tables.formats import to_csv, to_latex, to_markdown
from hemgs.analysis.tables.table import Table
from hemgs.core.records import Row, Value, read_rows, write_rows
from tests.unit.analysis.synthetic_results import MIB, point, summary_with

ABLATION, CONTEXT = TABLE_SPECS["ablation"].make, TABLE_SPECS["context"].make
RATES = tuple(f"lmbda_0.00{step}0" for step in (1, 2, 3, 4))
#: id → label, kind
METHODS = {
    "hemgs": ("HEMGS", "all_rates"),
    "hemgs_without_sa": ("HEMGS w/o SA", "all_rates"),
    "hemgs_without_sa_ar": ("HEMGS w/o SA and AR", "all_rates"),
    "hemgs_each": ("HEMGS w/o variable rate", "per_rate"),
}
SCENES = (Named(id="knot", label="Knot"), Named(id="tower", label="Tower"))
DATASETS = (DatasetNames(id="court", label="Court", scenes=SCENES),)
#: Share of the full method's bytes, loss of PSNR in dB, anchors used and in the window.
EFFECTS = {
    "hemgs": (1.0, 0.0, 5.76, 6.15),
    "hemgs_without_sa": (1.07, 0.08, 5.76, 6.15),
    "hemgs_without_sa_ar": (1.25, 0.13, None, None),
    "hemgs_each": (0.99, 0.0, 5.76, 6.15),
}
Change = Callable[[dict[str, Value]], dict[str, Value] | None]


def measured(method: str, scene: str, rate: str) -> dict[str, Value]:
    share, loss, used, within = EFFECTS[method]
    fit = rate if METHODS[method][1] == "per_rate" else "all"
    row = point("hemgs", "court", scene, fit, 0, rate, 3000)
    row |= {"variant": "" if method == "hemgs" else method, "psnr": float(row["psnr"] or 0) - loss}
    row |= {"bytes_total": round(float(row["bytes_total"] or 0) * share), "num_anchors": 1000}
    if used is not None:
        most = {"knot": 20, "tower": 18}[scene]
        row |= {"context_mean": used, "context_max": most, "num_wavefronts": 300}
        row |= {"context_mean_in_window": within, "context_max_in_window": most + 60}
    return row


def planned(methods: tuple[str, ...] = tuple(METHODS), rates: tuple[str, ...] = RATES) -> Plan:
    known = tuple(
        PlannedMethod(id=m, base="hemgs", label=METHODS[m][0], kind=METHODS[m][1], rates=rates) for m in methods
    )
    fits = [
        Fit(method=m.id, dataset="court", scene=scene.id, fit=fit, seed=0, rates=own, points=Path("nowhere"))
        for m in known
        for scene in DATASETS[0].scenes
        for fit, own in ({r: (r,) for r in m.rates} if m.kind == "per_rate" else {"all": m.rates}).items()
    ]
    return Plan(title="Test", methods=known, datasets=DATASETS, fits=tuple(fits))


def rows_of_plan(plan: Plan, change: Change = lambda row: row) -> tuple[list[Row], list[Row]]:
    """Rows of ``ablation.csv`` and of ``context.csv``."""
    rows = [change(measured(fit.method, fit.scene, rate)) for fit in plan.fits for rate in fit.rates]
    table = planned_points(plan, Points(tuple(row for row in rows if row is not None), ()))
    means = means_of(table)
    return ablation_rows(plan, means, bdrate_rows(plan, table)), context_rows(plan, table, means)


def style_of(plan: Plan) -> Style:
    looks = tuple(MethodStyle(id=m.id, base=m.base, label=m.label, kind=m.kind) for m in plan.methods)
    tables = ("ablation", "context")
    return Style(
        title="Test", methods=looks, datasets=plan.datasets, tables=tables, visual=(), variable_rate=("hemgs",)
    )


def values(table: Table) -> dict[str, dict[str, str | None]]:
    """Method → heading with group → text."""
    names = [f"{heading.group} {heading.name}".strip() for heading in table.headings]
    return {str(row[1].text): dict(zip(names, (cell.text for cell in row), strict=True)) for row in table.rows}


def test_changes_are_those_against_the_full_method_at_the_largest_lmbda() -> None:
    rows, _ = rows_of_plan(planned())
    assert [(row["method"], row["rate"]) for row in rows] == [(method, "lmbda_0.0040") for method in METHODS]
    assert {row["base"] for row in rows} == {"hemgs"}
    full, without = rows[0], rows[1]
    sizes = [float(measured("hemgs", scene, "lmbda_0.0040")["bytes_total"] or 0) for scene in ("knot", "tower")]
    assert full["bytes_total"] == pytest.approx(sum(sizes) / 2)
    assert without["change_bytes_total"] == pytest.approx(7.0, abs=1e-3)
    assert without["change_psnr"] == pytest.approx(-100 * 0.08 / float(full["psnr"] or 0))
    assert (full["change_bytes_total"], full["bd_rate"]) == (0.0, None)
    assert without["change_lpips_vgg"] is None


def test_bd_rate_is_that_of_the_curves_of_means() -> None:
    """The same PSNR at 0.99 times the bytes is minus one per cent; a curve needs four rates."""
    each = rows_of_plan(planned())[0][3]
    assert each["bd_rate"] == pytest.approx(-1.0, abs=0.01)
    few = rows_of_plan(planned(rates=RATES[:3]))[0]
    assert [row["rate"] for row in few] == ["lmbda_0.0030"] * 4
    assert few[1]["bd_rate"] is None
    assert few[1]["bd_rate_hole"] == "hemgs: 3 rates are no curve"
    assert few[1]["change_bytes_total"] == pytest.approx(7.0, abs=1e-3)


def test_a_hole_leaves_no_change_and_the_rest_appears() -> None:
    def without_tower(row: dict[str, Value]) -> dict[str, Value] | None:
        return None if (row["variant"], row["scene"]) == ("hemgs_without_sa", "tower") else row

    plan = planned()
    rows, context = rows_of_plan(plan, without_tower)
    hole = "1 of 2 scenes missing: tower (no row)"
    assert rows[1]["hole"] == context[1]["hole"] == hole
    assert all(
        rows[1][name] is None for name in ("bytes_total", "psnr", "change_bytes_total", "change_psnr", "bd_rate")
    )
    assert rows[1]["bd_rate_hole"] == f"hemgs_without_sa: {hole}"
    assert (context[1]["context_mean"], context[1]["context_max"]) == (None, None)
    assert rows[2]["change_bytes_total"] == pytest.approx(25.0, abs=1e-3)
    cells = values(ABLATION(summary_with(ablation=rows), style_of(plan)))
    assert cells["HEMGS w/o SA"]["Change [%] Size"] is None
    notes = [note for _, note in ABLATION(summary_with(ablation=rows), style_of(plan)).footnotes()]
    assert f"HEMGS w/o SA: {hole}" in notes


def test_nothing_is_compared_with_a_full_method_that_failed() -> None:
    rows, _ = rows_of_plan(planned(), lambda row: row if row["variant"] else None)
    assert rows[0]["hole"]
    assert rows[1]["bytes_total"] is not None
    assert (rows[1]["change_bytes_total"], rows[1]["bd_rate"]) == (None, None)


def test_a_variant_that_lacks_the_rate_says_so() -> None:
    plan = planned(("hemgs", "hemgs_each"))
    short = plan.methods[1].model_copy(update={"rates": RATES[:2]})
    fits = tuple(fit for fit in plan.fits if fit.method == "hemgs" or fit.fit in RATES[:2])
    rows, _ = rows_of_plan(plan.model_copy(update={"methods": (plan.methods[0], short), "fits": fits}))
    assert (rows[1]["hole"], rows[1]["bytes_total"]) == ("not encoded at lmbda_0.0040", None)


def test_without_a_variant_there_are_no_rows() -> None:
    plan = planned(("hemgs",))
    rows, context = rows_of_plan(plan)
    assert rows == []
    assert [row["method"] for row in context] == ["hemgs"]
    table = ABLATION(summary_with(ablation=rows), style_of(plan))
    assert not table.rows
    assert list(table.notes) == ["No rows: no variant was run with the method that it extends."]
    nothing = {"context_mean": None, "context_max": None, "context_mean_in_window": None, "context_max_in_window": None}
    assert rows_of_plan(plan, lambda row: row | nothing | {"num_wavefronts": None})[1] == []
    assert "No rows" in CONTEXT(summary_with(context=[]), style_of(plan)).notes[0]


def test_context_takes_means_of_means_and_the_most_of_the_most() -> None:
    def tower_is_denser(row: dict[str, Value]) -> dict[str, Value]:
        return row | {"context_mean": 7.76} if row["context_mean"] and row["scene"] == "tower" else row

    _, rows = rows_of_plan(planned(), tower_is_denser)
    assert [row["method"] for row in rows] == list(METHODS)
    full = rows[0]
    assert full["context_mean"] == pytest.approx(6.76)
    assert (full["context_max"], full["context_max_in_window"]) == (20, 80)
    assert (full["num_wavefronts"], full["num_anchors"]) == (300, 1000)
    assert rows[2]["context_mean"] is None
    assert rows[2]["psnr"] is not None


def test_tables_3_and_4_as_printed() -> None:
    plan = planned()
    rows, context = rows_of_plan(plan)
    table = ABLATION(summary_with(ablation=rows), style_of(plan))
    cells = values(table)
    assert list(cells) == [label for label, _ in METHODS.values()]
    assert {row[0].text for row in table.rows} == {"Court"}
    full, without = cells["HEMGS"], cells["HEMGS w/o SA"]
    assert (full["Change [%] Size"], full["BD-rate [%]"]) == ("", "")
    assert (without["Change [%] Size"], without["Change [%] PSNR"]) == ("+7.00", "-0.29")
    assert cells["HEMGS w/o variable rate"]["Change [%] PSNR"] == "0.00"
    assert cells["HEMGS w/o variable rate"]["BD-rate [%]"] == "-1.00"
    assert without["Size [MiB]"] == f"{float(rows[1]['bytes_total'] or 0) / MIB:.3g}"
    assert "Change [%] LPIPS-SqueezeNet" in without
    assert "Change [%] LPIPS-VGG" not in without
    assert table.notes[0] == "At λ = 0.0040; change against HEMGS, negative: less."
    four = CONTEXT(summary_with(context=context), style_of(plan))
    assert values(four)["HEMGS w/o SA"] | {"Size [MiB]": "", "PSNR [dB]": ""} == {
        "Dataset": "Court",
        "Method": "HEMGS w/o SA",
        "Iterations": "3,000",
        "Anchors used mean": "5.76",
        "Anchors used max": "20",
        "Anchors in the window mean": "6.15",
        "Anchors in the window max": "80",
        "Anchors": "1,000",
        "Wavefronts": "300",
        "Size [MiB]": "",
        "PSNR [dB]": "",
    }
    without_network = next(row for row in four.rows if row[1].text == "HEMGS w/o SA and AR")
    assert (without_network[3].text, without_network[3].note) == (None, "no autoregressive network")
    for render in (to_csv, to_markdown, to_latex):
        assert "7.00" in render(table)
        assert "5.76" in render(four)


def test_what_a_variable_rate_costs_stands_below_the_ablation() -> None:
    """Separate models need 0.99 times the bytes: the one model needs 1.01 % more than they do."""
    plan = planned()
    rows = [measured(fit.method, fit.scene, rate) for fit in plan.fits for rate in fit.rates]
    table = planned_points(plan, Points(tuple(rows), ()))
    bdrate = bdrate_rows(plan, table)
    table = ABLATION(summary_with(ablation=ablation_rows(plan, means_of(table), bdrate), bdrate=bdrate), style_of(plan))
    (note,) = [note for note in table.notes if note.startswith("One model for all rates")]
    assert note == (
        "One model for all rates, HEMGS against HEMGS w/o variable rate on Court: "
        "+1.01 % bytes (BD-rate, overlap 27.96–28.65 dB, 4/4 points)."
    )
    cells = values(table)["HEMGS w/o variable rate"]
    assert (cells["BD-rate [%]"], cells["Overlap [dB]"], cells["Points"]) == ("-1.00", "27.96–28.65", "4/4")
    assert values(table)["HEMGS"]["Points"] == ""


def test_rows_come_back_from_their_files(tmp_path: Path) -> None:
    rows, context = rows_of_plan(planned())
    for name, written, columns in (("a.csv", rows, ABLATION_COLUMNS), ("c.csv", context, NEIGHBOUR_COLUMNS)):
        write_rows(tmp_path / name, written, columns)
        assert read_rows(tmp_path / name, columns) == written

"""The contents of the tables."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from hemgs.analysis.plan import load_style
from hemgs.analysis.publish import make_tables
from hemgs.analysis.summary import load_summary, summarise
from hemgs.analysis.tables import TABLE_SPECS
from hemgs.analysis.tables.rates import end_rates
from hemgs.analysis.tables.table import Table
from tests.unit.analysis.synthetic_results import PUBLISHED, Results


def _table(results: Results, name: str) -> Table:
    return TABLE_SPECS[name].make(load_summary(results.summary), load_style(results.style))


def _cells(table: Table) -> dict[str, list[str | None]]:
    return {str(row[0].text): [cell.text for cell in row[1:]] for row in table.rows}


def test_quality_has_table_1s_layout(complete: Results) -> None:
    table = _table(complete, "quality")
    assert [row[0].text for row in table.rows] == [
        "3DGS",
        "Scaffold-GS",
        "HAC, low rate (λ = 0.0040)",
        "HAC, high rate (λ = 0.0005)",
        "HEMGS, low rate (λ = 0.0040)",
        "HEMGS, high rate (λ = 0.0010)",
    ]
    names = [(heading.group, heading.name) for heading in table.headings]
    own = ["PSNR [dB]", "SSIM", "LPIPS-SqueezeNet", "Size [MiB]"]
    assert names == [("", "Method"), ("", "Iterations")] + [(group, n) for group in ("Court", "Chair") for n in own]
    assert _cells(table)["3DGS"] == ["30,000", "28.15", "0.925", "0.137", "126.0", "32.90", "0.952", "0.118", "84.00"]
    assert any("torchvision" in note for _, note in table.footnotes())


def test_a_hole_is_shown_with_its_reason_and_the_rest_appears(with_hole: Results) -> None:
    table = _table(with_hole, "quality")
    row = next(row for row in table.rows if row[0].text == "Scaffold-GS")
    assert [cell.text for cell in row[2:6]] == [None] * 4
    assert row[2].note.startswith("1 of 2 scenes missing: tower (train_model: loss is not finite")
    assert row[6].text == "33.30"
    assert ("a", row[2].note) in table.footnotes()


def test_unequal_budgets_are_shown_and_nothing_is_called_best(tmp_path: Path) -> None:
    results = Results(tmp_path, iterations={"hemgs": 60000}).write()
    summarise(results.plan, PUBLISHED, results.summary)
    table = _table(results, "quality")
    assert {row[0].text: row[1].text for row in table.rows}["HEMGS, low rate (λ = 0.0040)"] == "60,000"
    assert not any(cell.mark for row in table.rows for cell in row)
    assert any("different numbers of iterations" in note for _, note in table.footnotes())
    bd = _table(results, "bdrate")
    assert bd.rows[0][1].text == "30,000"
    assert any("HEMGS was trained for 60,000 iterations" in note for _, note in bd.footnotes())


def test_equal_budgets_mark_the_best(complete: Results) -> None:
    table = _table(complete, "quality")
    best = {row[0].text for row in table.rows if row[2].mark == "best"}
    smallest = {row[0].text for row in table.rows if row[5].mark == "best"}
    assert (best, smallest) == ({"HAC, high rate (λ = 0.0005)"}, {"HEMGS, low rate (λ = 0.0040)"})


def test_bdrate_states_both_interpolations_with_overlap_and_points(complete: Results) -> None:
    table = _table(complete, "bdrate")
    names = [heading.name for heading in table.headings[2:6]]
    assert names == ["BD-rate [%]", "by cubic [%]", "Overlap [dB]", "Points"]
    cells = _cells(table)
    assert list(cells) == ["3DGS", "Scaffold-GS", "HAC"]
    assert cells["HAC"][3:5] == ["27.96–28.65", "4/16"]
    pchip, cubic = (float(str(cell)) for cell in cells["HAC"][1:3])
    assert pchip > 0
    assert cubic == pytest.approx(pchip, abs=0.1)
    assert cells["3DGS"][1:5] == [None] * 4
    assert table.rows[0][2].note == "3DGS: one rate is no curve"


def test_a_cubic_without_four_points_says_so_next_to_the_pchip(tmp_path: Path) -> None:
    results = Results(tmp_path, methods=("hac", "hemgs"), scenes={"chair": ("chair",)})
    results.write(lambda row: row | {"psnr": 20.0} if row["fit"] == "lmbda_0.0005" else row)
    summarise(results.plan, PUBLISHED, results.summary)
    (row,) = _table(results, "bdrate").rows
    assert row[2].text is not None
    assert (row[3].text, row[3].note) == (None, "HAC has 3 usable points, cubic needs 4")
    assert row[5].text == "3/16"


def test_bdrate_without_hemgs_or_anything_besides_it_says_so(tmp_path: Path) -> None:
    for methods in (("hemgs",), ("hac", "gs3d")):
        results = Results(tmp_path / methods[0], methods=methods).write()
        summarise(results.plan, PUBLISHED, results.summary)
        table = _table(results, "bdrate")
        assert not table.rows
        assert any(note.startswith("No rows") for _, note in table.footnotes())


def test_the_matrix_holds_every_pair_of_every_measured_metric(complete: Results) -> None:
    table = _table(complete, "bdrate_matrix")
    labels = ["3DGS", "Scaffold-GS", "HAC", "HEMGS"]
    assert [heading.name for heading in table.headings] == ["Dataset", "At equal", "Method", *labels]
    keys = [tuple(cell.text for cell in row[:3]) for row in table.rows]
    metrics = ("PSNR", "SSIM", "LPIPS-SqueezeNet")
    assert keys == [(d, metric, label) for d in ("Court", "Chair") for metric in metrics for label in labels]
    rows = dict(zip(keys, table.rows, strict=True))
    for dataset, metric, label in keys:
        row = rows[dataset, metric, label]
        assert row[3 + labels.index(str(label))].text == "·"
        assert row[3].text in (None, "·")
        assert row[4].text in (None, "·")
    dearer, cheaper = rows["Court", "PSNR", "HAC"][6], rows["Court", "PSNR", "HEMGS"][5]
    assert str(dearer.text).startswith("+")
    assert dearer.text.lstrip("+") == _cells(_table(complete, "bdrate"))["HAC"][1]  # type: ignore[union-attr]
    assert (dearer.shade > 0, cheaper.shade < 0) == (True, True)
    assert dearer.shade == pytest.approx(-cheaper.shade)
    assert dearer.hint == "overlap 27.96–28.65, points 4/16"
    assert rows["Court", "SSIM", "HAC"][6].hint.startswith("overlap 0.9")
    assert rows["Court", "PSNR", "3DGS"][6].note == "3DGS: one rate is no curve"


def test_seeds_show_as_means_with_half_of_their_range(tmp_path: Path) -> None:
    """Every seed adds 1 % of the bytes and 0.05 dB."""
    results = Results(tmp_path, methods=("gs3d", "hac", "hemgs"), scenes={"chair": ("chair",)}, seeds=(0, 1)).write()
    summarise(results.plan, PUBLISHED, results.summary)
    quality = _table(results, "quality")
    assert _cells(quality)["3DGS"][1] == "32.92 ± 0.02"
    assert _cells(quality)["3DGS"][4] == "84.42 ± 0.42"
    storage = _table(results, "storage")
    names = [heading.name for heading in storage.headings]
    row = next(row for row in storage.rows if row[1].text == "3DGS")
    assert [row[names.index(name)].text for name in ("Total", "PSNR [dB]")] == ["84.420 ± 0.420", "32.92 ± 0.02"]
    assert "±" in str(_cells(_table(results, "bdrate"))["HAC"][1])
    matrix = next(row for row in _table(results, "bdrate_matrix").rows if row[2].text == "HAC")
    assert "±" in str(matrix[5].text)
    for name in ("quality", "storage", "bdrate", "bdrate_matrix"):
        assert ("", "Means over 2 seeds ± half of their range.") in _table(results, name).footnotes()


def test_one_seed_shows_no_spread(complete: Results) -> None:
    for name in ("quality", "storage", "bdrate", "bdrate_matrix"):
        table = _table(complete, name)
        assert not any("±" in str(cell.text) for row in table.rows for cell in row)
        assert not any("±" in note for _, note in table.footnotes())


def test_storage_shows_used_sections_and_the_coders_overhead(complete: Results) -> None:
    table = _table(complete, "storage")
    names = [heading.name for heading in table.headings]
    assert "Opacities" not in names
    assert "Container" not in names
    row = next(r for r in table.rows if (r[0].text, r[1].text) == ("Chair", "HEMGS, low rate (λ = 0.0040)"))
    values = dict(zip(names, (cell.text for cell in row), strict=True))
    assert (values["Networks"], values["Colours"], values["Total"], values["Overhead [%]"]) == (
        "0.058",
        "0",
        "0.731",
        "0.30",
    )
    parts = [e.value for h, e in zip(names, row, strict=True) if h in names[2 : names.index("Total")]]
    assert sum(part or 0 for part in parts) == pytest.approx(row[names.index("Total")].value)


def test_storage_shows_published_parts_next_to_ours(tmp_path: Path) -> None:
    """Table 5 of the paper for the methods of the run: sections without a column are in its others."""
    results = Results(tmp_path, methods=("gs3d", "hemgs"), scenes={"deepblending": ("playroom",)}).write()
    summarise(results.plan, PUBLISHED, results.summary)
    table = _table(results, "storage")
    names = [heading.name for heading in table.headings]
    (row,) = (row for row in table.rows if "published" in str(row[1].text))
    values = dict(zip(names, (cell.text for cell in row), strict=True))
    assert values["Method"] == "HEMGS, published"
    assert [values[name] for name in ("Locations", "Features", "Scalings", "Offsets", "Other", "Total")] == [
        "0.736",
        "1.244",
        "0.648",
        "0.640",
        "0.402",
        "3.670",
    ]
    assert (values["Masks"], values["Overhead [%]"], values["PSNR [dB]"], values["SSIM"]) == (
        None,
        None,
        "30.24",
        "0.909",
    )
    assert "counted under Other" in row[names.index("Masks")].note
    assert "Table 5" in row[1].note
    assert "scenes not in this run: drjohnson" in row[1].note
    assert len(table.rows) == 1 + 2 + 1


def test_complexity_distinguishes_one_model_from_many(complete: Results) -> None:
    rows = {(row[0].text, row[1].text): [cell.text for cell in row[2:]] for row in _table(complete, "complexity").rows}
    assert rows["Court", "HAC"][:5] == ["30,000", "4", "4", "7.00", "28.0"]
    assert rows["Court", "HEMGS"][:5] == ["30,000", "16", "1", "11.7", "11.7"]


def test_complexity_says_whose_cost_includes_that_of_another_model(complete: Results) -> None:
    notes = " ".join(_table(complete, "complexity").notes)
    assert "training starts from" not in notes
    text = complete.style.read_text()
    complete.style.write_text(text.replace('"kind": "single"', '"kind": "post"'))
    try:
        notes = " ".join(_table(complete, "complexity").notes)
    finally:
        complete.style.write_text(text)
    assert "training times of 3DGS, Scaffold-GS include the model that training starts from" in notes


def test_labels_and_order_are_the_styles(complete: Results, tmp_path: Path) -> None:
    style = tmp_path / "style.json"
    style.write_text(complete.style.read_text().replace('"label": "3DGS"', '"label": "Kerbl et al. 100%"'))
    make_tables(complete.summary, style, tmp_path / "tables", ["quality"])
    assert r"Kerbl et al. 100\%" in (tmp_path / "tables" / "quality.tex").read_text()


def test_files_of_one_table_hold_the_same_numbers(complete: Results, tmp_path: Path) -> None:
    make_tables(complete.summary, complete.style, tmp_path)
    with (tmp_path / "quality.csv").open() as file:
        rows = list(csv.reader(file))
    markdown, latex = (tmp_path / "quality.md").read_text(), (tmp_path / "quality.tex").read_text()
    for row in rows[1:]:
        for cell in row[2:]:
            assert cell in markdown
            assert cell in latex


def test_ends_of_rates() -> None:
    rows = [{"method": "a", "rate": rate} for rate in ("lmbda_0.0010", "lmbda_0.0100", "lmbda_0.0040")]
    assert end_rates([*rows, {"method": "b", "rate": "single"}]) == {
        "a": ("lmbda_0.0100", "lmbda_0.0010"),
        "b": ("single",),
    }

"""Figures: the files, the curves in them, holes, colours, crops."""

from __future__ import annotations

import csv
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D
from PIL import Image

from hemgs.analysis.figures.drawing import PALETTE, Label, conventions, look_of, new_figure, place_labels
from hemgs.analysis.figures.rate_distortion import rd_figure
from hemgs.analysis.figures.variable_rate import variable_rate_figure
from hemgs.analysis.figures.visual import MAX_PICTURES, Box, Picture, choose, choose_crops
from hemgs.analysis.plan import Style, load_style
from hemgs.analysis.publish import make_figures
from hemgs.analysis.summary import Summary, load_summary, summarise
from hemgs.analysis.tables.bdrate import variable_rate_costs
from hemgs.core.records import RecordError
from tests.unit.analysis.synthetic_results import HEMGS_RATES, PUBLISHED, Results


@pytest.fixture
def loaded(complete: Results) -> tuple[Summary, Style]:
    return load_summary(complete.summary), load_style(complete.style)


@pytest.fixture(scope="session")
def drawn(complete: Results, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("figures")
    make_figures(complete.summary, complete.style, out)
    return out


@pytest.mark.slow
def test_every_figure_has_four_files(drawn: Path) -> None:
    names = ["rd_chair", "rd_court", "variable_rate", "visual_chair_chair", "visual_court_knot"]
    expected = sorted(f"{name}.{suffix}" for name in names for suffix in ("csv", "pdf", "png", "svg"))
    assert sorted(path.name for path in drawn.glob("[!.]*")) == expected  # besides a hidden note
    for path in drawn.glob("*.png"):
        with Image.open(path) as picture:
            assert picture.width >= 1000
    assert all(path.read_bytes().startswith(b"%PDF") for path in drawn.glob("*.pdf"))


@pytest.mark.slow
def test_made_twice_they_are_the_same_bytes_and_carry_no_date(complete: Results, drawn: Path, tmp_path: Path) -> None:
    for path in make_figures(complete.summary, complete.style, tmp_path):
        assert path.read_bytes() == (drawn / path.name).read_bytes(), path.name
    assert b"CreationDate" not in (drawn / "rd_court.pdf").read_bytes()
    assert b"dc:date" not in (drawn / "rd_court.svg").read_bytes()


def test_the_csv_holds_every_point_that_is_drawn(drawn: Path) -> None:
    with (drawn / "rd_court.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 1 + 1 + 4 + 16
    assert {row["rate"] for row in rows if row["method"] == "hemgs"} == set(HEMGS_RATES)
    with (drawn / "visual_court_knot.csv").open() as file:
        shown = [(row["method"], row["rate"]) for row in csv.DictReader(file)]
    assert shown == [
        ("gs3d", "single"),
        ("scaffold_gs", "single"),
        ("hac", "lmbda_0.0005"),
        ("hemgs", "lmbda_0.0040"),
        ("hemgs", "lmbda_0.0010"),
    ]


def points_of(line: Line2D) -> np.ndarray:
    """Return the points ``[N, 2]`` of a line."""
    return np.asarray(line.get_xydata(), dtype=float)


def test_curves_show_sizes_in_mib_and_quality_in_db(loaded: tuple[Summary, Style]) -> None:
    summary, style = loaded
    rows = [row for row in summary.datasets if row["dataset"] == "court"]
    with conventions():
        (axes,) = rd_figure(rows, style, style.datasets[0]).axes
    lines = {line.get_color(): points_of(line) for line in axes.get_lines()}
    assert set(lines) == {look_of(style, method)[0] for method in ("gs3d", "scaffold_gs", "hac", "hemgs")}
    own = sorted((float(r["bytes_total"] or 0) / 2**20, float(r["psnr"] or 0)) for r in rows if r["method"] == "hemgs")
    np.testing.assert_allclose(lines[PALETTE["hemgs"][0]], own)
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_xscale()) == ("Size [MiB]", "PSNR [dB]", "log")
    assert {text.get_text() for text in axes.texts} == {"3DGS", "Scaffold-GS", "HAC", "HEMGS"}


def test_a_hole_is_named_and_not_drawn(with_hole: Results) -> None:
    summary, style = load_summary(with_hole.summary), load_style(with_hole.style)
    with conventions():
        figure = rd_figure([r for r in summary.datasets if r["dataset"] == "court"], style, style.datasets[0])
    assert [text.get_text() for text in figure.texts] == ["Not shown, scenes missing: Scaffold-GS"]
    assert PALETTE["scaffold_gs"][0] not in {line.get_color() for line in figure.axes[0].get_lines()}


@pytest.mark.parametrize("seeds", [(0,), (0, 1)])
def test_an_infinite_psnr_is_named_and_the_rest_is_drawn(tmp_path: Path, seeds: tuple[int, ...]) -> None:
    """A rate whose pictures equal the photographs has no place on the axis; all files are made nevertheless."""
    results = Results(tmp_path, methods=("gs3d", "hemgs"), scenes={"court": ("knot", "tower")}, seeds=seeds)
    best = ("hemgs", "lmbda_0.0010", 0)
    results.write(
        lambda row: row | {"psnr": math.inf} if (row["method"], row["rate"], row["seed"]) == best else row,
        pictures=True,
    )
    summarise(results.plan, PUBLISHED, results.summary)
    written = make_figures(results.summary, results.style, tmp_path / "figures")
    assert all(path.stat().st_size > 0 for path in written)
    summary, style = load_summary(results.summary), load_style(results.style)
    with conventions():
        figure = rd_figure(summary.datasets, style, style.datasets[0])
        variable = variable_rate_figure([row for row in summary.datasets if row["method"] == "hemgs"], style)
    assert [text.get_text() for text in figure.texts] == ["Not shown, PSNR infinite: HEMGS (1 of 16 rates)"]
    drawn = {line.get_color(): len(points_of(line)) for line in figure.axes[0].get_lines()}
    assert (drawn[PALETTE["hemgs"][0]], drawn[PALETTE["gs3d"][0]]) == (15, 1)
    assert len(points_of(variable.axes[0].get_lines()[0])) == 15
    with (tmp_path / "figures" / "rd_court.csv").open() as file:
        assert [row["psnr"] for row in csv.DictReader(file) if row["rate"] == "lmbda_0.0010"] == ["inf"]


def test_nothing_but_infinite_psnr_still_gives_every_figure(tmp_path: Path) -> None:
    results = Results(tmp_path, methods=("gs3d", "hemgs"), scenes={"chair": ("chair",)})
    results.write(lambda row: row | {"psnr": math.inf}, pictures=True)
    summarise(results.plan, PUBLISHED, results.summary)
    assert make_figures(results.summary, results.style, tmp_path / "figures")
    summary, style = load_summary(results.summary), load_style(results.style)
    figures = (rd_figure(summary.datasets, style, style.datasets[0]), variable_rate_figure(summary.datasets, style))
    for figure in figures:
        assert "PSNR infinite: 3DGS, HEMGS (16 of 16 rates)" in figure.texts[0].get_text()


def test_nothing_measured_still_gives_every_file(tmp_path: Path) -> None:
    results = Results(tmp_path, scenes={"court": ("knot",)}).write(lambda _: None, pictures=True)
    summarise(results.plan, PUBLISHED, results.summary)
    written = make_figures(results.summary, results.style, tmp_path / "figures")
    assert len(written) == 3 * 4
    assert all(path.stat().st_size > 0 for path in written)
    summary, style = load_summary(results.summary), load_style(results.style)
    figure = rd_figure(summary.datasets, style, style.datasets[0])
    assert "no complete set of scenes" in figure.texts[0].get_text()
    assert "No model with several rates" in variable_rate_figure([], style).texts[0].get_text()


def test_variable_rate_shows_all_sixteen_rates_of_one_model(loaded: tuple[Summary, Style]) -> None:
    summary, style = loaded
    rows = [row for row in summary.datasets if row["method"] == "hemgs"]
    with conventions():
        figure = variable_rate_figure(rows, style)
    assert len(figure.axes) == 4
    for left, right in (figure.axes[:2], figure.axes[2:]):
        assert len(points_of(left.get_lines()[0])) == 16
        lmbdas, sizes = points_of(right.get_lines()[0]).T
        np.testing.assert_allclose(lmbdas, np.arange(1.0, 4.1, 0.2))
        assert (np.diff(sizes) < 0).all()
        assert {"λ = 0.0040", "λ = 0.0010"} <= {text.get_text() for text in left.texts}


@pytest.mark.slow
def test_a_variant_trained_per_rate_is_drawn_next_to_the_one_model(complete: Results, tmp_path: Path) -> None:
    """Its other variants are not drawn, even with several rates."""
    data = json.loads(complete.style.read_text())
    by_id = {method["id"]: method for method in data["methods"]}
    by_id["hac"] |= {"base": "hemgs", "variant": "hac", "kind": "per_rate"}
    by_id["scaffold_gs"] |= {"base": "hemgs", "variant": "scaffold_gs", "kind": "all_rates"}
    path = tmp_path / "style.json"
    path.write_text(json.dumps(data))
    make_figures(complete.summary, path, tmp_path)
    with (tmp_path / "variable_rate.csv").open() as file:
        drawn = [(row["dataset"], row["method"]) for row in csv.DictReader(file)]
    assert {method for _, method in drawn} == {"hemgs", "hac"}
    assert (drawn.count(("chair", "hemgs")), drawn.count(("chair", "hac"))) == (16, 4)
    with (tmp_path / "variable_rate.csv").open() as file:
        comparisons = {(row["method"], row["bd_rate_against"], row["bd_rate_points"]) for row in csv.DictReader(file)}
    assert comparisons == {("hemgs", "hac", "16"), ("hac", "not available", "not available")}
    summary, style = load_summary(complete.summary), load_style(path)
    rows = [row for row in summary.datasets if row["method"] in ("hemgs", "hac") and row["dataset"] == "chair"]
    costs = [cost for cost in variable_rate_costs(summary.bdrate, style) if cost["dataset"] == "chair"]
    with conventions():
        left, right = variable_rate_figure(rows, style, costs).axes
    (said,) = [text.get_text() for text in right.texts]
    pattern = r"HEMGS against HAC: -2\d\.\d\d % bytes \(BD-rate, overlap 32\.71–33\.40 dB, 16/4 points\)"
    assert re.fullmatch(pattern, said.replace("\n", " "))
    assert max(map(len, said.splitlines())) <= 56
    assert sorted(len(points_of(line)) for line in left.get_lines()) == [4, 16]
    texts = [text.get_text() for text in left.texts]
    assert {"HEMGS", "HAC"} <= set(texts)
    assert sum(text.startswith("λ = ") for text in texts) == 2
    legend = right.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["HAC", "HEMGS"]


@pytest.mark.parametrize("label", ["HEMGS$_{", "$\\frac$", "a_b^c $5 to $6", "%s {0} \\n"])
def test_a_label_is_text_and_no_formula(tmp_path: Path, label: str) -> None:
    results = Results(tmp_path, methods=("gs3d",)).write()
    style = json.loads(results.style.read_text())
    style["methods"][0]["label"] = style["datasets"][0]["label"] = label
    results.style.write_text(json.dumps(style))
    summarise(results.plan, PUBLISHED, results.summary)
    figures = make_figures(results.summary, results.style, tmp_path / "figures")
    assert any(path.suffix == ".pdf" for path in figures)


def test_methods_without_a_colour_of_their_own_differ_in_marker(complete: Results, tmp_path: Path) -> None:
    """The number of methods in the ladder of ablations."""
    data = json.loads(complete.style.read_text())
    data["methods"] = [{"id": f"variant_{n}", "label": "V", "color": None, "marker": None} for n in range(8)]
    path = tmp_path / "style.json"
    path.write_text(json.dumps(data))
    style = load_style(path)
    looks = [look_of(style, f"variant_{n}") for n in range(8)]
    assert len({color for color, _ in looks}) == len({marker for _, marker in looks}) == 8
    assert not {marker for _, marker in looks} & {marker for _, marker in PALETTE.values()}


def test_spread_between_seeds_is_drawn(tmp_path: Path) -> None:
    results = Results(tmp_path, methods=("gs3d", "hemgs"), scenes={"chair": ("chair",)}, seeds=(0, 1)).write()
    summarise(results.plan, PUBLISHED, results.summary)
    summary, style = load_summary(results.summary), load_style(results.style)
    with conventions():
        (axes,) = rd_figure(summary.datasets, style, style.datasets[0]).axes
    assert len(axes.collections) == 4


def test_a_colour_of_the_style_wins(complete: Results, tmp_path: Path) -> None:
    data = json.loads(complete.style.read_text())
    data["methods"][3] |= {"color": "#123456", "marker": "*"}
    path = tmp_path / "style.json"
    path.write_text(json.dumps(data))
    style = load_style(path)
    assert look_of(style, "hemgs") == ("#123456", "*")
    assert look_of(style, "hac") == PALETTE["hac"]
    assert look_of(style, "unknown")[0].startswith("#")


#: Linear RGB as seen without one kind of cone (Machado, Oliveira and Fernandes 2009, severity 1).
CONES = {
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
}


@pytest.mark.parametrize("kind", ["none", *CONES])
def test_methods_differ_in_colour_or_marker(kind: str) -> None:
    matrix = np.array(CONES[kind]) if kind in CONES else np.eye(3)
    seen = {method: matrix @ np.array(to_rgb(color)) ** 2.2 for method, (color, _) in PALETTE.items()}
    main = ["hemgs", "hac", "context_gs", "scaffold_gs", "gs3d"]
    for index, first in enumerate(main):
        for second in main[index + 1 :]:
            assert np.linalg.norm(seen[first] - seen[second]) > 0.09, (first, second)
    assert len({marker for _, marker in PALETTE.values()}) == len(PALETTE)


def test_labels_do_not_cover_each_other() -> None:
    with conventions():
        figure = new_figure(3.5, 2.7)
        axes = figure.add_axes((0.1, 0.1, 0.8, 0.8))
        axes.set(xlim=(0, 1), ylim=(0, 1))
        places = [(0.5, 0.5), (0.52, 0.5), (0.5, 0.53), (0.48, 0.48)]
        place_labels(figure, axes, [Label(x, y, f"Method {n}", "#000000") for n, (x, y) in enumerate(places)], places)
        boxes = [text.get_window_extent() for text in axes.texts]
    assert len(boxes) == 4
    assert not any(a.overlaps(b) for n, a in enumerate(boxes) for b in boxes[n + 1 :])


def test_crops_lie_where_the_pictures_differ_most() -> None:
    target = np.full((100, 150, 3), 100, np.uint8)
    image = target.copy()
    image[10:20, 30:40] = 250
    image[70:80, 120:130] = 200
    first, second = choose_crops(target, [image])
    assert first.side == second.side == 22
    assert (first.cut(image) == 250).all(axis=2).sum() == 100
    assert (second.cut(image) == 200).all(axis=2).sum() == 100


def test_crops_never_overlap_even_where_nothing_differs() -> None:
    target = np.zeros((30, 30, 3), np.uint8)
    first, second = choose_crops(target, [target])
    assert abs(first.left - second.left) >= first.side or abs(first.top - second.top) >= first.side


def test_tiny_pictures_get_fewer_crops() -> None:
    target = np.zeros((1, 1, 3), np.uint8)
    assert choose_crops(target, [target]) == [Box(0, 0, 1)]


def test_at_most_five_pictures_and_the_last_method_keeps_both_ends() -> None:
    pictures = [
        Picture(method, rate, "v", Path(), None, None, None)
        for method in ("a", "b", "c", "hemgs")
        for rate in ("low", "middle", "high")
    ]
    chosen = [(picture.method, picture.rate) for picture in choose(pictures)]
    assert len(chosen) == MAX_PICTURES
    assert chosen == [("a", "high"), ("b", "high"), ("c", "high"), ("hemgs", "low"), ("hemgs", "high")]


def test_a_view_of_another_size_is_an_error(tmp_path: Path) -> None:
    results = Results(tmp_path, methods=("gs3d",), scenes={"chair": ("chair",)}).write(pictures=True)
    summarise(results.plan, PUBLISHED, results.summary)
    (folder,) = (tmp_path / "points").rglob("showcase")
    Image.new("RGB", (9, 9)).save(folder / "single" / "view_0.png")
    with pytest.raises(RecordError, match="another size"):
        make_figures(results.summary, results.style, tmp_path / "figures")
    (folder / "single" / "view_0.png").write_bytes(b"no picture")
    with pytest.raises(RecordError, match="cannot be read"):
        make_figures(results.summary, results.style, tmp_path / "figures")


@pytest.mark.parametrize("flip", [False, True])
def test_crops_do_not_overlap_on_either_side_of_the_worst_spot(flip: bool) -> None:
    target = np.zeros((120, 120, 3), np.uint8)
    image = target.copy()
    image[:, 50:76] = np.arange(120, dtype=np.uint8)[:, None, None]
    first, second = choose_crops(target, [image[::-1] if flip else image])
    assert first.side == 26
    assert abs(first.left - second.left) >= first.side or abs(first.top - second.top) >= first.side

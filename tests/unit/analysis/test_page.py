"""The page: self-contained text, and its script driven in a real browser."""

from __future__ import annotations

import csv
import html
import json
import math
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hemgs.analysis.publish import make_page
from hemgs.analysis.summary import summarise
from tests.unit.analysis.synthetic_results import PUBLISHED, Results

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
BROWSER_TIMEOUT_S = 120
MIB = 2**20


def _page(results: Results, out: Path) -> str:
    (path,) = make_page(results.summary, results.style, out / "tables", out / "figures", out / "page")
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(complete: Results, tmp_path_factory: pytest.TempPathFactory) -> str:
    return _page(complete, tmp_path_factory.mktemp("page"))


def _data(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found
    data: dict[str, Any] = json.loads(found.group(1))
    return data


def test_nothing_is_loaded_from_anywhere(page: str) -> None:
    without_data = re.sub(r"data:image/webp;base64,[A-Za-z0-9+/=]+", "", page)
    assert not re.search(r'(src|href)="(https?:)?//', without_data)
    assert set(re.findall(r"https?://[^\"' ]+", without_data)) == {"http://www.w3.org/2000/svg"}
    assert "default-src 'none'" in page
    assert len(page) < 2 * MIB


def test_headline_figures_follow_from_the_summary(page: str) -> None:
    cards = re.findall(r'<div class="card"><b>(.*?)</b><span>(.*?)</span></div>', page)
    assert ("1.06–1.75 MiB", "16 rates of HEMGS") in cards
    assert ("71.9× smaller", "HEMGS at its highest rate against 3DGS, PSNR +0.50 dB") in cards
    assert len(cards) == 8


def change_datasets(results: Results, change: Callable[[dict[str, str]], dict[str, str]]) -> None:
    """Change cells of the summary's means."""
    table = results.summary / "datasets.csv"
    rows = list(csv.DictReader(table.open(encoding="utf-8", newline="")))
    with table.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows({**row, **change(row)} for row in rows)


def test_the_headline_names_unequal_training(tmp_path: Path) -> None:
    results = Results(tmp_path, iterations={"hemgs": 60000}).write()
    summarise(results.plan, PUBLISHED, results.summary)
    assert "trained 60,000 against 30,000 iterations" in _page(results, tmp_path)


@pytest.mark.parametrize(
    ("iterations", "psnr", "expected"),
    [
        ("300", "20.9", "3DGS is 8.50 dB below HEMGS after 300 iterations: train both longer"),
        ("1999", "28.39", "3DGS is 1.01 dB below HEMGS after 1,999 iterations: train both longer"),
        ("not available", "20.9", "3DGS is 8.50 dB below HEMGS after differing numbers of iterations"),
        ("1999", "28.41", "PSNR +0.99 dB"),
        ("2000", "20.9", "PSNR +8.50 dB"),
        ("300", "inf", "PSNR infinite"),
    ],
)
def test_the_headline_compares_only_with_a_baseline_that_was_trained_soundly(
    tmp_path: Path, iterations: str, psnr: str, expected: str
) -> None:
    """A quick look printed "8x smaller, PSNR +8.5 dB" against 3DGS after 300 iterations."""
    results = Results(tmp_path).write()
    summarise(results.plan, PUBLISHED, results.summary)
    changed = {"iterations": iterations, "psnr": psnr}
    change_datasets(results, lambda row: changed if row["method"] == "gs3d" else {"psnr": "29.4"})
    cards = re.findall(r'<div class="card"><b>(.*?)</b><span>(.*?)</span></div>', _page(results, tmp_path))
    found = [f"{value} {text}" for value, text in cards if "3DGS" in text]
    assert found
    assert all(expected in card for card in found)
    assert all(card.startswith("not compared") == ("train both longer" in card) for card in found)


def test_the_headline_names_scenes_trained_for_unequal_numbers_of_iterations(tmp_path: Path) -> None:
    results = Results(tmp_path).write()
    summarise(results.plan, PUBLISHED, results.summary)
    change_datasets(results, lambda row: {"iterations": "not available"} if row["method"] == "gs3d" else {})
    assert "trained 30,000 against differing numbers of iterations" in _page(results, tmp_path)


def test_data_of_the_curves(page: str) -> None:
    data = _data(page)
    scenes = {(curve["method"], curve["dataset"], curve["scene"]) for curve in data["curves"]}
    assert len(scenes) == len(data["curves"]) == 4 * 5
    curve = next(c for c in data["curves"] if (c["method"], c["dataset"], c["scene"]) == ("hemgs", "court", "mean"))
    assert len(curve["points"]) == 16
    assert [point["lmbda"] for point in curve["points"]] == sorted((p["lmbda"] for p in curve["points"]), reverse=True)
    for point in curve["points"]:
        assert sum(point["sections"].values()) == pytest.approx(point["bytes"])
    assert [metric["id"] for metric in data["metrics"]] == ["psnr", "ssim", "lpips_squeeze"]


def test_pictures_are_embedded_for_ends_and_middle_of_the_rates(page: str) -> None:
    scene = _data(page)["showcase"][0]
    assert scene["label"] == "Court: Knot"
    shown = [(item["method"], item["lmbda"]) for item in scene["items"]]
    assert shown[:2] == [("gs3d", None), ("scaffold_gs", None)]
    assert [lmbda for method, lmbda in shown if method == "hemgs"] == [0.004, 0.0024, 0.001]
    assert all(item["src"].startswith("data:image/webp;base64,") for item in scene["items"])
    assert "stored without loss" in page


def test_the_matrix_of_bd_rates_is_coloured(page: str) -> None:
    table = page[page.index('id="table-bdrate_matrix"') :]
    table = table[: table.index("</table>")]
    assert table.count("rgba(213, 94, 0,") == table.count("rgba(0, 114, 178,") == 2 * 3
    cell = r'title="overlap 27\.96–28\.65, points 4/16" style="background: rgba\(213, 94, 0, 0\.\d\d\)">\+'
    assert re.search(cell, table)


def test_entropy_models_on_equal_symbols_are_shown_on_request(tmp_path: Path) -> None:
    """A scene's file that was requested by name does not add the table: the page does not wait for that file."""
    results = Results(tmp_path, methods=("hemgs",), scenes={"chair": ("chair",)}).write()
    summarise(results.plan, PUBLISHED, results.summary)
    measured = PUBLISHED.parents[1] / "results" / "measured" / "refit" / "chair.csv"
    (results.summary / "refit" / "chair").mkdir(parents=True)
    shutil.copy(measured, results.summary / "refit" / "chair")
    assert "with scene-agnostic network" not in _page(results, tmp_path)
    style = json.loads(results.style.read_text())
    results.style.write_text(json.dumps({**style, "tables": ["refit"]}))
    assert "with scene-agnostic network" in _page(results, tmp_path)


def test_an_infinite_psnr_makes_a_page(tmp_path: Path) -> None:
    results = Results(tmp_path, methods=("gs3d", "hemgs"), scenes={"chair": ("chair",)})
    results.write(lambda row: row | {"psnr": math.inf}, pictures=True)
    summarise(results.plan, PUBLISHED, results.summary)
    page = _page(results, tmp_path)
    assert "HEMGS at its highest rate against 3DGS, PSNR infinite" in page
    assert "∞" in page


def test_holes_are_listed_with_reason_and_log(with_hole: Results, tmp_path: Path) -> None:
    page = _page(with_hole, tmp_path)
    assert "loss is not finite at step 20" in page
    assert "train_model/scaffold_gs-court-tower-single-s0.log" in page
    curves = {(c["method"], c["dataset"], c["scene"]) for c in _data(page)["curves"]}
    assert ("scaffold_gs", "court", "mean") not in curves
    assert ("scaffold_gs", "court", "knot") in curves


def test_text_from_outside_cannot_become_markup(tmp_path: Path) -> None:
    hostile = "</script><script>alert(1)</script><img src=x onerror=alert(1)>"
    results = Results(tmp_path, methods=("gs3d",), scenes={"court": ("knot", "tower")})
    failed = {"status": "failed", "reason": hostile}
    results.write(lambda row: {**row, **failed} if row["scene"] == "knot" else {**row, "hardware": hostile})
    for path in (results.plan, results.style):
        data = json.loads(path.read_text())
        data["methods"][0]["label"] = data["title"] = hostile
        path.write_text(json.dumps(data))
    summarise(results.plan, PUBLISHED, results.summary)
    page = _page(results, tmp_path)
    assert hostile not in page
    assert "<img src=x" not in page
    assert page.count("<script") == page.count("</script>") == 2
    assert html.escape(hostile) in page


def test_files_next_to_the_page_are_linked_relatively(complete: Results, tmp_path: Path) -> None:
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "quality.tex").write_text("x")
    assert '<a href="../tables/quality.tex">quality.tex</a>' in _page(complete, tmp_path)


DRIVER = """
<script>
const report = {};
const byId = (id) => document.getElementById(id);
const marks = (method) => document.querySelectorAll(`#plot .mark${method ? `[data-method=${method}]` : ""}`).length;
const change = (id, value, event = "change") => { byId(id).value = value; byId(id).dispatchEvent(new Event(event)); };
try {
  report.marks = marks();
  report.logarithmic = byId("plot-log").checked;
  document.querySelector('#plot .mark[data-rate="lmbda_0.0040"][data-method=hemgs]').dispatchEvent(new Event("focus"));
  report.tip = byId("plot-tip").hidden ? "" : byId("plot-tip").innerText;
  document.querySelector("#plot-legend input[data-method=hemgs]").click();
  report.withoutHemgs = marks();
  document.querySelector("#plot-legend input[data-method=hemgs]").click();
  report.back = marks("hemgs");
  change("plot-metric", "lpips_squeeze");
  report.axis = [...document.querySelectorAll("#plot .axis-title")].map((node) => node.textContent);
  change("plot-dataset", "chair");
  report.scenes = [...byId("plot-scene").options].map((option) => option.value);
  report.compare = byId("compare-method").value;
  report.caption = byId("compare-caption").textContent;
  change("compare-rate", 0, "input");
  report.captionLow = byId("compare-caption").textContent;
  report.pictures = byId("compare-after").src !== byId("compare-before").src;
  change("compare-split", 25, "input");
  report.clip = byId("compare-before").style.clipPath;
  change("compare-method", "gs3d");
  report.single = [byId("compare-rate").disabled, byId("compare-caption").textContent];
  report.bars = document.querySelectorAll("#bytes-bars .bar").length;
  const width = (bar) => [...bar.querySelectorAll("i")].reduce((sum, part) => sum + parseFloat(part.style.width), 0);
  const bars = () => [...document.querySelectorAll("#bytes-bars .bar")].map(width);
  report.shares = bars();
  byId("bytes-absolute").click();
  report.lengths = bars();
  const header = document.querySelectorAll("#table-quality tr.sortable th")[5];
  const column = () => [...byId("table-quality").tBodies[0].rows].map((row) => row.cells[5].textContent);
  header.click();
  report.ascending = column();
  header.click();
  report.descending = column();
} catch (fault) {
  report.fault = String(fault.stack);
}
const holder = document.createElement("pre");
holder.id = "report";
holder.textContent = JSON.stringify(report);
document.body.append(holder);
</script></body>
"""


@pytest.fixture(scope="module")
def report(page: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The reactions of the page to its controls, as the browser reports them."""
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine; the page's script is not run")
    folder = tmp_path_factory.mktemp("browser")
    path = folder / "driven.html"
    path.write_text(page.replace("</body>", DRIVER), encoding="utf-8")
    flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    flags += " --disable-component-update --disable-sync --virtual-time-budget=5000"
    command = [CHROMIUM, *flags.split(), f"--user-data-dir={folder / 'profile'}", "--dump-dom", path.as_uri()]
    result = subprocess.run(command, capture_output=True, text=True, timeout=BROWSER_TIMEOUT_S, check=False)
    found = re.search(r'<pre id="report">(.*?)</pre>', result.stdout, re.DOTALL)
    if not found and not result.stdout:
        pytest.skip(f"chromium did not start: {result.stderr[-300:]}")
    assert found, result.stderr[-2000:]
    reported: dict[str, Any] = json.loads(html.unescape(found.group(1)))
    assert "fault" not in reported, reported["fault"]
    return reported


def test_the_plot_can_be_explored(report: dict[str, Any]) -> None:
    assert report["marks"] == 1 + 1 + 4 + 16
    assert report["logarithmic"] is True
    assert report["tip"].splitlines()[:3] == ["HEMGS, λ = 0.0040", "1.06 MiB (1,106,456 bytes)", "PSNR [dB]: 27.96"]
    assert (report["withoutHemgs"], report["back"]) == (6, 16)
    assert report["axis"] == ["Size [MiB]", "LPIPS-SqueezeNet (lower is better)"]
    assert report["scenes"] == ["mean", "chair"]


def test_before_and_after_can_be_compared(report: dict[str, Any]) -> None:
    assert report["compare"] == "hemgs"
    assert report["caption"] == "λ = 0.0010 · 29.40 dB · 1.47 MiB"
    assert report["captionLow"] == "λ = 0.0040 · 28.71 dB · 0.893 MiB"
    assert report["pictures"] is True
    assert report["clip"] == "inset(0px 75% 0px 0px)"
    assert report["single"] == [True, "single rate · 28.90 dB · 105.0 MiB"]


def test_bytes_are_drawn_as_shares_or_lengths(report: dict[str, Any]) -> None:
    assert report["bars"] == 22
    assert report["shares"] == pytest.approx([100.0] * 22, abs=0.01)
    assert report["lengths"][0] == pytest.approx(100.0, abs=0.01)
    assert report["lengths"][-1] == pytest.approx(100 * 1.75 / 126.0, abs=0.01)


def test_tables_sort_by_number(report: dict[str, Any]) -> None:
    assert report["ascending"] == ["1.06", "1.28", "1.75", "2.90", "20.40", "126.0"]
    assert report["descending"] == report["ascending"][::-1]

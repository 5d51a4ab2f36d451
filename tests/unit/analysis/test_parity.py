"""Verdicts on published values, and the published values themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from hemgs.analysis.bdrate import bdrate_rows
from hemgs.analysis.means import planned_points
from hemgs.analysis.parity import MIB, VERDICTS, load_published, parity_rows
from hemgs.analysis.plan import load_plan
from hemgs.analysis.points import gather
from hemgs.bench.rates import parse_rate
from hemgs.core.errors import ConfigError
from hemgs.core.records import Row
from tests.unit.analysis.synthetic_results import METHODS, PUBLISHED, Results, point

PROTOCOLS = """
datasets:
  paper: {min_width: 90, num_views: 2, scenes: [knot, tower], aliases: [court]}
  chair: {min_width: 90, scenes: [chair]}
tolerances:
  psnr: {absolute: 0.1, better: higher}
  size_mib: {relative: 0.05, better: lower}
  bd_rate_percent: {absolute: 5.0, better: higher}
"""
HEADER = "method,rate,dataset,scene,metric,value,unit,table,iterations,source,note\n"
CHAIR = point("gs3d", "chair", "chair", "single", 0, "single", 30000)


def _compare(tmp_path: Path, *lines: str, protocols: str = PROTOCOLS, results: Results | None = None) -> list[Row]:
    folder = tmp_path / "published"
    folder.mkdir()
    (folder / "values.csv").write_text(HEADER + "".join(f"{line}\n" for line in lines))
    (folder / "protocols.yaml").write_text(protocols)
    if results is None:
        results = Results(tmp_path, methods=("gs3d", "hac", "hemgs")).write()
    plan = load_plan(results.plan)
    planned = planned_points(plan, gather(plan))
    return parity_rows(plan, planned, bdrate_rows(plan, planned), load_published(folder))


@pytest.mark.parametrize(
    ("metric", "published", "verdict"),
    [
        ("psnr", float(CHAIR["psnr"] or 0) + 0.09, "reproduced"),
        ("psnr", float(CHAIR["psnr"] or 0) - 0.09, "reproduced"),
        ("psnr", float(CHAIR["psnr"] or 0) + 0.11, "worse"),
        ("psnr", float(CHAIR["psnr"] or 0) - 0.11, "better"),
        ("size_mib", float(CHAIR["bytes_total"] or 0) / MIB / 1.049, "reproduced"),
        ("size_mib", float(CHAIR["bytes_total"] or 0) / MIB / 1.06, "worse"),
        ("size_mib", float(CHAIR["bytes_total"] or 0) / MIB / 0.94, "better"),
    ],
)
def test_verdicts(tmp_path: Path, metric: str, published: float, verdict: str) -> None:
    (row,) = _compare(tmp_path, f"gs3d,single,chair,mean,{metric},{published},,Table 1,30000,paper,")
    assert row["verdict"] == verdict
    assert row["ours"] == pytest.approx(float(published) + float(row["difference"] or 0))
    assert (row["reason"], row["iterations_ours"], row["iterations_published"]) == ("", 30000, "30000")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("gs3d,single,chair,mean,psnr,33.0,dB,,60000,paper,", "trained for 30,000 iterations, published for 60,000"),
        ("gs3d,single,chair,mean,psnr,33.0,dB,,,paper,", "does not state its training length"),
        ("gs3d,all,chair,mean,train_h,0.5,h,,30000,paper,", "depends on the machine"),
        ("gs3d,single,chair,mean,ssim,0.9,,,30000,paper,", "shown, not judged"),
    ],
)
def test_what_differs_is_not_judged(tmp_path: Path, line: str, reason: str) -> None:
    (row,) = _compare(tmp_path, line)
    assert row["verdict"] == "not comparable"
    assert reason in str(row["reason"])
    assert row["ours"] is not None
    assert row["tolerance"] is None


def test_scaled_down_views_are_never_a_reproduction(tmp_path: Path) -> None:
    psnr = float(CHAIR["psnr"] or 0)
    line = f"gs3d,single,chair,chair,psnr,{psnr},dB,,30000,paper,"
    (row,) = _compare(tmp_path, line, protocols=PROTOCOLS.replace("chair: {min_width: 90", "chair: {min_width: 97"))
    assert (row["verdict"], row["reason"]) == ("not comparable", "chair is 96 pixels wide, published at 97 or more")


def test_another_number_of_views_is_another_split(tmp_path: Path) -> None:
    line = "gs3d,single,paper,knot,psnr,28.9,dB,,30000,paper,"
    (row,) = _compare(tmp_path, line, protocols=PROTOCOLS.replace("num_views: 2", "num_views: 3"))
    assert "knot has 2 test views, published with 3" in str(row["reason"])


def test_a_mean_needs_all_scenes_of_the_protocol(tmp_path: Path) -> None:
    line = "gs3d,single,chair,mean,psnr,33.0,dB,,30000,paper,"
    (row,) = _compare(tmp_path, line, protocols=PROTOCOLS.replace("scenes: [chair]", "scenes: [chair, lego]"))
    assert (row["verdict"], row["reason"]) == ("not comparable", "scenes not in this run: lego")


def test_an_alias_is_compared_by_scene_only(tmp_path: Path) -> None:
    rows = _compare(
        tmp_path,
        "gs3d,single,paper,mean,psnr,28.0,dB,,30000,paper,",
        "gs3d,single,paper,knot,psnr,28.9,dB,,30000,paper,",
    )
    assert [(row["dataset"], row["scene"], row["verdict"]) for row in rows] == [("court", "knot", "reproduced")]


def test_a_named_rate_is_that_one_and_no_other(tmp_path: Path) -> None:
    rows = _compare(
        tmp_path,
        *(
            f"hemgs,{rate},chair,mean,size_mib,1.0,MiB,Table 1,30000,paper,"
            for rate in ("lmbda_0.0020", "lmbda_0.0500")
        ),
    )
    size = point("hemgs", "chair", "chair", "all", 0, "lmbda_0.0020", 30000)["bytes_total"]
    assert rows[0]["ours"] == pytest.approx(float(size or 0) / MIB)
    assert (rows[1]["ours"], rows[1]["reason"]) == (None, "not planned on this dataset")


def test_low_and_high_are_the_ends_of_the_rates(tmp_path: Path) -> None:
    rows = _compare(
        tmp_path,
        *(f"hemgs,{rate},chair,mean,size_mib,1.0,MiB,Table 1,30000,paper," for rate in ("low", "high")),
    )
    low, high = (
        point("hemgs", "chair", "chair", "all", 0, rate, 30000)["bytes_total"]
        for rate in ("lmbda_0.0040", "lmbda_0.0010")
    )
    assert [row["ours"] for row in rows] == [pytest.approx(float(size or 0) / MIB) for size in (low, high)]


def test_sections_times_and_curves_in_their_published_units(tmp_path: Path) -> None:
    rows = _compare(
        tmp_path,
        "hemgs,low,chair,mean,others_mib,0.1,MiB,Table 5,30000,paper,",
        "hemgs,all,chair,mean,train_h,0.2,h,Table 6,30000,paper,",
        "hac,all,chair,mean,bd_rate_percent,30.0,%,Table 2,30000,paper,",
        "hemgs,all,chair,mean,context_anchors_mean,5.76,,Table 4,30000,paper,",
    )
    others, hours, bd, context = rows
    own = point("hemgs", "chair", "chair", "all", 0, "lmbda_0.0040", 30000)
    expected = sum(int(own[f"bytes_{name}"] or 0) for name in ("container", "masks", "hash_grid", "networks"))
    assert others["ours"] == pytest.approx(expected / MIB)
    assert hours["ours"] == pytest.approx(METHODS["hemgs"][2] / 3600)
    assert bd["ours"] == pytest.approx(30.0, abs=5.0)
    assert bd["verdict"] == "reproduced"
    assert (context["verdict"], context["reason"]) == ("missing", "not measured by this project")


@pytest.mark.parametrize("odd", ["knot", "tower"])
def test_trainings_of_different_length_are_not_judged_whichever_comes_first(tmp_path: Path, odd: str) -> None:
    results = Results(tmp_path, methods=("gs3d",), scenes={"paper": ("knot", "tower")})
    results.write(lambda row: row | {"iterations": 7000} if row["scene"] == odd else row)
    mean, knot = _compare(
        tmp_path,
        "gs3d,single,paper,mean,psnr,28.15,dB,,30000,paper,",
        "gs3d,single,paper,knot,psnr,28.9,dB,,30000,paper,",
        results=results,
    )
    assert (mean["verdict"], mean["iterations_ours"]) == ("not comparable", None)
    assert mean["reason"] == "trained for differing numbers of iterations, published for 30,000"
    assert mean["ours"] is not None
    assert knot["iterations_ours"] == (7000 if odd == "knot" else 30000)


def test_a_bd_rate_is_the_one_against_hemgs(tmp_path: Path) -> None:
    """The check covers all pairs, several of which name the method."""
    (row,) = _compare(tmp_path, "hac,all,chair,mean,bd_rate_percent,30.0,%,Table 2,30000,paper,")
    plan = load_plan(tmp_path / "summary" / "plan.json")
    key = {"reference": "hemgs", "method": "hac", "dataset": "chair", "scene": "mean", "metric": "psnr"}
    key |= {"interpolation": "pchip"}
    pairs = bdrate_rows(plan, planned_points(plan, gather(plan)))
    (own,) = [pair for pair in pairs if all(pair[name] == value for name, value in key.items())]
    assert row["ours"] == own["percent"]
    assert row["ours"] is not None


def test_a_hole_is_missing_with_its_reason(tmp_path: Path) -> None:
    results = Results(tmp_path, methods=("gs3d",), scenes={"chair": ("chair",)}).write(lambda _: None)
    (row,) = _compare(tmp_path, "gs3d,single,chair,mean,psnr,33.0,dB,,30000,paper,", results=results)
    assert (row["verdict"], row["ours"]) == ("missing", None)
    assert "1 of 1 scenes missing" in str(row["reason"])


@pytest.mark.parametrize("text", ["datasets: 3", "{", "datasets: {}", "tolerances: {}"])
def test_a_broken_protocol_file_is_named(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"protocols\.yaml"):
        _compare(tmp_path, protocols=text)


def _published(**key: str) -> float:
    rows = load_published(PUBLISHED).values
    (found,) = [row for row in rows if all(row[name] == value for name, value in key.items())]
    return float(found["value"] or 0)


def test_the_papers_tables_as_printed() -> None:
    one = {"table": "Table 1", "scene": "mean"}
    assert _published(method="gs3d", dataset="mipnerf360", metric="size_mib", **one) == 744.7
    assert _published(method="hemgs", rate="low", dataset="deepblending", metric="size_mib", **one) == 3.67
    assert _published(method="hemgs", rate="high", dataset="mipnerf360", metric="psnr", **one) == 27.89
    assert _published(method="sog", dataset="synthetic_nerf", metric="lpips_vgg_unit", **one) == 0.047
    assert _published(method="hac", dataset="deepblending", table="Table 2", metric="bd_rate_percent") == 82.85
    assert _published(method="hemgs_without_sa_ar", table="Table 3", metric="size_mib") == 4.11
    assert _published(method="hemgs_without_sa_small_field", table="Table 4", metric="context_mean") == 0.43
    assert _published(method="hemgs", table="Table 5", metric="offsets_mib") == 0.640
    assert _published(method="context_gs", table="Table 6", metric="train_h") == 5


def test_the_published_values_are_complete_and_unambiguous() -> None:
    published = load_published(PUBLISHED)
    first = [row for row in published.values if row["table"] == "Table 1"]
    # 13 rows; CompGS and ContextGS have no Synthetic-NeRF.
    assert len(first) == 13 * 4 * 4 - 2 * 4
    keys = [(r["table"], r["source"], r["method"], r["rate"], r["dataset"], r["scene"], r["metric"]) for r in first]
    assert len(set(keys)) == len(keys)
    assert {str(row["dataset"]) for row in published.values} == set(published.protocols)
    for row in published.values:
        scenes = published.protocols[str(row["dataset"])].scenes
        assert row["scene"] in ("mean", *scenes)
        assert row["rate"] in ("single", "low", "high", "all") or parse_rate(str(row["rate"])).lmbda
    five = [row for row in published.values if row["table"] == "Table 5" and row["method"] == "hemgs"]
    parts = [float(r["value"] or 0) for r in five if str(r["metric"]).endswith("_mib") and r["metric"] != "size_mib"]
    assert sum(parts) == pytest.approx(3.670, abs=1e-9)


def test_verdict_vocabulary_is_closed(complete: Results) -> None:
    text = (complete.summary / "parity.csv").read_text()
    assert text.count("\n") > 1
    assert all(any(f",{verdict}," in line for verdict in VERDICTS) for line in text.splitlines()[1:])

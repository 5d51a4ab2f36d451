"""The estimated cost of a benchmark: the arithmetic, and the origin of its figures."""

from __future__ import annotations

import csv
import json
import shutil
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from statistics import fmean

import pytest
import yaml

from hemgs.bench.costs import Costs, load_costs
from hemgs.bench.estimate import Estimate, estimate
from hemgs.cli import main
from hemgs.config.benchmark import load_benchmark
from hemgs.core.errors import ConfigError

REPOSITORY = Path(__file__).resolve().parents[3]
CONFIG = REPOSITORY / "workflow/config"
MEASURED = REPOSITORY / "results/measured"


@pytest.fixture
def costs() -> Costs:
    return load_costs(MEASURED / "costs.yaml")


@pytest.fixture
def estimated(costs: Costs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Estimate]:
    monkeypatch.delenv("HEMGS_DATASETS", raising=False)
    monkeypatch.chdir(tmp_path)  # where scenes might be in place

    def run(results: Path = tmp_path, **selection: object) -> Estimate:
        settings = yaml.safe_load((CONFIG / "config.yaml").read_text())
        settings["run"] |= selection
        return estimate(load_benchmark(settings, [], CONFIG), costs, lambda _: 30_000, results)

    return run


def test_the_figures_are_those_that_were_measured(costs: Costs) -> None:
    """The figures equal the means over the ladder's points, to the printed digits."""
    points = defaultdict(list)
    with (MEASURED / "ladder_bonsai/points.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            points[row["variant"] or row["method"]].append(row)
    mean = {
        name: {
            column: fmean(float(row[column]) for row in rows)
            for column in ("train_s", "encode_s", "decode_s", "render_s")
        }
        for name, rows in points.items()
    }
    checked = [name for name in costs.methods if name != "other"]
    assert {"hac", "context_gs", "hac_plus", "hemgs", "hemgs_plus"} <= set(checked)
    for name in checked:
        found = costs.methods[name]
        assert found.train == pytest.approx(mean[name]["train_s"] / mean["hemgs"]["train_s"], abs=0.006)
        for column in ("encode_s", "decode_s"):
            assert getattr(found, column) == pytest.approx(mean[name][column], abs=0.051)
        assert found.render_s == pytest.approx(mean[name]["render_s"], abs=0.00006)
    # Twenty at once: the wall time of one of them over twenty is the GPU's time for its steps.
    training = costs.training
    step_ms = 1000 * mean["hemgs"]["train_s"] / training.iterations
    assert training.together_ms == pytest.approx(step_ms / training.num_at_once, rel=0.03)


def test_model_sizes_are_those_that_were_printed(costs: Costs) -> None:
    with (REPOSITORY / "workflow/published/values.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["metric"] == "size_mib" and row["table"] == "Table 1"]
    printed = {(row["method"], row["dataset"]): float(row["value"]) * 2**20 for row in rows if row["scene"] == "mean"}
    for method, sizes in (("gs3d", costs.disk.splats), ("scaffold_gs", costs.disk.anchors)):
        for dataset, size in sizes.items():
            if dataset != "other":
                assert size == pytest.approx(printed[method, dataset], rel=0.001)


def test_the_papers_benchmark(estimated: Callable[..., Estimate]) -> None:
    found = estimated()
    assert found.jobs == {
        "fetch_archive": 4,
        "prepare_scene": 21,
        "train_model": 273,
        "encode_points": 273,
        "evaluate_points": 273,
        "publish": 6,
    }
    by_method = {method.method: method for method in found.methods}
    assert {name: (method.fits, method.rates) for name, method in by_method.items()} == {
        "gs3d": (21, 21), "scaffold_gs": (21, 21), "hac": (105, 105), "context_gs": (84, 84), "hemgs": (21, 336),
        "hemgs_30k": (21, 336),
    }  # fmt: skip
    hemgs = by_method["hemgs"]
    assert hemgs.steps == 21 * 60_000
    assert hemgs.alone_h == pytest.approx(21 * 60_000 * 0.015 / 3600)
    assert hemgs.together_h == pytest.approx(21 * 60_000 * 0.00325 / 3600)
    assert hemgs.together_h < hemgs.scaled_h < 4 * hemgs.together_h
    assert found.disk_bytes["archives"] > 12_535_427_936 + 4_488_140_217
    assert any("gs3d was not measured" in note for note in found.notes)


def test_steps_scale_with_pixels_and_never_below_what_was_measured(estimated: Callable[..., Estimate]) -> None:
    ratio = {}
    for dataset in ("mipnerf360", "tanksandtemples"):
        (hemgs,) = estimated(datasets=[dataset], methods=["hemgs"]).methods
        ratio[dataset] = hemgs.scaled_h / hemgs.together_h
    assert ratio == {
        "mipnerf360": pytest.approx(1_700_000 / 426_400),
        "tanksandtemples": pytest.approx(535_000 / 426_400),
    }


def test_what_is_done_costs_nothing_more(estimated: Callable[..., Estimate], tmp_path: Path) -> None:
    selection = {"datasets": ["deepblending"], "methods": ["hemgs"]}
    points = tmp_path / "points/hemgs/deepblending/playroom/all/s0/points.csv"
    model = tmp_path / "models/hemgs/deepblending/drjohnson/all/s0/model.safetensors"
    for path in (points, model):
        path.parent.mkdir(parents=True)
        path.touch()
    found = estimated(**selection)
    assert found.done == 1
    assert (found.jobs["prepare_scene"], found.jobs["train_model"], found.jobs["encode_points"]) == (1, 0, 1)
    scene = tmp_path / "data/scenes/deepblending/drjohnson/scene.json"
    scene.parent.mkdir(parents=True)
    scene.touch()
    found = estimated(**selection)
    assert (found.jobs["fetch_archive"], found.jobs["prepare_scene"]) == (0, 0)
    assert found.disk_bytes["archives"] == found.disk_bytes["prepared scenes"] == 0


def test_checkpoints_are_those_of_trainings_under_way(estimated: Callable[..., Estimate], costs: Costs) -> None:
    """`hemgs train` removes them at its end; it keeps two, and a third while it writes."""
    selection = {"datasets": ["deepblending", "synthetic_nerf"], "methods": ["hac"]}
    found = estimated(**selection).disk_bytes
    large, small = costs.disk.anchors["deepblending"], costs.disk.anchors["synthetic_nerf"]
    assert found["models"] == pytest.approx(5 * (2 * large + 8 * small))
    assert costs.training.num_at_once == 20
    checkpoint = 3 * costs.disk.checkpoint
    assert found["checkpoints while training"] == pytest.approx(checkpoint * (10 * large + 10 * small))


def test_scenes_that_are_in_place_need_no_archive(
    estimated: Callable[..., Estimate], costs: Costs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in `hemgs fetch`: a local copy, and an archive that was downloaded and must be unpacked."""
    selection = {"datasets": ["mipnerf360"], "methods": ["hemgs"]}
    sizes = {"360_v2.zip": 12_535_427_936, "360_extra_scenes.zip": 4_488_140_217}
    assert estimated(**selection).disk_bytes["archives"] == sum(sizes.values())
    monkeypatch.setenv("HEMGS_DATASETS", str(tmp_path / "copy"))
    for scene in ("flowers", "treehill", "garden"):
        (tmp_path / "copy/mipnerf360" / scene).mkdir(parents=True)
    found = estimated(**selection).disk_bytes
    assert found["archives"] == sizes["360_v2.zip"]
    assert found["unpacked scenes"] == pytest.approx(sizes["360_v2.zip"] * 6 / 7 * costs.disk.unpacked)
    (tmp_path / "data/archives").mkdir(parents=True)
    (tmp_path / "data/archives/360_v2.zip").touch()
    found = estimated(**selection).disk_bytes
    assert (found["archives"], found["unpacked scenes"] > 0) == (0, True)
    found = estimated(scenes=["garden"], **selection).disk_bytes
    assert found["archives"] == found["unpacked scenes"] == 0


def test_entropy_models_are_compared_where_the_table_asks(costs: Costs, tmp_path: Path) -> None:
    settings = yaml.safe_load((CONFIG / "config.yaml").read_text())
    settings["run"] |= {"datasets": ["deepblending"]}
    settings["publish"] = {"tables": ["quality", "refit"]}
    benchmark = load_benchmark(settings, [], CONFIG)
    assert estimate(benchmark, costs, lambda _: 1, tmp_path).jobs["refit_model"] == 2
    table = tmp_path / "summary/refit/deepblending/playroom.csv"
    table.parent.mkdir(parents=True)
    table.touch()
    assert estimate(benchmark, costs, lambda _: 1, tmp_path).jobs["refit_model"] == 1


def test_a_data_set_without_figures_is_named(costs: Costs, tmp_path: Path) -> None:
    settings = yaml.safe_load((CONFIG / "demo.yaml").read_text())
    found = estimate(load_benchmark(settings, [], CONFIG), costs, lambda _: 0, tmp_path)
    assert any("procedural has no sizes" in note for note in found.notes)


def test_on_the_command_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(REPOSITORY)
    run = "run={datasets: [deepblending], scenes: playroom, methods: [gs3d, hemgs]}"
    assert main(["estimate", "--config", run, "--json", "--results", "nowhere"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["jobs_total"] == 1 + 1 + 2 + 2 + 2 + 6
    assert [method["steps"] for method in found["methods"]] == [30_000, 60_000], (
        "the method's own default, and its file's"
    )
    changes = ["run={datasets: [deepblending]}", "title=Mine", "--config", "run={methods: [gs3d]}"]
    assert main(["estimate", "--config", *changes, "--results", "nowhere"]) == 0
    assert capsys.readouterr().out.startswith("Mine: 2 scenes of 1 datasets")
    assert main(["estimate", "--results", "nowhere"]) == 0
    printed = capsys.readouterr().out
    for words in (
        "21 scenes of 4 datasets",
        "850 jobs: 4 fetch_archive",
        "20 at once",
        "extrapolated:",
        "measured: 15 ms",
    ):
        assert words in printed


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--config", "run"], "give KEY=VALUE"),
        (["--config", "run={a: [}"], "not YAML"),
        (["--config", "run={methods: [hemsg]}"], "did you mean 'hemgs'"),
        (["--configfile", "none.yaml"], "no such file"),
        (["--costs", "none.yaml"], "no such file"),
    ],
)
def test_mistakes_are_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    monkeypatch.chdir(REPOSITORY)
    assert main(["estimate", *arguments]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("alone_ms:", "alon_ms:", "unknown key 'alon_ms' in 'training'.*did you mean 'alone_ms'"),
        ("  alone_ms: 15.0\n", "", "'training' lacks 'alone_ms'"),
        ("disk:", "disks:", "unknown key 'disks'.*did you mean 'disk'"),
        ("alone_ms: 15.0", "alone_ms: '15.0'", "'training.alone_ms' cannot be \"15.0\""),
        ("  other: {train", "  others: {train", "'methods' cannot be .*add 'other'"),
    ],
)
def test_a_file_of_figures_that_cannot_be_used(tmp_path: Path, old: str, new: str, said: str) -> None:
    text = (MEASURED / "costs.yaml").read_text()
    assert old in text
    (tmp_path / "costs.yaml").write_text(text.replace(old, new))
    with pytest.raises(ConfigError, match=said):
        load_costs(tmp_path / "costs.yaml")


def test_a_base_that_is_not_selected_is_trained_and_counted_once(
    estimated: Callable[..., Estimate], costs: Costs, tmp_path: Path
) -> None:
    folder = tmp_path / "config"
    for name in ("methods", "datasets"):
        shutil.copytree(CONFIG / name, folder / name)
    for name in ("early", "late"):
        method = {"id": name, "label": name, "entry": "a.b:C", "kind": "post", "base": "gs3d"}
        (folder / f"methods/{name}.yaml").write_text(yaml.safe_dump(method))

    def run(*methods: str) -> Estimate:
        settings = {"title": "T", "run": {"methods": list(methods), "datasets": ["deepblending"]}}
        return estimate(load_benchmark(settings, [], folder), costs, lambda _: 30_000, tmp_path)

    alone, both, with_base = run("early"), run("early", "late"), run("gs3d", "early", "late")
    assert [found.jobs["train_model"] for found in (alone, both, with_base)] == [4, 6, 6]
    assert [found.jobs["encode_points"] for found in (alone, both, with_base)] == [2, 4, 6]
    assert [(found.method, found.steps, found.rates) for found in both.methods] == [
        ("early", 60_000, 2),
        ("late", 60_000, 2),
        ("gs3d", 60_000, 0),
    ]
    assert both.disk_bytes["models"] == with_base.disk_bytes["models"] == 3 * alone.disk_bytes["models"] / 2
    # A base that exists is not trained again, nor is one whose post models all exist.
    for scene in ("drjohnson", "playroom"):
        made = tmp_path / f"models/gs3d/deepblending/{scene}/single/s0/model.safetensors"
        made.parent.mkdir(parents=True)
        made.touch()
    assert run("early").jobs["train_model"] == 2
    assert [found.method for found in run("early").methods] == ["early"]

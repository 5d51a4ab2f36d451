"""The repository's own configuration: it runs as far as a dry run can, and its documentation is complete."""

from __future__ import annotations

import importlib.util
import itertools
import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from tests.workflow.workflow_project import REPOSITORY, Project

CONFIG = REPOSITORY / "workflow" / "config"
NUM_SCENES = 9 + 2 + 2 + 8
#: One training per scene of all methods but these, which have one per rate.
RATES = {
    "hac.method:Hac": ("0.0005", "0.0010", "0.0020", "0.0030", "0.0040"),
    "context_gs.method:ContextGs": ("0.0005", "0.0010", "0.0020", "0.0040"),
}
NUM_FITS = (4 + sum(len(rates) for rates in RATES.values())) * NUM_SCENES
PUBLISHED = {"write_plan", "write_style", "summarise_points", "make_tables", "make_figures", "make_page"}


def test_paper_configuration_plans_every_scene_and_method(paper: Project) -> None:
    assert paper.planned() == {
        "fetch_archive": 4,
        "prepare_scene": NUM_SCENES,
        "train_model": NUM_FITS,
        "encode_points": NUM_FITS,
        "evaluate_points": NUM_FITS,
        **dict.fromkeys(PUBLISHED, 1),
    }


def test_paper_configuration_plans_sixteen_rates_of_one_model(paper: Project) -> None:
    output = paper.snakemake("-n", "--printshellcmds").stdout
    encodes = re.findall(r"hemgs encode (\S+) --rates (\S+)", output)
    assert len(encodes) == NUM_FITS
    rates = {path: names.split(",") for path, names in encodes}
    for path, names in rates.items():
        assert len(names) == (16 if path.startswith(("results/models/hemgs/", "results/models/hemgs_30k/")) else 1)
    playroom = rates["results/models/hemgs/deepblending/playroom/all/s0"]
    assert playroom[0] == "lmbda_0.0010"
    assert playroom[5] == "lmbda_0.0020"
    assert playroom[-1] == "lmbda_0.0040"


@pytest.mark.parametrize(("entry", "lmbdas"), RATES.items())
def test_paper_configuration_trains_some_methods_once_per_rate(
    paper: Project, entry: str, lmbdas: tuple[str, ...]
) -> None:
    output = paper.snakemake("-n", "--printshellcmds").stdout
    method = rf"baselines\.{re.escape(entry)}"
    found = re.findall(rf"hemgs train results/data/scenes/(\S+) --method {method} --rate (\S+) .*'(\{{.*?\}})'", output)
    assert len(found) == len(lmbdas) * NUM_SCENES
    assert {rate for scene, rate, _ in found if scene == "deepblending/playroom"} == {
        f"lmbda_{lmbda}" for lmbda in lmbdas
    }
    settings = {scene: json.loads(params) for scene, _, params in found}
    assert settings["synthetic_nerf/lego"] == {"grow_factor": 4, "iterations": 30000, "voxel_size": 0.001}
    assert settings["tanksandtemples/train"] == {"grow_factor": 16, "iterations": 30000, "voxel_size": 0.01}


def test_paper_configuration_trains_with_the_settings_of_each_data_set(paper: Project) -> None:
    output = paper.snakemake("-n", "--printshellcmds").stdout
    trainings = r"hemgs train results/data/scenes/(\S+) --method \S+:Hemgs --seed .*--params-json '(.*?)'"
    settings = dict(re.findall(trainings, output))
    assert len(settings) == NUM_SCENES
    assert '"voxel_size": 0.001}' in settings["mipnerf360/bicycle"]
    assert '"voxel_size": 0.01}' in settings["tanksandtemples/train"]
    assert '"voxel_size": 0.005}' in settings["deepblending/playroom"]
    assert '"grow_factor": 4,' in settings["synthetic_nerf/lego"]
    assert all('"iterations": 60000' in text for text in settings.values())


@pytest.mark.parametrize(
    ("name", "scenes", "fits"),
    [
        ("demo", 1, 7),
        ("bonsai", 1, 3),
        ("chair", 1, 3),
        ("plus_chair", 1, 8),
        ("rivals_chair", 1, 9),
        ("rivals_bonsai", 1, 9),
    ],
)
def test_small_configurations_plan(paper: Project, name: str, scenes: int, fits: int) -> None:
    planned = paper.planned("--configfile", f"workflow/config/{name}.yaml")
    assert (planned["prepare_scene"], planned["train_model"]) == (scenes, fits)


@pytest.mark.parametrize("name", ["ablations", "ladder_bonsai", "ladder_chair", "ladder_seeds"])
def test_ablations_train_every_variant_with_the_same_settings(paper: Project, name: str) -> None:
    """Each method has one training, or four for four rates; all have the full method's settings and their own."""
    config = yaml.safe_load((CONFIG / f"{name}.yaml").read_text())
    methods, scenes = config["run"]["methods"], len(config["run"]["scenes"])
    per_rate = {"hac", "context_gs", "hac_plus", "hemgs_without_variable_rate"}
    fits = sum(4 if method in per_rate else 1 for method in methods) * scenes * len(config["run"]["seeds"])
    arguments = ("--configfile", f"workflow/config/{name}.yaml")
    fetches = {} if name == "ladder_bonsai" else {"fetch_archive": 1}  # the bonsai lies in a local folder
    assert paper.planned(*arguments) == {
        **fetches,
        "prepare_scene": scenes,
        "train_model": fits,
        "encode_points": fits,
        "evaluate_points": fits,
        **dict.fromkeys(PUBLISHED, 1),
    }
    output = paper.snakemake("-n", "--printshellcmds", *arguments).stdout
    named = r"--method (hemgs\.\S+?)(?: --variant (\S+))?(?: --rate (\S+))?"
    trainings = rf"hemgs train (\S+) {named} --seed 0 --overwrite --params-json '(.*?)'"
    own = {
        "hemgs_without_sa": {"scene_agnostic": ""},
        "hemgs_without_sa_ar": {"scene_agnostic": "", "feature_context": 0, "geometry_context": 0},
        "hemgs_without_sa_acs": {"scene_agnostic": "", "context_neighbours": 0},
        "hemgs_without_sa_small_field": {"scene_agnostic": "", "context_window": 5, "context_neighbours": 0},
        "hemgs_without_acs": {"context_neighbours": 0},
        "hemgs_small_field": {"context_window": 5, "context_neighbours": 0},
        "hemgs_wide_field": {"context_multiplier": 4},
        "hemgs_s3dis": {"scene_agnostic": "pointnet2_s3dis_msg"},
        "hemgs_float": {"float_networks": True},
    }
    own["hemgs_plus"] = {
        "location_codec": "octree",
        "mask_codec": "adaptive",
        "sparse_grid": True,
        "head_bits": 8,
        "context_multiplier": 0,
        "masks_in_rate": True,
        "mask_weight": 0.0,
        "feature_chunks": 5,
        "order": "hashed",
    }
    found = re.findall(trainings, output)
    full = {scene: json.loads(params) for scene, _, variant, _, params in found if not variant}
    assert len(full) == scenes
    for scene, entry, variant, rate, params in found:
        assert "iterations" in full[scene]
        single = variant == "hemgs_without_variable_rate"
        assert entry == ("hemgs.codec.method:HemgsSingleRate" if single else "hemgs.codec.method:Hemgs")
        assert bool(rate) == single
        assert json.loads(params) == full[scene] | own.get(variant, {})
    single_rates = {f"lmbda_0.00{step}0" for step in (1, 2, 3, 4)}
    assert {rate for *_, rate, _ in found if rate} == (single_rates if per_rate & set(methods) else set())
    rates = dict(re.findall(r"hemgs encode results/models/(\S+?)/\S+ --rates (\S+)", output))
    assert len({rates[method] for method in methods if method not in per_rate and method.startswith("hemgs")}) == 1


@pytest.mark.parametrize("name", ["plus", "plus_chair"])
def test_each_step_to_hemgs_plus_changes_some_settings_and_keeps_the_others(paper: Project, name: str) -> None:
    output = paper.snakemake("-n", "--printshellcmds", "--configfile", f"workflow/config/{name}.yaml").stdout
    trainings = r"hemgs train \S+ --method hemgs\.\S+?(?: --variant (\S+))? --seed 0 --overwrite --params-json '(.*?)'"
    settings = {variant or "hemgs": json.loads(params) for variant, params in re.findall(trainings, output)}
    whole, changed = settings.pop("hemgs_plus"), []
    for before, after in itertools.pairwise(params for _, params in sorted(settings.items())):
        assert before.keys() <= after.keys() and before != after
        changed.append({key for key in after if before.get(key) != after[key]})
    # Each step has settings of its own, and the last but for the order is HEMGS+.
    assert sum(map(len, changed)) == len(set().union(*changed))
    assert whole == settings["hemgs_plus_6_channels"] | {"order": "hashed"}


@pytest.mark.parametrize("profile", ["demo", "local-gpu", "slurm", "slurm-gres"])
def test_profiles_load(paper: Project, profile: str) -> None:
    if profile.startswith("slurm") and importlib.util.find_spec("snakemake_executor_plugin_slurm") is None:
        pytest.skip("snakemake-executor-plugin-slurm is not installed")
    output = paper.snakemake("-n", "--profile", f"profiles/{profile}").stdout
    expected = 7 if profile == "demo" else NUM_FITS
    assert re.search(rf"^train_model +{expected}$", output, re.MULTILINE)


def test_short_form_of_a_profile(paper: Project) -> None:
    assert "prepare the scene procedural/court" in paper.snakemake("-n", "--workflow-profile", "demo").stdout


@pytest.mark.parametrize("profile", ["slurm", "slurm-gres"])
def test_cluster_profiles_ask_for_a_gpu_per_training_and_more_on_retry(profile: str) -> None:
    settings = yaml.safe_load((REPOSITORY / "profiles" / profile / "config.yaml").read_text())
    for rule in ("train_model", "encode_points", "evaluate_points", "refit_model"):
        resources = settings["set-resources"][rule]
        assert resources.get("gpu") == 1 or resources.get("gres") == "gpu:1"
        assert "attempt" in str(resources["mem_mb"])
        assert "attempt" in str(resources["runtime"])
    assert settings["retries"] > 0


@pytest.mark.parametrize("profile", ["slurm", "slurm-gres"])
def test_cluster_profiles_keep_clear_of_what_goes_wrong_on_a_real_cluster(profile: str) -> None:
    """Runs without any of these failed. tests/cluster shows the result with them, where Slurm is installed."""
    settings = yaml.safe_load((REPOSITORY / "profiles" / profile / "config.yaml").read_text())
    assert settings["slurm-no-requeue"] is True  # After a node failure, the same job would run twice.
    assert settings["slurm-status-command"] == "squeue"  # Snakemake would never stop waiting for a cancelled job.
    assert settings["slurm-status-attempts"] >= 1000  # Jobs would be lost while the controller is away.
    assert settings["slurm-delete-logfiles-older-than"] == 0  # Logs of another invocation's jobs would be removed.


def test_cluster_profiles_differ_in_the_gpu_request_only() -> None:
    texts = [(REPOSITORY / "profiles" / name / "config.yaml").read_text() for name in ("slurm", "slurm-gres")]
    lines = [[line.strip() for line in text.splitlines()[1:]] for text in texts]  # the first line names the profile
    assert [line.replace("gpu: 1", 'gres: "gpu:1"') for line in lines[0]] == lines[1]


def test_default_profile_holds_no_resources() -> None:
    settings = yaml.safe_load((REPOSITORY / "profiles/default/config.yaml").read_text())
    assert settings["rerun-triggers"] == ["mtime", "input", "params"]
    assert not {name for name in settings if "resources" in name or name in ("cores", "jobs", "executor", "configfile")}


@pytest.mark.parametrize("profile", ["default", "demo", "local-gpu", "slurm", "slurm-gres"])
def test_every_entry_of_a_profile_is_explained(profile: str) -> None:
    lines = (REPOSITORY / "profiles" / profile / "config.yaml").read_text().splitlines()
    for before, line in zip(["", *lines], lines, strict=False):
        if re.match(r"[a-z]", line):
            assert before.startswith("#"), f"{profile}: {line}"


def test_snakemake_lint_is_clean(paper: Project) -> None:
    assert "in a good condition" in paper.snakemake("--lint").stdout


def test_snakefmt_is_clean() -> None:
    command = shutil.which("snakefmt") or str(Path(sys.executable).with_name("snakefmt"))
    done = subprocess.run(
        [command, "--check", "--diff", "workflow"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        (
            "config.yaml",
            "  datasets:",
            "  datsets:",
            ["config.yaml", "unknown key 'datsets' in 'run'", "did you mean 'datasets'"],
        ),
        ("config.yaml", " hemgs,", " hemsg,", ["config.yaml", "run.methods", "'hemsg'", "did you mean 'hemgs'"]),
        ("methods/hemgs.yaml", "0.0010,", "-0.0010,", ["hemgs.yaml", "rates", "-0.001"]),
        ("methods/hemgs.yaml", "iterations:", "iteratoins:", ["hemgs.yaml", "no setting 'iteratoins'", "'iterations'"]),
        ("methods/hemgs.yaml", "method:Hemgs", "method:Hemsg", ["hemgs.yaml", "no class Hemsg", "'Hemgs'"]),
        (
            "methods/hemgs.yaml",
            "stop: 0.0040",
            "stop: 0.0200",
            ["hemgs.yaml: rates: hemgs: ", "0.0042", "outside the interval"],
        ),
        (
            "methods/hac.yaml",
            "iterations: 30000",
            "iterations: -5",
            ["hac.yaml: params: 'iterations' cannot be -5 — it must be at least 1"],
        ),
        (
            "methods/hac.yaml",
            "kind: per_rate",
            "kind: all_rates",
            ["hac.yaml: 'hac' is of kind all_rates, but baselines.hac.method:Hac of kind per_rate"],
        ),
        (
            "methods/context_gs.yaml",
            "iterations: 30000",
            "num_levels: 5",
            ["context_gs.yaml: params: num_levels is 5, not an integer from 1 to 4"],
        ),
        (
            "datasets/deepblending.yaml",
            "voxel_size: 0.005",
            "voxel_size: -0.005",
            ["deepblending.yaml: method_params.", "'voxel_size' cannot be -0.005 — it must be at least 0"],
        ),
        ("datasets/deepblending.yaml", "  filter:", "  fitler:", ["deepblending.yaml", "'fitler'", "'filter'"]),
        (
            "datasets/deepblending.yaml",
            "grow_factor",
            "grow_factr",
            ["deepblending.yaml", "'grow_factr'", "'grow_factor'"],
        ),
    ],
)
def test_mistakes_are_named_before_anything_runs(
    paper: Project, file: str, old: str, new: str, said: list[str]
) -> None:
    path = paper.root / "workflow" / "config" / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    done = paper.snakemake("-n", check=False)
    assert done.returncode != 0
    for words in said:
        assert words in done.stdout
    assert not (paper.root / "results").exists()


def test_methods_and_data_sets_from_outside_the_repository(project: Project, tmp_path: Path) -> None:
    extra = tmp_path / "elsewhere"
    for folder in ("methods", "datasets"):
        (extra / folder).mkdir(parents=True)
    method = {"id": "mine", "label": "Mine", "entry": "my_codec:Codec", "kind": "all_rates", "rates": [0.5]}
    (extra / "methods/mine.yaml").write_text(yaml.safe_dump(method))
    dataset = yaml.safe_load((project.root / "workflow/config/datasets/toy.yaml").read_text()) | {"id": "ours"}
    (extra / "datasets/ours.yaml").write_text(yaml.safe_dump(dataset))
    (project.root / "my_codec.py").write_text(
        "from stub_methods.params import SPECS, Params as Settings\n"
        "class Codec:\n    spec, Params = SPECS['AllRates'], Settings\n"
    )
    project.environment["EXTRA"] = str(extra)
    project.edit("config.yaml", lambda data: data.update(extra_config=["${EXTRA}"]))
    project.snakemake("--config", "run={methods: [mine], datasets: [ours], scenes: [one]}", "publish={visual: []}")
    calls = project.calls()
    assert [call[0] for call in calls][:4] == ["prepare", "train", "encode", "evaluate"]
    assert calls[0][calls[0].index("--dataset") + 1] == str(extra / "datasets/ours.yaml")
    assert calls[1][calls[1].index("--method") + 1] == "my_codec:Codec"
    assert (project.root / "results/points/mine/ours/one/all/s0/bitstreams/lmbda_0.5000.gsc").is_file()


def test_entropy_models_are_compared_where_the_table_is_asked_for(paper: Project) -> None:
    """On every scene, from the models that are trained anyway; tables and page wait for them."""
    run = "run={datasets: [tanksandtemples], methods: [hemgs]}"
    asked = ("--config", run, "publish={tables: [quality, refit]}")
    assert paper.planned("--config", run)["refit_model"] == 0
    planned = paper.planned(*asked)
    assert (planned["refit_model"], planned["train_model"]) == (2, 2)
    output = paper.snakemake("-n", *asked).stdout
    for message in ("make the tables", "make the page"):
        (reason,) = set(re.findall(rf"^Job \d+: {message}\n(?:.*\n)*?Reason: (.*)$", output, re.MULTILINE))
        assert "results/summary/refit/tanksandtemples/truck.csv" in reason
    without = ("--config", "run={datasets: [tanksandtemples], methods: [gs3d]}", "publish={tables: [refit]}")
    done = paper.snakemake("-n", *without, check=False)
    assert done.returncode != 0
    assert "run.methods has no hemgs" in done.stdout


@pytest.mark.slow
def test_report_holds_every_table_and_figure_with_its_caption(finished: Project) -> None:
    caption = finished.root / "workflow/report/table_quality.rst"
    caption.write_text("A caption changed after the run.\n")
    finished.snakemake("--report", "report.zip")
    assert finished.calls() == []
    with zipfile.ZipFile(finished.root / "report.zip") as report:
        names = {Path(name).name for name in report.namelist()}
        page = report.read("report/report.html").decode()
    figures = ("rd_toy", "variable_rate", "visual_toy_one")
    assert names >= {f"quality.{form}" for form in ("csv", "md", "tex")} | {"index.html"}
    assert names >= {f"{stem}.{form}" for stem in figures for form in ("pdf", "svg", "png", "csv")}
    assert "A caption changed after the run." in page
    assert "rate and distortion, Toy" in page

"""Counts of the paper's configuration: downloads, trainings, encodings and evaluations, by dataset and method."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from hemgs.cli import main
from tests.workflow.workflow_project import REPOSITORY, Project, copy_workflow, job_counts, with_archive

NUM_SCENES = {"mipnerf360": 9, "tanksandtemples": 2, "deepblending": 2, "synthetic_nerf": 8}
#: Trainings of a scene, and bitstreams of them all together.
NUM_FITS = {"gs3d": 1, "scaffold_gs": 1, "hac": 5, "context_gs": 4, "hemgs": 1, "hemgs_30k": 1}
NUM_RATES = {"gs3d": 1, "scaffold_gs": 1, "hac": 5, "context_gs": 4, "hemgs": 16, "hemgs_30k": 16}
#: Archives by what asks for them; Tanks and Temples and Deep Blending share one.
NUM_FETCHES = {"mipnerf360": 2, "tanksandtemples": 1, "deepblending": 1, "synthetic_nerf": 1}


def selection(datasets: list[str], methods: list[str]) -> tuple[str, ...]:
    return ("--config", f"run={{datasets: [{', '.join(datasets)}], methods: [{', '.join(methods)}]}}")


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Every command of the paper's dry run."""
    project = copy_workflow(tmp_path_factory.mktemp("paper"))
    return project.snakemake("-n", "--printshellcmds").stdout


def counted(pattern: str, commands: str) -> Counter[tuple[str, str]]:
    """Jobs by (method, dataset)."""
    return Counter(re.findall(pattern, commands))


def expected(per_scene: dict[str, int]) -> dict[tuple[str, str], int]:
    return {
        (method, dataset): number * scenes
        for method, number in per_scene.items()
        for dataset, scenes in NUM_SCENES.items()
    }


def test_trainings_by_method_and_data_set(commands: str) -> None:
    outputs = r"hemgs train results/data/scenes/\S+ .* --out results/models/(\w+)/(\w+)/\S+"
    assert counted(outputs, commands) == expected(NUM_FITS)


def test_encodings_and_their_bitstreams_by_method_and_data_set(commands: str) -> None:
    encode = r"hemgs encode results/models/(\w+)/(\w+)/\S+ --rates "
    assert counted(encode, commands) == expected(NUM_FITS)
    bitstreams: Counter[tuple[str, str]] = Counter()
    for method, dataset, rates in re.findall(encode + r"(\S+)", commands):
        bitstreams[method, dataset] += len(rates.split(","))
    assert bitstreams == expected(NUM_RATES)
    assert sum(bitstreams.values()) == 43 * 21


def test_evaluations_by_method_and_data_set(commands: str) -> None:
    assert counted(r"hemgs evaluate results/points/(\w+)/(\w+)/\S+ ", commands) == expected(NUM_FITS)


def test_scenes_are_prepared_once_for_all_methods(commands: str) -> None:
    prepared = re.findall(r"hemgs prepare --dataset \S+ --scene \w+ --out results/data/scenes/(\w+)/", commands)
    assert Counter(prepared) == NUM_SCENES


def test_archives_are_fetched_once_for_all_scenes_and_data_sets(commands: str) -> None:
    fetches = re.findall(r"hemgs fetch (.*?) --archive (\S+) --scenes (\S+)", commands)
    assert len(fetches) == 4
    asked = {name: set(scenes.split(",")) for _, name, scenes in fetches}
    # Each job gets all scenes of its datasets: the disk must have room for what the others fetch, too.
    assert asked["360_extra_scenes.zip"] == asked["360_v2.zip"]
    assert len(asked["360_v2.zip"]) == NUM_SCENES["mipnerf360"]
    assert {scene.partition("/")[0] for scene in asked["tandt_db.zip"]} == {"tanksandtemples", "deepblending"}
    assert len(set.union(*asked.values())) == sum(NUM_SCENES.values())


def test_the_estimate_counts_the_same_jobs(
    commands: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(REPOSITORY)
    assert main(["estimate", "--json", "--results", "nowhere"]) == 0
    jobs = json.loads(capsys.readouterr().out)["jobs"]
    planned = job_counts(commands)
    publishing = {name: planned.pop(name) for name in tuple(planned) if name not in jobs}
    assert jobs == planned | {"publish": sum(publishing.values())}


@pytest.mark.parametrize("dataset", NUM_SCENES)
def test_one_data_set_alone(paper: Project, dataset: str) -> None:
    planned = paper.planned(*selection([dataset], ["hemgs"]))
    scenes = NUM_SCENES[dataset]
    assert (planned["fetch_archive"], planned["prepare_scene"]) == (NUM_FETCHES[dataset], scenes)
    assert (planned["train_model"], planned["encode_points"], planned["evaluate_points"]) == (scenes,) * 3


def test_one_scene_and_one_method_alone(paper: Project) -> None:
    run = "run={datasets: [mipnerf360], scenes: [garden], methods: [hac]}"
    planned = paper.planned("--config", run)
    assert (planned["fetch_archive"], planned["prepare_scene"], planned["train_model"]) == (1, 1, 5)
    assert "--scenes mipnerf360/garden " in paper.snakemake("-n", "-p", "--config", run).stdout


@pytest.mark.slow
def test_a_further_scene_of_an_archive_prepares_that_scene_only(project: Project) -> None:
    """The archive is read again; scenes that exist are not made again."""
    project.edit("datasets/toy.yaml", with_archive)
    project.edit("config.yaml", lambda data: data["run"].update(methods=["single_stub"]))
    project.snakemake("--config", "run={scenes: [one]}")
    calls = project.calls()
    assert calls[0] == [
        "fetch", "--dataset", "workflow/config/datasets/toy.yaml", "--archive", "toy.zip",
        "--scenes", "toy/one", "--out", "results/data/fetched/toy.zip.json",
    ]  # fmt: skip
    project.snakemake()
    assert [call[0] for call in project.calls()][:3] == ["fetch", "prepare", "train"]
    (Path(project.root) / "results/data/fetched/toy.zip.json").unlink()
    assert project.planned() == {}, "an archive that was used is not missed"


@pytest.mark.slow
def test_an_archive_that_cannot_be_fetched_is_named_with_what_is_published(project: Project) -> None:
    """Scenes from other archives are published; the list of failures names the log of the download."""
    project.edit("datasets/toy.yaml", with_archive)
    project.edit("datasets/toy.yaml", lambda data: data["source"]["archives"][0].update(scenes=["two"]))
    (project.root / "captures/one").mkdir()
    project.edit("config.yaml", lambda data: data["run"].update(methods=["single_stub"]))
    project.environment["STUB_FAIL"] = "fetch"
    assert project.snakemake("--keep-going", check=False).returncode != 0
    failures = (project.root / "results/summary/failures.csv").read_text().splitlines()
    assert failures == ["method,scene,log", "single_stub,two,results/logs/fetch_archive/toy.zip.log"]
    assert (project.root / "results/page/index.html").is_file()

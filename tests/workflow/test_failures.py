"""The files of a failed or interrupted job, and their use in the next run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import Any

import pytest

from tests.unit.cli.cli_cases import heed_interrupts
from tests.workflow.workflow_project import Project

TRAIN_TWO = "train results/data/scenes/toy/two --method stub_methods.method:Single --rate single"
MODEL = "results/models/single_stub/toy/two/single/s0"


@pytest.fixture
def project(project: Project) -> Project:
    """The small project with one method, for speed."""
    project.edit("config.yaml", lambda data: data["run"].update(methods=["single_stub"]))
    return project


@pytest.mark.slow
def test_failed_scene_does_not_keep_the_others_from_a_reader(project: Project) -> None:
    project.environment["STUB_FAIL"] = TRAIN_TWO
    done = project.snakemake(check=False)
    assert done.returncode != 0
    log = "results/logs/train_model/single_stub/toy/two/single/s0.log"
    assert log in done.stdout
    assert "the stub was asked to fail" in done.stdout
    # Everything is published except for the missing result, which is listed with its log.
    failures = (project.root / "results/summary/failures.csv").read_text().splitlines()
    assert failures == ["method,scene,log", f"single_stub,two,{log}"]
    assert (project.root / "results/page/index.html").is_file()
    assert (project.root / "results/tables/quality.tex").is_file()
    (said,) = [line for line in done.stdout.splitlines() if "results/summary/failures.csv" in line]
    assert "missing: 1, each with its reason" in said
    # The checkpoint is kept, and there is no incomplete model.
    assert (project.root / MODEL / "work/checkpoint").is_file()
    assert not (project.root / MODEL / "model.safetensors").exists()

    project.environment["STUB_FAIL"] = ""
    project.calls()
    project.snakemake()
    assert [call[0] for call in project.calls() if call[0] in ("train", "encode", "evaluate")] == [
        "train",
        "encode",
        "evaluate",
    ]
    assert (project.root / MODEL / "work/checkpoint").is_file()
    assert (project.root / "results/summary/failures.csv").read_text().splitlines() == ["method,scene,log"]
    assert project.planned() == {}


@pytest.mark.slow
def test_a_stopped_run_leaves_what_is_published(finished: Project) -> None:
    page = finished.root / "results/page/index.html"
    before = page.stat().st_mtime_ns, (finished.root / "results/summary/plan.json").read_bytes()
    finished.edit("methods/single_stub.yaml", lambda data: data.update(params={"iterations": 7}))
    go_on = finished.root / "go_on"
    with (finished.root / "stopped.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "snakemake", "--cores", "2"],
            cwd=finished.root,
            env=finished.environment | {"STUB_HOLD": TRAIN_TWO, "STUB_GO_ON": str(go_on)},
            stdout=log,
            stderr=log,
            preexec_fn=heed_interrupts,
            start_new_session=True,
        )
        while not go_on.with_suffix(".held").exists():
            assert process.poll() is None
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to Snakemake and to its jobs
        assert process.wait(timeout=60) != 0
    assert "What was published before has not been changed" in (finished.root / "stopped.log").read_text()
    assert (page.stat().st_mtime_ns, (finished.root / "results/summary/plan.json").read_bytes()) == before


@pytest.mark.slow
def test_failed_retraining_hides_the_old_points(finished: Project) -> None:
    points = finished.root / "results/points/single_stub/toy/two/single/s0/points.csv"
    finished.edit("methods/single_stub.yaml", lambda data: data.update(params={"iterations": 7}))
    finished.environment["STUB_FAIL"] = TRAIN_TWO
    assert finished.snakemake(check=False).returncode != 0
    assert points.is_file()  # but made with other settings than those of the configuration
    failures = (finished.root / "results/summary/failures.csv").read_text()
    assert "single_stub,two,results/logs/train_model/" in failures
    finished.environment["STUB_FAIL"] = ""
    finished.snakemake()
    assert "two" not in (finished.root / "results/summary/failures.csv").read_text()


def scaled(data: dict[str, Any]) -> None:
    data["scenes"]["two"] = {"protocol": {"scale": 0.5}}


def ledger(project: Project) -> list[str]:
    """Rows of the ledger, without its header."""
    return (project.root / "results/summary/failures.csv").read_text().splitlines()[1:]


@pytest.mark.slow
def test_failed_preparation_hides_the_points_of_the_old_protocol(finished: Project) -> None:
    finished.edit("datasets/toy.yaml", scaled)
    finished.environment["STUB_FAIL"] = "prepare --dataset workflow/config/datasets/toy.yaml --scene two"
    assert finished.snakemake(check=False).returncode != 0
    assert (finished.root / "results/points/single_stub/toy/two/single/s0/points.csv").is_file()
    log = "results/logs/prepare_scene/toy/two.log"
    assert ledger(finished) == [
        f"{method},two,{log}" for method in ("all_rates_stub", "per_rate_stub", "per_rate_stub", "single_stub")
    ]


@pytest.mark.slow
def test_points_whose_training_was_not_begun_are_of_old_settings(finished: Project) -> None:
    """Without --keep-going the first failure ends the run: the others are as before their settings changed."""
    finished.edit("config.yaml", lambda data: data.update(method_params={"all_methods": {"iterations": 7}}))
    finished.environment["STUB_FAIL"] = "train"
    stop = ("--workflow-profile", "none", "--cores", "1", "--rerun-triggers", "mtime", "input", "params")
    assert finished.snakemake(*stop, check=False).returncode != 0
    assert [call[0] for call in finished.calls()].count("train") == 1
    assert len(ledger(finished)) == 8
    assert len([row for row in ledger(finished) if row.endswith(".log")]) == 1


@pytest.mark.slow
def test_failed_fetching_hides_the_points_of_another_archive(project: Project) -> None:
    def source(name: str) -> dict[str, Any]:
        archive = {"url": f"http://127.0.0.1:9/{name}.zip", "scenes": ["two"]}
        return {"kind": "colmap", "local": "captures", "archives": [archive]}

    (project.root / "captures/one").mkdir()
    project.edit("datasets/toy.yaml", lambda data: data.update(source=source("old")))
    project.snakemake()
    project.edit("datasets/toy.yaml", lambda data: data.update(source=source("new")))
    project.environment["STUB_FAIL"] = "fetch"
    assert project.snakemake(check=False).returncode != 0
    assert ledger(project) == ["single_stub,two,results/logs/fetch_archive/new.zip.log"]


def test_a_failure_of_single_files_publishes_nothing(finished: Project) -> None:
    """Another run may be writing the published files."""
    finished.edit("methods/single_stub.yaml", lambda data: data.update(params={"iterations": 7}))
    finished.environment["STUB_FAIL"] = TRAIN_TWO
    before = {path: path.stat().st_mtime_ns for path in (finished.root / "results/summary").iterdir()}
    points = "results/points/single_stub/toy/two/single/s0/points.csv"
    assert finished.snakemake(points, check=False).returncode != 0
    assert {path: path.stat().st_mtime_ns for path in (finished.root / "results/summary").iterdir()} == before


@pytest.mark.slow
def test_a_failing_run_does_not_disturb_a_running_one(project: Project) -> None:
    project.snakemake("results/data/scenes/toy/one/scene.json")
    project.environment["STUB_FAIL"] = "--method stub_methods.method:PerRate --rate lmbda_0.0040"
    run = "run={methods: [single_stub, all_rates_stub], scenes: [one]}"
    with project.held("figures", "--config", run):
        failing = "results/points/per_rate_stub/toy/one/lmbda_0.0040/s0/points.csv"
        done = project.snakemake(failing, "--config", "run={methods: [per_rate_stub], scenes: [one]}", check=False)
        assert done.returncode != 0 and "the stub was asked to fail" in done.stdout
    assert ledger(project) == []


@pytest.mark.slow
def test_a_failed_comparison_of_entropy_models_leaves_the_other_scenes(project: Project) -> None:
    method = project.root / "workflow/config/methods/hemgs.yaml"
    method.write_text((method.with_name("all_rates_stub.yaml")).read_text().replace("all_rates_stub", "hemgs"))
    tables = "publish={tables: [quality, refit], visual: []}"
    arguments = ("--config", "run={methods: [hemgs], datasets: [toy]}", tables)
    project.environment["STUB_FAIL"] = "refit results/models/hemgs/toy/two"
    failed = project.snakemake("--keep-going", *arguments, check=False)
    assert failed.returncode != 0
    refit = project.root / "results/summary/refit/toy"
    assert [path.name for path in refit.iterdir()] == ["one.csv"]
    assert (project.root / "results/tables/refit.csv").is_file()
    assert (project.root / "results/page/index.html").is_file()
    assert ledger(project) == ["hemgs,two,results/logs/refit_model/toy/two.log"]
    del project.environment["STUB_FAIL"]
    project.calls()
    project.snakemake(*arguments)
    # The list of failures has one row less, and all files that depend on it change.
    calls = [call[0] for call in project.calls()]
    assert (calls[0], sorted(calls[1:])) == ("refit", ["figures", "page", "summarise", "tables"])


@pytest.mark.slow
def test_failed_encoding_keeps_the_model(project: Project) -> None:
    project.environment["STUB_FAIL"] = "encode results/models/single_stub/toy/two"
    assert project.snakemake(check=False).returncode != 0
    project.environment["STUB_FAIL"] = ""
    project.calls()
    project.snakemake()
    verbs = [call[0] for call in project.calls()]
    assert "train" not in verbs
    assert verbs.count("encode") == 1


def test_a_broken_bitstream_does_not_lose_the_other_rates_and_is_named(project: Project) -> None:
    project.edit("config.yaml", lambda data: data["run"].update(methods=["all_rates_stub"]))
    project.environment["STUB_BROKEN"] = "lmbda_0.0020"
    done = project.snakemake()
    points = project.root / "results/points/all_rates_stub/toy/one/all/s0/points.csv"
    assert "lmbda_0.0010" in points.read_text()
    assert done.stdout.count("lmbda_0.0020: failed: the stub was asked to fail") == 2, "once per scene"
    log = project.root / "results/logs/evaluate_points/all_rates_stub/toy/one/all/s0.log"
    assert "lmbda_0.0020: failed:" in log.read_text()


@pytest.mark.slow
def test_the_ledger_is_written_again_where_the_same_is_missing_again(project: Project) -> None:
    """The reason is different, and only the log contains it."""
    project.environment["STUB_FAIL"] = TRAIN_TWO
    for _ in range(2):
        assert project.snakemake(check=False).returncode != 0
        assert [call[0] for call in project.calls()].count("summarise") == 1


@pytest.mark.slow
def test_a_first_run_that_fails_at_once_has_a_ledger(project: Project) -> None:
    project.environment["STUB_FAIL"] = "prepare"
    assert project.snakemake(check=False).returncode != 0
    logs = [f"results/logs/prepare_scene/toy/{scene}.log" for scene in ("one", "two")]
    assert ledger(project) == [f"single_stub,{scene},{log}" for scene, log in zip(("one", "two"), logs, strict=True)]
    assert (project.root / "results/page/index.html").is_file()

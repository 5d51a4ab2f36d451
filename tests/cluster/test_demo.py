"""The whole benchmark, small, through Slurm: four layouts of datasets, two invocations at once, requests of jobs."""

from __future__ import annotations

import csv
from dataclasses import dataclass

import pytest

from tests.cluster.captures import SCENES, write_captures
from tests.cluster.checks import check
from tests.cluster.cluster_project import ClusterProject, Invocation, requests_of
from tests.cluster.slurm_machine import SlurmMachine
from tests.workflow.workflow_project import job_counts

pytestmark = [pytest.mark.slow, pytest.mark.cluster]

STEPS = ("prepare_scene", "train_model", "encode_points", "evaluate_points")
PUBLISHING = ("summarise_points", "make_tables", "make_figures", "make_page")
DATASETS, SCENE_IDS = zip(*(scene.split("/") for scene in SCENES), strict=True)
CONFIG = {
    "title": "Four layouts",
    "run": {"methods": ["gs3d"], "datasets": list(DATASETS), "scenes": list(SCENE_IDS), "seeds": [0]},
    "method_params": {"all_methods": {"iterations": 60}},
    "publish": {"tables": ["quality"]},
}
#: The two invocations at once share the folder and no file: no scene, and no archive, as two of the datasets do.
HALVES = ((SCENES[0], SCENES[3]), SCENES[1:3])


@dataclass
class Runs:
    """Invocations that go on side by side."""

    halves: list[Invocation]
    demo: ClusterProject
    gres: ClusterProject


@pytest.fixture(scope="module")
def runs(slurm: SlurmMachine, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    root = tmp_path_factory.mktemp("demo")
    captures = str(write_captures(root / "captures"))
    gres = ClusterProject(root / "gres", slurm, CONFIG, profile="slurm-gres")
    demo = ClusterProject(root / "slurm", slurm, CONFIG)
    for project in (gres, demo):
        project.project.environment["HEMGS_DATASETS"] = captures
        project.set_up_profile()
    one_training = gres.start(f"results/models/gs3d/{SCENES[0]}/single/s0/train.json", hurried=False)
    halves = [demo.start("points", "--config", f"run={{scenes: [{', '.join(half)}]}}") for half in HALVES]
    for invocation in (*halves, one_training):
        invocation.succeed()
    return Runs(halves, demo, gres)


def test_profile_as_typed(slurm: SlurmMachine, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The commands of the documentation, with the unchanged profile."""
    project = ClusterProject(tmp_path_factory.mktemp("typed") / "project", slurm, CONFIG)
    said = project.hemgs("setup", "--profile", "slurm")
    check("snakemake --profile slurm" in said, "hemgs setup --profile slurm says what to type next", said)
    typed = project.start("-n", hurried=False)
    typed.succeed()
    jobs = job_counts(typed.output)
    check(jobs["train_model"] == len(SCENES), "snakemake --profile slurm -n plans every scene", jobs)


def test_two_invocations_at_once_in_one_folder(runs: Runs) -> None:
    jobs = runs.demo.jobs()
    rules = sorted(job.rule for job in jobs)
    expected = sorted(step for step in STEPS for _ in SCENES)
    check(rules == expected, f"two invocations at once for different scenes: {len(rules)} jobs, each once", rules)
    check({job.state for job in jobs} == {"COMPLETED"}, "all of them COMPLETED", jobs)


def test_whole_run_completes(runs: Runs) -> None:
    whole = runs.demo.start()
    whole.succeed()
    counts = {rule: len(runs.demo.jobs(rule)) for rule in (*STEPS, *PUBLISHING)}
    expected = dict.fromkeys(STEPS, len(SCENES)) | dict.fromkeys(PUBLISHING, 1)
    check(counts == expected, "snakemake --profile slurm does the rest, and nothing again", counts)
    with (runs.demo.root / "results/summary/points.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    measured = {(row["dataset"], row["scene"], row["status"]) for row in rows}
    check(measured == {(*scene.split("/"), "ok") for scene in SCENES}, f"measured: {', '.join(SCENES)}", rows)
    page = (runs.demo.root / "results/page/index.html").read_text(encoding="utf-8")
    check("Four layouts" in page, "the page is there")
    again = runs.demo.start("-n")
    again.succeed()
    check(not job_counts(again.output), "a further call has nothing to do", again.output[-1000:])


@pytest.mark.parametrize(("profile", "rules"), [("slurm", (*STEPS, *PUBLISHING)), ("slurm-gres", STEPS[:2])])
def test_requests_arrive_as_the_profile_means_them(runs: Runs, profile: str, rules: tuple[str, ...]) -> None:
    project = runs.demo if profile == "slurm" else runs.gres
    for rule in rules:
        asked = requests_of(profile, rule)
        arrived = {job.requests for job in project.jobs(rule)}
        text = f"{asked.mem_mib} MiB, {asked.minutes} min, cores: {asked.cpus}, GPUs: {asked.gpus}"
        check(arrived == {asked}, f"{profile}: {rule} asked Slurm for {text}", arrived)

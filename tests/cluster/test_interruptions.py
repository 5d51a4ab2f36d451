"""A training that is stopped in each way of a cluster continues from its checkpoint and ends with the same model."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from hemgs.core.files import sha256_of
from tests.cluster.checks import check
from tests.cluster.cluster_project import CHECKPOINT_TIMEOUT_S, ClusterProject, requests_of
from tests.cluster.slurm_machine import NODE, SPARE, SlurmMachine, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.cluster]

FIT = "gs3d/procedural/court/single/s0"
MODEL = f"results/models/{FIT}/model.safetensors"
RECORD = f"results/models/{FIT}/train.json"
CHECKPOINT_EVERY = 100
CONFIG = {
    "title": "Interruptions",
    "run": {"methods": ["gs3d"], "datasets": ["procedural"], "scenes": ["court"], "seeds": [0]},
    "method_params": {"all_methods": {"iterations": 800, "checkpoint_every": CHECKPOINT_EVERY}},
    "publish": {"tables": ["quality"]},
}

NewProject = Callable[[str], ClusterProject]


@pytest.fixture(scope="module")
def undisturbed(slurm: SlurmMachine, tmp_path_factory: pytest.TempPathFactory) -> ClusterProject:
    """A training without interruption, whose model is expected of all others."""
    project = small_project(tmp_path_factory.mktemp("undisturbed") / "project", slurm)
    project.start(RECORD).succeed()
    return project


def small_project(root: Path, slurm: SlurmMachine) -> ClusterProject:
    project = ClusterProject(root, slurm, CONFIG)
    size = {"num_views": 9, "width": 32, "height": 24, "num_points": 80, "seed": 0}
    project.project.edit("datasets/procedural.yaml", lambda data: data["source"].update(procedural=size))
    project.set_up_profile()
    return project


@pytest.fixture
def new_project(undisturbed: ClusterProject, slurm: SlurmMachine, tmp_path: Path) -> NewProject:
    """Folders with the prepared scene and no model."""

    def make(name: str) -> ClusterProject:
        project = small_project(tmp_path / name, slurm)
        project.take_over(undisturbed)
        for file in (project.root / "results/models").rglob("*.*"):
            file.unlink()
        return project

    return make


def check_result(project: ClusterProject, undisturbed: ClusterProject, *, resumed: bool = True) -> None:
    """The model is that of an undisturbed training, and a resumed training continued from a checkpoint."""
    starts = project.resumed_at(FIT)
    if resumed:
        # A job that is asked to end before it is killed writes one more checkpoint, a few iterations later.
        went_on = len(starts) == 1 and starts[0] >= CHECKPOINT_EVERY
        check(went_on, f"training went on from iteration {starts[0] if starts else 0}", starts)
    else:
        check(not starts, "training ran through without a restart", starts)
    same = sha256_of(project.root / MODEL) == sha256_of(undisturbed.root / MODEL)
    check(same, "the model has the same bytes as an undisturbed one")


def check_retry(project: ClusterProject, states: list[str]) -> None:
    """The job was submitted again by itself, with more."""
    jobs = project.jobs("train_model")
    check([job.state for job in jobs] == states, f"jobs of this training: {', '.join(states)}", jobs)
    first, second = (requests_of("slurm", "train_model", attempt) for attempt in (1, 2))
    # The first one's time limit may have been moved by the test.
    arrived = (jobs[0].requests.mem_mib, jobs[1].requests)
    check(
        arrived == (first.mem_mib, second),
        f"first {first.mem_mib} MiB and {first.minutes} min, then {second.mem_mib} and {second.minutes}",
        jobs,
    )


def test_cancelled_job_and_job_over_its_time_limit(
    slurm: SlurmMachine, new_project: NewProject, undisturbed: ClusterProject
) -> None:
    """Two workflows in two folders at once, each with a job that Slurm ends."""
    cancelled, late = new_project("cancelled"), new_project("late")
    runs = [project.start(RECORD) for project in (cancelled, late)]
    trainings = [project.hold_training(FIT) for project in (cancelled, late)]
    devices = {training.environment["CUDA_VISIBLE_DEVICES"] for training in trainings}
    check(devices == {"0", "1"}, "trainings of two workflows at once are given different GPUs", devices)
    slurm.command("scancel", trainings[0].job)
    slurm.command("scontrol", "update", f"jobid={trainings[1].job}", "endtime=now")
    for project, run, state in zip((cancelled, late), runs, ("CANCELLED", "TIMEOUT"), strict=True):
        run.succeed()
        check_retry(project, [state, "COMPLETED"])
        check_result(project, undisturbed)


def test_node_failure(slurm: SlurmMachine, new_project: NewProject, undisturbed: ClusterProject) -> None:
    """Slurm by itself would start the job again, in addition to Snakemake's retry: it must not."""
    project = new_project("node")
    run = project.start(RECORD)
    project.hold_training(FIT)
    slurm.update_node(SPARE, "resume")
    slurm.update_node(NODE, "down")
    try:
        run.succeed()
    finally:
        slurm.update_node(NODE, "resume")
        slurm.update_node(SPARE, "drain")
    check_retry(project, ["NODE_FAIL", "COMPLETED"])
    check(f"excluded from subsequent submissions: {NODE}" in run.output, "the retry kept away from the failed node")
    check_result(project, undisturbed)


def test_killed_controller(slurm: SlurmMachine, new_project: NewProject, undisturbed: ClusterProject) -> None:
    project, refused = new_project("controller"), new_project("refused")
    run = project.start(RECORD)
    training = project.hold_training(FIT)
    slurm.kill_controller()
    try:
        newcomer = refused.start(RECORD)
        training.go_on()
        wait_for("the training's end", lambda: not training.alive, CHECKPOINT_TIMEOUT_S)
        check(newcomer.wait() != 0, "a workflow that cannot submit ends with an error")
        check("Unable to contact slurm controller" in newcomer.output, "and says that the controller is away")
        check(run.running, "a workflow whose job runs waits for the controller")
    finally:
        slurm.start_controller()
    run.succeed()
    jobs = project.jobs("train_model")
    check(
        [job.state for job in jobs] == ["COMPLETED"], "its job, which ended meanwhile, is COMPLETED and ran once", jobs
    )
    check_result(project, undisturbed, resumed=False)
    check(refused.start(RECORD).wait() == 0, "the one that could not submit completes when run again")
    check_result(refused, undisturbed, resumed=False)


def test_interrupted_and_killed_snakemake(new_project: NewProject, undisturbed: ClusterProject) -> None:
    project = new_project("killed")
    interrupted = project.start(RECORD)
    training = project.hold_training(FIT)
    interrupted.kill(signal.SIGINT)
    wait_for("the training's end", lambda: not training.alive, CHECKPOINT_TIMEOUT_S)
    check(project.states("train_model") == ["CANCELLED"], "Ctrl-C of snakemake cancels its job", project.jobs())

    killed = project.start(RECORD)
    training = project.hold_training(FIT, resumed=True)
    second = project.start(RECORD)
    refused = second.wait() != 0 and "Directory cannot be locked" in second.output
    check(refused, "a second invocation in the same folder is refused, and names the lock", second.output[-2000:])
    killed.kill(signal.SIGKILL)
    check(project.start(RECORD).wait() != 0, "the lock of a killed snakemake stays")
    check(project.start("--unlock").wait() == 0, "snakemake --unlock removes it")

    again = project.start(RECORD)
    waiting = "waiting for its result"
    wait_for("the second training to wait", lambda: waiting in project.log("train_model", FIT), CHECKPOINT_TIMEOUT_S)
    check(training.alive, "the job that outlived its snakemake trains on, and the new one waits for it")
    training.go_on()
    again.succeed()
    states = project.states("train_model")
    check(states == ["CANCELLED", "COMPLETED", "COMPLETED"], "both end well", states)
    sessions = [event["event"] for event in project.events(FIT)].count("session")
    check(sessions == 2, "one of them trained: with the interrupted one, two sessions in all", sessions)
    check_result(project, undisturbed)

"""A full disk and Ctrl-C at the command line: one line of error, no incomplete file, and a next run that continues."""

from __future__ import annotations

import json
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hemgs.bench.conformance import make_tiny_scene
from hemgs.cli import main
from tests.unit.cli.cli_cases import DATASET, REPOSITORY, TOY, dataset_file, entries, heed_interrupts, make_capture


@pytest.fixture(scope="module")
def sound_capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_capture(tmp_path_factory.mktemp("captures") / "court")


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_scene(tmp_path_factory.mktemp("stopped") / "scene")


@pytest.fixture(scope="module")
def model(scene: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("stopped_model") / "model"
    assert main(["train", str(scene), "--method", TOY, "--out", str(out)]) == 0
    return out


# --- a disk that fills up ------------------------------------------------------------------------------------------


#: Arguments and KiB of the disk to exit code, standard error and the files left.
OnSmallDisk = Callable[[list[str], int], tuple[int, str, set[str]]]


@pytest.fixture(scope="module")
def small_disk(tmp_path_factory: pytest.TempPathFactory) -> OnSmallDisk:
    """Run a command with a small, separate file system at ``{disk}`` in its arguments."""
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode:
        pytest.skip("this system lets nobody mount a small disk")
    disk = tmp_path_factory.mktemp("disk")

    def run(arguments: list[str], size_kib: int) -> tuple[int, str, set[str]]:
        words = [word.replace("{disk}", str(disk)) for word in arguments]
        script = f'mount -t tmpfs -o size={size_kib}k tmpfs {disk} && "$@"; code=$?; find {disk} -type f; exit $code'
        done = subprocess.run(
            ["unshare", "-rm", "bash", "-c", script, "bash", sys.executable, "-m", "hemgs", *words],
            capture_output=True,
            text=True,
            cwd=REPOSITORY,
        )
        left = {line.removeprefix(f"{disk}/") for line in done.stdout.splitlines() if line.startswith(f"{disk}/")}
        return done.returncode, done.stderr, left

    return run


def disk_commands(scene: Path, model: Path, tmp_path: Path) -> dict[str, tuple[list[str], int, int]]:
    """Verb → arguments, KiB that are too few, KiB that are enough."""
    dataset = dataset_file(tmp_path)
    return {
        "prepare": (["prepare", "--dataset", str(dataset), "--scene", "court", "--out", "{disk}/scene"], 16, 8192),
        "train": (["train", str(scene), "--method", TOY, "--out", "{disk}/model"], 4, 8192),
        "encode": (["encode", str(model), "--lmbda", "0.001", "--out", "{disk}/points"], 4, 8192),
    }


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["prepare", "train", "encode"])
def test_full_disk(
    verb: str, scene: Path, model: Path, sound_capture: Path, tmp_path: Path,
    small_disk: OnSmallDisk,
) -> None:  # fmt: skip
    shutil.copytree(sound_capture, tmp_path / "captures" / "court")
    arguments, too_few, enough = disk_commands(scene, model, tmp_path)[verb]
    code, errors, left = small_disk(arguments, too_few)
    assert code == 2, errors
    assert errors.splitlines()[-1].startswith("error: no space left")
    assert "free disk space" in errors
    kept = ("events.jsonl", ".lock")
    assert not {name for name in left if not name.endswith(kept)}, "nothing half-written"
    code, errors, left = small_disk(arguments, enough)
    assert code == 0, errors
    assert left


def test_file_size_limit_is_like_a_full_disk(model: Path, tmp_path: Path) -> None:
    """This needs no small disk: the kernel refuses writes beyond the limit, also those of libraries."""

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (512, 512))

    arguments = [sys.executable, "-m", "hemgs", "encode", str(model), "--lmbda", "0.001", "--out", str(tmp_path / "p")]
    done = subprocess.run(arguments, cwd=REPOSITORY, preexec_fn=limit, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: no space left")
    assert not {name for name in entries(tmp_path) if Path(name).suffix}


# --- Ctrl-C --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_training_continues(scene: Path, tmp_path: Path, number: int, code: int) -> None:
    out = tmp_path / "model"
    settings = ["--set", "iterations=2000000", "--set", "checkpoint_every=500"]
    arguments = [sys.executable, "-m", "hemgs", "train", str(scene), "--method", TOY, "--out", str(out)]
    process = subprocess.Popen(
        [*arguments, *settings], cwd=REPOSITORY, stderr=subprocess.PIPE, text=True, preexec_fn=heed_interrupts
    )
    try:
        wait_for(lambda: any(out.glob("work/[!.]*")), process)  # not the lock
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == code
    assert errors == "error: interrupted; run again to continue\n"
    assert not entries(out) & {"model.safetensors", "train.json"}
    stopped_at = [event["iteration"] for event in events_of(out) if event["event"] == "interrupted"]
    assert stopped_at

    process = subprocess.Popen(
        [*arguments, *settings], cwd=REPOSITORY, stderr=subprocess.PIPE, text=True, preexec_fn=heed_interrupts
    )
    try:
        wait_for(lambda: any(event["event"] == "resumed" for event in events_of(out)), process)
    finally:
        process.kill()
        process.communicate()
    resumed_at = [event["iteration"] for event in events_of(out) if event["event"] == "resumed"]
    assert resumed_at == stopped_at


def test_interrupted_preparation_leaves_nothing(sound_capture: Path, tmp_path: Path) -> None:
    dataset = tmp_path / "mine.yaml"
    shutil.copytree(sound_capture, tmp_path / "captures" / "court")
    procedural = "source: {kind: procedural, procedural: {num_views: 400, width: 320, height: 240}}"
    text = DATASET.format(local="x").splitlines()
    dataset.write_text("\n".join(procedural if line.startswith("source:") else line for line in text))
    out = tmp_path / "results" / "scene"
    arguments = [sys.executable, "-m", "hemgs", "prepare", "--dataset", str(dataset)]
    arguments += ["--scene", "court", "--out", str(out)]
    process = subprocess.Popen(arguments, cwd=REPOSITORY, stderr=subprocess.PIPE, text=True, preexec_fn=heed_interrupts)
    try:
        wait_for(lambda: bool(out.parent.exists() and entries(out.parent)), process)
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    # If the interrupt occurs in an exec() of the standard library, CPython ends by raising the signal again: a shell
    # shows 130 for both.
    assert process.returncode in (130, -signal.SIGINT)
    assert errors == "error: interrupted; run again to continue\n"
    assert not entries(out.parent)
    assert main(["prepare", "--dataset", str(dataset_file(tmp_path)), "--scene", "court", "--out", str(out)]) == 0


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str], limit_s: float = 60.0) -> None:
    deadline_s = time.monotonic() + limit_s
    while not condition():
        assert process.poll() is None, f"the command ended early: {process.communicate()}"
        assert time.monotonic() < deadline_s, "the command did not get there"
        time.sleep(0.02)


def events_of(out: Path) -> list[dict[str, object]]:
    found = []
    for line in (out / "events.jsonl").read_text().splitlines() if (out / "events.jsonl").exists() else []:
        try:
            found.append(json.loads(line))
        except ValueError:
            continue  # being written
    return found

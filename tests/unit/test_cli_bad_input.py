"""What bad input gets at the command line: one clear error, a code that is not 0, nothing half-written, and the next
run goes on as if nothing had been.
"""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from hemgs.bench.conformance import make_tiny_scene
from hemgs.bench.damage import Damaged, damaged_copies
from hemgs.cli import main
from hemgs.core.events import EventLog
from hemgs.data.procedural import ProceduralSettings, write_procedural

TOY = "tests.unit.bench.toy_methods:ToyAll"
REPOSITORY = Path(__file__).resolve().parents[2]
NUM_VIEWS = 9


def one_error(capsys: pytest.CaptureFixture[str]) -> str:
    """The single line on standard error."""
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("error: ")
    return lines[0]


def entries(folder: Path) -> set[str]:
    """Everything below a folder, hidden and temporary files included."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


# --- captures ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sound_capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("captures") / "court"
    settings = ProceduralSettings(num_views=NUM_VIEWS, width=32, height=24, num_points=80)
    with EventLog() as events:
        write_procedural(folder, settings, (0.0, 0.0, 0.0), events)
    return folder


DATASET = """\
id: mine
label: Mine
source: {{kind: colmap, local: {local}}}
protocol: {{max_width: null, split: {{kind: every_nth, n: 3}}, background: [0, 0, 0], min_views: 8}}
initial_points: {{kind: sfm}}
scenes:
  court: {{}}
"""


def dataset_file(folder: Path, change: Callable[[str], str] = lambda text: text) -> Path:
    path = folder / "mine.yaml"
    path.write_text(change(DATASET.format(local=folder / "captures")))
    return path


def edit(path: Path, change: Callable[[list[str]], list[str]]) -> None:
    """Changes the data lines of a COLMAP text file."""
    lines = path.read_text().splitlines()
    head = [line for line in lines if line.startswith("#")]
    path.write_text("\n".join(head + change([line for line in lines if not line.startswith("#")])) + "\n")


def drop_image(capture: Path) -> None:
    (capture / "images" / "court_003.png").unlink()


def corrupt_image(capture: Path) -> None:
    image = capture / "images" / "court_003.png"
    data = image.read_bytes()
    image.write_bytes(data[: len(data) // 2])


def other_camera_model(capture: Path) -> None:
    edit(
        capture / "sparse/0/cameras.txt",
        lambda lines: [line.replace("PINHOLE", "OPENCV") + " 0.1 0 0 0" for line in lines],
    )


def pose_with_nan(capture: Path) -> None:
    def change(lines: list[str]) -> list[str]:
        words = lines[4].split()
        return [*lines[:4], " ".join([*words[:5], "nan", *words[6:]]), *lines[5:]]

    edit(capture / "sparse/0/images.txt", change)


def no_points(capture: Path) -> None:
    edit(capture / "sparse/0/points3D.txt", lambda lines: [])


def few_views(capture: Path) -> None:
    edit(capture / "sparse/0/images.txt", lambda lines: lines[: 2 * 7])


def keep(capture: Path) -> None:
    """Leaves the capture sound."""


@dataclass(frozen=True)
class BadCapture:
    spoil: Callable[[Path], None]
    message: str
    dataset: Callable[[str], str] = lambda text: text


CAPTURES = {
    "missing image": BadCapture(drop_image, "court_003.png"),
    "corrupt png": BadCapture(corrupt_image, "court_003.png"),
    "camera model": BadCapture(other_camera_model, "OPENCV"),
    "nan pose": BadCapture(pose_with_nan, "finite"),
    "empty cloud": BadCapture(no_points, "points"),
    "few views": BadCapture(few_views, "7 posed views"),
    "unknown config key": BadCapture(keep, "protcol", lambda text: text.replace("protocol:", "protcol:")),
    "unknown nested key": BadCapture(keep, "max_widht", lambda text: text.replace("max_width:", "max_widht:")),
    "unknown scene": BadCapture(keep, "court", lambda text: text.replace("  court:", "  yard:")),
    "variable not set": BadCapture(
        keep, "NOT_SET_HERE", lambda text: re.sub("local: [^}]*", "local: '${NOT_SET_HERE}'", text)
    ),
    "capture elsewhere": BadCapture(keep, "nowhere", lambda text: text.replace("local: ", "local: /nowhere")),
    "key given twice": BadCapture(keep, "twice", lambda text: text + "label: Again\n"),
    "not yaml": BadCapture(keep, "YAML", lambda text: text + "  : ["),
}


@pytest.mark.parametrize("case", CAPTURES.values(), ids=CAPTURES.keys())
def test_bad_captures(
    sound_capture: Path, tmp_path: Path, case: BadCapture, capsys: pytest.CaptureFixture[str]
) -> None:
    capture, out = tmp_path / "captures" / "court", tmp_path / "results" / "scene"
    shutil.copytree(sound_capture, capture)
    case.spoil(capture)
    arguments = [
        "prepare",
        "--dataset",
        str(dataset_file(tmp_path, case.dataset)),
        "--scene",
        "court",
        "--out",
        str(out),
    ]
    assert main(arguments) == 2
    line = one_error(capsys)
    assert case.message in line
    assert " — " in line, "the error says what to do"
    assert not out.exists()
    assert not entries(tmp_path / "results") if (tmp_path / "results").exists() else True

    shutil.rmtree(capture)
    shutil.copytree(sound_capture, capture)
    dataset_file(tmp_path)
    assert main(arguments) == 0, capsys.readouterr().err
    assert entries(tmp_path / "results") >= {"scene/scene.json", "scene/points.npz"}


# --- settings and rates --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_scene(tmp_path_factory.mktemp("bad") / "scene")


@pytest.fixture(scope="module")
def model(scene: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bad_model") / "model"
    assert main(["train", str(scene), "--method", TOY, "--out", str(out)]) == 0
    return out


SETTINGS: dict[str, tuple[list[str], str]] = {
    "unknown setting": (["--set", "iteratoins=5"], "did you mean 'iterations'"),
    "unknown setting in json": (["--params-json", '{"iteratoins": 5}'], "did you mean 'iterations'"),
    "wrong type": (["--set", "iterations=many"], "iterations"),
    "out of range": (["--set", "gain=-1"], "gain"),
    "negative lambda": (["--rate", "lmbda_-0.0010"], "lmbda_-0.0010"),
    "negative seed": (["--seed", "-1"], "seed"),
    "unknown method": (["--method", "hemsg"], "did you mean 'hemgs'"),
    "unknown device": (["--device", "gpu"], "gpu"),
}


@pytest.mark.parametrize(("extra", "message"), SETTINGS.values(), ids=SETTINGS.keys())
def test_bad_settings(
    scene: Path, tmp_path: Path, extra: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "model"
    arguments = ["train", str(scene), "--method", TOY, "--out", str(out)]
    assert main(arguments + extra) == 2
    assert message in one_error(capsys)
    assert not (out / "model.safetensors").exists()
    assert not (out / "train.json").exists()
    assert main(arguments) == 0
    assert entries(out) == {"model.safetensors", "train.json", "events.jsonl"}


@pytest.mark.parametrize("method", ["hemgs"])
def test_negative_lambda_in_training(
    scene: Path, tmp_path: Path, method: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "model"
    assert main(["train", str(scene), "--method", method, "--set", "lmbdas=0.001 -0.002", "--out", str(out)]) == 2
    assert "-0.002" in one_error(capsys)
    assert not (out / "model.safetensors").exists()


@pytest.mark.parametrize("lmbda", ["-0.001", "0", "nan", "inf"])
def test_lambda_that_is_not_positive(
    model: Path, tmp_path: Path, lmbda: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "points"
    assert main(["encode", str(model), "--lmbda", "0.001", lmbda, "--out", str(out)]) == 2
    assert "positive number" in one_error(capsys)
    assert not out.exists()


SCENES: dict[str, tuple[Callable[[Path], object], str]] = {
    "not there": (lambda scene: shutil.rmtree(scene), "does not exist"),
    "record cut": (lambda scene: (scene / "scene.json").write_text('{"views": ['), "scene.json"),
    "points cut": (lambda scene: (scene / "points.npz").write_bytes(b"PK"), "points.npz"),
    "image altered": (lambda scene: next((scene / "images").glob("*_001.png")).write_bytes(b"x"), "_001.png"),
    "image missing": (lambda scene: next((scene / "images").glob("*_001.png")).unlink(), "_001.png"),
}


@pytest.mark.parametrize(("spoil", "message"), SCENES.values(), ids=SCENES.keys())
def test_bad_prepared_scenes(
    scene: Path, tmp_path: Path, spoil: Callable[[Path], object], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    copy, out = tmp_path / "scene", tmp_path / "model"
    shutil.copytree(scene, copy)
    spoil(copy)
    arguments = ["train", str(copy), "--method", TOY, "--out", str(out)]
    assert main(arguments) == 2
    assert message in one_error(capsys)
    assert not (out / "model.safetensors").exists()
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(scene, copy)
    assert main(arguments) == 0


# --- bitstreams ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def points(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bad_points") / "points"
    assert main(["encode", str(model), "--lmbda", "0.002", "--out", str(out)]) == 0
    return out


def bitstream_of(points: Path) -> Path:
    return points / "bitstreams" / "lmbda_0.0020.gsc"


KINDS = ("cut to", "one byte too long", "bit flipped", "format version", "claims 4 GiB", "not a bitstream")


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_bitstreams(points: Path, tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    copies = [copy for copy in damaged_copies(bitstream_of(points)) if copy.what.startswith(kind) or kind in copy.what]
    assert copies
    path, out = tmp_path / "bad.gsc", tmp_path / "out.safetensors"
    for copy in copies:
        path.write_bytes(copy.data)
        assert main(["decode", str(path), "--out", str(out), "--method", TOY]) == 2, copy.what
        assert str(path) in one_error(capsys)
        assert entries(tmp_path) == {"bad.gsc"}, copy.what
    path.write_bytes(bitstream_of(points).read_bytes())
    assert main(["decode", str(path), "--out", str(out), "--method", TOY, "--once"]) == 0


def damaged(points: Path, wanted: str) -> Damaged:
    return next(copy for copy in damaged_copies(bitstream_of(points)) if wanted in copy.what)


@pytest.mark.parametrize("wanted", ["cut to", "section colors", "format version", "claims 4 GiB"])
def test_damaged_bitstream_for_every_reader(
    points: Path, scene: Path, tmp_path: Path, wanted: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "points"
    shutil.copytree(points, folder)
    path = bitstream_of(folder)
    path.write_bytes(damaged(points, wanted).data)
    out = tmp_path / "out"
    readers = {
        "inspect": ["inspect", str(path)],
        "render": ["render", str(path), "--scene", str(scene), "--out", str(out)],
        "export": ["export", str(path), "--ply", str(out / "x.ply")],
        "evaluate": ["evaluate", str(folder), "--scene", str(scene), "--out", str(out)],
    }
    for verb, arguments in readers.items():
        assert main(arguments) == 2, verb
        assert str(path) in one_error(capsys), verb
        files = {name for name in entries(out) if Path(name).suffix} if out.exists() else set()
        assert not files, verb


@pytest.mark.parametrize("kind", ["absent", "folder", "pipe", "empty"])
def test_bitstreams_that_are_no_files(tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.gsc"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "empty":
        path.touch()
    assert main(["decode", str(path), "--out", str(tmp_path / "out")]) == 2
    assert str(path) in one_error(capsys)


# --- a disk that fills up ------------------------------------------------------------------------------------------


#: Arguments and KiB of the disk to exit code, standard error and the files left.
OnSmallDisk = Callable[[list[str], int], tuple[int, str, set[str]]]


@pytest.fixture(scope="module")
def small_disk(tmp_path_factory: pytest.TempPathFactory) -> OnSmallDisk:
    """Runs a command with a small file system of its own, which is where ``{disk}`` in its arguments is."""
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
    assert not {name for name in left if not name.endswith("events.jsonl")}, "nothing half-written"
    code, errors, left = small_disk(arguments, enough)
    assert code == 0, errors
    assert left


def test_file_size_limit_is_like_a_full_disk(model: Path, tmp_path: Path) -> None:
    """Needs no small disk: the kernel refuses writes beyond the limit, also those of libraries."""

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
    process = subprocess.Popen([*arguments, *settings], cwd=REPOSITORY, stderr=subprocess.PIPE, text=True)
    try:
        wait_for(lambda: any(out.glob("work/*")), process)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == code
    assert errors == "error: interrupted; run again to continue\n"
    assert not entries(out) & {"model.safetensors", "train.json"}
    stopped_at = [event["iteration"] for event in events_of(out) if event["event"] == "interrupted"]
    assert stopped_at

    process = subprocess.Popen([*arguments, *settings], cwd=REPOSITORY, stderr=subprocess.PIPE, text=True)
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
    process = subprocess.Popen(arguments, cwd=REPOSITORY, stderr=subprocess.PIPE, text=True)
    try:
        wait_for(lambda: bool(out.parent.exists() and entries(out.parent)), process)
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    # Where the interrupt met an exec() of the standard library, CPython ends by raising the signal once more: a shell
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

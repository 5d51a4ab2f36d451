"""Bad input at the command line: one clear error, no incomplete file, and no effect on the next run."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from hemgs.bench.conformance import make_tiny_scene
from hemgs.bench.damage import Damaged, damaged_copies
from hemgs.cli import main
from tests.unit.cli.cli_cases import TOY, dataset_file, entries, make_capture


def one_error(capsys: pytest.CaptureFixture[str]) -> str:
    """The single line on standard error."""
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("error: ")
    return lines[0]


# --- captures ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sound_capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_capture(tmp_path_factory.mktemp("captures") / "court")


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
    assert main(["decode", str(path), "--out", str(tmp_path / "out.safetensors")]) == 2
    assert str(path) in one_error(capsys)


@pytest.mark.parametrize(
    ("verb", "option", "name", "fix"),
    [
        (["export", "x.gsc"], "--ply", "court.splat", "court.ply"),
        (["export", "x.gsc"], "--ply", "court", "court.ply"),
        (["decode", "x.gsc"], "--out", "court.ply", "court.safetensors"),
        (["refit", "model"], "--out", "court.gsc", "court.csv"),
        (["encode", "model"], "--out", "court.ply", "court.gsc"),
        (["encode", "model"], "--out", "court.SPZ", "court.gsc"),
        (["train", "scene", "--method", TOY], "--out", "court.gsc", "name it court"),
        (["render", "x.gsc", "--scene", "scene"], "--out", "court.png", "name it court"),
    ],
)
def test_a_suffix_of_another_format_is_refused(
    verb: list[str],
    option: str,
    name: str,
    fix: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="2"):
        main([*verb, option, name])
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(f"error: argument {option}: {name}: ")
    assert fix in error
    assert not list(tmp_path.iterdir())

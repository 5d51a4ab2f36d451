"""The command line: grammar, exit codes, printed output."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from hemgs import cli
from hemgs.bench.conformance import make_tiny_scene
from hemgs.cli import main
from hemgs.cli.bitstreams import parse_background
from hemgs.cli.console import seconds_text, size_text, table
from hemgs.cli.models import parse_params
from hemgs.cli.parser import VERBS, parse, parse_assignments
from hemgs.core.bundle import load_bundle
from hemgs.core.errors import ConfigError, DeviceError, HemgsError

TOY = "tests.unit.bench.toy_methods:ToyAll"


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_scene(tmp_path_factory.mktemp("cli") / "scene")


@pytest.fixture(scope="module")
def model(scene: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("cli_model") / "model"
    assert main(["train", str(scene), "--method", TOY, "--out", str(out)]) == 0
    return out


@pytest.fixture
def bitstream(model: Path, tmp_path: Path) -> Path:
    assert main(["encode", str(model), "--lmbda", "0.002", "--out", str(tmp_path / "toy.gsc")]) == 0
    return tmp_path / "toy.gsc"


def failing(monkeypatch: pytest.MonkeyPatch, fault: BaseException) -> None:
    """Makes `hemgs doctor` fail with ``fault``."""

    def examine() -> None:
        raise fault

    monkeypatch.setattr("hemgs.cli.doctor.examine", examine)


def test_help_lists_every_verb_and_comes_at_once() -> None:
    started_s = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "hemgs", "--help"], capture_output=True, text=True, check=True)
    assert all(f"    {verb}" in done.stdout for verb in VERBS)
    bare_s = time.perf_counter() - started_s
    assert bare_s < 5


@pytest.mark.parametrize("module", sorted({verb.module for verb in VERBS.values()}))
def test_no_verb_waits_for_heavy_imports_before_it_runs(module: str) -> None:
    loaded = f"import sys, hemgs.cli.{module}; print(*{{'torch', 'numpy', 'pandas', 'numba'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_each_verb_has_examples_that_parse(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([verb, "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    examples = re.sub(r"\\\n\s*", "", text.partition("examples:\n")[2])
    lines = [line.strip() for line in examples.splitlines() if "hemgs " in line and line.startswith("  ")]
    assert lines
    for line in lines:
        words = shlex.split(line[line.index("hemgs ") :].split("      ")[0])[1:]
        assert parse(words).run


@pytest.mark.parametrize("arguments", [[], ["fly"], ["train"], ["encode", "x", "--out"], ["train", "x", "--seed", "y"]])
def test_wrong_arguments_give_usage_and_one_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    captured = capsys.readouterr()
    assert stop.value.code == 2
    assert captured.out == ""
    assert captured.err.startswith("usage: hemgs")
    assert captured.err.splitlines()[-1].startswith("error: ")


def test_error_is_one_line_with_its_fix(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    failing(monkeypatch, ConfigError("a.yaml: wrong\n  over two lines", "correct it"))
    assert main(["doctor"]) == 2
    assert capsys.readouterr().err == "error: a.yaml: wrong over two lines — correct it\n"
    failing(monkeypatch, HemgsError("nothing to advise"))
    assert main(["doctor"]) == 2
    assert capsys.readouterr().err == "error: nothing to advise\n"


def test_traceback_is_shown_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, DeviceError("broken"))
    with pytest.raises(DeviceError):
        main(["doctor", "--traceback"])


class Stop(KeyboardInterrupt):
    exit_code = 143


@pytest.mark.parametrize(("fault", "code"), [(KeyboardInterrupt(), 130), (Stop(), 143)])
def test_interruption(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], fault: BaseException, code: int
) -> None:
    failing(monkeypatch, fault)
    assert main(["doctor"]) == code
    assert capsys.readouterr().err == "error: interrupted; run again to continue\n"


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (OSError(28, "No space left on device", "out.bin"), "no space left to write (out.bin)"),
        (OSError(122, "Disk quota exceeded"), "no space left to write"),
        (PermissionError(13, "Permission denied", "out"), "Permission denied (out)"),
        (MemoryError(), "out of memory"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried\nmore"), "out of memory (CUDA out of memory. Tried)"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you"), "out of memory"),
    ],
)
def test_faults_of_the_machine_are_errors_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], fault: BaseException, text: str
) -> None:
    failing(monkeypatch, fault)
    assert main(["doctor"]) == 2
    assert capsys.readouterr().err.startswith(f"error: {text}")


def test_faults_of_the_program_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, RuntimeError("a bug"))
    with pytest.raises(RuntimeError, match="a bug"):
        main(["doctor"])


def test_reader_that_leaves_is_no_error(bitstream: Path) -> None:
    command = f"{sys.executable} -m hemgs inspect {bitstream} --json | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0"
    assert done.stderr == ""


def test_waiting_threads_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    failing(monkeypatch, ConfigError("x"))
    main(["doctor"])
    assert os.environ["OMP_WAIT_POLICY"] == "passive"


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out.startswith("hemgs 0.")


def test_settings_from_json_and_assignments(tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text('{"a": 1, "b": "x"}')
    assert parse_params('{"a": 1}') == {"a": 1}
    assert parse_params(f"@{tmp_path / 'p.json'}") == {"a": 1, "b": "x"}
    assert parse_params(None) == {}
    assert parse_assignments(["a=2", "e=two words", "f=a=b", "a=3"]) == {"a": "3", "e": "two words", "f": "a=b"}


@pytest.mark.parametrize("params_json", ["[1]", "{", "@nowhere.json", "3"])
def test_json_that_cannot_be_read(params_json: str) -> None:
    with pytest.raises(ConfigError, match="--params-json"):
        parse_params(params_json)


@pytest.mark.parametrize("assignment", ["a", "=3", ""])
def test_assignments_that_cannot_be_read(assignment: str) -> None:
    with pytest.raises(ConfigError, match="--set"):
        parse_assignments([assignment])


def test_background() -> None:
    assert parse_background(None) == (0.0, 0.0, 0.0)
    assert parse_background("1,0.5,0") == (1.0, 0.5, 0.0)
    for text in ("1,1", "1,1,2", "a,b,c", ""):
        with pytest.raises(ConfigError, match="--background"):
            parse_background(text)


def test_formats() -> None:
    assert [size_text(size) for size in (0, 1023, 1024, 3 << 20)] == ["0 B", "1023 B", "1.0 KiB", "3.00 MiB"]
    assert [seconds_text(value) for value in (0.1234, 45.06, 723.9)] == ["0.123 s", "45.1 s", "12 min 3 s"]
    assert table(["a", "bb"], [["x", "1"], ["yyy", "22"]]) == "a    bb\n---  --\nx     1\nyyy  22"


@pytest.mark.slow
def test_from_scene_to_pictures(scene: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    points, one = tmp_path / "points", tmp_path / "points" / "bitstreams" / "lmbda_0.0010.gsc"
    assert main(["encode", str(model), "--rates", "lmbda_0.0010,lmbda_0.0040", "--out", str(points)]) == 0
    assert one.is_file()
    decoded, stats = tmp_path / "decoded.safetensors", tmp_path / "stats.json"
    assert main(["decode", str(one), "--out", str(decoded), "--json", str(stats), "--once", "--method", TOY]) == 0
    assert load_bundle(decoded).tensors["color"].shape == (3,)
    assert json.loads(stats.read_text())["num_gaussians"] == 1
    capsys.readouterr()
    assert main(["evaluate", str(points), "--scene", str(scene), "--out", str(points), "--showcase", "1"]) == 0
    assert (points / "points.csv").is_file()
    printed = capsys.readouterr().out
    assert "lmbda_0.0010" in printed
    assert "lmbda_0.0040" in printed


def test_evaluate_shows_failures(scene: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    points = tmp_path / "points"
    assert main(["encode", str(model), "--lmbda", "0.001", "0.002", "--out", str(points)]) == 0
    (points / "bitstreams" / "lmbda_0.0010.gsc").unlink()
    arguments = ["evaluate", str(points), "--scene", str(scene), "--out", str(points)]
    assert main(arguments) == 2
    assert not (points / "points.csv").exists()
    assert main([*arguments, "--keep-going"]) == 0
    assert "lmbda_0.0010: failed:" in capsys.readouterr().err


def test_inspect_shows_sections_that_add_up(bitstream: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["inspect", str(bitstream), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["method"] == "toy_all"
    assert report["intact"] is True
    assert sum(part["bytes"] for part in report["sections"].values()) == bitstream.stat().st_size
    assert main(["inspect", str(bitstream)]) == 0
    assert "extra_part" in capsys.readouterr().out


def test_inspect_shows_lmbda_and_the_interval_of_the_model(capsys: pytest.CaptureFixture[str]) -> None:
    golden = Path(__file__).parents[2] / "golden" / "version_2"
    assert main(["inspect", str(golden / "hemgs" / "octaves.gsc")]) == 0
    assert "encoded at λ 0.00137, of a model that serves 0.001 to 0.004" in capsys.readouterr().out
    assert main(["inspect", str(golden / "hac" / "toy.gsc")]) == 0
    assert "encoded at λ 0.002\n" in capsys.readouterr().out
    assert main(["inspect", str(golden / "hemgs" / "octaves.gsc"), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["lmbda"], report["lmbda_interval"]) == (0.00137, [0.001, 0.004])
    assert main(["inspect", str(golden / "gs3d" / "toy.gsc"), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["lmbda"], report["lmbda_interval"]) == (None, None)


def test_inspect_marks_what_is_damaged(bitstream: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = bitstream.read_bytes()
    bitstream.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    capsys.readouterr()
    assert main(["inspect", str(bitstream)]) == 2
    captured = capsys.readouterr()
    damaged = [line.split()[0] for line in captured.out.splitlines() if "DAMAGED" in line]
    assert damaged == ["extra_part", "all"]
    assert "damaged" in captured.err


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--lmbda", "0.001", "0.002", "--out", "x.gsc"], "one file"),
        (["--target-bytes", "100", "--out", "folder"], "is a folder"),
        (["--target-bytes", "0", "--out", "x.gsc"], "number of bytes"),
        (["--target-psnr", "20", "--scene", "s", "--out", "folder"], "is a folder"),
        (["--target-psnr", "20", "--out", "x.gsc"], "name the prepared scene with --scene"),
        (["--target-psnr", "nan", "--scene", "s", "--out", "x.gsc"], "number of dB"),
        (["--target-psnr", "20", "--scene", "s", "--views", "0", "--out", "x.gsc"], "from 1 up"),
        (["--lmbda", "0.002", "--scene", "s", "--out", "x.gsc"], "are for --target-psnr"),
        (["--rates", "lmbda_1", "--out", "folder"], "not how that λ is written"),
        (["--rates", "single", "--out", "folder"], "without a rate knob"),
        (["--device", "tpu", "--out", "folder"], "device"),
    ],
)
def test_encode_options_that_do_not_fit(
    model: Path, tmp_path: Path, extra: list[str], message: str,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert main(["encode", str(model), *extra]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_encode_to_a_size_and_to_a_quality(
    scene: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "x.gsc"
    assert main(["encode", str(model), "--target-bytes", "1000", "--out", str(out)]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert f"x.gsc: {out.stat().st_size} bytes at λ 0.00" in first and "files tried" in first
    assert second.endswith("% below the 1000 bytes asked for")
    arguments = ["encode", str(model), "--scene", str(scene), "--views", "1", "--out", str(out)]
    assert main([*arguments, "--target-psnr", "1"]) == 0
    first, second, third = capsys.readouterr().out.splitlines()
    assert f"x.gsc: {out.stat().st_size} bytes at λ 0.004, 1 files tried" in first
    assert re.search(r"PSNR [0-9.]+ dB, [0-9.]+ dB above the 1 dB asked for; mean of 1 of \d test views", second)
    assert "smallest file" in third
    out.unlink()
    assert main([*arguments, "--target-psnr", "99"]) == 2
    assert re.search(r"the best that this model reaches is [0-9.]+ dB", capsys.readouterr().err)
    assert not out.exists()


@pytest.mark.parametrize("other", ["--lmbda", "--target-bytes"])
def test_one_target_at_a_time(other: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["encode", "model", "--target-psnr", "20", other, "1", "--out", "x.gsc"])
    assert "not allowed with argument" in capsys.readouterr().err


def test_scene_has_its_own_background(scene: Path, bitstream: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["render", str(bitstream), "--scene", str(scene), "--background", "1,1,1", "--out", "x"]
    assert main(arguments) == 2
    assert "has its own" in capsys.readouterr().err


def test_term_signal_unwinds(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.getsignal(signal.SIGTERM)

    def examine() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)

    monkeypatch.setattr("hemgs.cli.doctor.examine", examine)
    assert cli.main(["doctor"]) == 143
    assert signal.getsignal(signal.SIGTERM) is before

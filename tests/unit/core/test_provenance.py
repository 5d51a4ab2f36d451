"""Fingerprints change with the code that decides a result, and only with it."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hemgs.core import provenance

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture
def codec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of two modules that can be imported."""
    root = tmp_path / "tiny_codec"
    root.mkdir()
    (root / "__init__.py").write_text("")
    (root / "model.py").write_text("STEP = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return root


def test_fingerprint_follows_the_sources(codec: Path) -> None:
    before = provenance.code_fingerprint("tiny_codec")
    assert before != provenance.code_fingerprint()
    os.utime(codec / "model.py", (0, 0))
    (codec / "notes.txt").write_text("not code")
    assert provenance.code_fingerprint("tiny_codec") == before
    (codec / "model.py").write_text("STEP = 2\n")
    changed = provenance.code_fingerprint("tiny_codec")
    assert changed != before
    (codec / "model.py").rename(codec / "models.py")
    assert provenance.code_fingerprint("tiny_codec") not in (before, changed)


def test_fingerprint_does_not_depend_on_the_order_or_number_of_mentions(codec: Path) -> None:
    assert provenance.code_fingerprint("tiny_codec", "hemgs", "tiny_codec") == provenance.code_fingerprint("tiny_codec")


def test_fingerprint_of_a_module_that_is_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lone_codec.py").write_text("A = 1\n")
    (tmp_path / "neighbour.py").write_text("A = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    before = provenance.code_fingerprint("lone_codec")
    (tmp_path / "neighbour.py").write_text("A = 2\n")
    assert provenance.code_fingerprint("lone_codec") == before
    (tmp_path / "lone_codec.py").write_text("A = 2\n")
    assert provenance.code_fingerprint("lone_codec") != before


def test_fingerprint_of_what_is_not_there() -> None:
    with pytest.raises(ModuleNotFoundError, match="not_a_package"):
        provenance.code_fingerprint("not_a_package")


def test_config_hash() -> None:
    assert provenance.config_hash({"a": 1, "b": [1, 2]}) == provenance.config_hash({"b": [1, 2], "a": 1})
    assert provenance.config_hash({"a": 1}) != provenance.config_hash({"a": 1.5})
    assert provenance.config_hash({"a": {"b": 1}}) != provenance.config_hash({"a": {"c": 1}})
    with pytest.raises(ValueError, match="JSON"):
        provenance.config_hash({"a": float("nan")})


def test_version_names_the_commit_of_a_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    version = provenance.code_version.__wrapped__()
    if shutil.which("git") and (REPOSITORY / ".git").exists():
        commit = subprocess.run(
            ["git", "-C", str(REPOSITORY), "rev-parse", "HEAD"], capture_output=True, text=True, check=True
        ).stdout
        assert commit.startswith(version.partition("+g")[2].removesuffix(".dirty")[:10])
        assert "+g" in version
    monkeypatch.setenv("PATH", "")  # no git: the sources identify the code
    assert provenance.code_version.__wrapped__() == f"0.1.0+src{provenance.code_fingerprint()[:10]}"


@pytest.mark.parametrize(
    ("copied", "version"), [(("hemgs", "pyproject.toml"), "0.1.0"), (("hemgs",), "0")], ids=["tree", "package"]
)
def test_version_of_a_copy_that_is_not_installed(tmp_path: Path, copied: tuple[str, ...], version: str) -> None:
    """A copy without .git on another machine: its results had the version ``0+unknown``."""
    for name in copied:
        source, target = REPOSITORY / name, tmp_path / "copy" / name
        target.parent.mkdir(exist_ok=True)
        shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)
    code = (
        "import importlib.metadata as m, sys; sys.path.insert(0, sys.argv[1])\n"
        "def missing(name): raise m.PackageNotFoundError(name)\n"
        "m.version = missing\n"
        "import hemgs.core.provenance as p; assert p.__file__.startswith(sys.argv[1]); print(p.code_version())"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, str(tmp_path / "copy")], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stdout.strip() == f"{version}+src{provenance.code_fingerprint()[:10]}", done.stderr


def test_environment_says_where_numbers_come_from() -> None:
    found = provenance.environment()
    json.dumps(found, allow_nan=False)
    assert f"{provenance.num_cores()} cores" in found["hardware"]
    assert {"python", "numpy", "torch", "hemgs"} <= set(found["versions"])
    assert found["num_cores"] >= 1


def test_system_names_no_kernel() -> None:
    assert provenance.versions()["system"] == f"{platform.system()} {platform.machine()}"
    assert platform.release() not in json.dumps(provenance.environment())


def test_no_gpu_without_a_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert provenance.gpu_models.__wrapped__() == ()


def test_gpus_as_the_driver_names_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = tmp_path / "nvidia-smi"
    driver.write_text("#!/bin/sh\necho 'NVIDIA A'\necho 'NVIDIA A'\n")
    driver.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/bin{os.pathsep}/usr/bin")
    assert provenance.gpu_models.__wrapped__() == ("NVIDIA A", "NVIDIA A")
    provenance.gpu_models.cache_clear()
    try:
        assert provenance.hardware.__wrapped__().endswith("2 x NVIDIA A")
    finally:
        provenance.gpu_models.cache_clear()


def test_configuration_and_provenance_need_no_torch() -> None:
    code = (
        "import sys; import hemgs.config.benchmark, hemgs.config.entries, hemgs.core.provenance as p;"
        "p.environment(); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=False).returncode == 0

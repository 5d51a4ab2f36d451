"""``describe``, ``doctor`` and ``setup``."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from hemgs.bench.registry import list_methods
from hemgs.cli import doctor, main, setup
from hemgs.cli.doctor import Finding, examine
from hemgs.cli.methods import attribute_texts, settings_of
from hemgs.cli.setup import install_profile
from hemgs.core.errors import AssetError, ConfigError

TOY = "tests.unit.bench.toy_methods:ToyAll"
REPOSITORY = Path(__file__).resolve().parents[3]

DOCSTRING = """A thing.

    Attributes:
        first, second: one text
            for both.
        lr_*: learning rates.
        last: of all.

    Raises:
        nothing: ever.
    """


def test_texts_of_settings_come_from_the_docstring() -> None:
    assert attribute_texts(DOCSTRING) == {
        "first": "one text for both.",
        "second": "one text for both.",
        "lr_*": "learning rates.",
        "last": "of all.",
    }
    assert attribute_texts("Nothing here.") == {}


@dataclass(frozen=True)
class Base:
    """Base.

    Attributes:
        a: from the base.
        lr_*: rates.
    """

    a: int = 1
    lr_a: float = 0.5


@dataclass(frozen=True)
class Derived(Base):
    """Derived.

    Attributes:
        b: own.
    """

    b: str = "x"


def test_settings_with_inherited_texts() -> None:
    found = {setting.name: (setting.type, setting.default, setting.text) for setting in settings_of(Derived)}
    assert found == {
        "a": ("int", 1, "from the base."),
        "lr_a": ("float", 0.5, "rates."),
        "b": ("str", "x", "own."),
    }


def test_describe_method(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["describe", TOY]) == 0
    text = capsys.readouterr().out
    assert "toy_all: Toy" in text
    assert "iterations = 20 (int)" in text
    assert "a text, to have one." in text


@pytest.mark.parametrize("method", sorted(list_methods()))
def test_every_setting_of_every_method_is_explained(method: str) -> None:
    from hemgs.bench.registry import get_method

    silent = [setting.name for setting in settings_of(get_method(method).Params) if not setting.text]
    assert not silent, f"settings of {method} without a word in any docstring"


def test_describe_lists_methods(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["describe"]) == 0
    assert "hemgs.codec.method:Hemgs" in capsys.readouterr().out


@pytest.mark.parametrize("path", sorted((REPOSITORY / "workflow/config/datasets").glob("*.yaml")), ids=lambda p: p.stem)
def test_describe_every_data_set(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["describe", str(path)]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"{path.stem}: ")
    assert "scenes:" in text
    assert "protocol" in text


def test_describe_what_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["describe", "hemsg"]) == 2
    assert "did you mean 'hemgs'" in capsys.readouterr().err
    assert main(["describe", "nowhere.yaml"]) == 2
    assert "no such file" in capsys.readouterr().err


def test_doctor_finds_this_installation_sound(capsys: pytest.CaptureFixture[str]) -> None:
    assert [finding for finding in examine() if finding.status == "fail"] == []
    assert main(["doctor"]) == 0
    printed = capsys.readouterr().out
    assert "everything needed is there" in printed
    for topic in ("python", "torch", "numba cache", "gpu", "snakemake", "methods", "asset", "disk"):
        assert topic in printed


def test_doctor_names_what_is_missing_and_its_fix(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    find_spec = importlib.util.find_spec
    missing = ("safetensors", "matplotlib")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in missing else find_spec(name))
    monkeypatch.setattr(doctor, "MIN_SNAKEMAKE", (99, 0))
    monkeypatch.setattr(doctor, "MIN_FREE_MIB", 1e12)
    assert main(["doctor"]) == 1
    printed = capsys.readouterr().out
    assert "FAIL  safetensors" in printed
    assert "-> pip install" in printed
    assert "not installed: matplotlib" in printed
    assert "not examined, because these are missing: safetensors" in printed
    assert "too old" in printed
    assert "MiB free" in printed
    assert "things to fix: 1" in printed


def test_doctor_survives_a_broken_method_and_an_absent_asset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hemgs.bench.registry.list_methods", lambda: {"bad": "no_such:X", "toy_all": TOY})

    def absent(asset_id: str) -> Path:
        raise AssetError(f"{asset_id} is not here", "fetch it")

    monkeypatch.setattr("hemgs.core.assets.find_asset", absent)
    found = {finding.topic: finding for finding in examine()}
    assert found["method bad"].status == "fail"
    assert "methods" not in found
    assets = [finding for topic, finding in found.items() if topic.startswith("asset")]
    assert assets
    assert all(finding.status == "note" and finding.fix == "fetch it" for finding in assets)


def test_doctor_sees_a_cache_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "file" / "cache"))
    assert [finding.status for finding in doctor.check_caches()] == ["note"]
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    assert [finding.status for finding in doctor.check_caches()] == ["ok"]


def test_every_finding_that_fails_has_a_fix() -> None:
    assert all(finding.fix for finding in examine() if finding.status == "fail")
    assert set(doctor.MARKS) == {"ok", "note", "fail"}
    assert Finding("ok", "a", "b").fix == ""


@pytest.mark.slow
def test_check_says_what_holds_what_does_not_and_what_is_left_out(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "plyfile" else find_spec(name))
    assert main(["check", "tests.unit.bench.toy_methods:Flat", "--set", "iterations=60"]) == 1
    captured = capsys.readouterr()
    assert "FAIL  rates are monotone" in captured.out
    assert "ok    damage is refused" in captured.out
    assert "skip  ply opens (plyfile is not installed: pip install plyfile)" in captured.out
    assert "1 of 13 checks failed; checks left out: 1" in captured.out
    assert "do not fall for λ" in captured.err


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A separate configuration folder for the test."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "config"


def test_setup_links_and_says_so(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["setup", "--profile", "slurm"]) == 0
    target = home / "snakemake" / "slurm"
    assert target.is_symlink()
    assert target.resolve() == REPOSITORY / "profiles" / "slurm"
    printed = capsys.readouterr().out
    assert f"linked {target}" in printed
    assert "snakemake --profile slurm" in printed
    assert main(["setup", "--profile", "slurm"]) == 0
    assert "in place already" in capsys.readouterr().out


def test_setup_leaves_what_is_not_ours(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = home / "snakemake" / "slurm"
    target.mkdir(parents=True)
    (target / "config.yaml").write_text("mine: true")
    assert main(["setup", "--profile", "slurm"]) == 2
    assert "--force" in capsys.readouterr().err
    assert (target / "config.yaml").read_text() == "mine: true"
    assert main(["setup", "--profile", "slurm", "--force"]) == 0
    assert target.is_symlink()


def test_setup_copies_and_knows_its_copy(home: Path) -> None:
    assert "copied" in install_profile("slurm", copy=True)[0]
    target = home / "snakemake" / "slurm"
    assert not target.is_symlink()
    assert (target / "config.yaml").read_bytes() == (REPOSITORY / "profiles/slurm/config.yaml").read_bytes()
    assert "in place" in install_profile("slurm", copy=True)[0]
    (target / "config.yaml").write_text("edited: true")
    with pytest.raises(ConfigError, match="is not this profile"):
        install_profile("slurm", copy=True)


def test_setup_without_a_repository(home: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="clone"):
        install_profile("slurm", source=tmp_path)
    assert not home.exists()


def test_setup_of_unknown_profile(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["setup", "--profile", "slrum"]) == 2
    assert "slurm" in capsys.readouterr().err
    assert not home.exists()


def test_user_folder_without_a_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    if sys.platform == "linux":
        assert setup.snakemake_folder() == tmp_path / ".config" / "snakemake"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("snakemake") is None and not (Path(sys.executable).parent / "snakemake").exists(),
                    reason="snakemake is not installed")  # fmt: skip
def test_snakemake_finds_the_profile_by_its_name(home: Path, tmp_path: Path) -> None:
    """Run in an empty folder, so that only the installed profile can be found, not one of this repository."""
    source = tmp_path / "profiles"
    (source / "slurm").mkdir(parents=True)
    (source / "slurm" / "config.yaml").write_text("cores: 1\nquiet: [all]\nconfig: [found=yes]\n")
    work = tmp_path / "work"
    work.mkdir()
    (work / "Snakefile").write_text(
        'rule all:\n    output: "found.txt"\n    shell: "echo {config[found]} > {output}"\n'
    )
    command = [sys.executable, "-m", "snakemake", "--profile", "slurm"]
    environment = {**os.environ, "XDG_CONFIG_HOME": str(home)}
    before = subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True)
    assert before.returncode != 0
    install_profile("slurm", source=source)
    subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True, check=True)
    assert (work / "found.txt").read_text() == "yes\n"

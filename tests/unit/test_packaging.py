"""Declared, pinned, shipped and installed packages agree."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
#: Packages whose import name is not their name on the index.
IMPORT_NAMES = {"pillow": "PIL", "pyyaml": "yaml", "scikit-image": "skimage"}
#: Installed with what is declared, and imported with it: markupsafe is part of jinja2's interface.
COMES_WITH = {"markupsafe": "jinja2"}
#: Used as commands or by other packages, never imported by this one.
NOT_IMPORTED = {"ninja", "pygments", "snakemake", "torchvision"}
#: Imported only if installed; the index does not contain it.
NOT_ON_THE_INDEX = {"tinycudann"}


def name_of(requirement: str) -> str:
    return re.split(r"[<>=!~\[; ]", requirement, maxsplit=1)[0].lower().replace("_", "-")


def pins(lines: list[str]) -> dict[str, str]:
    return dict(line.split("==") for line in lines if "==" in line and not line.startswith("#"))


CONSTRAINTS = pins((REPOSITORY / "constraints.txt").read_text().splitlines())
BASE = {name_of(requirement) for requirement in PROJECT["dependencies"]}
EXTRAS = {name_of(requirement) for extra in PROJECT["optional-dependencies"].values() for requirement in extra}


def test_everything_declared_is_pinned_and_nothing_else() -> None:
    assert set(CONSTRAINTS) == BASE | EXTRAS


def test_every_pin_is_explained() -> None:
    blocks = (REPOSITORY / "constraints.txt").read_text().split("\n\n")
    for block in blocks:
        lines = block.splitlines()
        if any("==" in line and not line.startswith("#") for line in lines):
            assert len(lines[0]) > 20, block
            assert lines[0].startswith("#"), f"no reason stands before {block}"


def test_pins_satisfy_the_declared_ranges() -> None:
    from packaging.requirements import Requirement

    declared = [*PROJECT["dependencies"], *(r for extra in PROJECT["optional-dependencies"].values() for r in extra)]
    for requirement in map(Requirement, declared):
        assert requirement.specifier.contains(CONSTRAINTS[requirement.name.lower()]), requirement


def conda_pins(file: str) -> dict[str, str]:
    environment = yaml.safe_load((REPOSITORY / file).read_text())
    (by_pip,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    assert "nodefaults" in environment["channels"]
    return pins(by_pip)


def test_conda_environment_holds_what_jobs_on_a_gpu_need_at_its_pins() -> None:
    """Without the renderer every training on a GPU fails. Without lpips a column is empty after an expensive run."""
    extras = PROJECT["optional-dependencies"]
    needed = BASE | {name_of(requirement) for extra in ("gpu", "lpips") for requirement in extras[extra]}
    assert conda_pins("environment.yml") == {name: CONSTRAINTS[name] for name in needed}


def test_analysis_environment_is_a_part_of_it_without_torch() -> None:
    found = conda_pins("workflow/envs/analysis.yaml")
    assert found.items() <= conda_pins("environment.yml").items()
    assert not {"torch", "numba"} & set(found)
    needed = {name for name in BASE if import_name(name) in set(imported("hemgs/analysis"))}
    assert needed <= set(found)


def import_name(package: str) -> str:
    return IMPORT_NAMES.get(package, package.replace("-", "_"))


def imported(*folders: str) -> Iterator[str]:
    """Top-level names imported anywhere below the folders."""
    for folder in folders:
        for file in (REPOSITORY / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    yield from (alias.name.partition(".")[0] for alias in node.names)
                elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                    yield node.module.partition(".")[0]


def test_everything_imported_is_declared_and_the_other_way_round() -> None:
    found = set(imported("hemgs", "baselines")) - set(sys.stdlib_module_names) - {"hemgs", "baselines", "__future__"}
    declared = {import_name(name) for name in BASE | EXTRAS}
    assert found - declared - NOT_ON_THE_INDEX - set(COMES_WITH) == set()
    assert {import_name(name) for name in BASE} - found == NOT_IMPORTED & BASE


def test_package_and_workflow_list_the_same_methods() -> None:
    declared = PROJECT["entry-points"]["hemgs.methods"]
    files = (REPOSITORY / "workflow/config/methods").glob("*.yaml")
    described = [yaml.safe_load(file.read_text()) for file in files]
    configured = {data["id"]: data["entry"] for data in described if "extends" not in data}
    assert configured == declared


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """A wheel built from a copy of the tree, without the network."""
    root = tmp_path_factory.mktemp("wheel")
    source = root / "source"
    ignored = shutil.ignore_patterns("__pycache__", "*.nbi", "*.nbc")
    for folder in ("hemgs", "baselines"):
        shutil.copytree(REPOSITORY / folder, source / folder, ignore=ignored)
    for file in ("pyproject.toml", "LICENSE", "README.md"):
        if (REPOSITORY / file).exists():
            shutil.copy(REPOSITORY / file, source)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(root)]
    done = subprocess.run([*command, str(source)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return zipfile.ZipFile(next(root.glob("*.whl")))


def test_wheel_holds_every_file_of_the_packages(wheel: zipfile.ZipFile) -> None:
    shipped = {name for name in wheel.namelist() if name.startswith(("hemgs/", "baselines/"))}
    files = [file for folder in ("hemgs", "baselines") for file in (REPOSITORY / folder).rglob("*") if file.is_file()]
    generated = {".nbi", ".nbc", ".pyc"}
    expected = {file.relative_to(REPOSITORY).as_posix() for file in files if file.suffix not in {*generated, ".md"}}
    assert shipped == expected


def test_wheel_holds_licence_and_command(wheel: zipfile.ZipFile) -> None:
    names = wheel.namelist()
    assert any(name.endswith("licenses/LICENSE") for name in names)
    (points,) = [name for name in names if name.endswith("entry_points.txt")]
    assert "hemgs = hemgs.cli:main" in wheel.read(points).decode()


def test_version_is_the_installed_one() -> None:
    assert importlib.metadata.version("hemgs") == PROJECT["version"]


def test_changelog_describes_this_version() -> None:
    assert re.search(rf"^## {re.escape(PROJECT['version'])}\b", (REPOSITORY / "CHANGELOG.md").read_text(), re.MULTILINE)


def test_makefile_help_lists_every_target() -> None:
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    shown = subprocess.run(["make", "help"], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    targets = re.findall(r"^\.PHONY: (\S+)$", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    assert {"demo", "test", "bench", "lint"} <= set(targets)
    assert set(targets) == set(re.findall(r"^ +make (\S+)", shown, re.MULTILINE))


def test_continuous_integration_runs_the_test_command() -> None:
    script = REPOSITORY / ".ci/run"
    assert script.stat().st_mode & 0o100
    assert "make test" in script.read_text()

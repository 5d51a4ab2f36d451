"""Every verb without each library: one line that names the module and the fix, where the verb needs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hemgs.cli.parser import VERBS
from hemgs.core.libraries import LIBRARIES
from tests.unit.cli.cli_cases import REPOSITORY

pytestmark = pytest.mark.slow

BITSTREAM = REPOSITORY / "tests" / "golden" / "version_2" / "hemgs" / "plain.gsc"
MODULES = ["torch", "numba", "scipy", "safetensors", "plyfile", "pandas", "matplotlib", "PIL", "pydantic", "jinja2"]
#: Hides modules and their distributions as if they were not installed. Python runs a module of this name at its start.
HIDING = """
import importlib.metadata, os, sys
hidden = os.environ["HIDDEN_MODULE"]
class Hiding:
    def __init__(self, finder):
        self.finder = finder
    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] == hidden else self.finder.find_spec(name, path, target)
    def __getattr__(self, name):
        return getattr(self.finder, name)
sys.meta_path[:] = [Hiding(finder) for finder in sys.meta_path]
distribution = importlib.metadata.distribution
def find(name):
    if name.lower() in (hidden.lower(), {"PIL": "pillow"}.get(hidden)):
        raise importlib.metadata.PackageNotFoundError(name)
    return distribution(name)
importlib.metadata.distribution = find
"""
#: Runs commands one after the other, and prints exit code and errors of each as JSON.
RUNNING = """
import contextlib, io, json, sys, traceback
from hemgs.cli import main
answers = {}
for verb, words in json.loads(sys.argv[1]).items():
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main([verb, *words])
        except SystemExit as stop:
            code = stop.code
        except BaseException:
            code = 1
            traceback.print_exc()
    answers[verb] = [code, out.getvalue(), err.getvalue()]
print(json.dumps(answers))
"""
#: Verbs that cannot do their work without a module. ``doctor`` reports the module instead.
_METHODS = {"train", "encode", "decode", "render", "evaluate", "export", "refit", "check", "describe"}
_PUBLISHING = {"summarise", "tables", "figures", "page"}
NEEDED_BY = {
    "torch": _METHODS,
    "numba": {"train", "decode", "render", "export", "check", "describe"},
    "scipy": {"train", "decode", "render", "export", "check", "describe", "summarise"},
    "safetensors": _METHODS,
    "PIL": {"prepare", "render", "page"},
    "plyfile": set(),
    "pandas": _PUBLISHING,
    "matplotlib": {"figures"},
    "pydantic": {"estimate", "fetch", "hash-archive", "prepare", "train"},
    "jinja2": {"page"},
}


def commands(folder: Path) -> dict[str, list[str]]:
    """One command of each verb, with input that leads it to its libraries and then ends it soon."""
    dataset = folder / "tiny.yaml"
    dataset.write_text(
        "id: tiny\nlabel: Tiny\n"
        "source: {kind: procedural, procedural: {num_views: 10, width: 24, height: 18, num_points: 60, seed: 0}}\n"
        "protocol: {max_width: null, split: {kind: every_nth, n: 5}, background: [0, 0, 0]}\n"
        "initial_points: {kind: sfm}\nscenes: {court: {}}\n"
    )
    camera = folder / "camera.json"
    pose = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 2], [0, 0, 0, 1]]
    size = {"width": 8, "height": 8, "fx": 8, "fy": 8, "cx": 4, "cy": 4}
    camera.write_text(json.dumps({"name": "one", **size, "world_to_camera": pose}))
    summary = ["--summary", str(folder), "--style", str(folder / "style.json")]
    return {
        "estimate": ["--configfile", str(REPOSITORY / "workflow/config/demo.yaml")],
        "fetch": ["--dataset", str(dataset)],
        "hash-archive": ["--dataset", str(dataset)],
        "prepare": ["--dataset", str(dataset), "--scene", "court", "--out", str(folder / "scene")],
        "train": [str(folder / "scene"), "--method", "hemgs", "--set", "iterations=0", "--out", str(folder / "model")],
        "encode": [str(folder / "model"), "--out", str(folder / "points")],
        "decode": [str(BITSTREAM), "--out", str(folder / "decoded.safetensors"), "--once", "--device", "cpu"],
        "inspect": [str(BITSTREAM)],
        "render": [str(BITSTREAM), "--camera", str(camera), "--out", str(folder / "pictures"), "--device", "cpu"],
        "evaluate": [str(folder / "points"), "--scene", str(folder / "scene"), "--out", str(folder / "points")],
        "export": [str(BITSTREAM), "--ply", str(folder / "toy.ply")],
        "refit": [str(folder / "model"), "--out", str(folder / "refit.csv")],
        "summarise": [
            "--plan",
            str(folder / "plan.json"),
            "--published",
            str(folder),
            "--out",
            str(folder / "summary"),
        ],
        "tables": [*summary, "--out", str(folder / "tables")],
        "figures": [*summary, "--out", str(folder / "figures")],
        "page": [*summary, "--tables", str(folder), "--figures", str(folder), "--out", str(folder / "page")],
        "describe": ["hemgs"],
        "doctor": [],
        "setup": [],
        "check": ["hemgs", "--set", "iterations=0"],
    }


@pytest.fixture(scope="module", params=MODULES)
def answers(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, dict[str, list[Any]]]:
    """The module that is hidden, and exit code, output and errors of each verb."""
    module: str = request.param
    folder = tmp_path_factory.mktemp("without")
    (folder / "hiding").mkdir()
    (folder / "hiding" / "sitecustomize.py").write_text(HIDING)
    added = {"PYTHONPATH": str(folder / "hiding"), "HIDDEN_MODULE": module, "XDG_CONFIG_HOME": str(folder / "config")}
    work = folder / "work"
    work.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", RUNNING, json.dumps(commands(work))],
        env={**os.environ, **added},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return module, json.loads(done.stdout)


def test_every_verb_has_a_command(tmp_path: Path) -> None:
    assert set(commands(tmp_path)) == set(VERBS)
    assert set(NEEDED_BY) == set(MODULES) <= {library.module for library in LIBRARIES}


def test_a_missing_library_is_named_by_each_verb_that_needs_it(answers: tuple[str, dict[str, list[Any]]]) -> None:
    module, found = answers
    for verb in sorted(NEEDED_BY[module]):
        code, _, errors = found[verb]
        lines = errors.splitlines()
        assert code == 2, (verb, errors)
        assert len([line for line in lines if line.startswith("error: ")]) == 1, (verb, errors)
        assert module in lines[-1] and "pip install" in lines[-1], (verb, errors)


def test_verbs_that_only_plan_and_publish_need_no_torch(answers: tuple[str, dict[str, list[Any]]]) -> None:
    module, found = answers
    for verb in {"estimate", "fetch", "hash-archive", "prepare", "inspect", "setup"} | _PUBLISHING:
        assert module != "torch" or "torch" not in found[verb][2], (verb, found[verb])


def test_no_verb_ends_in_a_traceback(answers: tuple[str, dict[str, list[Any]]]) -> None:
    module, found = answers
    for verb, (code, _, errors) in found.items():
        assert "Traceback" not in errors, (module, verb, errors)
        assert code in (0, 2) or verb == "doctor", (module, verb, errors)
        assert "is not installed here" not in errors, (module, verb, errors)


def test_doctor_lists_what_is_missing(answers: tuple[str, dict[str, list[Any]]]) -> None:
    module, found = answers
    code, output, _ = found["doctor"]
    library = next(library for library in LIBRARIES if library.module == module)
    if library.need == "check":
        return
    lines = [line for line in output.splitlines() if library.distribution in line and "not installed" in line]
    assert lines, output
    assert lines[0].startswith("FAIL" if library.need == "all" else "note")
    assert code == (1 if library.need == "all" else 0), output

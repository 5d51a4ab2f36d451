"""A fifth dataset and a method of third parties, from outside the repository, by configuration alone, without stubs.

The dataset is an archive that has to be fetched; one of its scenes is not in it, which costs that scene and no other.
"""

from __future__ import annotations

import csv
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.unit.cli.cli_cases import make_capture
from tests.unit.data.archive_server import Answer, Server, serving
from tests.workflow.workflow_project import REPOSITORY, Project, copy_workflow

LMBDAS = [0.001, 0.004]
METHOD = {"id": "theirs", "label": "Theirs", "entry": "their_codec:Theirs", "kind": "all_rates", "rates": LMBDAS}
CONFIG = {
    "title": "From outside",
    "extra_config": ["${OUTSIDE}"],
    "run": {"methods": ["theirs"], "datasets": ["fifth"]},
    "method_params": {"theirs": {"iterations": 7}},
    "publish": {"tables": ["quality", "storage"], "visual": ["fifth/court"]},
}
LOG = "results/logs/prepare_scene/fifth/lost.log"


def outside(folder: Path, server: Server) -> None:
    """Files of third parties: a package, its YAML, a dataset's YAML, and an archive on a server."""
    (folder / "methods").mkdir(parents=True)
    (folder / "datasets").mkdir()
    shutil.copy(REPOSITORY / "tests/unit/bench/toy_methods.py", folder / "their_package.py")
    (folder / "their_codec.py").write_text(
        "from dataclasses import replace\nfrom typing import ClassVar\n\n"
        "from hemgs.core.types import MethodSpec\nfrom their_package import ToyAll\n\n\n"
        "class Theirs(ToyAll):\n"
        "    spec: ClassVar[MethodSpec] = replace(ToyAll.spec, id='theirs', label='Theirs')\n"
    )
    (folder / "methods/theirs.yaml").write_text(yaml.safe_dump(METHOD))
    make_capture(folder / "captures/rooms/court")
    with zipfile.ZipFile(folder / "fifth.zip", "w") as file:
        for member in sorted((folder / "captures").rglob("*.*")):
            file.write(member, member.relative_to(folder / "captures").as_posix())
    shutil.rmtree(folder / "captures")
    url = server.add("/fifth.zip", Answer((folder / "fifth.zip").read_bytes()))
    dataset = {
        "id": "fifth",
        "label": "Fifth",
        "licence": "none needed",
        "source": {"kind": "colmap", "archives": [{"url": url}]},
        "protocol": {"max_width": None, "split": {"kind": "every_nth", "n": 3}, "background": [0, 0, 0]},
        "initial_points": {"kind": "sfm"},
        "scenes": {"court": {"path": "rooms/court"}, "lost": {"path": "rooms/lost"}},
    }
    (folder / "datasets/fifth.yaml").write_text(yaml.safe_dump(dataset))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Project, str]]:
    """The project after its run, and the output of the run."""
    root = tmp_path_factory.mktemp("outsiders")
    project = copy_workflow(root / "clone", stub=False)
    with serving() as server:
        outside(root / "outside", server)
        project.environment |= {"OUTSIDE": str(root / "outside"), "no_proxy": "127.0.0.1"}
        project.environment["PYTHONPATH"] = f"{REPOSITORY}:{root / 'outside'}"
        (project.root / "theirs.yaml").write_text(yaml.safe_dump(CONFIG))
        done = project.snakemake("--configfile", "theirs.yaml", check=False)
        yield project, done.stdout


def rows(project: Project, name: str) -> list[dict[str, str]]:
    with (project.root / "results/summary" / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_their_points_are_measured_and_published(finished: tuple[Project, str]) -> None:
    project, output = finished
    points = rows(project, "points.csv")
    assert [(row["method"], row["scene"], row["rate"], row["status"]) for row in points] == [
        ("theirs", "court", "lmbda_0.0010", "ok"),
        ("theirs", "court", "lmbda_0.0040", "ok"),
    ], output
    for row in points:
        bitstream = project.root / f"results/points/theirs/fifth/court/all/s0/bitstreams/{row['rate']}.gsc"
        assert bitstream.stat().st_size == int(row["bytes_total"])
        assert row["iterations"] == "7"
    assert "Theirs" in (project.root / "results/tables/quality.md").read_text()
    assert "From outside" in (project.root / "results/page/index.html").read_text()


@pytest.mark.slow
def test_the_scene_that_failed_is_in_the_ledger_and_nothing_else_is(finished: tuple[Project, str]) -> None:
    """The list of missing results has the reasons and the logs."""
    project, output = finished
    (failure,) = rows(project, "failures.csv")
    assert (failure["method"], failure["scene"], failure["kind"], failure["log"]) == ("theirs", "lost", "missing", LOG)
    assert failure["reason"].startswith("prepare_scene: archive ")
    assert "has no files in the folder 'rooms/lost'" in failure["reason"]
    assert failure["reason"].partition("; its")[0].split("prepare_scene: ")[1] in (project.root / LOG).read_text()
    assert "has no files in the folder" in output


@pytest.mark.slow
def test_the_fetched_archive_is_on_record(finished: tuple[Project, str]) -> None:
    project, _ = finished
    record = yaml.safe_load((project.root / "results/data/fetched/fifth.zip.json").read_text())
    assert record["archives"][0]["file"] == "results/data/archives/fifth.zip"
    assert len(record["archives"][0]["sha256"]) == 64

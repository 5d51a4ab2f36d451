"""Methods that start from another method's model: their trainings, the shared base, and the effect of changes."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest
import yaml

from tests.workflow.workflow_project import DATASET, REPOSITORY, Project, copy_workflow, small_project

POST = {"label": "Post", "entry": "stub_methods.method:Post", "kind": "post", "base": "single_stub"}
PUBLISHED = {"summarise_points": 1, "make_tables": 1, "make_figures": 1, "make_page": 1}
NEW_POINTS = {"write_plan": 1, "write_style": 1, **PUBLISHED}


def add(project: Project, name: str, **changes: object) -> None:
    path = project.root / f"workflow/config/methods/{name}.yaml"
    path.write_text(yaml.safe_dump({"id": name, **POST, **changes}))


def select(project: Project, *methods: str) -> None:
    project.edit("config.yaml", lambda data: data["run"].update(methods=list(methods)))


def jobs(trained: int, made: int) -> dict[str, int]:
    return {"train_model": trained, "encode_points": made, "evaluate_points": made}


def trainings(project: Project) -> list[tuple[str, str]]:
    """Folders of the models trained since the last call, in order, each with the folder of its base."""
    calls = [call for call in project.calls() if call[0] == "train"]
    return [
        (call[call.index("--out") + 1], call[call.index("--base") + 1] if "--base" in call else "") for call in calls
    ]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Two scenes, a method without rates and two that start from it, nothing made yet."""
    project = small_project(tmp_path)
    add(project, "early")
    add(project, "late")
    select(project, "early", "single_stub", "late")
    return project


@pytest.fixture
def made(project: Project) -> Project:
    project.snakemake()
    project.calls()
    return project


def test_the_base_is_trained_once_and_shared(project: Project) -> None:
    assert project.planned() == {"prepare_scene": 2, **jobs(6, 6), **NEW_POINTS}
    project.snakemake()
    found = trainings(project)
    folders = [folder for folder, _ in found]
    for scene in ("one", "two"):
        base, early, late = (
            f"results/models/{name}/toy/{scene}/single/s0" for name in ("single_stub", "early", "late")
        )
        assert (base, "") in found and (early, base) in found and (late, base) in found
        assert folders.index(base) < min(folders.index(early), folders.index(late))
    assert project.planned() == {}


@pytest.mark.slow
def test_a_base_that_is_not_selected_is_trained_and_not_measured(project: Project) -> None:
    select(project, "early", "late")
    assert project.planned() == {"prepare_scene": 2, **jobs(6, 4), **NEW_POINTS}
    project.snakemake()
    assert not (project.root / "results/points/single_stub").exists()
    # Selected later, it is measured from the model that is there.
    select(project, "early", "late", "single_stub")
    assert project.planned() == {"encode_points": 2, "evaluate_points": 2, **NEW_POINTS}


@pytest.mark.slow
def test_a_setting_of_a_post_method_trains_only_that_again(made: Project) -> None:
    made.edit("methods/early.yaml", lambda data: data.update(params={"iterations": 20}))
    assert made.planned() == jobs(2, 2) | PUBLISHED


@pytest.mark.slow
def test_a_setting_of_the_base_trains_all_that_start_from_it_again(made: Project) -> None:
    made.edit("methods/single_stub.yaml", lambda data: data.update(params={"iterations": 20}))
    assert made.planned() == jobs(6, 6) | PUBLISHED


@pytest.mark.slow
def test_another_base_trains_that_method_again(made: Project) -> None:
    variant = {"id": "single_long", "label": "Long", "extends": "single_stub", "params": {"iterations": 30}}
    (made.root / "workflow/config/methods/single_long.yaml").write_text(yaml.safe_dump(variant))
    made.edit("methods/late.yaml", lambda data: data.update(base="single_long"))
    found = made.planned()
    assert (found["train_model"], found["encode_points"], found["evaluate_points"]) == (4, 2, 2)


@pytest.mark.slow
def test_seeds_start_from_the_base_of_their_own_seed(made: Project) -> None:
    made.edit("config.yaml", lambda data: data["run"].update(seeds=[0, 1]))
    made.snakemake()
    assert {base.rpartition("/")[2] for _, base in trainings(made) if base} == {"s1"}


@pytest.mark.slow
def test_a_model_of_the_base_that_was_deleted_is_missed_only_where_it_is_needed(made: Project) -> None:
    for model in made.root.glob("results/models/**/model.safetensors"):
        model.unlink()
    assert made.planned() == {}
    made.edit("methods/early.yaml", lambda data: data.update(params={"iterations": 20}))
    found = made.planned()
    assert found["train_model"] >= 4 and found["encode_points"] >= 2


@pytest.mark.slow
def test_a_base_that_fails_leaves_a_hole_with_its_log_for_each_that_starts_from_it(project: Project) -> None:
    project.environment["STUB_FAIL"] = "--out results/models/single_stub/toy/two"
    assert project.snakemake("--keep-going", check=False).returncode != 0
    log = "results/logs/train_model/single_stub/toy/two/single/s0.log"
    ledger = (project.root / "results/summary/failures.csv").read_text().splitlines()[1:]
    assert sorted(ledger) == [f"{method},two,{log}" for method in ("early", "late", "single_stub")]


@pytest.mark.slow
def test_a_post_method_of_ones_own_is_two_files(made: Project) -> None:
    (made.root / "my_method.py").write_text(
        "from dataclasses import dataclass\nfrom hemgs.core.types import MethodSpec\n"
        "@dataclass(frozen=True)\nclass Settings:\n    depth: int = 1\n"
        "class Mine:\n    spec = MethodSpec('mine', 'Mine', 'post')\n    Params = Settings\n"
    )
    add(made, "mine", entry="my_method:Mine", params={"depth": 2})
    select(made, "early", "single_stub", "late", "mine")
    assert made.planned() == jobs(2, 2) | NEW_POINTS


@pytest.mark.parametrize(
    ("base", "message"),
    [
        ("singel_stub", "base 'singel_stub' is not a known method — did you mean 'single_stub'?"),
        ("per_rate_stub", "base 'per_rate_stub' is of kind per_rate"),
    ],
)
def test_a_base_that_cannot_be_is_an_error_of_the_dry_run(project: Project, base: str, message: str) -> None:
    project.edit("methods/late.yaml", lambda data: data.update(base=base))
    done = project.snakemake("-n", check=False)
    assert done.returncode != 0
    assert f"workflow/config/methods/late.yaml: {message}" in done.stdout


@pytest.mark.slow
def test_a_post_method_of_ones_own_runs_with_nothing_stubbed(tmp_path: Path) -> None:
    """Two files outside the repository: the module and its YAML. From its base to a row of the table."""
    project, outside = copy_workflow(tmp_path / "clone", stub=False), tmp_path / "outside"
    for folder in ("methods", "datasets"):
        (outside / folder).mkdir(parents=True)
    shutil.copy(REPOSITORY / "tests/unit/splats/toy_splats.py", outside / "my_package.py")
    (outside / "my_method.py").write_text(
        "from typing import ClassVar\n\nfrom hemgs.core.types import MethodSpec\n"
        "from my_package import ToyPost\n\n\nclass Mine(ToyPost):\n"
        "    spec: ClassVar[MethodSpec] = MethodSpec('mine', 'Mine', 'post', attributes=('locations', 'colors'))\n"
    )
    mine = {"id": "mine", "label": "Mine", "entry": "my_method:Mine", "kind": "post", "base": "gs3d"}
    (outside / "methods/mine.yaml").write_text(yaml.safe_dump(mine))
    shape = {"num_views": 9, "width": 48, "height": 36, "num_points": 300}
    source = {"kind": "procedural", "procedural": shape}
    protocol = {"max_width": None, "split": {"kind": "every_nth", "n": 3}, "background": [0, 0, 0]}
    tiny = {**DATASET, "source": source, "protocol": protocol, "scenes": {"court": {}}}
    (outside / "datasets/toy.yaml").write_text(yaml.safe_dump(tiny))
    config = {
        "title": "Post",
        "extra_config": [str(outside)],
        "run": {"methods": ["gs3d", "mine"], "datasets": ["toy"], "seeds": [1]},
        "method_params": {"gs3d": {"iterations": 30}, "mine": {"iterations": 10}},
        "publish": {"tables": ["quality", "complexity"]},
    }
    (project.root / "post.yaml").write_text(yaml.safe_dump(config))
    project.environment["PYTHONPATH"] = f"{REPOSITORY}:{outside}"
    project.snakemake("--configfile", "post.yaml")
    with (project.root / "results/summary/points.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["method"]: row for row in csv.DictReader(file)}
    assert {name: (row["status"], row["iterations"]) for name, row in rows.items()} == {
        "gs3d": ("ok", "30"),
        "mine": ("ok", "40"),
    }
    models = project.root / "results/models"
    record = json.loads((models / "mine/toy/court/single/s1/train.json").read_text())
    base = json.loads((models / "gs3d/toy/court/single/s1/train.json").read_text())
    assert (record["base"]["method"], record["base"]["model_sha256"]) == ("gs3d", base["model_sha256"])
    assert record["train_s"] > base["train_s"]
    notes = (project.root / "results/tables/complexity.md").read_text()
    assert "training times of Mine include the model" in notes

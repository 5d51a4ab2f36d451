"""Several runs in one folder at once: each makes its own points, and one publishes them afterwards."""

from __future__ import annotations

import pytest

from tests.workflow.workflow_project import Project, with_archive


@pytest.mark.slow
def test_points_of_different_scenes_side_by_side(project: Project) -> None:
    project.edit("config.yaml", lambda data: data["run"].update(methods=["single_stub"]))
    with project.held("train results/data/scenes/toy/one", "points", "--config", "run={scenes: [one]}"):
        project.snakemake("points", "--config", "run={scenes: [two]}")
        assert (project.root / "results/points/single_stub/toy/two/single/s0/points.csv").is_file()
        assert not (project.root / "results/points/single_stub/toy/one").exists()
    assert not (project.root / "results/summary").exists()
    planned = project.planned()
    assert (planned["train_model"], planned["evaluate_points"], planned["make_page"]) == (0, 0, 1)


@pytest.mark.slow
def test_scenes_of_one_archive_side_by_side_once_it_is_fetched(project: Project) -> None:
    project.edit("config.yaml", lambda data: data["run"].update(methods=["single_stub"]))
    project.edit("datasets/toy.yaml", with_archive)
    project.snakemake("results/data/fetched/toy.zip.json")
    with project.held("train results/data/scenes/toy/one", "points", "--config", "run={scenes: [one]}"):
        project.snakemake("points", "--config", "run={scenes: [two]}")
    assert [call[0] for call in project.calls()].count("fetch") == 1
    planned = project.planned()
    assert (planned["fetch_archive"], planned["train_model"]) == (0, 0)


@pytest.mark.slow
def test_points_of_different_methods_side_by_side(project: Project) -> None:
    """Once the scene that they share is prepared."""
    project.snakemake("results/data/scenes/toy/one/scene.json")
    with project.held("train", "points", "--config", "run={scenes: [one], methods: [single_stub]}"):
        project.snakemake("points", "--config", "run={scenes: [one], methods: [all_rates_stub]}")

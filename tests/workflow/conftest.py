"""Projects to run snakemake in."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.workflow.workflow_project import Project, copy_workflow, environment, small_project


@pytest.fixture
def paper(tmp_path: Path) -> Project:
    """The repository's own configuration."""
    return copy_workflow(tmp_path)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A small configuration of two scenes and three stub methods, nothing made yet."""
    return small_project(tmp_path)


@pytest.fixture(scope="session")
def finished_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small project after a complete run, to be copied."""
    root = tmp_path_factory.mktemp("finished")
    project = small_project(root)
    project.snakemake()
    return root


@pytest.fixture
def finished(finished_template: Path, tmp_path: Path) -> Project:
    """A small project after a complete run."""
    root = tmp_path / "project"
    # Times of files decide what is made again: keep them.
    shutil.copytree(finished_template, root, copy_function=shutil.copy2, symlinks=True)
    project = Project(root, environment(root))
    project.calls()
    return project

"""A scene of one's own, added as the documentation says, with a real capture."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest

from tests.workflow.workflow_project import REPOSITORY, copy_workflow

README = REPOSITORY / "workflow/config/README.md"


@pytest.mark.slow
def test_a_scene_of_ones_own_by_the_documentation_alone(captures: Path, tmp_path: Path) -> None:
    paper = copy_workflow(tmp_path, stub=False)
    text = README.read_text()
    block = re.search(r"## Add a scene of your own\n(?:(?!    ).*\n)*((?:    .*\n)+)", text)
    assert block
    dataset = textwrap.dedent(block.group(1))
    name = re.search(r"# (workflow/config/datasets/\w+\.yaml)\n", dataset)
    assert name
    adapted = dataset.replace("/data/captures", str(captures)).replace("garden_2026", "real_kwrous_cup")
    (paper.root / name.group(1)).write_text(adapted)
    (arguments,) = re.findall(r"    snakemake --profile \S+ --config '(run=\{datasets: \[my_garden\]\})'\n", text)
    planned = paper.planned("--config", arguments)
    assert (planned["fetch_archive"], planned["prepare_scene"], planned["train_model"]) == (0, 1, 13)
    scene = "results/data/scenes/my_garden/garden/scene.json"
    paper.snakemake("--config", arguments, "--", scene)
    assert (paper.root / scene).is_file()
    assert len(list((paper.root / scene).parent.glob("images/*.png"))) == 77

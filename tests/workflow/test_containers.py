"""Jobs run in the image where asked for; apptainer itself is played by a script that runs the command on the host."""

from __future__ import annotations

from pathlib import Path

import pytest
from workflow_project import REPOSITORY, Project

APPTAINER = """\
#!/bin/sh
[ "$1" = --version ] && { echo "apptainer version 1.3.4"; exit 0; }
echo "$*" | head -1 >> "$(dirname "$0")/apptainer_calls"
while [ "$1" != bash ]; do shift; done
exec "$@"
"""


@pytest.mark.slow
@pytest.mark.parametrize("image", ["hemgs.sif", "/images/other.sif"])
def test_every_job_runs_in_the_image(project: Project, tmp_path: Path, image: str) -> None:
    for name in ("apptainer", "singularity"):
        command = project.root / "bin" / name
        command.write_text(APPTAINER)
        command.chmod(0o755)
    project.edit("config.yaml", lambda data: data["run"].update(methods=["single_stub"], scenes=["one"]))
    if image.startswith("/"):
        image = str(tmp_path / Path(image).name)
        project.environment["HEMGS_IMAGE"] = image
    (project.root / image).touch()
    project.snakemake("--sdm", "apptainer", "--apptainer-args=--nv", "--", "results/page/index.html")
    calls = (project.root / "bin/apptainer_calls").read_text().splitlines()
    for verb in ("prepare", "train", "encode", "evaluate", "summarise", "tables", "figures", "page"):
        (call,) = [call for call in calls if f" hemgs {verb} " in call]
        assert f" {image} bash " in call
        assert "--nv" in call


def test_the_definition_holds_what_the_package_needs() -> None:
    """Every file that it copies exists, or building it fails after many minutes."""
    lines = (REPOSITORY / "workflow/envs/hemgs.def").read_text().splitlines()
    begin = lines.index("%files") + 1
    copied = [line.split()[0] for line in lines[begin : lines.index("%post")] if line.strip()]
    assert {"pyproject.toml", "constraints.txt", "hemgs", "baselines", "workflow"} <= set(copied)
    assert all((REPOSITORY / name).exists() for name in copied)

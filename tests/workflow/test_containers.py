"""The Python of jobs: that of the requested image or conda environment, otherwise that of snakemake.

Scripts replace Apptainer and conda. The one runs the command on the host. The other makes environments with a Python
that records its calls.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.workflow.workflow_project import REPOSITORY, Project

APPTAINER = """\
#!/bin/sh
[ "$1" = --version ] && { echo "apptainer version 1.3.4"; exit 0; }
echo "$*" | head -1 >> "$(dirname "$0")/apptainer_calls"
while [ "$1" != bash ]; do shift; done
exec "$@"
"""
CONDA = """\
#!/bin/sh
base="$(dirname "$0")/conda_base"
case "$*" in
--version) echo "conda 25.1.1" ;;
"info --json") echo "{\\"conda_prefix\\": \\"$base\\", \\"platform\\": \\"linux-64\\"}" ;;
clean*) ;;
config*) echo '{"get": {"channel_priority": "strict"}}' ;;
"env create"*)
    while [ "$1" != --prefix ]; do
        [ "$1" = --file ] && name="$(sed -n 's/^name: //p' "$2")"
        shift
    done
    mkdir -p "$2/bin"
    sed "s/NAME/$name/" "$base/python" > "$2/bin/python"
    chmod +x "$2/bin/python" ;;
*) echo "unexpected: $*" >&2; exit 1 ;;
esac
"""
ACTIVATE = 'export PATH="$1/bin:$PATH"\n'
PYTHON = f"""\
#!/bin/sh
echo "NAME $*" >> calls_in_environments
[ "${{PYTHONPATH%%:*}}" = "$PWD" ] || {{ echo "error: PYTHONPATH is $PYTHONPATH" >&2; exit 2; }}
exec {sys.executable} "$@"
"""
WITHOUT_TORCH = ("summarise", "tables", "figures", "page")
VERBS = ("prepare", "train", "encode", "evaluate", *WITHOUT_TORCH)


def add_program(project: Project, path: str, text: str) -> None:
    command = project.root / "bin" / path
    command.parent.mkdir(parents=True, exist_ok=True)
    command.write_text(text)
    command.chmod(0o755)


@pytest.fixture
def small(project: Project) -> Project:
    """One method on one scene. Another ``hemgs`` that is first on the path is not used."""
    project.edit("config.yaml", lambda data: data["run"].update(methods=["single_stub"], scenes=["one"]))
    for name in ("python", "hemgs"):
        add_program(project, name, "#!/bin/sh\necho 'error: a stranger' >&2\nexit 2\n")
    return project


@pytest.mark.slow
def test_without_environments_jobs_run_in_the_python_of_snakemake(small: Project) -> None:
    small.snakemake()
    assert [call[0] for call in small.calls()].count("train") == 1


@pytest.mark.slow
def test_every_job_runs_in_its_conda_environment(small: Project) -> None:
    """Environments hold no package of ours: it comes from the clone, though Snakemake takes PYTHONPATH away."""
    for name, text in {"conda": CONDA, "conda_base/bin/activate": ACTIVATE, "conda_base/python": PYTHON}.items():
        add_program(small, name, text)
    small.snakemake("--sdm", "conda", "--", "results/page/index.html")
    calls = [line.split() for line in (small.root / "calls_in_environments").read_text().splitlines()]
    found = {call[3]: call[0] for call in calls if call[1:3] == ["-m", "hemgs"]}
    assert found == {verb: "hemgs-analysis" if verb in WITHOUT_TORCH else "hemgs" for verb in VERBS}


@pytest.mark.slow
@pytest.mark.parametrize("image", ["hemgs.sif", "/images/other.sif"])
def test_every_job_runs_in_the_image(project: Project, tmp_path: Path, image: str) -> None:
    for name in ("apptainer", "singularity"):
        add_program(project, name, APPTAINER)
    add_program(project, "python", f'#!/bin/sh\nexec {sys.executable} "$@"\n')  # as the image has one
    project.edit("config.yaml", lambda data: data["run"].update(methods=["single_stub"], scenes=["one"]))
    if image.startswith("/"):
        image = str(tmp_path / Path(image).name)
        project.environment["HEMGS_IMAGE"] = image
    (project.root / image).touch()
    project.snakemake("--sdm", "apptainer", "--apptainer-args=--nv", "--", "results/page/index.html")
    calls = (project.root / "bin/apptainer_calls").read_text().splitlines()
    for verb in VERBS:
        (call,) = [call for call in calls if f" python -m hemgs {verb} " in call]
        assert f" {image} bash " in call
        assert "--nv" in call


def test_the_definition_holds_what_the_package_needs() -> None:
    """Every file that it copies exists. Otherwise building it would fail after many minutes."""
    lines = (REPOSITORY / "workflow/envs/hemgs.def").read_text().splitlines()
    begin = lines.index("%files") + 1
    copied = [line.split()[0] for line in lines[begin : lines.index("%post")] if line.strip()]
    assert {"pyproject.toml", "constraints.txt", "hemgs", "baselines", "workflow"} <= set(copied)
    assert all((REPOSITORY / name).exists() for name in copied)

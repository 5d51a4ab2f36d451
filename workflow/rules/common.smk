# The benchmark of the configuration, and the names of files that several rules use. Only this file of the workflow
# imports the package, and only modules without torch.

import copy
import json
import re
import shlex
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.settings.types import DeploymentMethod
from snakemake.utils import update_config

from hemgs.config.benchmark import REFIT_METHOD, base_fit, fits, load_benchmark
from hemgs.config.captures import check_captures
from hemgs.config.entries import check_entries
from hemgs.core.catalogue import FIGURE_FORMATS, SUMMARY_FILES, TABLE_FORMATS, figure_stems
from hemgs.core.errors import HemgsError
from hemgs.core.files import write_text
from hemgs.core.records import POINT_COLUMNS, SCHEMA_VERSION
from hemgs.core.yaml_files import parse_yaml

FIT_PATH = "{method}/{dataset}/{scene}/{fit}/s{seed}"
REFIT_TABLE = "results/summary/refit/{dataset}/{scene}.csv"
STORED_BITSTREAMS = (
    [f"results/points/{FIT_PATH}/bitstreams"] if workflow.storage_settings.default_storage_provider else []
)
FIT_STEPS = ("train_model", "encode_points", "evaluate_points")
# With other columns, or another meaning of them, every bitstream is measured again.
POINTS_FORMAT = [SCHEMA_VERSION, *(column.name for column in POINT_COLUMNS)]


def literal(path):
    """Quote a path for a command that Snakemake formats."""
    return shlex.quote(str(path)).replace("{", "{{").replace("}", "}}")


# Jobs run the package of this clone, in the Python of their environment or image where they have one. Otherwise they run
# it in the Python that runs snakemake, activated or not, with the packages that are installed for it.
OWN_PYTHON = workflow.deployment_settings.deployment_method & {DeploymentMethod.CONDA, DeploymentMethod.APPTAINER}
HEMGS = "python -m hemgs" if OWN_PYTHON else f"{literal(sys.executable)} -m hemgs"

# Waiting threads sleep instead of spinning: several jobs, or torch and numba in one, share the cores.
# NUMBA_NUM_THREADS follows `threads` of the job, as Snakemake does for OpenMP by itself.
shell.prefix(
    "set -euo pipefail; "
    "export OMP_WAIT_POLICY=passive NUMBA_NUM_THREADS=$OMP_NUM_THREADS; "
    f"export PYTHONPATH={literal(Path(workflow.basedir).parent)}${{{{PYTHONPATH:+:$PYTHONPATH}}}}; "
    + ("" if OWN_PYTHON else f'export PATH="$PATH":{literal(Path(sys.executable).parent)}; ')
)


def relative(path):
    """Return a path relative to the folder of the run, so that a moved or copied project is not made again."""
    path = Path(path)
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def typed(value):
    """Return the value of --config with its numbers, since Snakemake passes nested values as text."""
    if isinstance(value, dict):
        return {key: typed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [typed(item) for item in value]
    try:
        found = parse_yaml(value, "--config") if isinstance(value, str) else value
    except HemgsError:
        return value
    return value if isinstance(found, dict | list) else found


def read_benchmark():
    """Return the benchmark of the configuration; a fault in it gives one clear message."""
    try:
        benchmark = load_benchmark(
            SETTINGS, [relative(path) for path in workflow.configfiles], relative(workflow.basedir) / "config"
        )
        check_entries(benchmark)
        if not workflow.storage_settings.default_storage_provider:  # results and their inputs are elsewhere
            scenes = [scene for found in benchmark.scenes.values() for scene in found]
            check_captures(scenes, Path("results/data/archives"), Path("results/data/scenes"))
    except HemgsError as fault:
        raise WorkflowError(str(fault)) from None
    return benchmark


SETTINGS = copy.deepcopy(dict(config))
update_config(SETTINGS, typed(dict(workflow.config_settings.config)))
BENCHMARK = read_benchmark()
FITS = {plan.path: plan for plan in fits(BENCHMARK)}
# What a training starts from. A base that is selected itself is trained once, for its own points as well.
BASES = {path: base for path, plan in FITS.items() if (base := base_fit(BENCHMARK, plan))}
TRAININGS = {base.path: base for base in BASES.values()} | FITS
METHODS = {**BENCHMARK.bases, **BENCHMARK.methods}
SCENES = {(dataset, scene.id): scene for dataset, scenes in BENCHMARK.scenes.items() for scene in scenes}
ARCHIVES = {place: [archive.name for archive in scene.archives] for place, scene in SCENES.items()}
# Entropy models are compared on one model of a scene.
REFIT_FIT = {"method": REFIT_METHOD, "fit": "all", "seed": BENCHMARK.seeds[0]}
PUBLISHED = relative(workflow.basedir) / "published"


def any_of(names):
    """Return a pattern that matches only these names."""
    return "|".join(re.escape(name) for name in sorted(set(names)))


wildcard_constraints:
    method=any_of(METHODS),
    dataset=any_of(BENCHMARK.scenes),
    scene="[a-z][a-z0-9_]*",  # a pattern with thousands of names would be matched for every file
    fit=any_of(plan.fit for plan in TRAININGS.values()),
    seed=r"\d+",
    archive=any_of(name for names in ARCHIVES.values() for name in names),


def fit_of(wildcards):
    return TRAININGS[FIT_PATH.format(**wildcards)]


def dataset_file(wildcards):
    return str(BENCHMARK.datasets[wildcards.dataset].file)


def fetch_records(wildcards):
    """Return files which show that the archives of a scene are present or not needed."""
    if (wildcards.dataset, wildcards.scene) not in ARCHIVES:
        raise WorkflowError(f"{wildcards.dataset}/{wildcards.scene} is not a scene of this benchmark: see run.scenes")
    return [f"results/data/fetched/{name}.json" for name in ARCHIVES[wildcards.dataset, wildcards.scene]]


def scene_settings(wildcards):
    """Return the settings that decide the prepared scene; if they change, the scene is prepared again."""
    return json.dumps(SCENES[wildcards.dataset, wildcards.scene].settings, sort_keys=True)


def method_entry(wildcards):
    return METHODS[wildcards.method].entry


def base_files(wildcards):
    """Return the model that a method of kind post starts from; if it is made again, the method is trained again."""
    base = BASES.get(FIT_PATH.format(**wildcards))
    return [f"results/models/{base.path}/{name}" for name in ("model.safetensors", "train.json")] if base else []


def base_option(files):
    """Return the options of `hemgs train` for a base."""
    return f" --base {folder_of(files, '')}" if files else ""


def fit_options(wildcards):
    """Return the options of `hemgs train` for a variant, and for a model that serves one rate only."""
    method = METHODS[wildcards.method]
    variant = f" --variant {method.variant}" if method.variant else ""
    rate = f" --rate {wildcards.fit}" if method.kind != "all_rates" else ""
    return variant + rate


def fit_settings(wildcards):
    """Return settings over the method's defaults; if they change, the method is trained again."""
    return json.dumps(fit_of(wildcards).params)


def fit_rates_list(wildcards):
    """Return rate ids; a further one causes encoding and evaluation, but no training."""
    return ",".join(rate.id for rate in fit_of(wildcards).rates)


def log_of(step, path):
    return f"results/logs/{step}/{path}.log"


def is_made(file):
    """Return whether a file counts: all files count, except for those that a failed run did not finish.

    Snakemake planned the jobs that did not run. Existing files in their place have other settings, another scene or
    another model than the configuration.
    """
    left = BENCHMARK.partial
    return left is None or (Path(file).is_file() and file not in left.unfinished)


# After a failure, finished results are published; otherwise all results are requested.
FINISHED = dict.fromkeys(path for path in FITS if is_made(f"results/points/{path}/points.csv"))


def finished_files(name):
    return [f"results/points/{path}/{name}" for path in FINISHED]


def showcase_folders():
    """Pictures that the visual comparisons show."""
    return [
        folder
        for dataset, scene in BENCHMARK.visual
        for folders in showcases_of(dataset, scene).values()
        for folder in folders
    ]


def refit_files():
    """Tables of entropy models that the table `refit` is made of; after a failure those that exist."""
    if "refit" not in BENCHMARK.tables:
        return []
    paths = [REFIT_TABLE.format(dataset=dataset, scene=scene) for dataset, scene in SCENES]
    return [path for path in paths if is_made(path)]


def summary_files():
    """All that tables, figures and page read of the summary."""
    return [f"results/summary/{name}.csv" for name in SUMMARY_FILES]


def folder_of(files, otherwise):
    """Where files lie, which is not below results/ where those are kept in a storage of their own."""
    return str(Path(files[0]).parent) if files else otherwise


def reported(path, caption, category, **labels):
    """A file that the Snakemake report shows."""
    # Snakemake looks for wildcards in labels, and knows no escape: an invisible character (word joiner) ends the search.
    texts = {key: value.replace("{", "{\u2060") for key, value in labels.items()}
    return report(path, caption=f"../report/{caption}.rst", category=category, labels=texts)


def table_caption(table):
    """The caption of a table in the report: a text for this table, or one for all tables."""
    own = f"table_{table}"
    return own if (Path(workflow.basedir) / f"report/{own}.rst").is_file() else "table"


def table_files():
    return [
        reported(f"results/tables/{table}.{form}", table_caption(table), "Tables", table=table, format=form)
        for table in BENCHMARK.tables
        for form in TABLE_FORMATS
    ]


def figure_items():
    """Stem, caption and label of every figure."""
    shown = [("figure_rd", f"rate and distortion, {BENCHMARK.datasets[dataset].label}") for dataset in BENCHMARK.scenes]
    shown += [("figure_variable_rate", "one model at every rate")] if BENCHMARK.variable_rate else []
    shown += [("figure_visual", f"views, {SCENES[place].label}") for place in BENCHMARK.visual]
    stems = figure_stems(BENCHMARK.scenes, bool(BENCHMARK.variable_rate), BENCHMARK.visual)
    return [(stem, *item) for stem, item in zip(stems, shown, strict=True)]


def figure_files():
    return [
        reported(f"results/figures/{stem}.{form}", caption, "Figures", figure=label, format=form)
        for stem, caption, label in figure_items()
        for form in FIGURE_FORMATS
    ]


def published_files():
    """All that a complete run leaves for a reader."""
    return [
        "results/page/index.html",
        "results/summary/points.csv",
        *(f"results/tables/{table}.{form}" for table in BENCHMARK.tables for form in TABLE_FORMATS),
        *(f"results/figures/{stem}.{form}" for stem, _, _ in figure_items() for form in FIGURE_FORMATS),
    ]

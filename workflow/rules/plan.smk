# The two files that the analysis reads: which results are expected, and how they look.

from hashlib import sha256

PLAN_VERSION = 1


def plan():
    """Return the expected results: every fit of the benchmark, with the paths of its files and logs."""
    return {
        "schema_version": PLAN_VERSION,
        "title": BENCHMARK.title,
        "methods": [
            {
                "id": method.id,
                "base": method.base,
                "variant": method.variant,
                "label": method.label,
                "kind": method.kind,
                "rates": [rate.id for rate in method.rates],
            }
            for method in BENCHMARK.methods.values()
        ],
        "datasets": dataset_list(),
        "fits": [
            {
                "method": BENCHMARK.methods[fit.method].base,
                "variant": BENCHMARK.methods[fit.method].variant,
                "dataset": fit.dataset,
                "scene": fit.scene,
                "fit": fit.fit,
                "seed": fit.seed,
                "rates": [rate.id for rate in fit.rates],
                "finished": path in FINISHED,
                "points": f"results/points/{path}/points.csv",
                "views": f"results/points/{path}/views.csv",
                "logs": failed_logs(
                    {
                        **scene_logs(fit.dataset, fit.scene),
                        **({"train_base": log_of("train_model", BASES[path].path)} if path in BASES else {}),
                        **{step: log_of(step, path) for step in FIT_STEPS},
                    }
                ),
            }
            for path, fit in FITS.items()
        ],
        "refit": [refit_plan(*place) for place in SCENES] if "refit" in BENCHMARK.tables else [],
    }


def refit_plan(dataset, scene):
    """Return the expected comparison of entropy models on a scene."""
    path = FIT_PATH.format(**REFIT_FIT, dataset=dataset, scene=scene)
    table = REFIT_TABLE.format(dataset=dataset, scene=scene)
    return {
        **REFIT_FIT,
        "dataset": dataset,
        "scene": scene,
        "rates": [],
        "finished": is_made(table),
        "points": table,
        "logs": failed_logs(
            {
                **scene_logs(dataset, scene),
                "train_model": log_of("train_model", path),
                "refit_model": log_of("refit_model", f"{dataset}/{scene}"),
            }
        ),
    }


def scene_logs(dataset, scene):
    """Return the logs of a scene, and of its archive if it has one."""
    fetching = {"fetch_archive": log_of("fetch_archive", name) for name in ARCHIVES[dataset, scene]}
    return {**fetching, "prepare_scene": log_of("prepare_scene", f"{dataset}/{scene}")}


def failed_logs(logs):
    """Return logs that can explain a missing result: after a failure, only those of the failed jobs."""
    left = BENCHMARK.partial
    return {step: log for step, log in logs.items() if left is None or log in left.failed}


def style():
    """How results are shown: order, names, colours, and which tables and figures."""
    return {
        "schema_version": PLAN_VERSION,
        "title": BENCHMARK.title,
        "methods": [
            {
                "id": method.id,
                "base": method.base,
                "variant": method.variant,
                "label": method.label,
                "kind": method.kind,
                "color": method.color,
                "marker": method.marker,
            }
            for method in BENCHMARK.methods.values()
        ],
        "datasets": dataset_list(),
        "tables": list(BENCHMARK.tables),
        "variable_rate": list(BENCHMARK.variable_rate),
        "visual": [
            {
                "dataset": dataset,
                "scene": scene,
                "showcases": showcases_of(dataset, scene),
            }
            for dataset, scene in BENCHMARK.visual
        ],
    }


def showcases_of(dataset, scene):
    """Folders of decoded views of a scene, by method id."""
    folders = {}
    for path in FINISHED:
        if (FITS[path].dataset, FITS[path].scene) == (dataset, scene):
            folders.setdefault(FITS[path].method, []).append(f"results/points/{path}/showcase")
    return folders


def dataset_list():
    return [
        {
            "id": dataset,
            "label": BENCHMARK.datasets[dataset].label,
            "scenes": [{"id": scene.id, "label": scene.label} for scene in scenes],
        }
        for dataset, scenes in BENCHMARK.scenes.items()
    ]


def wanted_file(name, data):
    """Write what results/summary/NAME.json must contain, and return the path of that file, for the rule that copies it.

    Its name is that of its contents, so that runs of different configurations do not disturb each other. It is written
    again, and is then newer than the copy, where the copy is of another configuration: results that were copied from
    elsewhere without the notes of Snakemake are published again. Only the process that plans the jobs writes it.
    """
    text = json.dumps(data, indent=1, sort_keys=True) + "\n"
    wanted = Path(f".snakemake/hemgs/{name}-{sha256(text.encode()).hexdigest()[:16]}.json")
    published = Path(f"results/summary/{name}.json")
    is_outdated = published.is_file() and published.read_bytes() != text.encode()
    if workflow.is_main_process and (is_outdated or not wanted.is_file()):
        write_text(wanted, text)
    return local(str(wanted))

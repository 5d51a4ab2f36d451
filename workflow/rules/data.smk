# From archives to prepared scenes: split and resize are applied once, here, for every method.


def archive_request(name):
    """Files of the data sets that share an archive, and the scenes selected from it.

    Where it was fetched for these and more, what was asked for then: a selection of scenes does not ask again, and runs
    for different ones can go on side by side.
    """
    places = [place for place, names in ARCHIVES.items() if name in names]
    datasets = dict.fromkeys(str(BENCHMARK.datasets[dataset].file) for dataset, _ in places)
    request = {"datasets": list(datasets), "scenes": ["/".join(place) for place in places]}
    record = Path(f"results/data/fetched/{name}.json")
    known = json.loads(record.read_text()) if record.is_file() else {}
    covered = all(set(values) <= set(known.get(key, ())) for key, values in request.items())
    return known if covered else request


# Looked up once: the record is gone while it is made anew.
REQUESTS = {
    name: archive_request(name) for name in dict.fromkeys(name for names in ARCHIVES.values() for name in names)
}


def archive_datasets(wildcards):
    return " ".join(f"--dataset {shlex.quote(file)}" for file in REQUESTS[wildcards.archive]["datasets"])


def archive_scenes(wildcards):
    return ",".join(REQUESTS[wildcards.archive]["scenes"])


# The one job that needs the network; it runs where snakemake does, since nodes of a cluster often have none. Where all
# scenes asked for are in place (source.local), nothing is downloaded.
rule fetch_archive:
    output:
        record="results/data/fetched/{archive}.json",
    log:
        "results/logs/fetch_archive/{archive}.log",
    benchmark:
        "results/benchmarks/fetch_archive/{archive}.tsv"
    conda:
        "../../environment.yml"
    params:
        datasets=archive_datasets,
        scenes=archive_scenes,
    message:
        "fetch {wildcards.archive} for {params.scenes};"
        " to watch: tail -f results/data/fetched/{wildcards.archive}.jsonl"
    shell:
        "{HEMGS} fetch {params.datasets} --archive {wildcards.archive} --scenes {params.scenes}"
        " --out {output.record} > {log} 2>&1"


rule prepare_scene:
    input:
        # Its age does not count: an archive asked for more scenes is looked at again, and holds the same files.
        fetched=ancient(fetch_records),
    output:
        scene="results/data/scenes/{dataset}/{scene}/scene.json",
        points="results/data/scenes/{dataset}/{scene}/points.npz",
        images=directory("results/data/scenes/{dataset}/{scene}/images"),
    log:
        "results/logs/prepare_scene/{dataset}/{scene}.log",
    benchmark:
        "results/benchmarks/prepare_scene/{dataset}/{scene}.tsv"
    conda:
        "../../environment.yml"
    params:
        dataset=dataset_file,
        settings=scene_settings,
        folder=subpath(output.scene, parent=True),
    message:
        "prepare the scene {wildcards.dataset}/{wildcards.scene}"
    shell:
        "{HEMGS} prepare --dataset {params.dataset:q} --scene {wildcards.scene}" " --out {params.folder} > {log} 2>&1"

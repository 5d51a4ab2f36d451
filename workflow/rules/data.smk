# From archives to prepared scenes: split and resize are applied once, here, for every method.


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
        # All of these datasets, not only those in this archive, because the disk must have room for all of them.
        scenes=archive_scenes,
    message:
        "fetch {wildcards.archive}; to watch: tail -f results/data/fetched/{wildcards.archive}.jsonl"
    shell:
        f"{HEMGS} fetch"
        " {params.datasets} --archive {wildcards.archive} --scenes {params.scenes}"
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
        f"{HEMGS} prepare"
        " --dataset {params.dataset:q} --scene {wildcards.scene}"
        " --out {params.folder} > {log} 2>&1"

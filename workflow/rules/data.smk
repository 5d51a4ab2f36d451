# From captures to prepared scenes: split and resize are applied once, here, for every method.


rule prepare_scene:
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
        "hemgs prepare --dataset {params.dataset:q} --scene {wildcards.scene}" " --out {params.folder} > {log} 2>&1"

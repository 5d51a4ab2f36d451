# From prepared scenes to trained models, and from those to the models of methods that start from one. The folder work/ of
# a model contains its checkpoints, and events.jsonl its progress. They are not declared, so that a job that fails or is
# killed leaves them behind, and the next attempt continues from there.


rule train_model:
    input:
        scene="results/data/scenes/{dataset}/{scene}/scene.json",
        base=base_files,
    output:
        model="results/models/{method}/{dataset}/{scene}/{fit}/s{seed}/model.safetensors",
        record="results/models/{method}/{dataset}/{scene}/{fit}/s{seed}/train.json",
    log:
        "results/logs/train_model/{method}/{dataset}/{scene}/{fit}/s{seed}.log",
    benchmark:
        "results/benchmarks/train_model/{method}/{dataset}/{scene}/{fit}/s{seed}.tsv"
    conda:
        "../../environment.yml"
    params:
        entry=method_entry,
        options=fit_options,
        base=lambda wildcards, input: base_option(input.base),
        settings=fit_settings,
        scene=subpath(input.scene, parent=True),
        folder=subpath(output.model, parent=True),
    message:
        "train {wildcards.method} on {wildcards.dataset}/{wildcards.scene}"
        " (fit {wildcards.fit}, seed {wildcards.seed}); to watch: tail -f {params.folder}/events.jsonl"
    shell:
        f"{HEMGS} train"
        " {params.scene} --method {params.entry}{params.options}{params.base} --seed {wildcards.seed} --overwrite"
        " --params-json {params.settings:q} --out {params.folder} > {log} 2>&1"

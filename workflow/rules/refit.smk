# Entropy models compared on the symbols of one trained model: what each network saves at equal pictures. Part of a
# complete run where publish.tables names `lossless`; otherwise ask for a scene by its name:
# `snakemake --profile profiles/... results/summary/lossless/DATASET/SCENE.csv`.


COMPARED = FIT_PATH.format(**LOSSLESS_FIT, dataset="{dataset}", scene="{scene}")


rule measure_lossless:
    input:
        model=f"results/models/{COMPARED}/model.safetensors",
        record=f"results/models/{COMPARED}/train.json",
    output:
        table=LOSSLESS_TABLE,
    log:
        "results/logs/measure_lossless/{dataset}/{scene}.log",
    benchmark:
        "results/benchmarks/measure_lossless/{dataset}/{scene}.tsv"
    conda:
        "../../environment.yml"
    params:
        model=subpath(input.model, parent=True),
        seed=LOSSLESS_FIT["seed"],
    message:
        "compare entropy models on {wildcards.dataset}/{wildcards.scene}"
    shell:
        f"{HEMGS} refit" " {params.model} --seed {params.seed} --out {output.table} > {log} 2>&1"

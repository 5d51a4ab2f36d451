# Comparison of entropy models on the symbols of one trained model, which shows the savings of each network. A complete
# run includes it if publish.tables names `refit`. Otherwise request a scene by its name:
# `snakemake --profile profiles/... results/summary/refit/DATASET/SCENE.csv`.


COMPARED = FIT_PATH.format(**REFIT_FIT, dataset="{dataset}", scene="{scene}")


rule refit_model:
    input:
        model=f"results/models/{COMPARED}/model.safetensors",
        record=f"results/models/{COMPARED}/train.json",
    output:
        table=REFIT_TABLE,
    log:
        "results/logs/refit_model/{dataset}/{scene}.log",
    benchmark:
        "results/benchmarks/refit_model/{dataset}/{scene}.tsv"
    conda:
        "../../environment.yml"
    params:
        model=subpath(input.model, parent=True),
        seed=REFIT_FIT["seed"],
    message:
        "compare entropy models on {wildcards.dataset}/{wildcards.scene}"
    shell:
        f"{HEMGS} refit" " {params.model} --seed {params.seed} --out {output.table} > {log} 2>&1"

# From trained models to measured points. One job writes the bitstreams of every rate of a model, and one job decodes
# and measures them. The latter sees bitstreams and scene only: it has no access to the model.
#
# Snakemake removes the declared outputs of a job before it runs and after it has failed. Bitstreams are therefore not
# declared: `hemgs encode` adds to those that are there. Only where results are in a storage of their own must they be.


rule encode_points:
    input:
        model="results/models/{method}/{dataset}/{scene}/{fit}/s{seed}/model.safetensors",
        record="results/models/{method}/{dataset}/{scene}/{fit}/s{seed}/train.json",
    output:
        [directory(folder) for folder in STORED_BITSTREAMS],
        record="results/points/{method}/{dataset}/{scene}/{fit}/s{seed}/encode.json",
    log:
        "results/logs/encode_points/{method}/{dataset}/{scene}/{fit}/s{seed}.log",
    benchmark:
        "results/benchmarks/encode_points/{method}/{dataset}/{scene}/{fit}/s{seed}.tsv"
    conda:
        "../../environment.yml"
    params:
        rates=fit_rates_list,
        model=subpath(input.model, parent=True),
        folder=subpath(output.record, parent=True),
    message:
        "encode {wildcards.method} on {wildcards.dataset}/{wildcards.scene}"
        " (fit {wildcards.fit}, seed {wildcards.seed})"
    shell:
        f"{HEMGS} encode" " {params.model} --rates {params.rates} --overwrite --out {params.folder} > {log} 2>&1"


rule evaluate_points:
    input:
        STORED_BITSTREAMS,
        scene="results/data/scenes/{dataset}/{scene}/scene.json",
        record="results/points/{method}/{dataset}/{scene}/{fit}/s{seed}/encode.json",
    output:
        points="results/points/{method}/{dataset}/{scene}/{fit}/s{seed}/points.csv",
        views="results/points/{method}/{dataset}/{scene}/{fit}/s{seed}/views.csv",
        showcase=directory("results/points/{method}/{dataset}/{scene}/{fit}/s{seed}/showcase"),
    log:
        "results/logs/evaluate_points/{method}/{dataset}/{scene}/{fit}/s{seed}.log",
    benchmark:
        "results/benchmarks/evaluate_points/{method}/{dataset}/{scene}/{fit}/s{seed}.tsv"
    conda:
        "../../environment.yml"
    params:
        scene=subpath(input.scene, parent=True),
        folder=subpath(output.points, parent=True),
        columns=POINTS_FORMAT,
    message:
        "decode and measure {wildcards.method} on {wildcards.dataset}/{wildcards.scene}"
        " (fit {wildcards.fit}, seed {wildcards.seed})"
    shell:
        # A broken bitstream costs its own rate, not the others: it becomes a row that says so, and is named here.
        f"{HEMGS} evaluate"
        " {params.folder} --scene {params.scene} --out {params.folder} --keep-going > {log} 2>&1"
        " && (grep ': failed: ' {log} >&2 || true)"

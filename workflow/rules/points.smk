# From trained models to measured points. One job writes the bitstreams of every rate of a model, and one job decodes
# and measures them. The latter sees bitstreams and scene only: it has no access to the model.
#
# Bitstreams are updated: a job that adds rates, fails or is killed leaves those that are there.


rule encode_points:
    input:
        model="results/models/{method}/{dataset}/{scene}/{fit}/s{seed}/model.safetensors",
        record="results/models/{method}/{dataset}/{scene}/{fit}/s{seed}/train.json",
    output:
        record=update("results/points/{method}/{dataset}/{scene}/{fit}/s{seed}/encode.json"),
        bitstreams=update(directory("results/points/{method}/{dataset}/{scene}/{fit}/s{seed}/bitstreams")),
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
        scene="results/data/scenes/{dataset}/{scene}/scene.json",
        record="results/points/{method}/{dataset}/{scene}/{fit}/s{seed}/encode.json",
        bitstreams="results/points/{method}/{dataset}/{scene}/{fit}/s{seed}/bitstreams",
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
        rates=fit_rates_list,
        columns=POINTS_FORMAT,
    message:
        "decode and measure {wildcards.method} on {wildcards.dataset}/{wildcards.scene}"
        " (fit {wildcards.fit}, seed {wildcards.seed})"
    shell:
        # A broken bitstream costs its own rate, not the others: it becomes a row that says so, and is named here.
        f"{HEMGS} evaluate"
        " {params.folder} --rates {params.rates} --scene {params.scene} --out {params.folder} --keep-going > {log} 2>&1"
        " && (grep ': failed: ' {log} >&2 || true)"

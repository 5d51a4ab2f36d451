# From measured points to one table of all of them, with means, holes and verdicts. The rules from here on need no
# torch.


rule write_plan:
    input:
        wanted=wanted_file("plan", plan()),
    output:
        plan="results/summary/plan.json",
    log:
        "results/logs/write_plan.log",
    message:
        "write the list of expected points"
    shell:
        "cp {input.wanted:q} {output.plan:q} 2> {log:q}"


rule summarise_points:
    input:
        plan="results/summary/plan.json",
        points=finished_files("points.csv"),
        views=finished_files("views.csv"),
        published=local(f"{PUBLISHED}/values.csv"),
        protocols=local(f"{PUBLISHED}/protocols.yaml"),
    output:
        summary_files(),
        points="results/summary/points.csv",
        typed="results/summary/points.parquet",
        environment="results/summary/environment.json",
    log:
        "results/logs/summarise_points.log",
    benchmark:
        "results/benchmarks/summarise_points.tsv"
    conda:
        "../envs/analysis.yaml"
    params:
        folder=subpath(output.points, parent=True),
        values=subpath(input.published, parent=True),
    message:
        "summarise {input.plan}"
    shell:
        f"{HEMGS} summarise" " --plan {input.plan} --published {params.values} --out {params.folder} > {log} 2>&1"

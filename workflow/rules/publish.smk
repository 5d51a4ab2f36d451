# From the summary to tables, figures and the page. A changed colour, label or choice of figures reruns these rules
# only.


rule write_style:
    input:
        wanted=wanted_file("style", style()),
    output:
        style="results/summary/style.json",
    log:
        "results/logs/write_style.log",
    message:
        "write names, colours and order of the tables"
    shell:
        "cp {input.wanted:q} {output.style:q} 2> {log:q}"


rule make_tables:
    input:
        style="results/summary/style.json",
        points="results/summary/points.csv",
        summary=summary_files(),
        refit=refit_files(),
    output:
        table_files(),
    log:
        "results/logs/make_tables.log",
    benchmark:
        "results/benchmarks/make_tables.tsv"
    conda:
        "../envs/analysis.yaml"
    params:
        summary=subpath(input.points, parent=True),
        folder=subpath(output[0], parent=True),
    message:
        "make the tables"
    shell:
        f"{HEMGS} tables" " --summary {params.summary} --style {input.style} --out {params.folder} > {log} 2>&1"


rule make_figures:
    input:
        style="results/summary/style.json",
        points="results/summary/points.csv",
        summary=summary_files(),
        showcases=showcase_folders(),
    output:
        figure_files(),
    log:
        "results/logs/make_figures.log",
    benchmark:
        "results/benchmarks/make_figures.tsv"
    conda:
        "../envs/analysis.yaml"
    params:
        summary=subpath(input.points, parent=True),
        folder=subpath(output[0], parent=True),
    message:
        "draw the figures"
    shell:
        f"{HEMGS} figures" " --summary {params.summary} --style {input.style} --out {params.folder} > {log} 2>&1"


rule make_page:
    input:
        style="results/summary/style.json",
        points="results/summary/points.csv",
        summary=summary_files(),
        environment="results/summary/environment.json",
        refit=refit_files(),
        tables=expand("results/tables/{table}.csv", table=BENCHMARK.tables),
        figures=expand("results/figures/{stem}.svg", stem=[stem for stem, _, _ in figure_items()]),
        showcases=showcase_folders(),
    output:
        page=report(
            "results/page/index.html",
            caption="../report/page.rst",
            category="Page",
            labels={"page": "tables, plots and views"},
        ),
    log:
        "results/logs/make_page.log",
    benchmark:
        "results/benchmarks/make_page.tsv"
    conda:
        "../envs/analysis.yaml"
    params:
        summary=subpath(input.points, parent=True),
        tables=lambda wildcards, input: folder_of(input.tables, "results/tables"),
        figures=lambda wildcards, input: folder_of(input.figures, "results/figures"),
        folder=subpath(output.page, parent=True),
    message:
        "make the page"
    shell:
        f"{HEMGS} page"
        " --summary {params.summary} --style {input.style} --tables {params.tables}"
        " --figures {params.figures} --out {params.folder} > {log} 2>&1"

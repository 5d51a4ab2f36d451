"""A run of all steps from training to the page, with the first ``hemgs`` on the path.

This is a program: ``extended_run.py OUT ENTRY`` trains the toy method ENTRY in the folder OUT, and also runs there.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from hemgs.analysis.publish import make_figures, make_page, make_tables
from hemgs.analysis.summary import summarise
from hemgs.bench.conformance import make_tiny_scene
from hemgs.bench.encoding import run_encode
from hemgs.bench.evaluation import EvaluateRequest, run_evaluate
from hemgs.bench.rates import rate_of
from hemgs.bench.training import TrainRequest, run_train
from hemgs.config.benchmark import load_benchmark
from hemgs.core.catalogue import TABLES

REPOSITORY = Path(__file__).resolve().parents[3]
CPU = torch.device("cpu")


def main(out: Path, entry: str) -> None:
    """Trains, encodes, measures and publishes below ``out``."""
    scene = make_tiny_scene(out / "scene")
    run_train(TrainRequest(scene, entry, out / "model"), CPU)
    rates = [rate_of(lmbda) for lmbda in (0.001, 0.002)]
    run_encode(out / "model", out / "points", rates, CPU)
    (row, *_) = run_evaluate(EvaluateRequest(out / "points", scene, out / "points"), CPU).points
    run = {"methods": "gs3d", "datasets": "procedural"}
    asked = {"title": "Extended", "run": run, "publish": {"tables": list(TABLES)}}
    benchmark = load_benchmark(asked, [], REPOSITORY / "workflow" / "config")
    method = {"id": row["method"], "base": row["method"], "label": row["label"], "kind": "all_rates"}
    shown = {
        "schema_version": 1,
        "title": benchmark.title,
        "datasets": [{"id": row["dataset"], "label": "Tiny", "scenes": [{"id": row["scene"], "label": "Tiny"}]}],
    }
    fit: dict[str, object] = {name: row[name] for name in ("method", "dataset", "scene", "fit", "seed")}
    fit |= {"rates": [rate.id for rate in rates], "points": str(out / "points/points.csv")}
    plan = shown | {"methods": [method | {"rates": fit["rates"]}], "fits": [fit]}
    style = shown | {"methods": [method], "tables": benchmark.tables, "visual": [], "variable_rate": []}
    for name, data in (("plan", plan), ("style", style)):
        (out / f"{name}.json").write_text(json.dumps(data))
    summarise(out / "plan.json", REPOSITORY / "workflow" / "published", out / "summary")
    make_tables(out / "summary", out / "style.json", out / "tables")
    make_figures(out / "summary", out / "style.json", out / "figures")
    make_page(out / "summary", out / "style.json", out / "tables", out / "figures", out / "page")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])

"""Entropy models fitted to the symbols of one trained model: their savings at equal pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean

from hemgs.analysis.plan import DatasetNames, Style
from hemgs.analysis.summary import Summary
from hemgs.analysis.tables.cells import Cell, number, signed, text
from hemgs.analysis.tables.table import Heading, Table, TableSpec
from hemgs.core.catalogue import MODEL_SECTIONS, SECTIONS
from hemgs.core.records import Row

#: Labels of the entropy models of ``hemgs refit``.
MODEL_LABELS: Mapping[str, str] = {
    "trained": "as trained",
    "base": "hash grid only",
    "sa": "with scene-agnostic network",
    "ar": "with autoregressive networks",
    "both": "with both",
}
#: Model that the others are compared with.
BASE_MODEL = "base"


def build(summary: Summary, style: Style) -> Table:
    """Return the entropy models of each scene in the style, and their means."""
    rows = summary.refit
    headings = (
        Heading("Dataset", numeric=False),
        Heading("Scene", numeric=False),
        Heading("Entropy model", numeric=False),
        Heading("Steps"),
        Heading("Size [B]", better="lower"),
        Heading("Change [%]", better="lower"),
        *(Heading(SECTIONS[name].label, "Bits per anchor", "lower") for name in MODEL_SECTIONS),
        Heading("all", "Bits per anchor", "lower"),
        Heading("attributes in float", "Bits per anchor", "lower"),
    )
    lines: list[tuple[Cell, ...]] = []
    shown: list[Row] = []
    missing: list[str] = []
    for dataset in style.datasets:
        scenes = {scene.label: _scene_rows(rows, dataset.id, scene.id) for scene in dataset.scenes}
        shown += (row for own in scenes.values() for row in own)
        missing += (f"{dataset.label}, {label}" for label, own in scenes.items() if not own)
        for label, own in scenes.items():
            lines += ((text(dataset.label), text(label), *cells) for cells in _models(own))
        lines += ((text(dataset.label), text("mean"), *cells) for cells in _models(_scene_means(dataset, scenes)))
    lmbdas = ", ".join(sorted({f"{row['lmbda']:.4f}" for row in shown}))
    seeds = ", ".join(sorted({str(row["seed"]) for row in shown}))
    notes = [
        f"Symbols of one trained model per scene (seed {seeds}), quantised at λ = {lmbdas}: pictures are equal, so "
        "sizes alone compare. Real streams; locations, masks and rendering networks are the same and left out.",
        f"Change: against {MODEL_LABELS[BASE_MODEL]}. As trained: the entropy model that the symbols were trained "
        "with; the others are fitted to the finished symbols. Mean: bytes and anchors are averaged, then divided.",
        "In float: features, scalings and offsets by the same networks in floating point and an ideal coder.",
    ]
    if missing:
        notes.append(f"Not measured: {'; '.join(missing)}.")
    if not lines:
        notes = ["No rows: no entropy models were compared on the scenes of this run."]
    return Table(headings, lines, notes)


def _scene_rows(rows: Sequence[Row], dataset: str, scene: str) -> list[Row]:
    return [row for row in rows if (row["dataset"], row["scene"]) == (dataset, scene)]


def _scene_means(dataset: DatasetNames, scenes: Mapping[str, Sequence[Row]]) -> list[Row]:
    """Return means over scenes for every model that was fitted on all scenes; no means for a single scene."""
    if len(dataset.scenes) < 2:
        return []
    by_model: dict[str, list[Row]] = {}
    for own in scenes.values():
        for row in own:
            by_model.setdefault(str(row["variant"]), []).append(row)
    names = ("bytes_total", "num_anchors", *(f"bytes_{name}" for name in (*MODEL_SECTIONS, "float")))
    return [
        {"variant": model, "iterations": own[0]["iterations"] if len({row["iterations"] for row in own}) == 1 else None}
        | {name: fmean(float(row[name] or 0) for row in own) for name in names}
        for model, own in by_model.items()
        if len(own) == len(dataset.scenes)
    ]


def _models(rows: Sequence[Row]) -> Iterator[tuple[Cell, ...]]:
    """Yield the cells of each model's line, after dataset and scene."""
    base = next((row["bytes_total"] for row in rows if row["variant"] == BASE_MODEL), None)
    for row in rows:
        model, num_anchors = str(row["variant"]), float(row["num_anchors"] or 0)
        per_anchor = [row[f"bytes_{name}"] for name in (*MODEL_SECTIONS, "total", "float")]
        change = 100 * (float(row["bytes_total"] or 0) / float(base) - 1) if base else None
        yield (
            text(MODEL_LABELS.get(model, model)),
            number(row["iterations"], 0, "" if row["iterations"] is not None else "differs between scenes"),
            number(row["bytes_total"], 0),
            signed(change, 2, "" if base else f"{MODEL_LABELS[BASE_MODEL]} was not fitted"),
            *(number(value, 2, scale=8 / num_anchors) for value in per_anchor),
        )


TABLE = TableSpec("refit", "Entropy models on the symbols of one trained model", build)

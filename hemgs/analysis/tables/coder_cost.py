"""What coding costs, from the summary: ideal against actual bits by section, and entropy models on the same symbols.

Owns what stands in these tables. Does not own the estimates (the methods') or the fits (``codec.refit_training``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean

from hemgs.analysis.plan import DatasetNames, Style
from hemgs.analysis.tables.rates import by_key, lines_of, row_label
from hemgs.analysis.tables.table import Entry, Heading, Sheet, number, signed, text
from hemgs.core.catalogue import MODEL_SECTIONS, SECTIONS, section_of
from hemgs.core.records import Row, section_id

#: Entropy models of ``hemgs refit`` in print.
MODEL_LABELS: Mapping[str, str] = {
    "trained": "as trained",
    "base": "hash grid only",
    "sa": "with scene-agnostic network",
    "ar": "with autoregressive networks",
    "both": "with both",
}
#: Model that the others are compared with.
BASE_MODEL = "base"


def coder_cost_sheet(rows: Sequence[Row], style: Style) -> Sheet:
    """Ideal against actual bits of every entropy-coded section, at the ends of the rates.

    Args:
        rows: of ``storage.csv``.
        style: labels and order.
    """
    headings = (
        Heading("Data set", numeric=False),
        Heading("Method", numeric=False),
        Heading("Section", numeric=False),
        Heading("Ideal [bit]"),
        Heading("Actual [bit]"),
        Heading("Difference [bit]"),
        Heading("Difference [%]"),
    )
    found = by_key(rows)
    lines: list[tuple[Entry, ...]] = []
    without: dict[str, None] = {}
    for dataset in style.datasets:
        for method, rate, ends in lines_of(rows, style):
            row = found.get((method, dataset.id, rate))
            if row is None:
                continue
            if not row["hole"] and row["estimated_bits"] is None:
                without[style.label_of(method)] = None
                continue
            name = (text(dataset.label), text(row_label(style, method, rate, ends)))
            lines += ((*name, text(section), *cells) for section, cells in _costs(row))
    notes = [
        "Ideal: code length under the model that coded the section. Actual: length of the section in the file. "
        "Means over the scenes of a data set; only entropy-coded sections whose ideal length is known.",
        "Actual below ideal: the estimate floors small probabilities, and the coder escapes them at less.",
    ]
    if without:
        notes.append(f"No ideal length is known of any section: {', '.join(without)}.")
    if not lines:
        notes = ["No rows: no method of this run says the ideal length of its sections."]
    caption = "What the coder costs: ideal and actual bits of entropy-coded sections"
    return Sheet("coder_cost", caption, headings, tuple(lines), tuple(notes))


def _costs(row: Row) -> Iterator[tuple[str, tuple[Entry, ...]]]:
    """Section in print and its cells, all sections together last."""
    hole = str(row["hole"])
    own = [name for name in map(section_id, row) if name and row.get(f"estimated_bits_{name}") is not None]
    for name in dict.fromkeys(own):
        yield section_of(name).label, _cost(row[f"estimated_bits_{name}"], 8 * float(row[f"bytes_{name}"] or 0), hole)
    remark = hole or ("" if own else "the points do not hold the ideal length of each section")
    ideal, actual, *changes = _cost(row["estimated_bits"], row["coded_bits"], hole)
    yield "All coded", (Entry(ideal.text, ideal.value, remark), actual, *changes)


def _cost(ideal: object, actual: object, hole: str) -> tuple[Entry, ...]:
    extra = actual - ideal if isinstance(ideal, int | float) and isinstance(actual, int | float) else None
    share = 100 * extra / ideal if extra is not None and isinstance(ideal, int | float) and ideal else None
    return number(ideal, 0, hole), number(actual, 0, hole), signed(extra, 0, hole), signed(share, 3, hole)


def refit_sheet(rows: Sequence[Row], style: Style) -> Sheet:
    """Entropy models fitted to the symbols of one trained model each: what they save at equal pictures.

    Args:
        rows: of the tables in ``summary/refit``; those of other scenes than the style's are left out.
        style: labels and order.
    """
    headings = (
        Heading("Data set", numeric=False),
        Heading("Scene", numeric=False),
        Heading("Entropy model", numeric=False),
        Heading("Steps"),
        Heading("Size [B]", better="lower"),
        Heading("Change [%]", better="lower"),
        *(Heading(SECTIONS[name].label, "Bits per anchor", "lower") for name in MODEL_SECTIONS),
        Heading("all", "Bits per anchor", "lower"),
        Heading("attributes in float", "Bits per anchor", "lower"),
    )
    lines: list[tuple[Entry, ...]] = []
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
    caption = "Entropy models on the symbols of one trained model"
    return Sheet("refit", caption, headings, tuple(lines), tuple(notes))


def _scene_rows(rows: Sequence[Row], dataset: str, scene: str) -> list[Row]:
    return [row for row in rows if (row["dataset"], row["scene"]) == (dataset, scene)]


def _scene_means(dataset: DatasetNames, scenes: Mapping[str, Sequence[Row]]) -> list[Row]:
    """Means over the scenes of every model that was fitted on all of them; nothing for a single scene."""
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


def _models(rows: Sequence[Row]) -> Iterator[tuple[Entry, ...]]:
    """Cells of each model's line, after data set and scene."""
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

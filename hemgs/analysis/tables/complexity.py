"""Table 6 of HEMGS (arXiv 2411.18473): the cost of all rates of a scene."""

from __future__ import annotations

from hemgs.analysis.plan import Style
from hemgs.analysis.summary import Summary
from hemgs.analysis.tables.cells import number, significant, size_mib, text
from hemgs.analysis.tables.table import Heading, Table, TableSpec


def build(summary: Summary, style: Style) -> Table:
    """Return the cost of all rates of a scene."""
    headings = (
        Heading("Dataset", numeric=False),
        Heading("Method", numeric=False),
        Heading("Iterations"),
        Heading("Rates"),
        Heading("Models"),
        Heading("one model", "Training [min]"),
        Heading("all rates", "Training [min]"),
        Heading("one model", "Networks [MiB]"),
        Heading("all rates", "Networks [MiB]"),
        Heading("encode", "Time [s]"),
        Heading("decode", "Time [s]"),
        Heading("FPS"),
        Heading("Peak [MiB]"),
    )
    order = {dataset.id: rank for rank, dataset in enumerate(style.datasets)}
    lines = sorted(
        (row for row in summary.complexity if row["dataset"] in order),
        key=lambda row: (order[str(row["dataset"])], style.order_of(str(row["method"]))),
    )
    rows = []
    for row in lines:
        hole = str(row["hole"])
        rows.append(
            (
                text(style.dataset(str(row["dataset"])).label),
                text(style.label_of(str(row["method"]))),
                number(row["iterations"], 0, "" if row["iterations"] else "differs between models"),
                number(row["num_rates"], 0),
                number(row["num_models"], 0),
                significant(row["train_s"], 3, hole, 1 / 60),
                significant(row["train_all_rates_s"], 3, hole, 1 / 60),
                size_mib(row["networks_bytes"], hole),
                size_mib(row["networks_all_rates_bytes"], hole),
                significant(row["encode_s"], 3, hole),
                significant(row["decode_s"], 3, hole),
                significant(row["fps"], 3, hole),
                number(row["train_peak_mib"], 0, hole),
            )
        )
    hardware = sorted({str(row["hardware"]) for row in lines if row["hardware"]})
    notes = [f"Wall time per scene, measured on {'; '.join(hardware)}."] if hardware else []
    notes.append("A model that serves every rate is trained and stored once; others once per rate.")
    post = [method.label for method in style.methods if method.kind == "post"]
    if post:
        notes.append(f"Iterations and training times of {', '.join(post)} include the model that training starts from.")
    notes.append("FPS: decoded views rendered per second. Peak: largest memory of a training.")
    return Table(headings, rows, notes)


TABLE = TableSpec("complexity", "Cost of all rates of a scene", build)

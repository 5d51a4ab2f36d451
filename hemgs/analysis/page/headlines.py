"""The most important values, at the top of the page."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from hemgs.analysis.bdrate import REFERENCE
from hemgs.analysis.plan import Style
from hemgs.analysis.summary import Summary
from hemgs.analysis.tables.cells import number, size_mib
from hemgs.analysis.tables.rates import end_rates
from hemgs.core.records import Row


def headlines(summary: Summary, style: Style) -> list[dict[str, object]]:
    """Return the most important values of each dataset, from complete means only."""
    groups: list[dict[str, object]] = []
    ends = end_rates(summary.datasets).get(REFERENCE, ())
    for dataset in style.datasets:
        rows = {
            (str(row["method"]), str(row["rate"])): row
            for row in summary.datasets
            if row["dataset"] == dataset.id and not row["hole"]
        }
        own = [row for (method, _), row in rows.items() if method == REFERENCE]
        if not own or any((REFERENCE, rate) not in rows for rate in ends):
            continue
        small, large = rows[REFERENCE, ends[0]], rows[REFERENCE, ends[-1]]
        label = style.label_of(REFERENCE)
        cards = [
            {"value": _span(size_mib, small, large, "bytes_total", " MiB"), "text": f"{len(own)} rates of {label}"},
            {
                "value": _span(lambda v: number(v, 2), small, large, "psnr", " dB"),
                "text": f"PSNR of {label} over these rates",
            },
        ]
        for (method, _), row in sorted(rows.items(), key=lambda item: style.order_of(item[0][0])):
            if method != REFERENCE and _num_rates(rows, method) == 1:
                cards.append(_against(row, large, style.label_of(method), label))
        groups.append({"title": dataset.label, "cards": cards})
    return groups


def _against(row: Row, large: Row, label: str, reference: str) -> dict[str, str]:
    """Return the ratio of sizes against the reference's largest file, and the change of PSNR."""
    factor = float(row["bytes_total"] or 0.0) / float(large["bytes_total"] or 1.0)
    psnrs = float(large["psnr"] or 0.0), float(row["psnr"] or 0.0)
    quality = f"PSNR {psnrs[0] - psnrs[1]:+.2f} dB" if all(map(math.isfinite, psnrs)) else "PSNR infinite"
    words = f"{factor:.3g}× smaller" if factor >= 1 else f"{1 / factor:.3g}× larger"
    budget = ""
    if row["iterations"] != large["iterations"]:
        ours, theirs = (f"{n:,}" if n else "differing numbers of" for n in (large["iterations"], row["iterations"]))
        budget = f"; trained {ours} against {theirs} iterations"
    return {"value": words, "text": f"{reference} at its highest rate against {label}, {quality}{budget}"}


def _span(form: Any, small: Row, large: Row, name: str, unit: str) -> str:
    return f"{form(small[name]).text}–{form(large[name]).text}{unit}"


def _num_rates(rows: Iterable[tuple[str, str]], method: str) -> int:
    return sum(key[0] == method for key in rows)

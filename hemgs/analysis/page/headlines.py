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

#: A baseline was trained soundly if its PSNR is at most this far below that of the compressed method, dB. The largest
#: gain over 3DGS that the paper of HEMGS prints is 0.98 dB (arXiv 2411.18473v2, Deep Blending).
MAX_DEFICIT_DB = 1.0
#: It was also trained soundly if it had this many iterations: from there on, its schedule is that of its paper.
MIN_ITERATIONS = 2_000


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
    """Return the ratio of sizes against the reference's largest file, and the change of PSNR.

    The card of a baseline that was not trained soundly has no ratio, and states the reason.
    """
    if not _is_sound(row, large):
        deficit = f"{float(large['psnr'] or 0.0) - float(row['psnr'] or 0.0):.2f} dB below {reference}"
        budget = f"{row['iterations']:,} iterations" if row["iterations"] else "differing numbers of iterations"
        return {"value": "not compared", "text": f"{label} is {deficit} after {budget}: train both longer"}
    factor = float(row["bytes_total"] or 0.0) / float(large["bytes_total"] or 1.0)
    psnrs = float(large["psnr"] or 0.0), float(row["psnr"] or 0.0)
    quality = f"PSNR {psnrs[0] - psnrs[1]:+.2f} dB" if all(map(math.isfinite, psnrs)) else "PSNR infinite"
    words = f"{factor:.3g}× smaller" if factor >= 1 else f"{1 / factor:.3g}× larger"
    budget = ""
    if row["iterations"] != large["iterations"]:
        ours, theirs = (f"{n:,}" if n else "differing numbers of" for n in (large["iterations"], row["iterations"]))
        budget = f"; trained {ours} against {theirs} iterations"
    return {"value": words, "text": f"{reference} at its highest rate against {label}, {quality}{budget}"}


def _is_sound(row: Row, large: Row) -> bool:
    """Return whether a baseline was trained soundly; see :data:`MAX_DEFICIT_DB` and :data:`MIN_ITERATIONS`."""
    enough = int(row["iterations"] or 0) >= MIN_ITERATIONS
    return enough or float(row["psnr"] or 0.0) >= float(large["psnr"] or 0.0) - MAX_DEFICIT_DB


def _span(form: Any, small: Row, large: Row, name: str, unit: str) -> str:
    return f"{form(small[name]).text}–{form(large[name]).text}{unit}"


def _num_rates(rows: Iterable[tuple[str, str]], method: str) -> int:
    return sum(key[0] == method for key in rows)

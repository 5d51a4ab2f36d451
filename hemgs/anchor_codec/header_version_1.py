"""Conversion of the settings section of version 1 to that of version 2.

Version 1 stored λ in the settings section. HEMGS stored it there a second time, in the form that its integer networks
take. That number follows from λ, so it is not read. Owns only the differences between the two versions.
"""

from __future__ import annotations

import math
from typing import Any

from hemgs.core.bounded import check_positive
from hemgs.core.types import LmbdaInterval, TradeOff

#: λ that every HEMGS model of version 1 serves (arXiv 2411.18473, section 4.2).
HEMGS_INTERVAL = LmbdaInterval(1e-3, 4e-3)


def upgrade(raw: dict[str, Any]) -> TradeOff:
    """Remove the fields that version 2 stores elsewhere from ``raw``, the parsed section; return them.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: ``raw`` is not a settings section.
    """
    check_positive("lmbda", raw["lmbda"])
    lmbda = float(raw.pop("lmbda"))
    if "rate" not in raw:
        return TradeOff(lmbda)
    del raw["rate"]
    # The first files are older than the window of neighbours.
    raw["entropy"].setdefault("window", {})
    nearest = min(max(lmbda, HEMGS_INTERVAL.low), HEMGS_INTERVAL.high)
    # Encoders accepted λ that differed from an end of the interval by rounding.
    return TradeOff(nearest if math.isclose(lmbda, nearest) else lmbda, HEMGS_INTERVAL)

"""A synthetic results tree, summarised once for tests that only read it."""

from __future__ import annotations

import pytest

from hemgs.analysis.summary import summarise
from tests.unit.analysis.synthetic_results import PUBLISHED, Results


@pytest.fixture(scope="session")
def complete(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """A tree with every planned point, and with pictures."""
    results = Results(tmp_path_factory.mktemp("complete")).write(pictures=True)
    summarise(results.plan, PUBLISHED, results.summary)
    return results


@pytest.fixture(scope="session")
def with_hole(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """A tree where one of two scenes has no Scaffold-GS, and one rate of HAC failed on it."""
    results = Results(tmp_path_factory.mktemp("with_hole"))
    results.write(
        lambda row: (
            None
            if (row["method"], row["scene"]) == ("scaffold_gs", "tower")
            else {**row, "status": "failed", "reason": "the file is cut <b>"}
            if (row["method"], row["scene"], row["rate"]) == ("hac", "tower", "lmbda_0.0005")
            else row
        )
    )
    log = results.root / "logs" / "train_model" / "scaffold_gs-court-tower-single-s0.log"
    log.parent.mkdir(parents=True)
    log.write_text("step 10\nerror: first\nerror: loss is not finite at step 20 — lower the learning rate\nbye\n")
    summarise(results.plan, PUBLISHED, results.summary)
    return results

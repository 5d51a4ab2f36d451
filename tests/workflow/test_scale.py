"""A dry run grows in proportion to its scenes; the table of ``tests.speed.dag`` goes on to 2,100 of them."""

from __future__ import annotations

import pytest

from tests.speed.dag import measure

#: Ten times the scenes may take this many times as much; 10.0 to 10.5 were found, and 12.8 with a list of all scenes in
#: every pattern.
MAX_GROWTH = 11.5


@pytest.mark.slow
def test_a_dry_run_grows_near_linearly_with_the_scenes() -> None:
    """Processor time and memory, without those of the start."""
    none, some, many = (measure(number) for number in (1, 90, 900))
    assert (some.jobs, many.jobs) == (90 * 40 + 8, 900 * 40 + 8)
    assert many.processor_s - none.processor_s < MAX_GROWTH * (some.processor_s - none.processor_s)
    assert many.peak_mib - none.peak_mib < MAX_GROWTH * (some.peak_mib - none.peak_mib)

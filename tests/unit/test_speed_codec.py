"""The split of encoding and decoding by stage keeps working, and its stages are the codec's."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.speed.codec import STAGES, WHOLE, measure

BOTH = {*STAGES} - {"estimate of bits", "frozen network"}


def test_every_stage_is_timed_where_it_belongs(tmp_path: Path) -> None:
    file = tmp_path / "anchors.gsc"
    encoded, decoded = (measure(600, "", file, 1, torch.device("cpu"), decode=decode) for decode in (False, True))
    assert set(encoded["seconds"]) == {*BOTH, "estimate of bits", "other", WHOLE}
    assert set(decoded["seconds"]) == {*BOTH, "other", WHOLE}
    for found in (encoded, decoded):
        stages = {name: seconds for name, seconds in found["seconds"].items() if name != WHOLE}
        assert all(seconds > 0 for seconds in stages.values())
        assert sum(stages.values()) == pytest.approx(found["seconds"][WHOLE])
        assert found["peak_mib"] > 0
    assert encoded["figures"]["num_wavefronts"] > 1

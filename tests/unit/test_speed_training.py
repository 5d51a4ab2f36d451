"""The split of a training step by stage keeps working, and its stages are the trainer's."""

from __future__ import annotations

from tests.speed.training import STAGES, STEP, measure


def test_every_stage_is_timed_in_the_phases_it_belongs_to() -> None:
    found = measure(width=32, height=24, num_points=100, steps=4)
    assert list(found) == ["plain", "noise", "entropy"]
    for stages in found.values():
        assert set(stages) == {*STAGES, STEP}
        assert all(seconds > 0 for seconds in stages.values())
        parts = sum(stages[stage] for stage in STAGES)
        assert 0.5 * stages[STEP] < parts <= 1.001 * stages[STEP], "the stages make up the step"
    assert found["entropy"]["sample and price"] > 2 * found["plain"]["sample and price"]

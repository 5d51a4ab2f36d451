"""The split of a training step by stage keeps working, and its stages are the trainer's."""

from __future__ import annotations

import time

from tests.speed.stages import StageTimer
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


def test_stage_timer_adds_within_and_averages_the_faster_half() -> None:
    timer = StageTimer()
    with timer.repetition(), timer.stage("whole"):
        time.sleep(0.2)
    timer.clear()
    for pause_s in (0.3, 0.0, 0.04, 0.3):
        with timer.repetition(), timer.stage("whole"):
            for _ in range(2):
                with timer.stage("part"):
                    time.sleep(pause_s / 2)
    typical = timer.typical("whole")
    assert list(typical) == ["part", "whole"]
    assert 0.02 <= typical["part"] <= typical["whole"] < 0.1
    with timer.repetition(), timer.stage("rare"):
        pass
    assert timer.typical("whole")["rare"] < 0.01

"""Clocks and memory marks."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from hemgs.core.timing import Stopwatch, process_peak_mib, reset_process_peak

_BLOCK_MIB = 300


def test_stopwatch_measures_its_block_and_stops() -> None:
    with Stopwatch() as watch:
        time.sleep(0.05)
        inside_s = watch.seconds
    after_s = watch.seconds
    time.sleep(0.02)
    assert 0.05 <= inside_s <= after_s
    assert watch.seconds == after_s


def test_stopwatch_waits_for_the_device_before_both_readings() -> None:
    calls: list[float] = []

    def synchronize() -> None:
        time.sleep(0.02)
        calls.append(time.perf_counter())

    with Stopwatch(synchronize) as watch:
        pass
    assert len(calls) == 2
    assert 0.02 <= watch.seconds < 0.04, "the wait before the first reading must not count, the one after must"


def test_peak_rises_with_use_and_falls_after_a_reset() -> None:
    block = bytearray(_BLOCK_MIB << 20)
    high_mib = process_peak_mib()
    assert high_mib > _BLOCK_MIB
    del block
    if not reset_process_peak():
        pytest.skip("this system keeps its high-water mark")
    assert process_peak_mib() < high_mib - _BLOCK_MIB / 2


@pytest.mark.skipif(sys.platform != "linux", reason="VmHWM is Linux's")
def test_child_of_a_large_process_does_not_inherit_its_peak() -> None:
    block = bytearray(_BLOCK_MIB << 20)
    code = "from hemgs.core.timing import process_peak_mib; print(process_peak_mib())"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    del block
    assert float(result.stdout) < _BLOCK_MIB / 2

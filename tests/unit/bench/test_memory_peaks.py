"""Peaks of memory are those of the measured work, not of earlier work of the process."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hemgs.bench.decoding import run_decode
from hemgs.bench.encoding import run_encode
from hemgs.bench.rates import rate_of
from hemgs.bench.runs import bitstream_path
from hemgs.bench.training import TrainRequest, run_train
from hemgs.core.timing import process_peak_mib, reset_process_peak
from tests.unit.bench.conftest import CPU, TOY

BEFORE_MIB = 400


def trained(folder: Path, scene: Path, model: Path) -> float:
    return run_train(TrainRequest(scene, f"{TOY}ToyAll", folder / "model"), CPU).train_peak_mib


def encoded(folder: Path, scene: Path, model: Path) -> float:
    shutil.rmtree(folder / "points", ignore_errors=True)  # A rate that is there already would not be encoded again.
    (rate,) = run_encode(model, folder / "points", [rate_of(0.002)], CPU).rates.values()
    return rate.encode_peak_mib


def decoded(folder: Path, scene: Path, model: Path) -> float:
    path = bitstream_path(folder / "points", "lmbda_0.0020")
    return run_decode(path, CPU, f"{TOY}ToyAll")[1].decode_peak_mib


@pytest.mark.parametrize("work", [trained, encoded, decoded])
def test_what_was_freed_before_is_no_part_of_a_peak(
    work: Callable[[Path, Path, Path], float], scene_dir: Path, toy_model: Path, tmp_path: Path
) -> None:
    if not reset_process_peak():
        pytest.skip("this system cannot reset a process's peak")
    encoded(tmp_path, scene_dir, toy_model)  # Imports and compilation are not part of it, either.
    without = process_peak_mib()
    np.ones(BEFORE_MIB << 20, np.uint8).sum()
    assert process_peak_mib() > without + BEFORE_MIB / 2
    assert work(tmp_path, scene_dir, toy_model) < without + BEFORE_MIB / 2

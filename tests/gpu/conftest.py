"""Tests that need a CUDA device; they skip, with the reason, where there is none."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

# The cases are those that the CPU backend is tested with.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "unit" / "render"))


@pytest.fixture(autouse=True)
def cuda_device() -> None:
    if not torch.cuda.is_available():
        pytest.skip("torch sees no CUDA device")

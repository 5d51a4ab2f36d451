"""Tests that need a CUDA device; they skip, with the reason, where there is none."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture(autouse=True)
def cuda_device() -> None:
    if not torch.cuda.is_available():
        pytest.skip("torch sees no CUDA device")

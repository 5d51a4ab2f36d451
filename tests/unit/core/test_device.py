"""Choosing and seeding a device."""

from __future__ import annotations

import random
import subprocess
import sys

import numpy as np
import pytest
import torch

from hemgs.core.device import choose_device, seed_everything
from hemgs.core.errors import ConfigError, DeviceError


def test_cpu_is_always_there() -> None:
    assert choose_device("cpu") == torch.device("cpu")


def test_auto_takes_the_gpu_where_there_is_one() -> None:
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_job_with_gpus_does_not_run_on_the_processor_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    """This is the case of torch that was installed on a login node without a GPU."""
    monkeypatch.setenv("SLURM_GPUS_ON_NODE", "1")
    with pytest.raises(DeviceError, match="SLURM_GPUS_ON_NODE=1.* CUDA build of torch, or set HEMGS_DEVICE=cpu"):
        choose_device("auto")
    assert choose_device("cpu") == torch.device("cpu")
    monkeypatch.setenv("HEMGS_DEVICE", "cpu")
    assert choose_device("auto") == torch.device("cpu")
    monkeypatch.setenv("HEMGS_DEVICE", "gpu")
    with pytest.raises(ConfigError, match="'gpu' is not a device"):
        choose_device("auto")


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "cuda:", "cuda:-1", "", "cpu:0"])
def test_other_names_are_errors_that_name_the_choices(name: str) -> None:
    with pytest.raises(ConfigError, match="auto, cpu, cuda"):
        choose_device(name)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_absent_gpu_is_an_error_with_a_fix() -> None:
    with pytest.raises(DeviceError, match="--device cpu"):
        choose_device("cuda")


def test_seed_covers_all_generators() -> None:
    def draw() -> tuple[float, float, float]:
        return random.random(), float(np.random.rand()), float(torch.rand(()))

    seed_everything(7)
    first = draw()
    seed_everything(7)
    assert draw() == first
    seed_everything(8)
    assert all(a != b for a, b in zip(first, draw(), strict=True))


@pytest.mark.parametrize("seed", [-1, 1 << 32])
def test_seed_out_of_range(seed: int) -> None:
    with pytest.raises(ConfigError, match="seed"):
        seed_everything(seed)


def test_peak_memory_covers_what_torch_allocates() -> None:
    # In a separate process: after other tests, the peak may be theirs.
    program = (
        "import torch; from hemgs.core.device import peak_memory_mib, reset_peak_memory\n"
        "device = torch.device('cpu'); reset_peak_memory(device); before = peak_memory_mib(device)\n"
        "tensor = torch.ones(200 << 18)\n"
        "print(peak_memory_mib(device) - before)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert float(done.stdout) > 150

"""The device of a run: its choice, its seeds, its synchronisation and its memory.

Owns everything that differs between CPU and CUDA outside the renderer. Does not time anything (``core.timing``).
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from hemgs.core.errors import ConfigError, DeviceError
from hemgs.core.timing import BYTES_PER_MIB, process_peak_mib, reset_process_peak

#: What ``--device`` accepts.
DEVICE_CHOICES = "auto, cpu, cuda, cuda:N"
#: Environment variable that names the device of ``auto``.
DEVICE_VARIABLE = "HEMGS_DEVICE"
#: Variables in which Slurm lists a job's GPUs (sbatch's manual, *output environment variables*).
_GPUS_OF_JOB = ("SLURM_GPUS_ON_NODE", "SLURM_JOB_GPUS")


def choose_device(name: str = "auto") -> torch.device:
    """Choose the device of this name.

    Args:
        name: ``auto`` (what ``HEMGS_DEVICE`` names, else CUDA if there is a usable GPU, else the CPU), ``cpu``,
            ``cuda`` or ``cuda:N``.

    Raises:
        ConfigError: the name is none of these.
        DeviceError: this machine has no such GPU; or ``auto`` is used in a job that holds GPUs, of which torch sees
            none. Such a job would take hours on a processor while a GPU is idle.
    """
    if name == "auto":
        name = os.environ.get(DEVICE_VARIABLE) or name
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        for variable in _GPUS_OF_JOB:
            if os.environ.get(variable):
                raise DeviceError(
                    f"this job holds GPUs ({variable}={os.environ[variable]}) and torch {torch.__version__} sees none",
                    f"install a CUDA build of torch, or set {DEVICE_VARIABLE}=cpu to compute on the processor",
                )
        return torch.device("cpu")
    kind, _, index = name.partition(":")
    if name != "cpu" and (kind != "cuda" or (":" in name and not index.isdecimal())):
        raise ConfigError(f"device: {name!r} is not a device", f"use one of {DEVICE_CHOICES}")
    if kind == "cuda":
        if not torch.cuda.is_available():
            raise DeviceError(
                f"device {name!r} was asked for but torch {torch.__version__} sees no GPU",
                "use --device cpu, or install a CUDA build of torch and check nvidia-smi",
            )
        if index and int(index) >= torch.cuda.device_count():
            raise DeviceError(
                f"device {name!r} was asked for but there are {torch.cuda.device_count()} GPUs",
                "count GPUs from cuda:0",
            )
    return torch.device(name)


def seed_everything(seed: int) -> None:
    """Seeds the global generators of Python, numpy and torch (all devices).

    Raises:
        ConfigError: ``seed`` is not in 0 .. 2^32 - 1, the range numpy takes.
    """
    if not 0 <= seed < 1 << 32:
        raise ConfigError(f"seed: {seed} is out of range", "give a whole number from 0 to 4294967295")
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def synchronize(device: torch.device) -> None:
    """Wait until the device has done all of its work, so that a clock read afterwards is right."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def reset_peak_memory(device: torch.device) -> None:
    """Start a new measurement of :func:`peak_memory_mib`."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        reset_process_peak()


def peak_memory_mib(device: torch.device) -> float:
    """Peak since :func:`reset_peak_memory`: on CUDA what torch had allocated, on the CPU the process's resident set."""
    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated(device)) / BYTES_PER_MIB
    return process_peak_mib()


@contextmanager
def one_torch_thread() -> Iterator[int]:
    """Limit torch's operations on the CPU to one thread each inside the block; yield the number of threads before.

    This is for work that is divided in another way, or is too small to be divided.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield before
    finally:
        torch.set_num_threads(before)


def device_label(device: torch.device) -> str:
    """Name of the device for tables: the GPU's model, or ``cpu``."""
    return str(torch.cuda.get_device_name(device)) if device.type == "cuda" else "cpu"

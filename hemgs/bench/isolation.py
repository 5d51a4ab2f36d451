"""Decoding in a separate process, which can read only the file and the declared assets.

Owns the child's environment, and the conversion of its failures to errors. Does not own decoding.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from hemgs.bench.decoding import DecodeStats, method_of_bitstream
from hemgs.core.assets import FOLDERS_VARIABLE, asset_folders
from hemgs.core.bundle import load_bundle
from hemgs.core.errors import BitstreamError, DeviceError, HemgsError
from hemgs.protocol import Renderable

#: Default time limit of a decoder, seconds.
DECODE_TIMEOUT_S = 3600.0
#: Environment variables that the child keeps: paths of programs, libraries and caches, and numbers of threads.
KEPT_VARIABLES = ("PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "LD_PRELOAD")
KEPT_PREFIXES = ("LC_", "NUMBA_", "OMP_", "MKL_", "OPENBLAS_", "CUDA_", "NVIDIA_", "TORCH_", "XDG_", "CONDA_", "SLURM_")

_PACKAGE_ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Decoded:
    """The decoded scene of a bitstream, and the cost of decoding."""

    renderable: Renderable
    stats: DecodeStats


@contextmanager
def decode_alone(
    path: Path, device: torch.device, method_name: str | None = None, timeout_s: float = DECODE_TIMEOUT_S
) -> Iterator[Decoded]:
    """Run ``hemgs decode`` on one file in an empty folder and yield its result.

    The child sees neither the caller's working directory nor its memory. It writes the decoded scene to a file, which
    is removed at the end of the block.

    Args:
        path: path of the bitstream.
        device: device on which the child decodes, and on which the result is loaded.
        method_name: id or entry of the method, if it is not installed under the id in the file.
        timeout_s: wall time after which the child is killed.

    Raises:
        BitstreamError: the child failed (its message is repeated), was killed, or took too long.
        DeviceError: the disk is full.
    """
    with tempfile.TemporaryDirectory(prefix="hemgs_decode_") as folder:
        out, stats = Path(folder) / "decoded.safetensors", Path(folder) / "stats.json"
        command = [sys.executable, "-m", "hemgs", "decode", str(path.resolve())]
        command += ["--out", str(out), "--json", str(stats), "--device", str(device)]
        if method_name:
            command += ["--method", method_name]
        try:
            done = subprocess.run(
                command, cwd=folder, env=child_environment(), capture_output=True, text=True, timeout=timeout_s
            )
        except subprocess.TimeoutExpired as fault:
            raise BitstreamError(f"{path}: decoding took more than {timeout_s:.0f} s", "encode it again") from fault
        if done.returncode != 0:
            raise _failure(path, done)
        scene = method_of_bitstream(path, method_name).Decoded.from_bundle(load_bundle(out, device))
        yield Decoded(scene, DecodeStats(**_read_stats(stats)))


def child_environment() -> dict[str, str]:
    """Return the environment of a decoding child: paths, caches and thread counts of the caller, and nothing else.

    Methods from folders on ``PYTHONPATH`` stay importable although the child runs elsewhere.
    """
    kept = {
        name: value for name, value in os.environ.items() if name in KEPT_VARIABLES or name.startswith(KEPT_PREFIXES)
    }
    named = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    folders = [str(_PACKAGE_ROOT), *(str(Path(folder).resolve()) for folder in named if folder)]
    kept["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(folders))
    kept[FOLDERS_VARIABLE] = os.pathsep.join(str(folder.resolve()) for folder in asset_folders())
    return kept


def _failure(path: Path, done: subprocess.CompletedProcess[str]) -> HemgsError:
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    last = lines[-1] if lines else "no message"
    if done.returncode < 0:
        return DeviceError(
            f"{path}: the decoder was killed by signal {-done.returncode} ({last})", "check the memory that is free"
        )
    return BitstreamError(last.removeprefix("error: "))


def _read_stats(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8")))

"""The origin of a result: code, settings and machine.

Owns the identification of code and hardware that is stored with every result. Does not time or measure anything, and
imports torch only when asked for its version.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

#: Seconds after which git or nvidia-smi is stopped; its answer is then left out.
_COMMAND_TIMEOUT_S = 10.0
#: Packages whose versions affect results, in the order in which records list them.
_PACKAGES = ("numpy", "torch", "numba", "scipy", "pillow", "safetensors", "gsplat", "tinycudann", "lpips", "snakemake")


@functools.cache
def code_version() -> str:
    """Return the version of the package, with what identifies its code.

    The version is ``0.1.0+g1a2b3c4`` for a clean checkout, and ends in ``.dirty`` if tracked files differ from it.
    Where git names no commit (an installed package, a copy without ``.git``, a machine without git), it is
    ``0.1.0+src1a2b3c4d5e``: the first digits of :func:`code_fingerprint` of the package alone.
    """
    root = Path(__file__).resolve().parents[2]
    version = _version(root)
    if (root / ".git").exists():
        commit = _output("git", "-C", str(root), "describe", "--always", "--dirty=.dirty", "--exclude=*", "--abbrev=10")
        if commit:
            return f"{version}+g{commit}"
    return f"{version}+src{code_fingerprint()[:10]}"


def code_fingerprint(*packages: str) -> str:
    """SHA-256 over the Python sources of ``hemgs`` and of further packages or modules, such as the method's own.

    Equal fingerprints mean equal code. The state of git and the times of files have no effect.

    Raises:
        ModuleNotFoundError: one of the packages does not exist.
    """
    digest = hashlib.sha256()
    for package in sorted({"hemgs", *packages}):
        for name, file in _sources(package):
            text = file.read_bytes()
            digest.update(len(name).to_bytes(8, "little") + name.encode() + len(text).to_bytes(8, "little") + text)
    return digest.hexdigest()


def config_hash(settings: Mapping[str, Any]) -> str:
    """SHA-256 of settings that can be written as JSON; the order of keys does not matter.

    Raises:
        TypeError, ValueError: a value has no form in JSON (NaN has none).
    """
    text = json.dumps(settings, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


@functools.cache
def hardware() -> str:
    """Describe the machine in one line: processor and cores, memory, and the GPU if there is one."""
    parts = [f"{_cpu_model()} ({num_cores()} cores)"]
    memory_mib = _memory_mib()
    if memory_mib is not None:
        parts.append(f"{memory_mib / 1024:.0f} GiB")
    gpu = gpu_models()
    if gpu:
        parts.append(gpu[0] if len(gpu) == 1 else f"{len(gpu)} x {gpu[0]}")
    return ", ".join(parts)


def num_cores() -> int:
    """Return the number of cores that this process may use. On a cluster, the machine can have more."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@functools.cache
def gpu_models() -> tuple[str, ...]:
    """Return the names of the NVIDIA GPUs that the driver reports; none without a driver."""
    if shutil.which("nvidia-smi") is None:
        return ()
    names = _output("nvidia-smi", "--query-gpu=name", "--format=csv,noheader")
    return tuple(line.strip() for line in names.splitlines() if line.strip())


def versions() -> dict[str, str]:
    """Return versions of Python and of the packages that affect results, without those that are not installed.

    ``system`` is the family of the operating system and the architecture, as in ``Linux x86_64``.
    """
    system = f"{platform.system()} {platform.machine()}"
    found = {"python": platform.python_version(), "system": system, "hemgs": code_version()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def environment() -> dict[str, Any]:
    """Return code, versions and machine as one mapping, for files that accompany results."""
    return {
        "hardware": hardware(),
        "num_cores": num_cores(),
        "gpus": list(gpu_models()),
        "versions": versions(),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
    }


def _version(root: Path) -> str:
    """Return the version that ``pyproject.toml`` of a source tree states, or else that of the installed package."""
    try:
        project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        if project["name"] == "hemgs":
            return str(project["version"])
    except (OSError, ValueError, KeyError):
        pass
    try:
        return importlib.metadata.version("hemgs")
    except importlib.metadata.PackageNotFoundError:
        return "0"


def _sources(package: str) -> list[tuple[str, Path]]:
    """``(name, file)`` of every Python source of a package, or of a module that is one file."""
    spec = importlib.util.find_spec(package)
    if spec is None:
        raise ModuleNotFoundError(f"no package {package}", name=package)
    if spec.submodule_search_locations is None:
        return [(package, Path(spec.origin))] if spec.origin else []
    folders = [Path(folder) for folder in spec.submodule_search_locations]
    return [
        (f"{package}/{file.relative_to(folder).as_posix()}", file)
        for folder in folders
        for file in sorted(folder.rglob("*.py"))
    ]


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    for line in lines:
        if line.startswith("model name"):
            return " ".join(line.partition(":")[2].split())
    return platform.processor() or platform.machine()


def _memory_mib() -> float | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 20)
    except (AttributeError, ValueError, OSError):
        return None


def _output(*command: str) -> str:
    """Return the output of a command, or an empty text if it cannot be run or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_COMMAND_TIMEOUT_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()

"""The verb ``doctor``, which checks the installation and names the fix of each fault.

Owns the checks. Each yields findings about one subject; none raises, prints or changes anything. Does not own the
checked parts.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hemgs.cli.console import say
from hemgs.cli.parser import Parser, explain
from hemgs.core.errors import HemgsError
from hemgs.core.libraries import LIBRARIES, Library, Need
from hemgs.core.timing import BYTES_PER_MIB

Status = Literal["ok", "note", "fail"]
#: Printed form of each status.
MARKS: dict[Status, str] = {"ok": "ok", "note": "note", "fail": "FAIL"}

MIN_PYTHON = (3, 11)
#: The version of gsplat whose interface the renderer follows.
GSPLAT_VERSION = "1.5.3"
#: Oldest Snakemake with ``subpath``, which the workflow uses.
MIN_SNAKEMAKE = (9, 1)
#: The check reports less free space than this: the demonstration writes a few hundred MiB.
MIN_FREE_MIB = 2048.0
_INSTALL = "pip install -c constraints.txt -e ."


def add_doctor(parser: Parser) -> None:
    """Add the options of ``doctor``."""
    explain(
        parser,
        "Check Python, libraries, compiled-code caches, GPU, workflow tools, assets and disk space.\n"
        "The exit code is 1 if a part that everyone needs is missing.",
        "  hemgs doctor",
    )
    parser.set_defaults(run=_doctor)


def _doctor(arguments: argparse.Namespace) -> int:
    findings = examine()
    width = max(len(finding.topic) for finding in findings)
    for finding in findings:
        say(f"{MARKS[finding.status]:<4}  {finding.topic:<{width}}  {finding.text}")
        if finding.fix:
            say(f"{'':<4}  {'':<{width}}  -> {finding.fix}")
    failed = sum(finding.status == "fail" for finding in findings)
    say("everything needed is there" if not failed else f"things to fix: {failed}")
    return 1 if failed else 0


@dataclass(frozen=True)
class Finding:
    """One finding of a check.

    Attributes:
        status: ``ok``; ``note`` if only some uses are affected; ``fail`` if none will work.
        topic: subject of the check.
        text: the finding.
        fix: the fix, empty if none is needed.
    """

    status: Status
    topic: str
    text: str
    fix: str = ""


def examine() -> list[Finding]:
    """Make all checks; the findings are in the order to fix them."""
    checks: tuple[Callable[[], Iterator[Finding]], ...] = (
        check_python,
        check_libraries,
        check_caches,
        check_gpu,
        check_publishing,
        check_snakemake,
        check_methods,
        check_assets,
        check_disk,
    )
    return [finding for check in checks for finding in check()]


def check_python() -> Iterator[Finding]:
    """Check that Python is new enough."""
    found = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] < MIN_PYTHON:
        needed = ".".join(map(str, MIN_PYTHON))
        yield Finding("fail", "python", found, f"install Python {needed} or newer and make the environment again")
    else:
        yield Finding("ok", "python", f"{found} at {sys.executable}")


def check_libraries() -> Iterator[Finding]:
    """Look for the libraries that every use needs."""
    for library in _needed("all"):
        name = library.distribution
        if library.is_installed:
            yield Finding("ok", name, _version(name) or "installed")
        else:
            yield Finding("fail", name, f"not installed; needed for {library.purpose}", _INSTALL)


def check_caches() -> Iterator[Finding]:
    """Check that compiled kernels are kept between runs; otherwise each start takes half a minute."""
    named = os.environ.get("NUMBA_CACHE_DIR")
    folder = Path(named) if named else Path(__file__).resolve().parents[1] / "render"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as fault:
        yield Finding(
            "note",
            "numba cache",
            f"{folder} cannot be written ({fault.strerror}); kernels are compiled again by every process",
            "set NUMBA_CACHE_DIR to a folder that can be written",
        )
        return
    compiled = sum(1 for _ in folder.rglob("*.nbi"))
    state = f"{compiled} kernels compiled" if compiled else "empty: the first run compiles for some seconds"
    yield Finding("ok", "numba cache", f"{folder} ({state})")


def check_gpu() -> Iterator[Finding]:
    """Look for CUDA, the GPU renderer and the GPU hash grid; the CPU needs none of them."""
    if importlib.util.find_spec("torch") is None:
        return
    import torch

    if not torch.cuda.is_available():
        built_for = torch.version.cuda or "the CPU"
        yield Finding("note", "gpu", f"none in use (torch is built for {built_for}); everything runs on the CPU")
        return
    names = ", ".join(torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count()))
    yield Finding("ok", "gpu", f"{names}, CUDA {torch.version.cuda}")
    gsplat = _version("gsplat")
    if gsplat != GSPLAT_VERSION:
        yield Finding(
            "fail", "gsplat", gsplat or "not installed", f"pip install gsplat=={GSPLAT_VERSION}; or use --device cpu"
        )
    else:
        compiler = shutil.which("nvcc")
        text = f"{gsplat}, nvcc at {compiler}" if compiler else f"{gsplat}, no nvcc: it compiles on first use"
        yield Finding("ok" if compiler else "note", "gsplat", text, "" if compiler else "install the CUDA toolkit")
    if importlib.util.find_spec("tinycudann") is None:
        yield Finding("note", "tinycudann", "not installed; the hash grid of this package is used, which is slower")
    else:
        yield Finding("ok", "tinycudann", "installed")


def check_publishing() -> Iterator[Finding]:
    """Look for the libraries of tables, figures and page."""
    missing = [library.distribution for library in _needed("publishing") if not library.is_installed]
    if missing:
        yield Finding("note", "publishing", f"not installed: {', '.join(missing)}", _INSTALL)
    else:
        yield Finding("ok", "publishing", "tables, figures and page can be made")


def check_snakemake() -> Iterator[Finding]:
    """Look for the engine of the workflow."""
    version = _version("snakemake")
    if version is None:
        yield Finding("note", "snakemake", "not installed; verbs work, the workflow does not", _INSTALL)
    elif _numbers(version) < MIN_SNAKEMAKE:
        needed = ".".join(map(str, MIN_SNAKEMAKE))
        yield Finding("note", "snakemake", f"{version} is too old for the workflow", f"install {needed} or newer")
    else:
        yield Finding("ok", "snakemake", version)


def check_methods() -> Iterator[Finding]:
    """Import the methods that installed packages declare; this needs the libraries of :func:`check_libraries`."""
    missing = [library.distribution for library in _needed("all") if not library.is_installed]
    if missing:
        yield Finding("note", "methods", f"not examined, because these are missing: {', '.join(missing)}")
        return
    from hemgs.bench.registry import get_method, list_methods

    try:
        entries = list_methods()
    except HemgsError as fault:
        yield Finding("fail", "methods", fault.message, fault.fix)
        return
    if not entries:
        yield Finding("fail", "methods", "no method is installed", "pip install -e . again")
        return
    broken = 0
    for name in entries:
        try:
            get_method(name)
        except HemgsError as fault:
            broken += 1
            yield Finding("fail", f"method {name}", fault.message, fault.fix)
    if not broken:
        yield Finding("ok", "methods", ", ".join(entries))


def check_assets() -> Iterator[Finding]:
    """Look for weights that metrics and codecs use; without them, a column reads `not available`."""
    from hemgs.core.assets import find_asset, list_assets

    for asset in list_assets().values():
        try:
            path = find_asset(asset.id)
        except HemgsError as fault:
            yield Finding("note", f"asset {asset.id}", f"{fault.message}; used by {asset.used_by}", fault.fix)
        else:
            yield Finding("ok", f"asset {asset.id}", str(path))


def check_disk(folder: Path | None = None) -> Iterator[Finding]:
    """Check the space where results are written."""
    folder = folder or Path.cwd()
    free_mib = shutil.disk_usage(folder).free / BYTES_PER_MIB
    if free_mib < MIN_FREE_MIB:
        yield Finding("note", "disk", f"{free_mib:.0f} MiB free at {folder}", "free some before a long run")
    else:
        yield Finding("ok", "disk", f"{free_mib / 1024:.0f} GiB free at {folder}")


def _needed(need: Need) -> list[Library]:
    return [library for library in LIBRARIES if library.need == need]


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())

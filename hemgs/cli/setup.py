"""Putting a profile where Snakemake looks for it by name.

Owns the user's Snakemake folder and nothing of a profile's content.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from hemgs.core.errors import ConfigError

_SOURCE = Path(__file__).resolve().parents[2] / "profiles"
_CONFIG_FILE = "config.yaml"


def snakemake_folder() -> Path:
    """The folder in which Snakemake looks up ``--profile NAME``, after the working directory."""
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "snakemake"
    configured = os.environ.get("XDG_CONFIG_HOME", "")
    return (Path(configured) if configured else Path.home() / ".config") / "snakemake"


def install_profile(name: str, *, copy: bool = False, force: bool = False, source: Path = _SOURCE) -> list[str]:
    """Links (or copies) ``profiles/<name>`` into the user's Snakemake folder.

    Args:
        name: of the profile.
        copy: write a copy, to be edited, instead of a link that follows this repository.
        force: replace what is there.
        source: folder of profiles.

    Returns:
        Lines that say what was done and what to type next.

    Raises:
        ConfigError: the profile is not in this installation, or something else is in its place.
    """
    profile = source / name
    if not (profile / _CONFIG_FILE).is_file():
        raise ConfigError(f"{profile} is not there", "run from a clone of the repository (pip install -e .)")
    target = snakemake_folder() / name
    if _is_installed(target, profile, copy):
        return [f"{target} is in place already", _next(name)]
    if target.is_symlink() or target.exists():
        if not force:
            raise ConfigError(f"{target} is there already and is not this profile", "use --force to replace it")
        _remove(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    if copy:
        shutil.copytree(profile, target)
        return [f"copied {profile} to {target}", _next(name)]
    target.symlink_to(profile, target_is_directory=True)
    return [f"linked {target} -> {profile}", _next(name)]


def _is_installed(target: Path, profile: Path, copy: bool) -> bool:
    if copy:
        return not target.is_symlink() and _same_files(target, profile)
    return target.is_symlink() and target.resolve() == profile.resolve()


def _same_files(left: Path, right: Path) -> bool:
    def contents(folder: Path) -> dict[str, bytes]:
        return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}

    return left.is_dir() and contents(left) == contents(right)


def _remove(target: Path) -> None:
    if target.is_dir() and not target.is_symlink():
        shutil.rmtree(target)
    else:
        target.unlink()


def _next(name: str) -> str:
    return f"now `snakemake --profile {name}` works in a clone of the repository"

"""The verb ``setup``, which makes a profile available to Snakemake by its name.

Owns the user's Snakemake folder. Does not own the content of profiles.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path

from hemgs.cli.console import say
from hemgs.cli.parser import Parser, explain
from hemgs.core.errors import ConfigError

_SOURCE = Path(__file__).resolve().parents[2] / "profiles"
_CONFIG_FILE = "config.yaml"
#: Profiles that can be installed; folders of profiles/.
PROFILES = ("slurm", "slurm-gres", "local-gpu", "demo")


def add_setup(parser: Parser) -> None:
    """Add the options of ``setup``."""
    explain(
        parser,
        "Link a profile of this repository into the user's Snakemake folder, where `--profile NAME` is looked up.\n"
        "A file or folder of another origin in its place is an error, unless you give --force.",
        "  hemgs setup --profile slurm\n  hemgs setup --profile slurm --copy      a copy to edit, instead of a link",
    )
    parser.add_argument("--profile", required=True, metavar="NAME", help=f"one of {', '.join(PROFILES)}")
    parser.add_argument("--copy", action="store_true", help="copy the profile instead of linking it")
    parser.add_argument("--force", action="store_true", help="replace a file or folder in its place")
    parser.set_defaults(run=_setup)


def _setup(arguments: argparse.Namespace) -> int:
    if arguments.profile not in PROFILES:
        raise ConfigError(f"there is no profile {arguments.profile!r}", f"use one of {', '.join(PROFILES)}")
    for line in install_profile(arguments.profile, copy=arguments.copy, force=arguments.force):
        say(line)
    return 0


def snakemake_folder() -> Path:
    """Return the folder in which Snakemake looks up ``--profile NAME``, after the working directory."""
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "snakemake"
    configured = os.environ.get("XDG_CONFIG_HOME", "")
    return (Path(configured) if configured else Path.home() / ".config") / "snakemake"


def install_profile(name: str, *, copy: bool = False, force: bool = False, source: Path = _SOURCE) -> list[str]:
    """Link (or copy) ``profiles/<name>`` into the user's Snakemake folder.

    Args:
        name: name of the profile.
        copy: write a copy, which can be edited, instead of a link that follows this repository.
        force: replace a file or folder in its place.
        source: folder of profiles.

    Returns:
        Lines that report what was done and name the next command.

    Raises:
        ConfigError: the profile is not in this installation, or another file or folder is in its place.
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

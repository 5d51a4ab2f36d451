"""Folders that appear complete or not at all, and the free space of disks.

Owns the temporary folder, its move into place, the lock on a path, and the removal of what killed processes left. Does
not own what is in the folder.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import socket
from collections.abc import Callable, Iterator, Mapping, Set
from pathlib import Path

from hemgs.core.errors import ConfigError, DeviceError
from hemgs.core.files import take_lock


class Stage:
    """A temporary folder: the caller fills ``path``, then calls ``publish``."""

    def __init__(self, path: Path, target: Path, own_names: Set[str]) -> None:
        self.path = path
        self._target = target
        self._own_names = own_names

    def publish(self) -> None:
        """Move the folder to its place."""
        check_replaceable(self._target, self._own_names)
        if not self._target.exists():
            self.path.rename(self._target)
            return
        old = self.path.with_suffix(".old.tmp")
        self._target.rename(old)
        try:
            self.path.rename(self._target)
        except OSError:
            old.rename(self._target)
            raise
        shutil.rmtree(old)


@contextlib.contextmanager
def staged_folder(target: Path, own_names: Set[str] = frozenset()) -> Iterator[Stage]:
    """Make an empty folder next to ``target``; ``publish`` moves it into place, otherwise it is removed at the end.

    An existing folder is replaced only if it contains nothing but ``own_names``. A mistyped path therefore destroys
    nothing.

    Raises:
        ConfigError: ``target`` is a file, or a folder that contains something else.
        DeviceError: the disk is full.
    """
    target = Path(target).absolute()
    check_replaceable(target, own_names)
    host = socket.gethostname()
    with disk_full_is_an_error(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_orphans(target, host)
        temporary = target.parent / f".{target.name}.{host}.{os.getpid()}.tmp"
        temporary.mkdir()
        try:
            yield Stage(temporary, target, own_names)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def disk_full_is_an_error(target: Path) -> Iterator[None]:
    """Turn a full disk (or quota) met in the block into a DeviceError that names ``target``."""
    try:
        yield
    except OSError as fault:
        if fault.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DeviceError(f"no space left while writing {target}", "free disk space and run again") from fault
        raise


@contextlib.contextmanager
def one_process_at_a_time(target: Path, on_wait: Callable[[], None]) -> Iterator[None]:
    """Run the block in one process at a time for each ``target``; other processes wait.

    The lock is a hidden file next to ``target``, which need not exist.

    Args:
        on_wait: called before waiting for another process.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.with_name(f".{target.name}.lock").open("w") as lock:
        take_lock(lock, on_wait)
        yield


def check_room(needed_bytes: Mapping[Path, int]) -> None:
    """Raise DeviceError unless disks have room for all of these files and folders together.

    Args:
        needed_bytes: how many bytes more each file or folder will take, by its path.
    """
    disks: dict[int, list[Path]] = {}
    for path in needed_bytes:
        disks.setdefault(existing_parent(path).stat().st_dev, []).append(path)
    for paths in disks.values():
        needed = sum(needed_bytes[path] for path in paths)
        folder = existing_parent(paths[0])
        free = shutil.disk_usage(folder).free
        if needed > free:
            others = f" and {len(paths) - 1} more files and folders need" if len(paths) > 1 else " needs"
            raise DeviceError(
                f"{paths[0]}{others} {needed:,} bytes more, and {folder} has {free:,} free",
                "free disk space, or keep archives elsewhere (--archives, or a link in place of that folder)",
            )


def check_can_be_made(folder: Path) -> None:
    """Raise ConfigError if ``folder`` must be created in a folder that cannot be written to."""
    parent = existing_parent(folder)
    if not os.access(parent, os.W_OK | os.X_OK):
        raise ConfigError(
            f"{folder} does not exist, and cannot be unpacked because {parent} cannot be written to",
            "add it by hand, or let source.local (or the environment variable in it) name a folder of your own",
        )


def existing_parent(path: Path) -> Path:
    """Return the nearest folder above a path that exists."""
    folder = path.absolute().parent
    while not folder.exists():
        folder = folder.parent
    return folder


def check_replaceable(path: Path, own_names: Set[str]) -> None:
    """Raise ConfigError unless ``path`` does not exist, or is a folder that contains nothing but ``own_names``."""
    if path.is_dir():
        foreign = sorted({entry.name for entry in path.iterdir()} - own_names)
        if foreign:
            raise ConfigError(
                f"{path} contains {foreign[0]!r}, which is not part of what would be written there",
                "choose another folder, or move that file away",
            )
    elif path.exists():
        raise ConfigError(f"{path} is a file", "choose another folder")


def _remove_orphans(path: Path, host: str) -> None:
    """Remove what killed processes of this host have left next to ``path``."""
    for left in path.parent.glob(f".{path.name}.{host}.*.tmp"):
        owner = left.name.removeprefix(f".{path.name}.{host}.").split(".")[0]
        if owner.isdigit() and not _is_running(int(owner)):
            shutil.rmtree(left, ignore_errors=True)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True

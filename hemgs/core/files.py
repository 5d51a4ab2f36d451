"""Files that are written completely or not at all, and folders in which one process works at a time."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from hemgs.core.errors import ConfigError, DeviceError

_CHUNK_BYTES = 1 << 20
#: In a folder that :func:`sole_worker` has made or taken.
LOCK_FILE = ".lock"
_WRITTEN = ".written.json"


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path next to ``path``; rename it to ``path`` if the block succeeds, remove it if not.

    A symbolic link stays, and the file that it names is written.

    Raises:
        ConfigError: there is something at ``path`` that is no file, or is write-protected.
        DeviceError: the disk is full.
    """
    path = replaceable(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=f".tmp{path.suffix}", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except OSError as fault:
        if fault.errno == errno.ENOSPC:
            raise DeviceError(f"no space left while writing {path}", "free disk space and run again") from fault
        raise
    finally:
        temporary.unlink(missing_ok=True)


def replaceable(path: Path) -> Path:
    """Return where a file may be written: ``path``, or what it links to.

    Renaming replaces folders that are empty, devices, pipes and protected files, without asking. None of them is an
    output that somebody meant.

    Raises:
        ConfigError: there is one of these.
    """
    target = Path(os.path.realpath(path))
    try:
        mode = target.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return target
    if not stat.S_ISREG(mode):
        kinds = {stat.S_IFDIR: "a folder", stat.S_IFLNK: "a link in a circle"}
        kind = kinds.get(stat.S_IFMT(mode), "a device or a pipe")
        raise ConfigError(f"{path} is {kind}, not a file that can be replaced", "name another file")
    if not mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH):
        raise ConfigError(f"{path} is write-protected", "name another file, or `chmod u+w` this one")
    return target


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file atomically.

    Names of files in another code page, and JSON, can contain characters that UTF-8 lacks. These become ``\\udc80``.
    """
    write_bytes(path, text.encode("utf-8", errors="backslashreplace"))


def read_note(path: Path) -> dict[str, Any]:
    """Read a JSON mapping that this program wrote for itself; return an empty one if it is missing or damaged."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def forget_earlier_outputs(folder: Path, written: Iterable[Path]) -> None:
    """Remove what an earlier call wrote into a folder and this one did not; files of anybody else stay.

    The list of files is kept in the folder, under a hidden name.

    Args:
        folder: of outputs that belong together, such as the tables of a benchmark.
        written: the outputs of this call, all directly in it.
    """
    note, names = folder / _WRITTEN, sorted(path.name for path in written)
    for name in read_note(note).get("files", []):
        path = folder / str(name)
        if path.name not in names and path.parent == folder and path.is_file():
            path.unlink()
    write_text(note, json.dumps({"files": names}, indent=1) + "\n")


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of a file."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@dataclass(frozen=True)
class Workplace:
    """The state of a folder when a process has locked it.

    Attributes:
        empty: no process has worked here before, or the work was finished and removed.
        waited: another process was here first.
    """

    empty: bool
    waited: bool


@contextlib.contextmanager
def sole_worker(folder: Path, on_wait: Callable[[], None]) -> Iterator[Workplace]:
    """Make the folder and lock it for the block, after waiting for other processes; the block may remove the folder.

    The lock ends with its process, however that ends; see :func:`take_lock`.

    Args:
        folder: of work in progress.
        on_wait: function that is called once before waiting.
    """
    waited = False
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        empty = not any(folder.iterdir())
        try:
            lock = (folder / LOCK_FILE).open("w")
        except FileNotFoundError:  # removed with the folder since
            continue
        with lock:
            waited = take_lock(lock, (lambda: None) if waited else on_wait) or waited
            # Otherwise it was removed, with the folder, by the process that had it.
            if _is_at(lock.fileno(), folder / LOCK_FILE):
                yield Workplace(empty, waited)
                return


def take_lock(file: IO[str], on_wait: Callable[[], None]) -> bool:
    """Wait for the lock of an open file, and keep it until the file is closed; return at once on systems without locks.

    Args:
        on_wait: function that is called before waiting.

    Returns:
        Whether another process had the lock.
    """
    if _lock(file.fileno(), wait=False):
        return False
    on_wait()
    return _lock(file.fileno(), wait=True)


def _lock(handle: int, *, wait: bool) -> bool:
    """Whether the lock is ours; True also where there are none."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as fault:
        if fault.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
            raise
    return True


def _is_at(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False

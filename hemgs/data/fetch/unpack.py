"""Safe extraction: one folder of a zip or tar file, and nothing that leads out of it.

Owns what is refused (paths that lead out, links, bombs, damage). Does not own where archives come from (``archives``)
or what is inside a capture.
"""

from __future__ import annotations

import contextlib
import errno
import lzma
import posixpath
import re
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from hemgs.core.errors import SceneError
from hemgs.data.capture import name_list
from hemgs.data.disk import check_room, staged_folder

#: Limits of one unpacked scene: bytes, multiple of the archive's length, number of files.
MAX_UNPACKED_BYTES = 64 << 30
MAX_EXPANSION = 200
MAX_FILES = 200_000
#: A smaller archive counts as this long, so that a small archive of text does not exceed the multiple.
_SMALL_ARCHIVE_BYTES = 1 << 20
_CHUNK_BYTES = 1 << 20
#: Deleting alone is not enough: the workflow has the archive's record, and does not fetch it again by itself.
_AGAIN = "delete it and get it again; what was fetched comes by `hemgs fetch --dataset FILE.yaml --archive {name}`"
#: Exceptions that damaged, encrypted or unknown archives raise.
_DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    OverflowError,
    struct.error,
)


def unpack(archive: Path, member_folder: str, target: Path) -> Path:
    """Extract one folder of a zip or tar file as ``target``, which appears complete or not at all.

    Args:
        member_folder: folder inside the archive, ``.`` for all of it.

    Returns:
        ``target``.

    Raises:
        SceneError: the file is no archive, is damaged, lacks that folder, or has members that are not safe to extract.
        DeviceError: the disk is full.
    """
    prefix = posixpath.normpath(member_folder)
    with staged_folder(target) as stage:
        with _damage_is_an_error(archive):
            num_files = _extract(archive, prefix, stage.path)
        if num_files == 0:
            raise SceneError(
                f"archive {archive} has no files in the folder {member_folder!r}; its folders are {_folders(archive)}",
                "set scenes.<id>.path to the scene's folder inside the archive",
            )
        stage.publish()
    return target


def unpacked_bytes(archive: Path, member_folder: str) -> int | None:
    """Return how many bytes one folder of an archive will take; ``None`` for tar files, which have no index.

    Raises:
        SceneError: the archive is damaged, or has members that are not safe to extract.
    """
    with _damage_is_an_error(archive):
        return _claimed_bytes(archive, posixpath.normpath(member_folder))


@contextlib.contextmanager
def _damage_is_an_error(archive: Path) -> Iterator[None]:
    """Turn the exceptions of damaged, encrypted or unknown archives into a SceneError that names ``archive``."""
    try:
        yield
    except _DAMAGE as fault:
        raise SceneError(f"archive {archive} is damaged ({fault})", _AGAIN.format(name=archive.name)) from fault
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as fault:
        raise _unsafe(archive, f"two members of one name ({Path(str(fault.filename)).name})") from fault
    except OSError as fault:
        if fault.errno not in (None, errno.EINVAL):  # gzip, bzip2 and a seek before the start raise these
            raise
        raise SceneError(f"archive {archive} is damaged ({fault})", _AGAIN.format(name=archive.name)) from fault


def _extract(archive: Path, prefix: str, folder: Path) -> int:
    check_room({folder / "unpacked": _claimed_bytes(archive, prefix) or 0})
    budget = min(MAX_UNPACKED_BYTES, MAX_EXPANSION * max(archive.stat().st_size, _SMALL_ARCHIVE_BYTES))
    num_files = 0
    for name, content in _members(archive, prefix):
        num_files += 1
        if num_files > MAX_FILES:
            raise _unsafe(archive, f"more than {MAX_FILES} files")
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with content, path.open("xb") as file:
            while chunk := content.read(_CHUNK_BYTES):
                budget -= len(chunk)
                if budget < 0:
                    raise _unsafe(archive, "members that unpack to an implausible size")
                file.write(chunk)
    return num_files


def _claimed_bytes(archive: Path, prefix: str) -> int | None:
    """Return how many bytes the wanted files claim to take; ``None`` for a tar file, which states no total."""
    if not zipfile.is_zipfile(archive):
        return None
    with zipfile.ZipFile(archive) as file:
        claimed = sum(info.file_size for info in file.infolist() if _wanted(archive, info.filename, prefix) is not None)
    return min(claimed, MAX_UNPACKED_BYTES)


def _members(archive: Path, prefix: str) -> Iterator[tuple[str, IO[bytes]]]:
    """Yield the files under ``prefix``: their names relative to it, and their opened contents."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as file:
            for info in file.infolist():
                name = _wanted(archive, info.filename, prefix)
                if name is None or info.is_dir():
                    continue
                if stat.S_ISLNK(info.external_attr >> 16):
                    raise _unsafe(archive, f"the link {info.filename!r}")
                yield name, file.open(info)
    elif tarfile.is_tarfile(archive):
        with tarfile.open(archive) as tar:
            for member in tar:
                name = _wanted(archive, member.name, prefix)
                if name is None or member.isdir():
                    continue
                content = tar.extractfile(member) if member.isreg() else None
                if content is None:
                    raise _unsafe(archive, f"{member.name!r}, a link or a device")
                yield name, content
            while tar.fileobj is not None and tar.fileobj.read(_CHUNK_BYTES):
                pass  # a checksum at the end of the file covers the members
    else:
        raise SceneError(f"{archive} is neither a zip nor a tar file", _AGAIN.format(name=archive.name))


def _wanted(archive: Path, member: str, prefix: str) -> str | None:
    """Return a member's path relative to ``prefix``, ``None`` if it lies elsewhere in the archive."""
    clean = posixpath.normpath(member.replace("\\", "/"))
    if clean.startswith(("/", "../")) or clean == ".." or "\0" in clean or re.match(r"[A-Za-z]:", clean):
        raise _unsafe(archive, f"the path {member!r}, which leads out of it")
    if prefix == ".":
        return clean
    return clean[len(prefix) + 1 :] if clean.startswith(prefix + "/") else None


def _folders(archive: Path) -> str:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as file:
            names: Iterable[str] = file.namelist()
    else:
        with tarfile.open(archive) as tar:
            names = tar.getnames()
    return name_list(sorted({posixpath.dirname(name.rstrip("/")) or "." for name in names}))


def _unsafe(archive: Path, what: str) -> SceneError:
    return SceneError(
        f"archive {archive} contains {what}; nothing was unpacked", "get the archive from its official source"
    )

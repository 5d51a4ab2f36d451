"""Fetches one file over HTTP: mirrors, resuming, retries, checksum, room on the disk.

Owns the network. Does not own what the file is or where it belongs (``archives``). What arrives is trusted only as far
as its checksum; where none is declared, the one it had when it was first seen here is kept beside it (pinned on first
use), so that a later change is noticed.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from hemgs.core.errors import ConfigError, DeviceError, HemgsError, SceneError
from hemgs.core.events import EventLog
from hemgs.core.files import sha256_of, take_lock, write_text
from hemgs.data.folders import disk_full_is_an_error

_CHUNK_BYTES = 1 << 20
_MIB = 1 << 20
_TIMEOUT_S = 60.0
#: Tries of one address; the pause doubles from the first to the last.
ATTEMPTS = 5
FIRST_PAUSE_S = 1.0
#: Answers that may be different a moment later.
_PASSING_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
_AGENT = "hemgs (benchmark of 3D Gaussian Splatting compression)"


@dataclass(frozen=True)
class RemoteFile:
    """What to fetch.

    Attributes:
        urls: addresses of the same file, tried in order.
        size_bytes: its length, or ``None`` where nobody states it.
        sha256: its checksum in hex, or ``None`` where nobody publishes it.
        by_hand: what to do where no address gives it, as an imperative sentence; ``{target}`` is where it belongs.
        error: what is raised then, and where the file that is there is not the right one.
    """

    urls: Sequence[str]
    size_bytes: int | None = None
    sha256: str | None = None
    by_hand: str = "download it by hand and put it at {target}, or unpack it and set source.local to that folder"
    error: type[HemgsError] = SceneError


class _MirrorError(Exception):
    """This address will not do; the next one may."""


class _PassingError(Exception):
    """This try did not do; the next one may."""


def fetch(remote: RemoteFile, target: Path, events: EventLog, *, pause: Callable[[float], None] = time.sleep) -> None:
    """Makes sure that ``target`` is the remote file, downloading what is missing.

    A partial download (``.<name>.part`` beside it) is continued. Processes that want the same file wait for each other.
    A file that was put there by hand is checked like a fetched one.

    Args:
        pause: called with seconds between tries.

    Raises:
        SceneError: no address gave the file (or what ``remote.error`` says); the message lists what each answered.
        DeviceError: the disk is full, or has less room than the file needs.
    """
    with disk_full_is_an_error(target), _one_process_at_a_time(target, events):
        if target.is_file():
            _check_present(remote, target)
            return
        if remote.size_bytes is not None:
            check_room(target, remote.size_bytes - _part_bytes(target))
        reasons = []
        for url in remote.urls:
            try:
                _fetch_from(url, remote, target, events, pause)
                return
            except _MirrorError as fault:
                reasons.append(f"{url}: {fault}")
                events.write("mirror_failed", url=url, reason=str(fault))
    raise remote.error(
        f"{target.name} could not be fetched ({'; '.join(reasons)})", remote.by_hand.format(target=target)
    )


def fetched_sha256(target: Path) -> str:
    """The checksum that a fetched file was found to have, read from the note beside it.

    Raises:
        SceneError: it was not fetched here.
    """
    found = _read_json(_beside(target, "verified")).get("sha256")
    if not isinstance(found, str) or not target.is_file():
        raise SceneError(f"{target} has not been fetched", "run `hemgs fetch` first")
    return found


def check_room(target: Path, needed_bytes: int) -> None:
    """Raises DeviceError unless the disk that ``target`` is to lie on has room for that many bytes more."""
    folder = target.absolute().parent
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if needed_bytes > free:
        raise DeviceError(
            f"{target} needs {needed_bytes:,} bytes more, and {folder} has {free:,} free",
            "free disk space, or keep archives elsewhere (--archives, or a link in place of that folder)",
        )


def _check_present(remote: RemoteFile, target: Path) -> None:
    """Raises if ``target`` is not the file; a checksum once verified is not computed again."""
    fix = "delete it and run again, or correct the file that declares it"
    size = target.stat().st_size
    if remote.size_bytes is not None and size != remote.size_bytes:
        raise remote.error(f"{target} has {size} bytes instead of {remote.size_bytes}", fix)
    stamp = _read_json(_beside(target, "verified"))
    expected = remote.sha256 or stamp.get("sha256")
    if expected is not None and stamp == _stamp(target, expected):
        return
    found = sha256_of(target)
    if remote.sha256 is None and expected not in (None, found):
        raise remote.error(
            f"{target} has the SHA-256 {found}, and had {expected} when it was first used",
            f"delete it to fetch it again, or delete {_beside(target, 'verified')} to accept it as it is",
        )
    if expected not in (None, found):
        raise remote.error(f"{target} has the SHA-256 {found} instead of {expected}", fix)
    _keep_stamp(target, found)


def _keep_stamp(target: Path, sha256: str) -> None:
    write_text(_beside(target, "verified"), json.dumps(_stamp(target, sha256)))


def _stamp(target: Path, sha256: str) -> dict[str, Any]:
    """What tells, without reading it, that a file is the one whose checksum was computed."""
    status = target.stat()
    return {"sha256": sha256, "size": status.st_size, "mtime_ns": status.st_mtime_ns}


def _fetch_from(url: str, remote: RemoteFile, target: Path, events: EventLog, pause: Callable[[float], None]) -> None:
    if not url.startswith(("http://", "https://")):
        raise ConfigError(f"archive address {url!r} is neither http nor https", "correct the file that declares it")
    reason = ""
    for attempt in range(ATTEMPTS):
        if attempt:
            pause(FIRST_PAUSE_S * 2 ** (attempt - 1))
        try:
            _transfer(url, remote, target, events)
            break
        except _PassingError as fault:
            reason = str(fault)
            events.write("retry", url=url, attempt=attempt + 1, reason=reason)
    else:
        raise _MirrorError(f"{reason} ({ATTEMPTS} tries)")
    part = _beside(target, "part")
    found = sha256_of(part)
    if remote.sha256 is not None and found != remote.sha256:
        part.unlink()
        raise _MirrorError(f"it sent a file with the SHA-256 {found} instead of {remote.sha256}")
    part.replace(target)
    _keep_stamp(target, found)
    _beside(target, "part.json").unlink(missing_ok=True)


def _transfer(url: str, remote: RemoteFile, target: Path, events: EventLog) -> None:
    """One request; returns when the partial file is complete."""
    part, note_path = _beside(target, "part"), _beside(target, "part.json")
    note = _read_json(note_path)
    have = _part_bytes(target)
    validator = note.get("validator", "") if note.get("url") == url else ""
    request = urllib.request.Request(url, headers={"User-Agent": _AGENT, "Accept-Encoding": "identity"})
    if have and validator:
        request.add_header("Range", f"bytes={have}-")
        request.add_header("If-Range", validator)
    try:
        with _answer(request) as response:
            resumed = response.status == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {have}-")
            if response.status == 206 and not resumed:
                part.unlink(missing_ok=True)
                raise _PassingError("it answered with another range than asked for")
            start = have if resumed else 0
            length = response.headers.get("Content-Length", "")
            total = start + int(length) if length.isdigit() else None
            if remote.size_bytes is not None and total is not None and total != remote.size_bytes:
                raise _MirrorError(f"its file has {total} bytes instead of {remote.size_bytes}")
            if response.headers.get_content_type() == "text/html":
                raise _MirrorError("it is a web page, not a file; open it in a browser")
            if total is not None:
                check_room(target, total - have)  # what is there already is continued or overwritten
            tag = response.headers.get("ETag") or response.headers.get("Last-Modified") or ""
            write_text(note_path, json.dumps({"url": url, "validator": "" if tag.startswith("W/") else tag}))
            with part.open("ab" if resumed else "wb") as file:
                _copy(response, file, start, total or remote.size_bytes, events)
    except urllib.error.HTTPError as fault:
        if fault.code == 416:  # nothing lies beyond what we have: start over
            part.unlink(missing_ok=True)
        if fault.code == 416 or fault.code in _PASSING_STATUS:
            raise _PassingError(f"it answered {fault.code} {fault.reason}") from fault
        raise _MirrorError(f"it answered {fault.code} {fault.reason}") from fault
    expected = total if total is not None else remote.size_bytes
    size = part.stat().st_size
    if expected is not None and size < expected:
        raise _PassingError(f"the connection ended after {size} of {expected} bytes")
    if expected is not None and size > expected:
        part.unlink()
        raise _MirrorError(f"it sent {size} bytes instead of {expected}")


def _answer(request: urllib.request.Request) -> Any:
    """Sends a request; the response is open, its headers are read."""
    try:
        return urllib.request.urlopen(request, timeout=_TIMEOUT_S)
    except urllib.error.HTTPError:
        raise
    except urllib.error.URLError as fault:
        raise _PassingError(f"no connection ({fault.reason})") from fault
    except (OSError, http.client.HTTPException) as fault:
        raise _PassingError(f"the connection broke ({fault})") from fault


def _next_chunk(response: Any) -> bytes:
    """What comes next, nothing at the end; faults of the network, unlike those of the disk, may pass."""
    try:
        chunk: bytes = response.read(_CHUNK_BYTES)
    except (OSError, http.client.HTTPException) as fault:
        raise _PassingError(f"the connection broke ({fault})") from fault
    return chunk


def _copy(response: Any, file: IO[bytes], start: int, total: int | None, events: EventLog) -> None:
    """Copies a response to a file; a page that pretends to be a file is refused at its first bytes."""
    done = start
    while chunk := _next_chunk(response):
        if done == 0 and chunk.lstrip()[:1] == b"<":
            raise _MirrorError("it is a web page, not a file; open it in a browser")
        if total is not None and done + len(chunk) > total:
            chunk = chunk[: total - done + 1]  # one byte too many is enough to tell
        file.write(chunk)
        done += len(chunk)
        events.progress(done // _MIB, max(total or done, done) // _MIB)
        if total is not None and done > total:
            return


@contextlib.contextmanager
def _one_process_at_a_time(target: Path, events: EventLog) -> Iterator[None]:
    target.parent.mkdir(parents=True, exist_ok=True)
    with _beside(target, "lock").open("w") as lock:
        take_lock(lock, lambda: events.write("waiting", file=str(target), reason="another process fetches it"))
        yield


def _part_bytes(target: Path) -> int:
    """Length of the partial download."""
    part = _beside(target, "part")
    return part.stat().st_size if part.is_file() else 0


def _beside(target: Path, suffix: str) -> Path:
    return target.with_name(f".{target.name}.{suffix}")


def _read_json(path: Path) -> dict[str, Any]:
    """A note of ours, or nothing where it is missing or damaged."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}

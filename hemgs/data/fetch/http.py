"""One file over HTTP: mirrors, retries, ranges, checksum.

Owns

* the number of requests to an address, and the pauses between them,
* the meaning of answers: ranges, validators, lengths, faults that may pass and faults that will not,
* the partial download that a request continues or leaves behind,
* the check of the file that arrived.

Does not own what the file is or where it belongs (``archives``). A file is accepted only with the declared checksum.
Where none is declared, a note next to the file records the checksum of its first download here. A later change is
therefore noticed.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from hemgs.core.errors import ConfigError, DeviceError, HemgsError, SceneError
from hemgs.core.events import EventLog
from hemgs.core.files import read_note, sha256_of, write_text
from hemgs.data.disk import check_room, disk_full_is_an_error, one_process_at_a_time

#: Largest number of tries in a row that bring nothing from one address. The first number applies while nothing has come
#: from it yet (15 s of pauses). The second applies once something has (two minutes), because an outage must not cost
#: gigabytes.
ATTEMPTS = 5
ATTEMPTS_WITH_A_PART = 8
#: Largest number of requests to one address. It limits the requests to a server that ends every connection after a few
#: bytes.
MAX_REQUESTS = 1000
#: The pause doubles from the first to the longest. It starts again with the first when something has come.
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0
_CHUNK_BYTES = 1 << 20
_MIB = 1 << 20
_TIMEOUT_S = 60.0
#: Answers that may be different a moment later.
_PASSING_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
_AGENT = "hemgs (benchmark of 3D Gaussian Splatting compression)"


@dataclass(frozen=True)
class RemoteFile:
    """A file to fetch.

    Attributes:
        urls: addresses of the same file, tried in order.
        size_bytes: its length, or ``None`` where nobody states it.
        sha256: its checksum in hex, or ``None`` where nobody publishes it.
        by_hand: what the user can do if no address returns it, as an imperative sentence; ``{target}`` is its path.
        error: class of the error that is raised then, or if the existing file is not the right one.
    """

    urls: Sequence[str]
    size_bytes: int | None = None
    sha256: str | None = None
    by_hand: str = "download it by hand and put it at {target}, or unpack it and set source.local to that folder"
    error: type[HemgsError] = SceneError


def fetch(remote: RemoteFile, target: Path, events: EventLog, *, pause: Callable[[float], None] = time.sleep) -> None:
    """Make sure that ``target`` is the remote file; download what is missing.

    Partial downloads (``.<name>.*.part`` next to it, one for each address) are continued, the largest first. Processes
    that want the same file wait for each other. A file that was put there by hand is checked like a fetched one.

    Args:
        pause: called with seconds between tries.

    Raises:
        SceneError: no address returned the file; the message lists the answer of each. The class is ``remote.error``.
        DeviceError: the disk is full, or has less room than the file needs.
    """

    def report_wait() -> None:
        events.write("waiting", file=str(target), reason="another process fetches it")

    with disk_full_is_an_error(target), one_process_at_a_time(target, report_wait):
        if target.is_file():
            _check_present(remote, target)
            return
        if remote.size_bytes is not None:
            check_room({target: remote.size_bytes - partial_bytes(remote, target)})
        parts = [Part.of(target, url) for url in remote.urls]
        reasons: list[str] = []
        for part in sorted(parts, key=lambda part: part.size_bytes, reverse=True):
            try:
                _fetch_from(part, remote, target, events, pause)
                return
            except (MirrorError, DeviceError) as fault:
                if isinstance(fault, DeviceError) and not reasons:
                    raise
                # There may be no room for a second part in addition to the first, whose address may answer later.
                reasons.append(f"{part.url}: {fault}")
                events.write("mirror_failed", url=part.url, reason=str(fault))
    raise remote.error(
        f"{target.name} could not be fetched ({'; '.join(reasons)})", remote.by_hand.format(target=target)
    )


def fetched_sha256(target: Path) -> str:
    """Read the checksum of a fetched file from the note next to it.

    Raises:
        SceneError: the file was not fetched here.
    """
    found = read_note(_note_of(target, "verified")).get("sha256")
    if not isinstance(found, str) or not target.is_file():
        raise SceneError(f"{target} has not been fetched", "run `hemgs fetch` first")
    return found


def partial_bytes(remote: RemoteFile, target: Path) -> int:
    """Return how many bytes of a file have been fetched."""
    return max((Part.of(target, url).size_bytes for url in remote.urls), default=0)


def _check_present(remote: RemoteFile, target: Path) -> None:
    """Raise ``remote.error`` if ``target`` is not the file; a checksum that was verified is not computed again."""
    fix = "delete it and run again, or correct the file that declares it"
    size = target.stat().st_size
    if remote.size_bytes is not None and size != remote.size_bytes:
        raise remote.error(f"{target} has {size} bytes instead of {remote.size_bytes}", fix)
    stamp = read_note(_note_of(target, "verified"))
    expected = remote.sha256 or stamp.get("sha256")
    if expected is not None and stamp == _stamp(target, expected):
        return
    found = sha256_of(target)
    if remote.sha256 is None and expected not in (None, found):
        raise remote.error(
            f"{target} has the SHA-256 {found}, and had {expected} when it was first used",
            f"delete it to fetch it again, or delete {_note_of(target, 'verified')} to accept it as it is",
        )
    if expected not in (None, found):
        raise remote.error(f"{target} has the SHA-256 {found} instead of {expected}", fix)
    _keep_stamp(target, found)


def _keep_stamp(target: Path, sha256: str) -> None:
    write_text(_note_of(target, "verified"), json.dumps(_stamp(target, sha256)))


def _stamp(target: Path, sha256: str) -> dict[str, Any]:
    """Return what identifies the file whose checksum was computed, without reading it."""
    status = target.stat()
    return {"sha256": sha256, "size": status.st_size, "mtime_ns": status.st_mtime_ns}


def _fetch_from(part: Part, remote: RemoteFile, target: Path, events: EventLog, pause: Callable[[float], None]) -> None:
    if not part.url.startswith(("http://", "https://")):
        raise ConfigError(
            f"archive address {part.url!r} is neither http nor https", "correct the file that declares it"
        )
    _complete(part, remote, target, events, pause)
    found = sha256_of(part.path)
    if remote.sha256 is not None and found != remote.sha256:
        part.discard()
        raise MirrorError(f"it sent a file with the SHA-256 {found} instead of {remote.sha256}")
    part.path.replace(target)
    _keep_stamp(target, found)
    for url in remote.urls:
        Part.of(target, url).discard()


def _complete(part: Part, remote: RemoteFile, target: Path, events: EventLog, pause: Callable[[float], None]) -> None:
    """Ask one address until the part is complete, as long as more of it comes."""
    most, num_empty = part.size_bytes, 0
    for number in range(1, MAX_REQUESTS + 1):
        try:
            transfer(part, target, remote.size_bytes, events)
            return
        except PassingError as fault:
            reason = str(fault)
        num_empty = num_empty + 1 if part.size_bytes <= most else 0
        most = max(most, part.size_bytes)
        events.write("retry", url=part.url, attempt=number, reason=reason)
        if num_empty >= (ATTEMPTS_WITH_A_PART if most else ATTEMPTS):
            raise MirrorError(f"{reason} ({num_empty} tries that brought nothing)")
        pause(min(FIRST_PAUSE_S * 2 ** max(num_empty - 1, 0), LONGEST_PAUSE_S))
    raise MirrorError(f"{reason} ({MAX_REQUESTS} requests)")


def _note_of(target: Path, suffix: str) -> Path:
    return target.with_name(f".{target.name}.{suffix}")


class MirrorError(Exception):
    """This address does not return the file; the next one may."""


class PassingError(Exception):
    """This try failed; the next one may succeed."""


@dataclass(frozen=True)
class Part:
    """The part of a file that has arrived from one address; bytes of two addresses are never joined.

    Attributes:
        path: a hidden file next to the one that it will become. A note next to it names the version of the file.
    """

    path: Path
    url: str

    @staticmethod
    def of(target: Path, url: str) -> Part:
        """Return the part of ``target`` from an address."""
        digest = hashlib.sha256(url.encode()).hexdigest()[:8]
        return Part(target.with_name(f".{target.name}.{digest}.part"), url)

    @property
    def size_bytes(self) -> int:
        """Length of the part, 0 if there is no such file."""
        return self.path.stat().st_size if self.path.is_file() else 0

    @property
    def validator(self) -> str:
        """The server's name for the version that this is a part of; empty if the download cannot continue."""
        return str(self._noted().get("validator", ""))

    def begin(self, validator: str, total_bytes: int | None) -> None:
        """Empty the part for a version of the file, of that length where the server states one."""
        # The order matters: a stop between the two must not leave bytes of one version under another's name.
        self.path.open("wb").close()
        note = {"url": self.url, "validator": validator, "total_bytes": total_bytes}
        write_text(self._note, json.dumps(note))

    def is_complete(self, size_bytes: int | None) -> bool:
        """Return whether all bytes of one version have arrived, so that only the verification remains.

        Args:
            size_bytes: length of the file where it is declared.
        """
        total = size_bytes if size_bytes is not None else self._noted().get("total_bytes")
        return bool(self.validator) and self.size_bytes == total

    def _noted(self) -> dict[str, Any]:
        note = read_note(self._note)
        return note if note.get("url") == self.url else {}

    def discard(self) -> None:
        """Remove the part and its note."""
        self.path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)

    @property
    def _note(self) -> Path:
        return self.path.with_name(f"{self.path.name}.json")


def transfer(part: Part, target: Path, size_bytes: int | None, events: EventLog) -> None:
    """Request the missing bytes of a part once; return when it is complete.

    Args:
        target: the file that the part will become, for messages.
        size_bytes: length of the file where it is declared.

    Raises:
        PassingError: some bytes did not arrive; those that did are kept.
        MirrorError: this address does not have the file.
        DeviceError: the disk has less room than the file needs.
        OSError: the part cannot be written.
    """
    if part.is_complete(size_bytes):
        return
    have = part.size_bytes
    try:
        with _answer(_request(part, have)) as response:
            resumed = response.status == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {have}-")
            if response.status == 206 and not resumed:
                part.discard()
                raise PassingError("it answered with another range than asked for")
            start = have if resumed else 0
            length = response.headers.get("Content-Length", "")
            total = start + int(length) if length.isdigit() else None
            _check_answer(response, total, size_bytes)
            if total is not None:
                check_room({target: total - have})  # the request continues or overwrites the part
            if not resumed:
                tag = response.headers.get("ETag") or response.headers.get("Last-Modified") or ""
                part.begin("" if tag.startswith("W/") else tag, total)
            expected = total if total is not None else size_bytes
            with part.path.open("ab") as file:
                copy(response, file, start, expected, events)
    except urllib.error.HTTPError as fault:
        if fault.code == 416:  # nothing lies beyond what we have
            if have and part.validator and fault.headers.get("Content-Range") == f"bytes */{have}":
                return  # the request had If-Range: the part is complete
            part.discard()
        if fault.code == 416 or fault.code in _PASSING_STATUS:
            raise PassingError(f"it answered {fault.code} {fault.reason}") from fault
        raise MirrorError(f"it answered {fault.code} {fault.reason}") from fault
    size = part.size_bytes
    if expected is not None and size < expected:
        raise PassingError(f"the connection ended after {size} of {expected} bytes")
    if expected is not None and size > expected:
        part.discard()
        raise MirrorError(f"it sent {size} bytes instead of {expected}")


def _request(part: Part, have: int) -> urllib.request.Request:
    try:
        request = urllib.request.Request(part.url, headers={"User-Agent": _AGENT, "Accept-Encoding": "identity"})
    except ValueError as fault:
        raise MirrorError(f"the address cannot be used ({fault})") from fault
    validator = part.validator
    if have and validator:
        request.add_header("Range", f"bytes={have}-")
        request.add_header("If-Range", validator)
    return request


def _answer(request: urllib.request.Request) -> Any:
    """Send a request; the response is open, its headers are read."""
    try:
        return urllib.request.urlopen(request, timeout=_TIMEOUT_S)
    except urllib.error.HTTPError:
        raise
    except urllib.error.URLError as fault:
        raise PassingError(f"no connection ({fault.reason})") from fault
    except (
        ValueError,
        http.client.InvalidURL,
    ) as fault:  # blanks, ports that are no numbers, letters beyond ASCII; of a redirection, too
        raise MirrorError(f"the address cannot be used ({fault})") from fault
    except (OSError, http.client.HTTPException) as fault:
        raise PassingError(f"the connection broke ({fault})") from fault


def _check_answer(response: Any, total: int | None, size_bytes: int | None) -> None:
    if size_bytes is not None and total is not None and total != size_bytes:
        raise MirrorError(f"its file has {total} bytes instead of {size_bytes}")
    if response.headers.get_content_type() == "text/html":
        raise MirrorError("it is a web page, not a file; open it in a browser")


def copy(response: Any, file: IO[bytes], start: int, total: int | None, events: EventLog) -> None:
    """Copy a response to a file; refuse a web page in place of the file at its first bytes."""
    done = start
    while chunk := _next_chunk(response):
        if done == 0 and chunk.lstrip()[:1] == b"<":
            raise MirrorError("it is a web page, not a file; open it in a browser")
        if total is not None and done + len(chunk) > total:
            chunk = chunk[: total - done + 1]  # one byte too many shows that the file is too long
        file.write(chunk)
        done += len(chunk)
        events.progress(done // _MIB, max(total or done, done) // _MIB)
        if total is not None and done > total:
            return


def _next_chunk(response: Any) -> bytes:
    """Read the next bytes, none at the end; faults of the network, unlike those of the disk, may pass."""
    try:
        chunk: bytes = response.read(_CHUNK_BYTES)
    except (OSError, http.client.HTTPException) as fault:
        raise PassingError(f"the connection broke ({fault})") from fault
    return chunk

"""One request for a file, and the partial download that it goes on with or leaves behind.

Owns what HTTP says: ranges, validators, lengths, faults that may pass and faults that will not. Does not own how often
an address is asked, which ones there are, nor the checksum (``download``).
"""

from __future__ import annotations

import hashlib
import http.client
import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from hemgs.core.events import EventLog
from hemgs.core.files import read_note, write_text
from hemgs.data.disk import check_room

_CHUNK_BYTES = 1 << 20
_MIB = 1 << 20
_TIMEOUT_S = 60.0
#: Answers that may be different a moment later.
_PASSING_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
_AGENT = "hemgs (benchmark of 3D Gaussian Splatting compression)"


class MirrorError(Exception):
    """This address will not do; the next one may."""


class PassingError(Exception):
    """This try did not do; the next one may."""


@dataclass(frozen=True)
class Part:
    """What has arrived of a file from one address; bytes of two addresses are never joined.

    Attributes:
        path: a hidden file beside the one that it is to become; a note beside it says of which version it is a part.
    """

    path: Path
    url: str

    @staticmethod
    def of(target: Path, url: str) -> Part:
        """The part of ``target`` from an address."""
        digest = hashlib.sha256(url.encode()).hexdigest()[:8]
        return Part(target.with_name(f".{target.name}.{digest}.part"), url)

    @property
    def size_bytes(self) -> int:
        """Its length, 0 if there is none."""
        return self.path.stat().st_size if self.path.is_file() else 0

    @property
    def validator(self) -> str:
        """What the server calls the version that this is a part of; empty where it cannot be continued."""
        return str(self._noted().get("validator", ""))

    def begin(self, validator: str, total_bytes: int | None) -> None:
        """Empties it for a version of the file, of that length where the server says it."""
        # In this order: what is stopped between the two must not leave bytes of one version under another's name.
        self.path.open("wb").close()
        note = {"url": self.url, "validator": validator, "total_bytes": total_bytes}
        write_text(self._note, json.dumps(note))

    def is_complete(self, size_bytes: int | None) -> bool:
        """Whether nothing is missing of one version: all that is left to do is to verify it.

        Args:
            size_bytes: length of the file where it is declared.
        """
        total = size_bytes if size_bytes is not None else self._noted().get("total_bytes")
        return bool(self.validator) and self.size_bytes == total

    def _noted(self) -> dict[str, Any]:
        note = read_note(self._note)
        return note if note.get("url") == self.url else {}

    def discard(self) -> None:
        """Removes it."""
        self.path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)

    @property
    def _note(self) -> Path:
        return self.path.with_name(f"{self.path.name}.json")


def transfer(part: Part, target: Path, size_bytes: int | None, events: EventLog) -> None:
    """Asks once for what is missing of a part; returns when it is complete.

    Args:
        target: what it is to become, for messages.
        size_bytes: length of the file where it is declared.

    Raises:
        PassingError: it did not arrive whole; what did arrive is kept.
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
                check_room({target: total - have})  # what is there already is continued or overwritten
            if not resumed:
                tag = response.headers.get("ETag") or response.headers.get("Last-Modified") or ""
                part.begin("" if tag.startswith("W/") else tag, total)
            expected = total if total is not None else size_bytes
            with part.path.open("ab") as file:
                copy(response, file, start, expected, events)
    except urllib.error.HTTPError as fault:
        if fault.code == 416:  # nothing lies beyond what we have
            if have and part.validator and fault.headers.get("Content-Range") == f"bytes */{have}":
                return  # asked with If-Range: of this very version we have all
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
    request = urllib.request.Request(part.url, headers={"User-Agent": _AGENT, "Accept-Encoding": "identity"})
    validator = part.validator
    if have and validator:
        request.add_header("Range", f"bytes={have}-")
        request.add_header("If-Range", validator)
    return request


def _answer(request: urllib.request.Request) -> Any:
    """Sends a request; the response is open, its headers are read."""
    try:
        return urllib.request.urlopen(request, timeout=_TIMEOUT_S)
    except urllib.error.HTTPError:
        raise
    except urllib.error.URLError as fault:
        raise PassingError(f"no connection ({fault.reason})") from fault
    except (OSError, http.client.HTTPException) as fault:
        raise PassingError(f"the connection broke ({fault})") from fault


def _check_answer(response: Any, total: int | None, size_bytes: int | None) -> None:
    if size_bytes is not None and total is not None and total != size_bytes:
        raise MirrorError(f"its file has {total} bytes instead of {size_bytes}")
    if response.headers.get_content_type() == "text/html":
        raise MirrorError("it is a web page, not a file; open it in a browser")


def copy(response: Any, file: IO[bytes], start: int, total: int | None, events: EventLog) -> None:
    """Copies a response to a file; a page that pretends to be a file is refused at its first bytes."""
    done = start
    while chunk := _next_chunk(response):
        if done == 0 and chunk.lstrip()[:1] == b"<":
            raise MirrorError("it is a web page, not a file; open it in a browser")
        if total is not None and done + len(chunk) > total:
            chunk = chunk[: total - done + 1]  # one byte too many is enough to tell
        file.write(chunk)
        done += len(chunk)
        events.progress(done // _MIB, max(total or done, done) // _MIB)
        if total is not None and done > total:
            return


def _next_chunk(response: Any) -> bytes:
    """What comes next, nothing at the end; faults of the network, unlike those of the disk, may pass."""
    try:
        chunk: bytes = response.read(_CHUNK_BYTES)
    except (OSError, http.client.HTTPException) as fault:
        raise PassingError(f"the connection broke ({fault})") from fault
    return chunk

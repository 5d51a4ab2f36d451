"""Fetches one file over HTTP: mirrors, retries, checksum.

Owns how long an address is asked and what is accepted. Does not own a single request (``transfer``), nor what the file
is or where it belongs (``archives``). What arrives is trusted only as far as its checksum; where none is declared, the
one it had when it was first seen here is kept beside it (pinned on first use), so that a later change is noticed.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hemgs.core.errors import ConfigError, DeviceError, HemgsError, SceneError
from hemgs.core.events import EventLog
from hemgs.core.files import read_note, sha256_of, write_text
from hemgs.data.disk import check_room, disk_full_is_an_error, one_process_at_a_time
from hemgs.data.fetch.transfer import MirrorError, Part, PassingError, transfer

#: Tries of one address in a row that bring nothing: where nothing has come from it yet (15 s of pauses), and where
#: something has (two minutes: an outage must not cost gigabytes).
ATTEMPTS = 5
ATTEMPTS_WITH_A_PART = 8
#: Requests to one address in all: one that ends every connection after a few bytes must not be asked for ever.
MAX_REQUESTS = 1000
#: The pause doubles from the first to the longest, and starts anew when something has come.
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0


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


def fetch(remote: RemoteFile, target: Path, events: EventLog, *, pause: Callable[[float], None] = time.sleep) -> None:
    """Makes sure that ``target`` is the remote file, downloading what is missing.

    Partial downloads (``.<name>.*.part`` beside it, one for each address) are continued, the largest first. Processes
    that want the same file wait for each other. A file that was put there by hand is checked like a fetched one.

    Args:
        pause: called with seconds between tries.

    Raises:
        SceneError: no address gave the file (or what ``remote.error`` says); the message lists what each answered.
        DeviceError: the disk is full, or has less room than the file needs.
    """

    def tell() -> None:
        events.write("waiting", file=str(target), reason="another process fetches it")

    with disk_full_is_an_error(target), one_process_at_a_time(target, tell):
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
                # There may be no room for a second part beside the first, whose address comes back perhaps.
                reasons.append(f"{part.url}: {fault}")
                events.write("mirror_failed", url=part.url, reason=str(fault))
    raise remote.error(
        f"{target.name} could not be fetched ({'; '.join(reasons)})", remote.by_hand.format(target=target)
    )


def fetched_sha256(target: Path) -> str:
    """The checksum that a fetched file was found to have, read from the note beside it.

    Raises:
        SceneError: it was not fetched here.
    """
    found = read_note(_beside(target, "verified")).get("sha256")
    if not isinstance(found, str) or not target.is_file():
        raise SceneError(f"{target} has not been fetched", "run `hemgs fetch` first")
    return found


def partial_bytes(remote: RemoteFile, target: Path) -> int:
    """How much of a file has been fetched: what is missing is its length less this."""
    return max((Part.of(target, url).size_bytes for url in remote.urls), default=0)


def _check_present(remote: RemoteFile, target: Path) -> None:
    """Raises if ``target`` is not the file; a checksum once verified is not computed again."""
    fix = "delete it and run again, or correct the file that declares it"
    size = target.stat().st_size
    if remote.size_bytes is not None and size != remote.size_bytes:
        raise remote.error(f"{target} has {size} bytes instead of {remote.size_bytes}", fix)
    stamp = read_note(_beside(target, "verified"))
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
    """Asks one address until the part is complete, as long as more of it comes."""
    most, in_vain = part.size_bytes, 0
    for number in range(1, MAX_REQUESTS + 1):
        try:
            transfer(part, target, remote.size_bytes, events)
            return
        except PassingError as fault:
            reason = str(fault)
        in_vain = in_vain + 1 if part.size_bytes <= most else 0
        most = max(most, part.size_bytes)
        events.write("retry", url=part.url, attempt=number, reason=reason)
        if in_vain >= (ATTEMPTS_WITH_A_PART if most else ATTEMPTS):
            raise MirrorError(f"{reason} ({in_vain} tries in vain)")
        pause(min(FIRST_PAUSE_S * 2 ** max(in_vain - 1, 0), LONGEST_PAUSE_S))
    raise MirrorError(f"{reason} ({MAX_REQUESTS} requests)")


def _beside(target: Path, suffix: str) -> Path:
    return target.with_name(f".{target.name}.{suffix}")

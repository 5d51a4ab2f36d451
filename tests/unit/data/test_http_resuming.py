"""Downloads that are interrupted: what is kept, and how long it is asked for more."""

from __future__ import annotations

import errno
import shutil
import ssl
from http.client import HTTPResponse
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hemgs.core.errors import SceneError
from hemgs.core.events import EventLog
from hemgs.data.fetch import http
from hemgs.data.fetch.http import Part, RemoteFile, fetch
from tests.unit.data.archive_server import Answer, Server
from tests.unit.data.downloads import BODY, SHA, parts, room, run


def interrupted(_: Path) -> str:
    raise KeyboardInterrupt


def test_a_broken_connection_is_resumed(server: Server, target: Path) -> None:
    answer = Answer(BODY, cut_after=300_000)
    run(RemoteFile([server.add("/a.zip", answer)], None, SHA), target)
    assert target.read_bytes() == BODY
    assert [request.get("Range") for request in answer.requests] == [None, *(f"bytes={k}00000-" for k in (3, 6, 9))]


def test_tries_are_counted_again_whenever_more_has_come(server: Server, target: Path) -> None:
    """A connection that ends every 100 kB gives the file in eleven requests, from one address."""
    answer, mirror = Answer(BODY, cut_after=100_000), Answer(BODY)
    urls = [server.add("/a.zip", answer), server.add("/b.zip", mirror)]
    assert run(RemoteFile(urls, None, SHA), target) == [1.0] * 10
    assert target.read_bytes() == BODY
    assert (len(answer.requests), len(mirror.requests)) == (11, 0)


def test_requests_are_bounded(server: Server, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "MAX_REQUESTS", 7)
    answer = Answer(BODY, cut_after=1)
    with pytest.raises(SceneError, match="7 requests"):
        run(RemoteFile([server.add("/a.zip", answer)]), target)
    assert len(answer.requests) == 7


def test_an_outage_does_not_cost_what_has_been_fetched(server: Server, target: Path) -> None:
    """Near the end the server is away for two minutes, longer than where nothing has come; it goes on from there."""
    answer = Answer(BODY, cut_after=1_000_000)
    url = server.add("/a.zip", answer)
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if sum(pauses) > 120:
            server.answers["/a.zip"] = answer
        elif len(pauses) == 1:
            server.answers["/a.zip"] = Answer(status=503)

    fetch(RemoteFile([url, server.url + "/gone.zip"], None, SHA), target, EventLog(), pause=pause)
    assert pauses == [1.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0]
    assert target.read_bytes() == BODY
    assert answer.requests[-1]["Range"] == "bytes=1000000-"


def test_a_run_that_was_stopped_is_resumed_by_the_next(server: Server, target: Path) -> None:
    answer = Answer(BODY, cut_after=200_000, stops_after=5)
    url = server.add("/a.zip", answer)
    with pytest.raises(SceneError, match="8 tries that brought nothing"):
        run(RemoteFile([url]), target)
    assert not target.exists()
    server.add("/a.zip", Answer(BODY))
    run(RemoteFile([url]), target)
    assert target.read_bytes() == BODY
    assert server.answers["/a.zip"].requests[-1]["Range"] == "bytes=1000000-"


@pytest.mark.parametrize("length", [True, False])
@pytest.mark.parametrize("declared", [True, False])
def test_a_complete_part_is_verified_and_not_fetched_again(
    server: Server, target: Path, monkeypatch: pytest.MonkeyPatch, length: bool, declared: bool
) -> None:
    """Killed while hashing. Where nobody states a length, the server is asked and has nothing more."""
    answer = Answer(BODY, length=length)
    remote = RemoteFile([server.add("/a.zip", answer)], len(BODY) if declared else None)
    with monkeypatch.context() as killed, pytest.raises(KeyboardInterrupt):
        killed.setattr(http, "sha256_of", interrupted)
        run(remote, target)
    assert run(remote, target) == []
    assert target.read_bytes() == BODY
    again = [] if length or declared else [f"bytes={len(BODY)}-"]
    assert [request.get("Range") for request in answer.requests] == [None, *again]
    assert parts(target) == [".scenes.zip.verified", "scenes.zip"]


@pytest.mark.parametrize("length", [True, False])
def test_a_complete_part_of_another_file_is_not_kept(
    server: Server, target: Path, monkeypatch: pytest.MonkeyPatch, length: bool
) -> None:
    wrong = BODY[:-1] + b"!"
    url = server.add("/a.zip", Answer(wrong, length=length))
    with monkeypatch.context() as killed, pytest.raises(KeyboardInterrupt):
        killed.setattr(http, "sha256_of", interrupted)
        run(RemoteFile([url], None, SHA), target)
    with pytest.raises(SceneError, match=f"instead of {SHA}"):
        run(RemoteFile([url], None, SHA), target)
    server.add("/a.zip", Answer(BODY, tag='"v2"'))
    run(RemoteFile([url], None, SHA), target)
    assert target.read_bytes() == BODY


def test_every_address_keeps_its_own_part(server: Server, target: Path) -> None:
    """Both break off for good; the next run goes on where most had come, and leaves no part behind."""
    first, second = Answer(BODY, cut_after=100_000, stops_after=1), Answer(BODY, cut_after=300_000, stops_after=1)
    urls = [server.add("/a.zip", first), server.add("/b.zip", second)]
    with pytest.raises(SceneError, match=r"a\.zip: .* tries that brought nothing.*b\.zip"):
        run(RemoteFile(urls), target)
    assert [Part.of(target, url).size_bytes for url in urls] == [100_000, 300_000]
    first, second = Answer(BODY), Answer(BODY)
    server.add("/a.zip", first)
    server.add("/b.zip", second)
    run(RemoteFile(urls), target)
    assert target.read_bytes() == BODY
    assert first.requests == []
    assert [request.get("Range") for request in second.requests] == ["bytes=300000-"]
    assert parts(target) == [".scenes.zip.verified", "scenes.zip"]


def test_without_room_for_a_second_part_the_first_is_kept_and_named(
    server: Server, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    urls = [server.add("/a.zip", Answer(BODY, cut_after=900_000, stops_after=1)), server.add("/b.zip", Answer(BODY))]
    usage = iter([len(BODY), len(BODY) - 900_000])
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=next(usage)))
    with pytest.raises(SceneError, match=r"a\.zip: it answered 503.*b\.zip: .*needs 1,048,576 bytes more"):
        run(RemoteFile(urls), target)
    assert Part.of(target, urls[0]).size_bytes == 900_000


@pytest.mark.parametrize(
    "fault",
    [
        OSError(errno.EHOSTUNREACH, "No route to host"),
        OSError(errno.ENETUNREACH, "Network is unreachable"),
        ssl.SSLError(1, "[SSL: DECRYPTION_FAILED_OR_BAD_RECORD_MAC] decryption failed"),
    ],
)
@pytest.mark.parametrize("call", ["read", "begin"])
def test_faults_of_the_network_pass(
    server: Server, target: Path, monkeypatch: pytest.MonkeyPatch, fault: OSError, call: str
) -> None:
    """Amid the file and amid the headers: the first one is tried again, and where it stays the mirror is asked."""
    genuine, faults = getattr(HTTPResponse, call), [fault]

    def broken(response: HTTPResponse, *arguments: int) -> Any:
        if faults:
            raise faults.pop()
        return genuine(response, *arguments)

    monkeypatch.setattr(HTTPResponse, call, broken)
    url = server.add("/a.zip", Answer(BODY))
    assert run(RemoteFile([url], None, SHA), target) == [1.0]
    assert target.read_bytes() == BODY
    target.unlink()
    faults += 5 * [fault]
    run(RemoteFile([url, server.add("/b.zip", Answer(BODY))], None, SHA), target)
    assert target.read_bytes() == BODY
    assert len(server.answers["/b.zip"].requests) == 1


def test_a_server_without_ranges_starts_over(server: Server, target: Path) -> None:
    answer = Answer(BODY, cut_after=300_000, ranges=False)
    url = server.add("/a.zip", answer)
    with pytest.raises(SceneError, match="ended after 300000 of 1048576 bytes"):
        run(RemoteFile([url], None, SHA), target)
    answer.cut_after = None
    run(RemoteFile([url], None, SHA), target)
    assert target.read_bytes() == BODY


@pytest.mark.parametrize("tag", ['"v2"', ""])
def test_a_file_that_changed_meanwhile_is_not_pieced_together(server: Server, target: Path, tag: str) -> None:
    first = Answer(b"x" * len(BODY), cut_after=100_000, stops_after=1, tag='"v1"' if tag else "")
    url = server.add("/a.zip", first)
    with pytest.raises(SceneError):
        run(RemoteFile([url]), target)
    server.add("/a.zip", Answer(BODY, tag=tag))
    run(RemoteFile([url]), target)
    assert target.read_bytes() == BODY


def test_the_part_of_another_address_is_not_continued(server: Server, target: Path) -> None:
    first = server.add("/a.zip", Answer(b"x" * len(BODY), cut_after=100_000, stops_after=1))
    second = server.add("/b.zip", Answer(BODY))
    run(RemoteFile([first, second]), target)
    assert target.read_bytes() == BODY


def test_room_is_needed_for_what_is_missing_only(server: Server, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = server.add("/a.zip", Answer(BODY, cut_after=500_000, stops_after=1))
    with pytest.raises(SceneError):
        run(RemoteFile([url], len(BODY)), target)
    server.add("/a.zip", Answer(BODY))
    room(monkeypatch, len(BODY) - 500_000)
    run(RemoteFile([url], len(BODY)), target)
    assert target.read_bytes() == BODY

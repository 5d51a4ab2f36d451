from __future__ import annotations

import errno
import hashlib
import http.client
import io
import shutil
import ssl
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from archive_server import Answer, Server

from hemgs.core.errors import ConfigError, DeviceError, SceneError
from hemgs.core.events import EventLog
from hemgs.data import download, transfer
from hemgs.data.download import RemoteFile, fetch, fetched_sha256
from hemgs.data.transfer import Part

BODY = bytes(range(256)) * 4096
SHA = hashlib.sha256(BODY).hexdigest()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "archives/scenes.zip"


def run(remote: RemoteFile, target: Path) -> list[float]:
    """Fetches; gives the pauses made."""
    pauses: list[float] = []
    fetch(remote, target, EventLog(), pause=pauses.append)
    return pauses


def parts(target: Path) -> list[str]:
    return sorted(path.name for path in target.parent.iterdir() if not path.name.endswith(".lock"))


def test_a_file_arrives_whole(server: Server, target: Path) -> None:
    answer = Answer(BODY)
    assert run(RemoteFile([server.add("/a.zip", answer)], len(BODY), SHA), target) == []
    assert target.read_bytes() == BODY
    assert parts(target) == [".scenes.zip.verified", "scenes.zip"]
    run(RemoteFile([server.url + "/a.zip"], len(BODY), SHA), target)
    assert len(answer.requests) == 1  # nothing is fetched twice


@pytest.mark.parametrize("status", [500, 503, 429])
def test_passing_faults_are_retried_with_growing_pauses(server: Server, target: Path, status: int) -> None:
    url = server.add("/a.zip", Answer(BODY, status=status, failures=3))
    assert run(RemoteFile([url], None, SHA), target) == [1.0, 2.0, 4.0]
    assert target.read_bytes() == BODY


def test_a_broken_connection_is_resumed(server: Server, target: Path) -> None:
    answer = Answer(BODY, cut_after=300_000)
    run(RemoteFile([server.add("/a.zip", answer)], None, SHA), target)
    assert target.read_bytes() == BODY
    assert [request.get("Range") for request in answer.requests] == [None, *(f"bytes={k}00000-" for k in (3, 6, 9))]


def test_tries_are_counted_anew_whenever_more_has_come(server: Server, target: Path) -> None:
    """A connection that ends every 100 kB gives the file in eleven requests, from one address."""
    answer, mirror = Answer(BODY, cut_after=100_000), Answer(BODY)
    urls = [server.add("/a.zip", answer), server.add("/b.zip", mirror)]
    assert run(RemoteFile(urls, None, SHA), target) == [1.0] * 10
    assert target.read_bytes() == BODY
    assert (len(answer.requests), len(mirror.requests)) == (11, 0)


def test_requests_are_bounded(server: Server, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "MAX_REQUESTS", 7)
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
    with pytest.raises(SceneError, match="8 tries in vain"):
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
        killed.setattr(download, "sha256_of", interrupted)
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
        killed.setattr(download, "sha256_of", interrupted)
        run(RemoteFile([url], None, SHA), target)
    with pytest.raises(SceneError, match=f"instead of {SHA}"):
        run(RemoteFile([url], None, SHA), target)
    server.add("/a.zip", Answer(BODY, tag='"v2"'))
    run(RemoteFile([url], None, SHA), target)
    assert target.read_bytes() == BODY


def interrupted(_: Path) -> str:
    raise KeyboardInterrupt


def test_every_address_keeps_its_own_part(server: Server, target: Path) -> None:
    """Both break off for good; the next run goes on where most had come, and leaves no part behind."""
    first, second = Answer(BODY, cut_after=100_000, stops_after=1), Answer(BODY, cut_after=300_000, stops_after=1)
    urls = [server.add("/a.zip", first), server.add("/b.zip", second)]
    with pytest.raises(SceneError, match=r"a\.zip: .* tries in vain.*b\.zip"):
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
    genuine, faults = getattr(http.client.HTTPResponse, call), [fault]

    def broken(response: http.client.HTTPResponse, *arguments: int) -> Any:
        if faults:
            raise faults.pop()
        return genuine(response, *arguments)

    monkeypatch.setattr(http.client.HTTPResponse, call, broken)
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


def test_not_found_then_mirror(server: Server, target: Path) -> None:
    urls = [server.url + "/gone.zip", server.add("/a.zip", Answer(BODY))]
    assert run(RemoteFile(urls, None, SHA), target) == []  # no retry of what will not change
    assert target.read_bytes() == BODY


def test_wrong_checksum_then_mirror(server: Server, target: Path) -> None:
    urls = [server.add("/bad.zip", Answer(BODY[:-1] + b"!")), server.add("/a.zip", Answer(BODY))]
    run(RemoteFile(urls, None, SHA), target)
    assert target.read_bytes() == BODY


def test_wrong_checksum_everywhere_leaves_nothing(server: Server, target: Path) -> None:
    url = server.add("/bad.zip", Answer(BODY[:-1] + b"!"))
    with pytest.raises(SceneError, match=f"instead of {SHA}.*by hand.*scenes.zip"):
        run(RemoteFile([url], None, SHA), target)
    assert [name for name in parts(target) if not name.endswith(".json")] == []


def test_wrong_length(server: Server, target: Path) -> None:
    url = server.add("/a.zip", Answer(BODY))
    with pytest.raises(SceneError, match="1048576 bytes instead of 7"):
        run(RemoteFile([url], 7), target)


def test_more_bytes_than_declared_without_a_length(server: Server, target: Path) -> None:
    url = server.add("/a.zip", Answer(BODY, length=False))
    with pytest.raises(SceneError, match="instead of 1000"):
        run(RemoteFile([url], 1000), target)
    assert not target.exists()


@pytest.mark.parametrize("content_type", ["text/html; charset=utf-8", "application/zip"])
def test_a_web_page_is_no_archive(server: Server, target: Path, content_type: str) -> None:
    page = Answer(b"\n<!DOCTYPE html><html>confirm</html>", content_type=content_type)
    with pytest.raises(SceneError, match=r"web page, not a file.*by hand.*source\.local"):
        run(RemoteFile([server.add("/view", page)]), target)
    assert not target.exists()


def test_a_redirect_to_a_page_is_no_archive_and_to_a_file_is(server: Server, target: Path) -> None:
    """Hosts that ask to log in or to confirm send elsewhere first."""
    server.add("/login", Answer(b"<html>log in</html>", content_type="text/html"))
    server.add("/files/1", Answer(BODY))
    urls = [server.add("/asks", Answer(redirect="/login")), server.add("/a.zip", Answer(redirect="/files/1"))]
    with pytest.raises(SceneError, match=r"asks: it is a web page.*by hand"):
        run(RemoteFile(urls[:1], None, SHA), target)
    run(RemoteFile(urls, None, SHA), target)
    assert target.read_bytes() == BODY


def test_a_redirect_in_a_circle_ends(server: Server, target: Path) -> None:
    url = server.add("/a.zip", Answer(redirect="/a.zip"))
    with pytest.raises(SceneError, match="it answered 302"):
        run(RemoteFile([url]), target)


def test_nobody_answers(server: Server, target: Path) -> None:
    port_of_nobody = server.url.rsplit(":", 1)[0] + ":9"
    pauses: list[float] = []
    with pytest.raises(SceneError, match=r"no connection.*5 tries.*by hand"):
        fetch(RemoteFile([port_of_nobody + "/a.zip"]), target, EventLog(), pause=pauses.append)
    assert pauses == [1.0, 2.0, 4.0, 8.0]


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://host/a.zip", "/etc/passwd"])
def test_other_schemes_are_refused(target: Path, url: str) -> None:
    with pytest.raises(ConfigError, match="neither http nor https"):
        run(RemoteFile([url]), target)


def test_a_file_put_there_by_hand_is_checked(target: Path) -> None:
    target.parent.mkdir()
    target.write_bytes(BODY)
    run(RemoteFile([], len(BODY), SHA), target)
    target.write_bytes(BODY[:-1] + b"!")
    with pytest.raises(SceneError, match=f"instead of {SHA}.*delete it"):
        run(RemoteFile([], len(BODY), SHA), target)
    with pytest.raises(SceneError, match="has 1048576 bytes instead of 5"):
        run(RemoteFile([], 5), target)


def test_a_verified_file_is_not_hashed_again(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target.parent.mkdir()
    target.write_bytes(BODY)
    run(RemoteFile([], None, SHA), target)
    monkeypatch.setattr(download, "sha256_of", lambda _: pytest.fail("hashed again"))
    run(RemoteFile([], None, SHA), target)


def test_full_disk(server: Server, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(transfer, "copy", full)
    with pytest.raises(DeviceError, match=r"no space left while writing .*scenes\.zip"):
        run(RemoteFile([server.add("/a.zip", Answer(BODY))]), target)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_disk_that_fills_up_midway(server: Server, target: Path) -> None:
    """What the kernel itself says of a full device, at the first block written."""
    target.parent.mkdir()
    url = server.add("/a.zip", Answer(BODY))
    Part.of(target, url).path.symlink_to("/dev/full")
    with pytest.raises(DeviceError, match=r"no space left while writing .*scenes\.zip.*free disk space"):
        run(RemoteFile([url]), target)
    assert not target.exists()


def room(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))


def test_room_is_looked_for_before_anything_is_asked(
    server: Server, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = Answer(BODY)
    url = server.add("/a.zip", answer)
    room(monkeypatch, len(BODY) - 1)
    with pytest.raises(DeviceError, match="needs 1,048,576 bytes more.* 1,048,575 free.*free disk space"):
        run(RemoteFile([url], len(BODY)), target)
    assert answer.requests == []
    with pytest.raises(DeviceError, match="needs 1,048,576 bytes more"):  # the server says how long it is
        run(RemoteFile([url]), target)
    assert not target.exists()


def test_room_is_needed_for_what_is_missing_only(server: Server, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = server.add("/a.zip", Answer(BODY, cut_after=500_000, stops_after=1))
    with pytest.raises(SceneError):
        run(RemoteFile([url], len(BODY)), target)
    server.add("/a.zip", Answer(BODY))
    room(monkeypatch, len(BODY) - 500_000)
    run(RemoteFile([url], len(BODY)), target)
    assert target.read_bytes() == BODY


def test_a_file_without_a_published_checksum_is_pinned_on_first_use(server: Server, target: Path) -> None:
    remote = RemoteFile([server.add("/a.zip", Answer(BODY))])
    run(remote, target)
    assert fetched_sha256(target) == SHA
    target.write_bytes(BODY[:-1] + b"!")
    with pytest.raises(SceneError, match=f"and had {SHA} when it was first used.*delete it to fetch it again"):
        run(remote, target)
    (target.parent / ".scenes.zip.verified").unlink()
    run(remote, target)
    assert fetched_sha256(target) == hashlib.sha256(target.read_bytes()).hexdigest()


def test_progress_is_reported(server: Server, target: Path, tmp_path: Path) -> None:
    with EventLog(tmp_path / "events.jsonl") as events:
        fetch(RemoteFile([server.add("/a.zip", Answer(BODY))]), target, events)
    assert '"done": 1, "total": 1' in (tmp_path / "events.jsonl").read_text()


def test_who_wants_the_same_file_waits(server: Server, target: Path) -> None:
    """Locks belong to open files, so two threads stand for two processes."""
    answer = Answer(BODY, delay_s=0.5)
    url = server.add("/a.zip", answer)
    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(run, RemoteFile([url], None, SHA), target) for _ in range(2)]:
            assert done.result() == []
    assert target.read_bytes() == BODY
    assert len(answer.requests) == 1


def test_the_part_file_never_looks_finished(target: Path) -> None:
    """What is under the final name is complete: a reader that fails midway leaves only the hidden part."""

    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise KeyboardInterrupt

    target.parent.mkdir()
    with pytest.raises(KeyboardInterrupt), Part.of(target, "").path.open("wb") as file:
        transfer.copy(Broken(), file, 0, None, EventLog())
    assert not target.exists()

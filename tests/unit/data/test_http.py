from __future__ import annotations

import errno
import hashlib
import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hemgs.core.errors import ConfigError, DeviceError, SceneError
from hemgs.core.events import EventLog
from hemgs.data.fetch import http
from hemgs.data.fetch.http import Part, RemoteFile, fetch, fetched_sha256
from tests.unit.data.archive_server import Answer, Server
from tests.unit.data.downloads import BODY, SHA, parts, room, run


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


def test_not_found_then_mirror(server: Server, target: Path) -> None:
    urls = [server.url + "/gone.zip", server.add("/a.zip", Answer(BODY))]
    assert run(RemoteFile(urls, None, SHA), target) == []  # no retry of what will not change
    assert target.read_bytes() == BODY


@pytest.mark.parametrize(
    "address",
    ["http://[::1/x.zip", "http://127.0.0.1:port/x.zip", "http://127.0.0.1/\u00e4.zip", "http://127.0.0.1/a b.zip"],
)
def test_an_address_that_cannot_be_used_then_mirror(server: Server, target: Path, address: str) -> None:
    good = server.add("/good.zip", Answer(BODY))
    run(RemoteFile([address, good], len(BODY), SHA), target)
    assert target.read_bytes() == BODY
    target.unlink()
    with pytest.raises(SceneError, match="the address cannot be used"):
        run(RemoteFile([address], len(BODY), SHA), target)


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
    monkeypatch.setattr(http, "sha256_of", lambda _: pytest.fail("hashed again"))
    run(RemoteFile([], None, SHA), target)


def test_full_disk(server: Server, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(http, "copy", full)
    with pytest.raises(DeviceError, match=r"no space left while writing .*scenes\.zip"):
        run(RemoteFile([server.add("/a.zip", Answer(BODY))]), target)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_disk_that_fills_up_midway(server: Server, target: Path) -> None:
    """The error of the kernel for a full device, at the first block written."""
    target.parent.mkdir()
    url = server.add("/a.zip", Answer(BODY))
    Part.of(target, url).path.symlink_to("/dev/full")
    with pytest.raises(DeviceError, match=r"no space left while writing .*scenes\.zip.*free disk space"):
        run(RemoteFile([url]), target)
    assert not target.exists()


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
        http.copy(Broken(), file, 0, None, EventLog())
    assert not target.exists()

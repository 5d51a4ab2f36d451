"""Files that appear whole, and folders that one process at a time works in."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
import threading
from pathlib import Path

import pytest

from hemgs.core.errors import ConfigError
from hemgs.core.files import Workplace, sole_worker, write_text


def never() -> None:
    raise AssertionError("there is nobody to wait for")


def test_the_first_one_has_a_new_folder_and_the_next_one_what_it_left(tmp_path: Path) -> None:
    with sole_worker(tmp_path / "work", never) as place:
        assert place == Workplace(empty=True, waited=False)
        (tmp_path / "work/half").touch()
    with sole_worker(tmp_path / "work", never) as place:
        assert place == Workplace(empty=False, waited=False)


@pytest.mark.parametrize("removed", [True, False])
def test_a_second_one_waits_for_the_first(tmp_path: Path, removed: bool) -> None:
    work, seen = tmp_path / "work", []
    waiting = threading.Event()

    def second() -> None:
        with sole_worker(work, waiting.set) as place:
            seen.append(place)

    with sole_worker(work, never):
        thread = threading.Thread(target=second)
        thread.start()
        assert waiting.wait(timeout=30)
        assert not seen
        if removed:
            shutil.rmtree(work)
    thread.join(timeout=30)
    assert seen == [Workplace(empty=removed, waited=True)]


def test_faults_of_the_work_are_not_taken_for_faults_of_the_lock(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="of the work"), sole_worker(tmp_path / "work", never):
        raise FileNotFoundError("of the work")
    with sole_worker(tmp_path / "work", never):
        pass


def test_a_file_system_without_locks_lets_everyone_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def without_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", without_locks)
    with sole_worker(tmp_path / "work", never) as place:
        assert place == Workplace(empty=True, waited=False)


@pytest.mark.parametrize("kind", ["folder", "pipe", "circle", "device", "protected"])
def test_what_is_no_replaceable_file_stays_and_is_named(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "out.csv"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "circle":
        path.symlink_to(path)
    elif kind == "device":
        path = Path(os.devnull)
    else:
        path.write_text("kept")
        path.chmod(0o444)
    before = path.lstat().st_mode
    with pytest.raises(ConfigError, match=re.escape(str(path))):
        write_text(path, "new")
    assert path.lstat().st_mode == before
    assert [entry.name for entry in tmp_path.iterdir()] == ([] if kind == "device" else ["out.csv"])


@pytest.mark.parametrize("is_there", [True, False])
def test_a_link_stays_and_its_file_is_written(tmp_path: Path, is_there: bool) -> None:
    link, target = tmp_path / "link.csv", tmp_path / "disk/out.csv"
    link.symlink_to(target)
    if is_there:
        target.parent.mkdir()
        target.write_text("old")
    write_text(link, "new")
    assert link.is_symlink()
    assert target.read_text() == link.read_text() == "new"

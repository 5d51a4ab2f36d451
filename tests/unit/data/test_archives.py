from __future__ import annotations

import contextlib
import io
import shutil
import stat
import struct
import tarfile
import threading
import time
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hemgs.config.dataset import archive_name, scene_of
from hemgs.core.errors import ConfigError, DeviceError, SceneError
from hemgs.core.events import EventLog
from hemgs.core.types import Scene
from hemgs.data.fetch import archives
from hemgs.data.fetch import unpack as unpacking
from hemgs.data.fetch.archives import find_scene
from hemgs.data.fetch.unpack import unpack
from hemgs.data.prepare import prepare_scene
from tests.unit.data.archive_server import Answer, Server
from tests.unit.data.capture_builders import blender_capture, colmap_capture, dataset


def zip_of(folder: Path, path: Path, compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as file:
        for member in sorted(folder.rglob("*")):
            file.write(member, member.relative_to(folder).as_posix())
    return path


def tar_of(folder: Path, path: Path, mode: Any = "w:gz") -> Path:
    with tarfile.open(path, mode) as file:
        for member in sorted(folder.iterdir()):
            file.add(member, member.name)
    return path


@pytest.fixture
def two_scenes(tmp_path: Path) -> Path:
    """The layout of the archive that 3DGS distributes: ``tandt/<scene>`` and ``db/<scene>``."""
    root = tmp_path / "origin"
    colmap_capture(root / "tandt/truck", binary=True)
    colmap_capture(root / "db/playroom")
    return root


def remote(url: str, tmp_path: Path, path: str = "tandt/truck", **entry: Any) -> dict[str, Any]:
    source = {"archives": [{"url": url, **entry}]}
    config = dataset("colmap", tmp_path / "unpacked", source=source)
    config["scenes"] = {"thing": {"path": path}}
    return config


def prepare(config: dict[str, Any], tmp_path: Path) -> Scene:
    return prepare_scene(config, "thing", tmp_path / "out", events=EventLog(), archives=tmp_path / "archives")


@pytest.mark.parametrize("pack", [zip_of, tar_of])
def test_fetched_unpacked_and_read(
    server: Server, tmp_path: Path, two_scenes: Path, pack: Callable[[Path, Path], Path]
) -> None:
    packed = pack(two_scenes, tmp_path / "packed")
    answer = Answer(packed.read_bytes())
    config = remote(server.add("/tandt_db.zip", answer), tmp_path)
    scene = prepare(config, tmp_path)
    assert len(scene.views) == 9
    unpacked = {path.relative_to(tmp_path / "unpacked").as_posix() for path in (tmp_path / "unpacked").rglob("*.*")}
    assert "tandt/truck/images/view_00.png" in unpacked
    assert not any(path.startswith("db") for path in unpacked)  # only the scene that was asked for
    assert prepare(config, tmp_path).hash == scene.hash
    assert len(answer.requests) == 1
    assert (tmp_path / "archives/tandt_db.zip").read_bytes() == packed.read_bytes()


def test_only_archives_that_hold_the_scene_are_fetched(server: Server, tmp_path: Path, two_scenes: Path) -> None:
    wanted, other = Answer(zip_of(two_scenes, tmp_path / "packed").read_bytes()), Answer(b"")
    config = remote(server.add("/a.zip", wanted), tmp_path, scenes=["thing", "more"])
    config["source"]["archives"].insert(0, {"url": server.add("/b.zip", other), "scenes": ["more"]})
    assert len(prepare(config, tmp_path).views) == 9
    assert other.requests == []


def test_data_sets_that_share_a_scene_unpack_it_once(
    server: Server, tmp_path: Path, two_scenes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are prepared at once, each in its own way; who comes second waits, and takes what the first has unpacked."""
    config = remote(server.add("/a.zip", Answer(zip_of(two_scenes, tmp_path / "packed").read_bytes())), tmp_path)
    unpacking, unpacked = threading.Event(), []

    def slow(archive: Path, member_folder: str, target: Path) -> Path:
        unpacked.append(target)
        unpacking.set()
        time.sleep(0.3)
        return unpack(archive, member_folder, target)

    monkeypatch.setattr(archives, "unpack", slow)

    def find(log: Path) -> Path:
        with EventLog(log) as events:
            return find_scene(scene_of(config, "thing"), tmp_path / "archives", tmp_path / "scratch", events)

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(find, tmp_path / "first.jsonl")
        assert unpacking.wait(timeout=30)
        second = pool.submit(find, tmp_path / "second.jsonl")
        assert first.result() == second.result() == tmp_path / "unpacked/tandt/truck"
    assert len(unpacked) == 1
    assert "another process unpacks it" in (tmp_path / "second.jsonl").read_text()


def test_where_no_archive_holds_the_scene(tmp_path: Path) -> None:
    config = remote("http://127.0.0.1:9/a.zip", tmp_path, scenes=["more"])
    with pytest.raises(ConfigError, match="does not exist"):
        prepare(config, tmp_path)


def test_without_local_scenes_are_unpacked_next_to_the_archives(
    server: Server, tmp_path: Path, two_scenes: Path
) -> None:
    config = remote(server.add("/a.zip", Answer(zip_of(two_scenes, tmp_path / "packed").read_bytes())), tmp_path)
    del config["source"]["local"]
    prepare(config, tmp_path)
    assert (tmp_path / "archives/toy/tandt/truck/images").is_dir()


@pytest.mark.parametrize("pack", [zip_of, tar_of])
def test_a_local_archive_needs_no_network(tmp_path: Path, two_scenes: Path, pack: Callable[[Path, Path], Path]) -> None:
    packed = pack(two_scenes, tmp_path / "mine.archive")
    config = dataset("colmap", packed)
    config["scenes"] = {"thing": {"path": "db/playroom"}}
    assert len(prepare(config, tmp_path).views) == 9
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.archive", "origin", "out"]


def test_a_local_folder_wins_over_the_network(server: Server, tmp_path: Path, two_scenes: Path) -> None:
    answer = Answer(b"")
    config = remote(server.add("/a.zip", answer), tmp_path)
    config["source"]["local"] = str(two_scenes)
    assert len(prepare(config, tmp_path).views) == 9
    assert answer.requests == []


def test_pages_for_download_by_hand(server: Server, tmp_path: Path) -> None:
    """Hosts that show a page first: the message says what to do, and a local copy works."""
    page = Answer(b"<html>Virus scan warning</html>", content_type="text/html")
    config = remote(server.add("/uc?export=download&id=1", page), tmp_path, "nerf_synthetic/chair")
    config["source"]["kind"] = "blender"
    config["protocol"]["split"] = {"kind": "files"}
    config["initial_points"] = {"kind": "random", "num_points": 9, "low": -1, "high": 1}
    with pytest.raises(SceneError, match=r"web page.*open it in a browser.*by hand.*source\.local"):
        prepare(config, tmp_path)
    blender_capture(tmp_path / "origin/nerf_synthetic/chair")
    config["source"]["local"] = str(zip_of(tmp_path / "origin", tmp_path / "nerf_synthetic.zip"))
    assert len(prepare(config, tmp_path).views) == 10


def test_a_scene_the_archive_lacks(tmp_path: Path, two_scenes: Path) -> None:
    packed = zip_of(two_scenes, tmp_path / "a.zip")
    with pytest.raises(SceneError, match=r"no files in the folder 'truck'.*db.*scenes\.<id>\.path"):
        unpack(packed, "truck", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_prefix_is_a_folder_and_not_the_start_of_a_name(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("train/a.txt", "a")
        file.writestr("training/b.txt", "b")
    unpack(tmp_path / "a.zip", "./train/", tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.txt"]


@pytest.mark.parametrize("content", [b"", b"<html></html>", b"PK\x03\x04 but no more", b"\x1f\x8b" + b"x" * 600])
def test_files_that_are_no_archives(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.zip").write_bytes(content)
    again = r".*delete it and .*hemgs fetch --dataset FILE\.yaml --archive a\.zip"
    with pytest.raises(SceneError, match=r"a\.zip is (neither a zip nor a tar file|damaged)" + again):
        unpack(tmp_path / "a.zip", ".", tmp_path / "out")


def bz2_of(folder: Path, path: Path) -> Path:
    return tar_of(folder, path, "w:bz2")


def xz_of(folder: Path, path: Path) -> Path:
    return tar_of(folder, path, "w:xz")


@pytest.mark.parametrize("pack", [zip_of, tar_of, bz2_of, xz_of])
def test_cut_and_flipped_archives(tmp_path: Path, two_scenes: Path, pack: Callable[[Path, Path], Path]) -> None:
    whole = pack(two_scenes, tmp_path / "a.archive").read_bytes()
    damaged = [whole[: len(whole) // 2], whole[:-60], whole[:-1]]
    for place in range(0, len(whole), len(whole) // 20):
        damaged.append(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
    for number, data in enumerate(damaged):
        (tmp_path / "b.archive").write_bytes(data)
        try:
            unpack(tmp_path / "b.archive", "tandt/truck", tmp_path / f"out{number}")
        except SceneError:
            assert not (tmp_path / f"out{number}").exists()
        else:  # the fault lies where it does no harm: in another scene's part, or in a time stamp
            for file in (two_scenes / "tandt/truck").rglob("*.*"):
                copy = tmp_path / f"out{number}" / file.relative_to(two_scenes / "tandt/truck")
                assert copy.read_bytes() == file.read_bytes()


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["zip", "tar", "gz"]), st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1))
def test_archives_with_noise_never_raise_anything_else(
    tmp_path_factory: pytest.TempPathFactory, kind: str, noise: list[tuple[float, int]]
) -> None:
    folder = tmp_path_factory.mktemp("noise")
    if kind == "zip":
        with zipfile.ZipFile(folder / "a", "w", zipfile.ZIP_DEFLATED) as file:
            for number in range(3):
                file.writestr(f"scene/ä{number}.txt", bytes(range(90)))
    else:
        with tarfile.open(folder / "a", "w:" if kind == "tar" else "w:gz") as tar:
            for number in range(3):
                member = tarfile.TarInfo(f"scene/ä{number}.txt")
                member.size = 90
                tar.addfile(member, io.BytesIO(bytes(range(90))))
    data = bytearray((folder / "a").read_bytes())
    for place, value in noise:
        data[int(place * (len(data) - 1))] = value
    (folder / "a").write_bytes(data)
    with contextlib.suppress(SceneError):  # any other exception fails the test
        unpack(folder / "a", "scene", folder / "out")
    assert {path.name for path in folder.iterdir()} <= {"a", "out"}


def hostile_zip(path: Path, name: str, mode: int = stat.S_IFREG | 0o644) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        info = zipfile.ZipInfo("scene/fine.txt")
        file.writestr(info, "fine")
        info = zipfile.ZipInfo(name)
        info.external_attr = mode << 16
        file.writestr(info, "/etc/passwd")
    return path


def hostile_tar(path: Path, name: str, kind: bytes = tarfile.REGTYPE) -> Path:
    with tarfile.open(path, "w") as file:
        member = tarfile.TarInfo(name)
        member.type = kind
        member.linkname = "/etc/passwd"
        member.size = 4 if kind == tarfile.REGTYPE else 0
        file.addfile(member, io.BytesIO(b"evil"))
    return path


@pytest.mark.parametrize("name", ["../evil", "/evil", "scene/../../evil", "..\\evil", "C:\\evil", "scene/../.."])
@pytest.mark.parametrize("build", [hostile_zip, hostile_tar])
def test_paths_that_lead_out(tmp_path: Path, name: str, build: Callable[[Path, str], Path]) -> None:
    (tmp_path / "inner").mkdir()
    with pytest.raises(SceneError, match="leads out of it; nothing was unpacked"):
        unpack(build(tmp_path / "a.archive", name), "scene", tmp_path / "inner/out")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.archive", "inner"]


def test_links_and_devices(tmp_path: Path) -> None:
    with pytest.raises(SceneError, match="the link 'scene/link'"):
        unpack(hostile_zip(tmp_path / "a", "scene/link", stat.S_IFLNK | 0o777), "scene", tmp_path / "out")
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
        with pytest.raises(SceneError, match="a link or a device"):
            unpack(hostile_tar(tmp_path / "a", "scene/link", kind), "scene", tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a"]


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("names", [("scene/a", "scene/a"), ("scene/a", "scene/a/b"), ("scene/a/b", "scene/a")])
def test_two_members_of_one_name(tmp_path: Path, names: tuple[str, str]) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        for name in names:
            file.writestr(name, "x")
    with pytest.raises(SceneError, match="two members of one name"):
        unpack(tmp_path / "a.zip", "scene", tmp_path / "out")


def test_bombs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacking, "_SMALL_ARCHIVE_BYTES", 0)
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("scene/zeros", bytes(20_000_000))
    with pytest.raises(SceneError, match="implausible size"):
        unpack(tmp_path / "a.zip", "scene", tmp_path / "out")
    with zipfile.ZipFile(tmp_path / "b.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("other/zeros", bytes(20_000_000))
        file.writestr("scene/small", b"fine")
    unpack(tmp_path / "b.zip", "scene", tmp_path / "out")


def test_a_zip_that_lies_about_its_sizes(tmp_path: Path) -> None:
    """The directory claims four bytes where there are ten million: no more than claimed may be written, or an error."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("scene/zeros", bytes(10_000_000))
    data = (tmp_path / "a.zip").read_bytes().replace(struct.pack("<I", 10_000_000), struct.pack("<I", 4))
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(SceneError, match="damaged"):
        unpack(tmp_path / "a.zip", "scene", tmp_path / "out")


def test_too_many_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacking, "MAX_FILES", 3)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        for number in range(4):
            file.writestr(f"scene/{number}", b"")
    with pytest.raises(SceneError, match="more than 3 files"):
        unpack(tmp_path / "a.zip", "scene", tmp_path / "out")


def test_room_for_what_is_unpacked_is_looked_for_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("scene/a", bytes(1000))
        file.writestr("other/b", bytes(5000))
    usage = SimpleNamespace(free=999)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(DeviceError, match="needs 1,000 bytes more.* has 999 free.*free disk space"):
        unpack(tmp_path / "a.zip", "scene", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]
    usage.free = 1000
    unpack(tmp_path / "a.zip", "scene", tmp_path / "out")


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://a.org/x/360_v2.zip", "360_v2.zip"),
        ("https://a.org/x/data.tar.gz?raw=1", "data.tar.gz"),
        ("https://a.org/x/..zip", None),
        ("https://drive.google.com/uc?export=download&id=18J", None),
        ("https://a.org/a%2F..%2Fb.zip", None),
    ],
)
def test_names_of_archives(url: str, name: str | None) -> None:
    found = archive_name(url)
    assert found == name if name else found.endswith(".archive")
    assert "/" not in found
    assert not found.startswith(".")

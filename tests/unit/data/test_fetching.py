"""Archives and weights fetched beforehand, and pinned."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from hemgs.cli import main
from hemgs.config.dataset import load_dataset
from hemgs.core import assets
from hemgs.core.assets import find_asset, list_assets
from hemgs.core.errors import AssetError, ConfigError, DeviceError
from hemgs.core.events import EventLog
from hemgs.data.fetch.archives import MissingScene, fetch_archives, fetch_asset, wanted_archives
from hemgs.data.fetch.http import Part
from tests.unit.data.archive_server import Answer, Server
from tests.unit.data.downloads import room

BODY = b"PK" + bytes(range(256)) * 100
SHA = hashlib.sha256(BODY).hexdigest()
ARCHIVES = Path("results/data/archives")
DATASET = """\
# A remark that stays.
id: {id}
label: Mine
source:
  kind: colmap
  local: {local}
  archives:
    - url: {base}/a.zip
      size_bytes: null  # not stated
      sha256: null  # none is published
      scenes: [one, two]
    - url: {base}/b.zip
      size_bytes: null
      sha256: null
      scenes: [three]
protocol: {{max_width: null, split: {{kind: every_nth, n: 3}}, background: [0, 0, 0]}}
initial_points: {{kind: sfm}}
scenes: {{one: {{}}, two: {{}}, three: {{}}}}
"""


@pytest.fixture
def server(server: Server) -> Server:
    server.add("/a.zip", Answer(BODY))
    server.add("/b.zip", Answer(BODY[::-1]))
    return server


@pytest.fixture
def file(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HEMGS_ASSETS", raising=False)
    return write_dataset("mine", server)


def write_dataset(name: str, server: Server, base: str | None = None) -> Path:
    path = Path(f"{name}.yaml")
    path.write_text(DATASET.format(id=name, local="captures", base=base or server.url))
    return path


def requests(server: Server) -> list[int]:
    return [len(server.answers[path].requests) for path in ("/a.zip", "/b.zip")]


def test_only_archives_of_scenes_that_are_not_in_place(server: Server, file: Path) -> None:
    Path("captures/one").mkdir(parents=True)
    wanted = wanted_archives([load_dataset(file)], ["one"], ARCHIVES)
    records = fetch_archives(wanted, ARCHIVES, EventLog())
    assert records == [{"archive": "a.zip", "in_place": {"mine/one": "captures/one"}}]
    assert requests(server) == [0, 0]
    wanted = wanted_archives([load_dataset(file)], ["one", "two"], ARCHIVES)
    (record,) = fetch_archives(wanted, ARCHIVES, EventLog())
    assert record == {
        "archive": "a.zip",
        "in_place": {"mine/one": "captures/one"},
        "file": "results/data/archives/a.zip",
        "size_bytes": len(BODY),
        "sha256": SHA,
    }
    assert requests(server) == [1, 0]


def test_a_local_archive_is_in_place(server: Server, file: Path) -> None:
    Path("captures").write_bytes(BODY)
    wanted = wanted_archives([load_dataset(file)], [], ARCHIVES)
    assert not any(archive.missing for archive in wanted.values())


def test_a_variable_that_leads_nowhere_downloads_nothing(
    server: Server, file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Unset, the fallback is where scenes are unpacked; set, it names a copy, which is there or is mistyped."""
    file.write_text(file.read_text().replace("local: captures", "local: ${MY_CAPTURES:-results/data}/mine"))
    fetch = ["fetch", "--dataset", str(file), "--scenes", "one"]
    prepare = ["prepare", "--dataset", str(file), "--scene", "one", "--out", "out"]
    monkeypatch.setenv("MY_CAPTURES", "nowhere")
    for verb in (fetch, prepare):
        assert main(verb) == 2
        said = capsys.readouterr().err
        assert "source.local is nowhere/mine, which does not exist" in said
        assert "the environment has MY_CAPTURES=nowhere" in said
        assert "correct MY_CAPTURES; unset MY_CAPTURES to download" in said
    assert requests(server) == [0, 0]
    assert not Path("nowhere").exists()
    monkeypatch.delenv("MY_CAPTURES")
    assert main(fetch) == 0
    monkeypatch.setenv("MY_CAPTURES", "made")
    Path("made/mine").mkdir(parents=True)
    assert main(fetch) == 0


def test_a_copy_that_lacks_a_scene_and_cannot_be_written_to(
    server: Server, file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("captures").mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "captures")
    assert main(["fetch", "--dataset", str(file), "--scenes", "one"]) == 2
    said = capsys.readouterr().err
    assert "captures/one does not exist, and cannot be unpacked because" in said
    assert "source.local" in said
    assert main(["prepare", "--dataset", str(file), "--scene", "one", "--out", "out"]) == 2
    assert "cannot be unpacked because" in capsys.readouterr().err
    assert requests(server) == [0, 0]


def test_data_sets_that_share_an_archive_must_agree_on_it(server: Server, file: Path) -> None:
    other = write_dataset("other", server)
    datasets = [load_dataset(file), load_dataset(other)]
    assert wanted_archives(datasets, ["other/one", "mine/two"], ARCHIVES)["a.zip"].missing == {
        "mine/two": MissingScene("two", Path("captures/two")),
        "other/one": MissingScene("one", Path("captures/one")),
    }
    write_dataset("other", server, "http://127.0.0.1:9")
    with pytest.raises(ConfigError, match=r"mine\.yaml and other\.yaml declare a\.zip differently: url"):
        wanted_archives([load_dataset(file), load_dataset(other)], [], ARCHIVES)


def test_pinning_one_of_two_data_sets_that_share_an_archive_pins_both(
    server: Server, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = write_dataset("other", server)
    fetched = ["fetch", "--dataset", str(file), "--dataset", str(other), "--scenes", "mine/one,other/one"]
    assert main(fetched) == 0
    assert main(["hash-archive", "--dataset", str(file), "--write"]) == 0
    assert main(fetched) == 0, "what one of them leaves open, the other has said"
    (wanted,) = wanted_archives([load_dataset(other), load_dataset(file)], ["other/one"], ARCHIVES).values()
    assert (wanted.entry.size_bytes, wanted.entry.sha256) == (len(BODY), SHA)
    Path("results/data/archives/a.zip").write_bytes(BODY[:-1] + b"!")
    assert main(fetched) == 2
    assert f"instead of {SHA}" in capsys.readouterr().err
    other.write_text(file.read_text().replace("id: mine", "id: other").replace(SHA, SHA[::-1]))
    assert main(fetched) == 2
    said = f"mine.yaml and other.yaml declare a.zip differently: sha256 is {SHA} and {SHA[::-1]}"
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("only", [None, "a.zip"])
def test_room_is_looked_for_for_all_archives_together(
    server: Server, file: Path, monkeypatch: pytest.MonkeyPatch, only: str | None
) -> None:
    """Two archives and three unpacked scenes need room, also where a job fetches one archive and leaves the other."""
    file.write_text(file.read_text().replace("size_bytes: null", f"size_bytes: {len(BODY)}"))
    wanted = wanted_archives([load_dataset(file)], [], ARCHIVES)
    needed = 4 * len(BODY)
    room(monkeypatch, needed - 1)
    with pytest.raises(DeviceError, match=f"a.zip and 4 more files and folders need {needed:,} bytes more"):
        fetch_archives(wanted, ARCHIVES, EventLog(), only)
    assert requests(server) == [0, 0]
    # What has arrived already is not missing.
    ARCHIVES.mkdir(parents=True)
    Part.of(ARCHIVES / "b.zip", server.url + "/b.zip").path.write_bytes(bytes(1000))
    room(monkeypatch, needed - 1000)
    assert len(fetch_archives(wanted, ARCHIVES, EventLog(), only)) == (1 if only else 2)
    assert requests(server) == ([1, 0] if only else [1, 1])


def test_what_an_archive_unpacks_to_is_asked_of_its_index(
    server: Server, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As soon as it is there, and of scenes that are missing only."""
    with zipfile.ZipFile("packed.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for scene, size in (("one", 50_000), ("two", 70_000), ("else", 10**6)):
            archive.writestr(f"{scene}/a", bytes(size))
    server.add("/a.zip", Answer(Path("packed.zip").read_bytes()))
    room(monkeypatch, 119_999)
    wanted = wanted_archives([load_dataset(file)], ["one", "two"], ARCHIVES)
    with pytest.raises(DeviceError, match="need 120,000 bytes more"):
        fetch_archives(wanted, ARCHIVES, EventLog())
    assert (ARCHIVES / "a.zip").is_file(), "what was fetched stays"
    room(monkeypatch, 120_000)
    fetch_archives(wanted, ARCHIVES, EventLog())
    Path("captures/two").mkdir(parents=True)
    room(monkeypatch, 50_000)
    fetch_archives(wanted_archives([load_dataset(file)], ["one", "two"], ARCHIVES), ARCHIVES, EventLog())
    assert requests(server) == [1, 0]


def test_fetch_and_pin_on_the_command_line(server: Server, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["fetch", "--dataset", str(file), "--scenes", "two", "--archive", "a.zip", "--out", "record.json"]
    assert main(arguments) == 0
    assert f"results/data/archives/a.zip: 25.0 KiB, sha256 {SHA}" in capsys.readouterr().out
    record = json.loads(Path("record.json").read_text())
    assert record["archives"][0]["sha256"] == SHA
    assert (record["datasets"], record["scenes"]) == ([str(file)], ["two"])
    assert '"event": "progress", "done": 0, "total": 0' in Path("record.jsonl").read_text()
    assert main(["hash-archive", "--dataset", str(file), "--write"]) == 0
    assert f"size_bytes: {len(BODY)}\nsha256: {SHA}\n" in capsys.readouterr().out
    pinned = load_dataset(file).archives
    assert (pinned[0].size_bytes, pinned[0].sha256) == (len(BODY), SHA)
    assert (pinned[1].size_bytes, pinned[1].sha256) == (None, None), "what was not fetched is not pinned"
    assert file.read_text().startswith("# A remark that stays.\n")
    assert f"sha256: {SHA}  # as first fetched\n" in file.read_text()
    assert main(["hash-archive", "results/data/archives/a.zip"]) == 0
    assert SHA in capsys.readouterr().out
    # From now on another file is refused, whoever serves it.
    Path("results/data/archives/a.zip").unlink()
    server.add("/a.zip", Answer(BODY[:-1] + b"!"))
    assert main(arguments) == 2
    assert f"instead of {SHA}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["fetch"], "give --dataset or --asset"),
        (["fetch", "--dataset", "mine.yaml", "--scenes", "four"], "has the scene 'four'"),
        (["fetch", "--dataset", "mine.yaml", "--scenes", "one", "--archive", "b.zip"], "known: a.zip"),
        (["fetch", "--asset", "lpips"], "there is no asset 'lpips'"),
        (["hash-archive"], "give FILE"),
        (["hash-archive", "--dataset", "mine.yaml"], "hemgs fetch --dataset mine.yaml"),
    ],
)
@pytest.mark.usefixtures("file")
def test_mistakes_are_named(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert said in capsys.readouterr().err


def test_weights_come_by_the_same_way(server: Server, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    urls = (f"{server.url}/gone.pth", f"{server.url}/a.zip")
    asset = replace(list_assets()["lpips_squeeze_heads"], size_bytes=len(BODY), sha256=SHA, urls=urls)
    monkeypatch.setattr(assets, "list_assets", lambda: {asset.id: asset})
    path = fetch_asset(asset, EventLog())
    assert path == Path("results/data/assets") / asset.file
    assert find_asset(asset.id) == path
    assert fetch_asset(asset, EventLog()) == path
    assert requests(server) == [1, 0]
    path.unlink()
    server.add("/a.zip", Answer(BODY[:-1] + b"!"))
    with pytest.raises(AssetError, match=rf"gone\.pth: it answered 404.*instead of {SHA}.*by hand from https://github"):
        fetch_asset(asset, EventLog())
    assert not path.exists()


def test_an_altered_weight_is_not_fetched_over(file: Path) -> None:
    asset = list_assets()["lpips_squeeze_heads"]
    path = Path("results/data/assets") / asset.file
    path.parent.mkdir(parents=True)
    path.write_bytes(b"mine")
    with pytest.raises(AssetError, match="is altered"):
        fetch_asset(asset, EventLog())
    assert path.read_bytes() == b"mine"

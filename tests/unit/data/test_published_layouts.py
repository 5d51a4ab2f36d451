"""The four datasets of the paper as their files describe them, fetched from archives laid out like the real ones.

Names of folders and files are those of the published archives, pictures are small. What is besides the scenes in them
(other resolutions, depth maps, notes, what macOS leaves) must neither be unpacked where it is not wanted nor disturb.
"""

from __future__ import annotations

import hashlib
import struct
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from hemgs.config.dataset import archive_name, load_dataset
from hemgs.core.events import EventLog
from hemgs.core.types import Scene
from hemgs.data.fetch.archives import fetch_archives, wanted_archives
from hemgs.data.prepare import prepare_scene
from tests.unit.data.archive_server import Answer, Server
from tests.unit.data.capture_builders import blender_capture, colmap_capture, write_images

DATASETS = Path(__file__).resolve().parents[3] / "workflow/config/datasets"
BASE_SCENES = ("bicycle", "bonsai", "counter", "garden", "kitchen", "room", "stump")
OBJECTS = ("chair", "drums", "ficus", "hotdog", "lego", "materials", "mic", "ship")
SCENES = [
    ("mipnerf360", "garden"),
    ("mipnerf360", "treehill"),
    ("tanksandtemples", "train"),
    ("tanksandtemples", "truck"),
    ("deepblending", "drjohnson"),
    ("deepblending", "playroom"),
    ("synthetic_nerf", "lego"),
]


def mip_scene(root: Path) -> None:
    colmap_capture(root, binary=True)
    names = [path.name for path in sorted((root / "images").iterdir())]
    for factor in (2, 4, 8):
        write_images(root / f"images_{factor}", names, size=(48 // factor, 36 // factor))
    (root / "poses_bounds.npy").write_bytes(b"\x93NUMPY")


def base_archive(root: Path) -> None:
    """360_v2.zip: scenes at the top, and notes on the two that were missing at first."""
    for scene in BASE_SCENES:
        mip_scene(root / scene)
    for scene in ("flowers", "treehill"):
        (root / f"{scene}.txt").write_text("not part of this archive\n")


def extra_archive(root: Path) -> None:
    for scene in ("flowers", "treehill"):
        mip_scene(root / scene)


def inria_archive(root: Path) -> None:
    """tandt_db.zip: pictures of Tanks and Temples are half as wide as their cameras, rounded to whole pixels."""
    for scene in ("db/drjohnson", "db/playroom", "tandt/train", "tandt/truck"):
        colmap_capture(root / scene, binary=True)
        (root / scene / "sparse/0/project.ini").write_text("log_to_stderr=false\n")
        if scene.startswith("tandt"):
            names = [path.name for path in sorted((root / scene / "images").iterdir())]
            write_images(root / scene / "images", names, size=(24, 18))


def synthetic_archive(root: Path) -> None:
    """nerf_synthetic.zip: maps next to the test views, a third split, and what macOS adds."""
    for scene in OBJECTS:
        folder = root / "nerf_synthetic" / scene
        blender_capture(folder)
        write_images(folder / "val", ["r_0.png"], mode="RGBA")
        (folder / "transforms_val.json").write_text((folder / "transforms_train.json").read_text())
        for index in range(4):
            write_images(folder / "test", [f"r_{index}_{kind}_0001.png" for kind in ("depth", "normal")], mode="RGBA")
        (folder / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
        (root / "__MACOSX/nerf_synthetic" / scene).mkdir(parents=True)
        (root / "__MACOSX/nerf_synthetic" / scene / "._transforms_test.json").write_bytes(struct.pack(">I", 0x00051607))
    (root / "nerf_synthetic/README.txt").write_text("Attribution: see the models.\n")


BUILDERS = {
    "360_v2.zip": base_archive,
    "360_extra_scenes.zip": extra_archive,
    "tandt_db.zip": inria_archive,
    "nerf_synthetic.zip": synthetic_archive,
}


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Archives by name, with entries for folders as zip programs write them."""
    root = tmp_path_factory.mktemp("packed")
    for name, build in BUILDERS.items():
        build(root / name[:-4])
        with zipfile.ZipFile(root / name, "w", zipfile.ZIP_DEFLATED) as file:
            for member in sorted((root / name[:-4]).rglob("*")):
                file.write(member, member.relative_to(root / name[:-4]).as_posix())
    return {name: (root / name).read_bytes() for name in BUILDERS}


@pytest.fixture
def at(server: Server, packed: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Answer]:
    """The repository's datasets, served from here; answers by the archive's name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HEMGS_DATASETS", raising=False)
    return {name: Answer(data) for name, data in packed.items()}


def served(dataset: str, server: Server, answers: dict[str, Answer]) -> Path:
    """A dataset's file with its addresses, sizes and checksums exchanged for those of the archives served here."""
    data: dict[str, Any] = yaml.safe_load((DATASETS / f"{dataset}.yaml").read_text())
    for entry in data["source"]["archives"]:
        name = archive_name(entry["url"])
        body = answers[name].body
        entry |= {"url": server.add(f"/{name}", answers[name]), "size_bytes": len(body)}
        entry |= {"sha256": hashlib.sha256(body).hexdigest(), "mirrors": []}
    path = Path(f"{dataset}.yaml")
    path.write_text(yaml.safe_dump(data))
    return path


def prepared(path: Path, scene: str) -> Scene:
    return prepare_scene(yaml.safe_load(path.read_text()), scene, Path("out") / scene, events=EventLog())


@pytest.mark.parametrize(("dataset", "scene"), SCENES)
def test_each_scene_is_found_in_its_archive(server: Server, at: dict[str, Answer], dataset: str, scene: str) -> None:
    path = served(dataset, server, at)
    found = prepared(path, scene)
    blender = dataset == "synthetic_nerf"
    assert (len(found.split("train")), len(found.split("test"))) == ((6, 4) if blender else (7, 2))
    size = (24, 18) if dataset == "tanksandtemples" else (48, 36)
    assert {(view.camera.width, view.camera.height) for view in found.views} == {size}
    fetched = {name for name, answer in at.items() if answer.requests}
    assert len(fetched) == 1, "only the archive that holds the scene"
    root = Path("results/data/archives")
    unpacked = {
        file.relative_to(root).parts[:-1] for file in root.rglob("*") if file.is_file() and file.suffix != ".lock"
    } - {()}
    place = Path(load_dataset(path).scenes[scene].source.path).parts
    assert {parts[1 : 1 + len(place)] for parts in unpacked} == {place}, "only the scene asked for"


def test_data_sets_of_one_archive_fetch_it_once(server: Server, at: dict[str, Answer]) -> None:
    paths = [served(dataset, server, at) for dataset in ("tanksandtemples", "deepblending")]
    prepared(paths[0], "truck")
    prepared(paths[1], "playroom")
    prepared(paths[1], "drjohnson")
    assert len(at["tandt_db.zip"].requests) == 1


def test_fetched_beforehand_nothing_is_asked_later(server: Server, at: dict[str, Answer]) -> None:
    path = served("mipnerf360", server, at)
    archives = Path("results/data/archives")
    wanted = wanted_archives([load_dataset(path)], ["garden", "mipnerf360/flowers"], archives)
    records = fetch_archives(wanted, archives, EventLog())
    assert {record["archive"] for record in records} == {"360_v2.zip", "360_extra_scenes.zip"}
    for answer in at.values():
        answer.status = 500
    prepared(path, "garden")
    prepared(path, "flowers")
    assert [len(at[name].requests) for name in ("360_v2.zip", "360_extra_scenes.zip")] == [1, 1]


def test_the_files_state_where_the_data_comes_from() -> None:
    """Every dataset of the paper: two addresses or the owners' own with its length, a licence, a paper, a protocol."""
    for name in ("mipnerf360", "tanksandtemples", "deepblending", "synthetic_nerf"):
        dataset = load_dataset(DATASETS / f"{name}.yaml")
        assert dataset.url and dataset.licence and dataset.citation
        held = [scene for entry in dataset.archives for scene in entry.scenes or dataset.scenes]
        assert sorted(held) == sorted(dataset.scenes), "each scene is in one archive"
        for entry in dataset.archives:
            assert entry.url.startswith("https://")
            assert entry.mirrors or entry.size_bytes
            assert {"size_bytes", "sha256"} <= entry.model_fields_set
        for scene in dataset.scenes.values():
            assert {"max_width", "split", "background", "min_views"} <= scene.protocol.model_fields_set

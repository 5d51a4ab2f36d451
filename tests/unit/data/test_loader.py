from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hemgs.core.errors import SceneError
from hemgs.core.events import EventLog
from hemgs.data.loader import load_scene
from hemgs.data.prepare import prepare_scene
from tests.unit.data.capture_builders import colmap_capture, dataset


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prepared")
    colmap_capture(folder / "capture")
    prepare_scene(dataset("colmap", folder / "capture"), "thing", folder / "scene", events=EventLog())
    return folder / "scene"


@pytest.fixture
def scene_folder(tmp_path: Path, prepared: Path) -> Path:
    return Path(shutil.copytree(prepared, tmp_path / "scene"))


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "scene.json"
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))


def test_what_was_prepared_is_loaded(scene_folder: Path, prepared: Path) -> None:
    """A copy elsewhere is the same scene."""
    scene, original = load_scene(scene_folder), load_scene(prepared)
    assert scene.root == scene_folder
    assert scene.hash == original.hash
    for ours, theirs in zip(scene.views, original.views, strict=True):
        assert (ours.name, ours.file, ours.split, ours.sha256) == (
            theirs.name,
            theirs.file,
            theirs.split,
            theirs.sha256,
        )
        np.testing.assert_array_equal(ours.camera.world_to_camera, theirs.camera.world_to_camera)
        np.testing.assert_array_equal(ours.camera.intrinsics, theirs.camera.intrinsics)
    np.testing.assert_array_equal(scene.points, original.points)


def test_images_are_float_in_unit_range(prepared: Path) -> None:
    scene = load_scene(prepared)
    image = scene.read_image(scene.views[0])
    assert image.dtype == np.float32
    assert image.shape == (36, 48, 3)
    assert (image.min(), image.max()) == (0.0, 1.0)


def test_an_altered_image_is_found_when_read(scene_folder: Path) -> None:
    scene = load_scene(scene_folder)
    path = scene_folder / scene.views[2].file
    pixels = np.asarray(Image.open(path)).copy()
    pixels[0, 0] ^= 1
    Image.fromarray(pixels).save(path)
    scene = load_scene(scene_folder)
    scene.read_image(scene.views[1])
    with pytest.raises(SceneError, match=r"view_02.png was altered.*prepare the scene again"):
        scene.read_image(scene.views[2])


def test_an_image_is_checked_once(scene_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import hashlib

    scene = load_scene(scene_folder)
    scene.read_image(scene.views[0])
    monkeypatch.delattr(hashlib, "sha256")
    scene.read_image(scene.views[0])
    with pytest.raises(AttributeError):
        scene.read_image(scene.views[1])


def test_an_image_that_vanished_after_loading(scene_folder: Path) -> None:
    scene = load_scene(scene_folder)
    (scene_folder / scene.views[0].file).unlink()
    with pytest.raises(SceneError, match="cannot be read"):
        scene.read_image(scene.views[0])


def test_missing_folder_record_image_and_points(scene_folder: Path) -> None:
    with pytest.raises(SceneError, match="does not exist"):
        load_scene(scene_folder / "nowhere")
    with pytest.raises(SceneError, match=r"has no scene.json"):
        load_scene(scene_folder / "images")
    (scene_folder / "images/view_05.png").rename(scene_folder / "elsewhere.png")
    with pytest.raises(SceneError, match=r"1 of 9 images that do not exist: .*view_05\.png"):
        load_scene(scene_folder)
    (scene_folder / "elsewhere.png").rename(scene_folder / "images/view_05.png")
    (scene_folder / "points.npz").unlink()
    with pytest.raises(SceneError, match=r"points\.npz does not exist"):
        load_scene(scene_folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "\ud800", "[" * 100_000])
def test_records_that_are_not_records(scene_folder: Path, text: str) -> None:
    (scene_folder / "scene.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(SceneError, match=r"scene\.json"):
        load_scene(scene_folder)


def put(*path: Any, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(record: Any) -> None:
        for key in path[:-1]:
            record = record[key]
        record[path[-1]] = value

    return change


def drop(*path: Any) -> Callable[[dict[str, Any]], None]:
    def change(record: Any) -> None:
        for key in path[:-1]:
            record = record[key]
        del record[path[-1]]

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("format_version", value=2), "format version 2; this program reads 1"),
        (drop("format_version"), "format version None"),
        (drop("views"), "lacks 'views'"),
        (drop("views", 0, "fx"), r"'views\[0\]' lacks 'fx'"),
        (drop("views", 3), "hash differs"),
        (put("views", value=7), "not the record"),
        (put("views", 0, value=None), "not the record"),
        (put("views", 0, "split", value="val"), 'cannot be "val" — allowed: train, test'),
        (put("views", 0, "split", value="train"), "hash differs"),
        (put("views", 0, "width", value="48"), r"'views\[0\].width' cannot be"),
        (put("views", 0, "fx", value=1e999), "intrinsics"),
        (put("views", 0, "fx", value=40.0001), "hash differs"),
        (put("views", 0, "file", value="../../secret.png"), "outside"),
        (put("views", 0, "world_to_camera", 0, 3, value=float("nan")), "not finite"),
        (put("views", 0, "world_to_camera", 0, 3, value=0.125), "hash differs"),
        (put("views", 0, "world_to_camera", value=[1, 2, 3]), "world_to_camera"),
        (put("background", value=[0, 0]), "not the record"),
        (put("background", value=[0, 0, 1]), "hash differs"),
        (put("protocol", value="none"), "'protocol' cannot be .* a value of type object"),
        (put("hash", value="0" * 64), "hash differs"),
        (put("hash", value=None), "'hash' cannot be null — a value of type string"),
    ],
)
def test_altered_records(scene_folder: Path, change: Callable[[dict[str, Any]], None], message: str) -> None:
    edit(scene_folder, change)
    with pytest.raises(SceneError, match=message):
        load_scene(scene_folder)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"xyz": np.zeros((3, 3), np.float32)}, "rgb"),
        ({"xyz": np.zeros((3, 3)), "rgb": np.zeros((3, 3), np.uint8)}, "float64"),
        ({"xyz": np.zeros((3, 2), np.float32), "rgb": np.zeros((3, 2), np.uint8)}, "instead of points"),
        ({"xyz": np.zeros((0, 3), np.float32), "rgb": np.zeros((0, 3), np.uint8)}, "no points"),
        ({"xyz": np.full((1, 3), np.nan, np.float32), "rgb": np.zeros((1, 3), np.uint8)}, "not finite"),
        ({"xyz": np.zeros((30, 3), np.float32), "rgb": np.zeros((30, 3), np.uint8)}, "hash differs"),
        ({"xyz": np.array([{}]), "rgb": np.zeros((1, 3), np.uint8)}, "does not contain points"),
    ],
)
def test_other_points(scene_folder: Path, arrays: dict[str, Any], message: str) -> None:
    np.savez(scene_folder / "points.npz", **arrays)
    with pytest.raises(SceneError, match=message):
        load_scene(scene_folder)


@pytest.mark.parametrize("keep", [0, 10, 200, -1])
def test_cut_points(scene_folder: Path, keep: int) -> None:
    path = scene_folder / "points.npz"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(SceneError, match=r"points\.npz"):
        load_scene(scene_folder)
